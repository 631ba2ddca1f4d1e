//! Takes batches off the log, recognises duplicates, and applies the rest exactly once.
//!
//! This room promises: whatever the log delivers, in whatever order and however often, every
//! vote of it is booked once: counted, duplicate of one that stands, set aside, or dead-lettered.
//! A delivery is acknowledged only after the transaction that books it. Of several consumers one
//! owns a lane, and one that lost it without noticing can write nothing.
//!
//! - `window`: the live keys.
//! - `copies`: standing copies outside the window.
//! - `reach`: how far from a batch copies of its votes may be, and so where to look for them.
//! - `judge`: what each vote of a batch is.
//! - `owner`: the lane's state between transactions, and how one is prepared and committed.
//! - `closing`: barriers, and when a result becomes final.
//! - `driver`: the steps of all of them, in their order, and what each trouble means.
//! - `consumer`: the thread that takes these steps, and when.

mod closing;
mod consumer;
mod copies;
mod driver;
mod judge;
mod owner;
mod reach;
#[cfg(test)]
mod sample;
mod window;

pub use closing::{Closing, ClosingOptions};
pub use consumer::{Consumer, ConsumerOptions, ConsumerState, ConsumerStatus};
pub use copies::{Copies, Copy};
pub use driver::{Driver, DriverOptions, Ended};
pub use judge::{Judge, Poison};
pub use owner::{LaneOwner, OwnerError, Prepared};
pub use window::{Found, Probe, Source, Window};
