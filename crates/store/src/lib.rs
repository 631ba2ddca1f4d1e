//! Polls, ledger, totals and dead letters.
//!
//! This room promises: a transaction happens whole or not at all, and once; the ledger only
//! grows; totals are a cache of the ledger and agree with it to the vote; reading totals costs
//! the same with ten votes and with a billion. Every backend passes the suite in [`conformance`];
//! [`recount`] proves the totals from the ledger.
//!
//! - `contract`: what every store is. `embedded`: SQLite on one machine.
//! - `entry`: an entry as it is kept, and its seal. `counts`: votes by the candidate's number.
//! - [`recount`]: counting again. [`generate`]: ledgers for benchmarks. `dice`: seeded numbers for
//!   [`generate`] and [`conformance`].

pub mod conformance;
mod contract;
mod counts;
mod dice;
mod embedded;
mod entry;
pub mod generate;
pub mod recount;

pub use contract::{
    Application, ApplyError, Bucket, DeadLetter, DeadLetterHead, DeadLetterId, DeadLetterState,
    DeploymentBooks, Fate, Fence, FinalityHurdle, Known, LaneClaim, LedgerQuery, Loss, LossName,
    Lost, NewDeadLetter, OwnerId, PollChange, PollView, Snapshot, Store, StoreError,
};
pub use embedded::{EmbeddedLedger, EmbeddedOptions, EmbeddedStore, LogSegments};
pub use entry::{EntryDamage, KeptEntry};
