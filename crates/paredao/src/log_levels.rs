//! What is logged, and when it goes back by itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

use paredao_domain::BootMillis;
use paredao_telemetry::logs::{LevelChange, Levels, LogControl};

/// The levels of a running process.
pub(crate) struct LogLevels {
    control: LogControl,
    passing: Mutex<Option<Passing>>,
}

/// A change that ends by itself.
struct Passing {
    change: LevelChange,
    ends_at: BootMillis,
}

impl LogLevels {
    /// Levels as they were configured.
    pub(crate) fn new(control: LogControl) -> Self {
        Self {
            control,
            passing: Mutex::new(None),
        }
    }

    /// Sets levels for good.
    pub(crate) fn set(&self, levels: Levels) {
        let mut passing = self.passing();
        *passing = None;
        // Kept for good: there is nothing to take back later.
        drop(self.control.set_levels(levels));
    }

    /// Sets levels for so long from `now`; a change that was passing already ends before it.
    pub(crate) fn set_for(&self, levels: Levels, now: BootMillis, millis: u64) {
        let mut passing = self.passing();
        if let Some(earlier) = passing.take() {
            self.control.take_back(earlier.change);
        }
        let change = self.control.set_levels(levels);
        *passing = Some(Passing {
            change,
            ends_at: BootMillis(now.0.saturating_add(millis)),
        });
    }

    /// Takes back what has passed. To be called a few times a second.
    pub(crate) fn tick(&self, now: BootMillis) {
        let over = self.passing().take_if(|passing| passing.ends_at <= now);
        if let Some(over) = over {
            self.control.take_back(over.change);
            tracing::info!(event = "log_level_returned", levels = %self.control.levels());
        }
    }

    fn passing(&self) -> MutexGuard<'_, Option<Passing>> {
        // Nothing panics under the lock.
        self.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use paredao_telemetry::logs::{LogFormat, LogOptions, json_subscriber};
    use paredao_telemetry::metrics::metrics;

    use super::*;

    fn log_levels() -> LogLevels {
        let options = LogOptions {
            format: LogFormat::Json,
            levels: "info".parse().unwrap(),
            service: "test".to_owned(),
            instance: "test".to_owned(),
            version: "0".to_owned(),
        };
        let dropped = metrics().log_lines_dropped.clone();
        let (_, control) = json_subscriber(options, std::io::sink(), dropped).unwrap();
        LogLevels::new(control)
    }

    fn in_force(levels: &LogLevels) -> String {
        levels.control.levels().to_string()
    }

    #[test]
    fn a_passing_change_returns_to_what_was_configured_even_after_a_second_one() {
        let levels = log_levels();
        levels.set_for("debug".parse().unwrap(), BootMillis(0), 1_000);
        levels.set_for("trace".parse().unwrap(), BootMillis(500), 1_000);
        levels.tick(BootMillis(1_499));
        assert_eq!(in_force(&levels), "trace");
        levels.tick(BootMillis(1_500));
        assert_eq!(in_force(&levels), "info");
    }

    #[test]
    fn a_change_for_good_ends_one_that_was_passing() {
        let levels = log_levels();
        levels.set_for("debug".parse().unwrap(), BootMillis(0), 1_000);
        levels.set("warn".parse().unwrap());
        levels.tick(BootMillis(5_000));
        assert_eq!(in_force(&levels), "warn");
    }
}
