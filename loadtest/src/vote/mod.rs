//! Casting votes: the plan, the voters who carry it out, and what they bring back.

mod caster;
pub mod command;
mod journal;
mod load;
mod outcome;
mod plan;
mod retry;
mod tally;
mod voter;

pub use caster::{Caster, Ended, Setback};
pub use journal::{Journal, NoRecord, Recorder};
pub use load::{Driven, Load, drive};
pub use outcome::{Outcome, Reason, Receipt, ResentCopy, SettledVote, Stored, Verdict};
pub use plan::{Afterwards, Candidate, Fraction, PlannedVote, VotePlan};
pub use retry::RetryPolicy;
pub use tally::{Latencies, Percentiles, Tally};
