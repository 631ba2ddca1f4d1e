//! The clock as the rooms see it: given from outside, so that tests can bend it.

use crate::UnixMillis;

/// Milliseconds on a clock that never goes back and also runs while the machine is suspended
/// (`CLOCK_BOOTTIME`, `clock_gettime(2)`). Only differences mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootMillis(pub u64);

impl BootMillis {
    /// Milliseconds from `earlier` to this instant; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where a room gets the time from.
pub trait Clock: Send + Sync {
    /// Wall-clock time, corrected by the store's. It may jump in both directions.
    fn now(&self) -> UnixMillis;

    /// Time for deadlines.
    fn boot(&self) -> BootMillis;
}
