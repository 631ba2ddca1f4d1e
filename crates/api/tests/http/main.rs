//! The routes over real HTTP, in a house of the real rooms.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed assumption in a test is a failed test"
)]

mod alarms;
mod description;
mod events;
mod limits;
mod metrics;
mod reading;
mod refusals;
mod store_away;
mod support;
mod totals;
mod votes;
