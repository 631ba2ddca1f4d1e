//! Group commit: many waiting votes become one batch, and one durable append answers them all.
//!
//! This room promises: a vote answered with a receipt is durable; a vote refused as
//! [`NotTaken::NotOpen`], [`NotTaken::Overloaded`], [`NotTaken::LogUnavailable`] or
//! [`NotTaken::ShuttingDown`] is nowhere; for the rest the answer is honestly "unknown", and the
//! same key sent again is the same vote. Nothing waits for ever and no queue grows without bound.
//!
//! - `intake`: the room's door, [`Intake`].
//! - `inbox`: where votes wait; the only part that request threads touch.
//! - `desk`: which batches are out, how they are numbered, whom a confirm answers. No I/O.
//! - `numbers`: which numbers of batches are confirmed, and which were given up.
//! - `linger`: how long a batch waits for company.
//! - `bell`: answering hundreds of voters with one wake-up per thread.
//! - `engine`: the thread that drives all of them against a log.

mod bell;
mod desk;
mod engine;
mod inbox;
mod intake;
mod linger;
mod numbers;

pub use desk::Desk;
pub use inbox::{Ballot, Door, Inbox, NotTaken, Taken, Waiting};
pub use intake::{Incarnations, Intake, IntakeError, IntakeOptions, IntakeStatus};
pub use linger::Linger;
