//! Named places before and after the durable steps of a vote and of a final result, where a test
//! can make the program die, wait or fail. They exist in builds with debug assertions; in a release
//! build [`hit`] is nothing at all.
//!
//! A running program takes its points from the environment variable [`VARIABLE`]:
//!
//! ```text
//! PAREDAO_FAILPOINTS="log.append.before_sync=kill@37,store.apply.after_commit=delay:20ms"
//! ```
//!
//! | action | what it does |
//! |---|---|
//! | `kill` | SIGKILL to the process itself |
//! | `panic` | the thread that passes panics |
//! | `error` | an [`std::io::Error`] that names the point |
//! | `error:enospc`, `error:eio` | the error the kernel gives for a full or a broken disk |
//! | `delay:20ms` (`us`, `ms`, `s`) | the thread waits that long, then goes on |
//!
//! A suffix says which hits are meant: `@37` the 37th only, `@3..10` the 3rd to the 9th, `@5..`
//! the 5th and all later ones; without one, every hit. Tests inside a process use `arm` and
//! `arm_on_this_thread`.

use thiserror::Error;

#[cfg(debug_assertions)]
mod spec;
#[cfg(debug_assertions)]
mod table;

#[cfg(debug_assertions)]
pub use table::{Guard, arm, arm_on_this_thread};

/// The environment variable that sets failure points for a whole process.
pub const VARIABLE: &str = "PAREDAO_FAILPOINTS";

/// Every failure point of the program. A specification that names another is refused.
pub const NAMES: &[&str] = &[
    "log.append.before_write",
    "log.append.after_write",
    "log.append.before_sync",
    "log.append.after_sync",
    "log.segment.before_roll",
    "log.segment.after_roll",
    "log.segment.before_delete",
    "log.segment.after_delete",
    "store.apply.before_begin",
    "store.apply.before_commit",
    "store.apply.after_commit",
    "store.checkpoint.before",
    "store.checkpoint.after",
    "store.final.before_commit",
    "store.final.after_commit",
    "consumer.before_apply",
    "consumer.after_apply",
    "consumer.before_ack",
    "consumer.after_ack",
    "intake.after_cut",
    "intake.before_answer",
];

/// Why a specification of failure points was refused; whoever set it sees this one line.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum SpecError {
    /// An entry without `=`.
    #[error("failure point `{0}` has no action: write name=action")]
    NoAction(String),
    /// A name that is not in [`NAMES`].
    #[error("no failure point is called `{0}`")]
    UnknownName(String),
    /// An action that is none of kill, panic, error, delay.
    #[error("`{0}` is no action: use kill, panic, error, error:enospc, error:eio or delay:20ms")]
    UnknownAction(String),
    /// A delay that is not a whole number with a unit, or longer than a minute.
    #[error("`{0}` is no delay: use a whole number with us, ms or s, at most 60s")]
    BadDelay(String),
    /// A choice of hits that is not `N`, `A..B` or `A..`, counted from 1.
    #[error("`@{0}` chooses no hits: use @37, @3..10 or @5.., counted from 1")]
    BadHits(String),
    /// The variable is not valid UTF-8.
    #[error("{VARIABLE} is not valid UTF-8")]
    NotUtf8,
}

/// Passes the failure point `name`: normally nothing happens; an armed point acts.
#[cfg(debug_assertions)]
pub fn hit(name: &str) -> std::io::Result<()> {
    debug_assert!(NAMES.contains(&name), "failure point {name} is not listed");
    table::hit(name)
}

/// Passes the failure point `name`; in this build nothing can happen there.
#[cfg(not(debug_assertions))]
#[inline]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of the build that can fail"
)]
pub fn hit(_name: &str) -> std::io::Result<()> {
    Ok(())
}

/// Reads [`VARIABLE`] at start-up, after logs are set up: a wrong specification is refused, and
/// every armed point is announced as a warning.
#[cfg(debug_assertions)]
pub fn check_environment() -> Result<(), SpecError> {
    for point in table::from_environment()? {
        tracing::warn!(event = "failpoint_armed", point = %point);
    }
    Ok(())
}

/// Says loudly at start-up, after logs are set up, that [`VARIABLE`] is set in a build that has
/// no failure points: whoever set it believes to be testing something.
#[cfg(not(debug_assertions))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of the build that can refuse"
)]
pub fn check_environment() -> Result<(), SpecError> {
    if std::env::var_os(VARIABLE).is_some() {
        tracing::error!(
            event = "failpoints_not_compiled",
            variable = VARIABLE,
            advice = "this build has no failure points: unset the variable or run a debug build",
        );
    }
    Ok(())
}
