//! The voters' pages in a real browser against the real program.
//!
//! They need Chromium and its driver (Debian: `chromium`, `chromium-driver`). Screenshots are
//! left in `target/screenshots` for a person to look at.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed assumption in a test is a failed test"
)]

mod chromium;
mod http;
mod program;
mod relay;

mod modules;
mod outage;
mod polls;
mod results;
mod voting;
