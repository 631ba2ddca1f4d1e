//! What a running process says about itself, and how a test makes it fail on purpose.
//!
//! This room promises: saying something never makes a vote wait, and what is said carries no
//! address, key, ticket, receipt or choice.
//!
//! - [`logs`]: one line for each event; levels change while the process runs.
//! - [`metrics`]: every metric of the program, in one table.
//! - [`summary`], [`sample`]: what the logs show of votes without a line for each.
//! - [`health`]: which components there are, whether the process is ready, why it ends.
//! - [`failpoint`]: named places before and after the durable steps of a vote and of a final
//!   result, for tests only.

pub mod failpoint;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod sample;
pub mod summary;
