//! The embedded store: the suite every store passes, damage, losses, recounts, a reader not ours.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a suite of tests: a failed assumption is a failed test"
)]

mod conformance;
mod damage;
#[path = "../ground/mod.rs"]
mod ground;
mod ledger_reader;
mod ledgers;
mod log_segments;
mod recount;
