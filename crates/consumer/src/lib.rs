//! Takes batches off the log, recognises duplicates, and applies the rest exactly once.
//!
//! This room promises: whatever the log delivers, in whatever order and however often, every
//! vote of it is booked once: counted, duplicate of one that stands, set aside, or dead-lettered.
//! A delivery is acknowledged only after the transaction that books it. Of several consumers one
//! owns a lane, and one that lost it without noticing can write nothing.
//!
//! - `window`: the live keys.
//! - `copies`: standing copies outside the window.
//! - `judge`: what each vote of a batch is.
//! - `owner`: the lane's state between transactions, and how one is prepared and committed.
//! - `closing`: barriers, and when a result becomes final.
//! - `consumer`: the thread that drives all of them.

mod closing;
mod consumer;
mod copies;
mod judge;
mod owner;
#[cfg(test)]
mod sample;
mod window;

pub use closing::{Closing, ClosingOptions};
pub use consumer::{Consumer, ConsumerOptions, ConsumerState, ConsumerStatus};
pub use copies::{Copies, Copy};
pub use judge::{Judge, Poison};
pub use owner::{LaneOwner, OwnerError, Prepared};
pub use window::{Found, Probe, Source, Window};
