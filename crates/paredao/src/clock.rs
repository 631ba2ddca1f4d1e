//! The system's clocks, as the rooms want them.

use std::time::{SystemTime, UNIX_EPOCH};

use paredao_domain::{BootMillis, Clock, UnixMillis};
use rustix::time::{ClockId, clock_gettime};

/// The wall clock of this machine, and the clock that also runs while it is suspended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that every room is given"
    )]
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        UnixMillis(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    fn boot(&self) -> BootMillis {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
        BootMillis(seconds * 1_000 + millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_past_the_day_this_was_written_and_the_boot_clock_never_goes_back() {
        let written: UnixMillis = "2026-01-01T00:00:00Z".parse().unwrap();
        assert!(SystemClock.now() > written);
        let first = SystemClock.boot();
        assert!(first > BootMillis(0) && SystemClock.boot() >= first);
    }
}
