//! What shows that an error or a delay happened where it was injected: the program's own log and
//! metrics. A failure point that nobody passes looks like a program that copes.

use std::time::Duration;

use crate::metrics;

/// Whether the log names the failure point as the reason of a failure. The line that announces an
/// armed point at the start of the program does not.
pub(super) fn shows_failure(log: &str, point: &str) -> bool {
    let reason = format!("failure point {point}");
    log.lines().any(|line| line.contains(&reason))
}

/// Whether the metrics show that the step around the failure point took so long every time.
pub(super) fn shows_delay(text: &str, point: &str, delay: Duration) -> bool {
    let Some(step) = step_around(point) else {
        return false;
    };
    let value = |of: &str| metrics::value(text, &format!("{step}_{of}")).unwrap_or(0.0);
    let (count, seconds) = (value("count"), value("sum"));
    // A sum of many binary fractions may be a little less than exact.
    count > 0.0 && seconds >= count * delay.as_secs_f64() * 0.99
}

/// The histogram of the step that passes the point.
pub(super) fn step_around(point: &str) -> Option<&'static str> {
    match point {
        "log.append.before_sync" => Some("paredao_append_duration_seconds"),
        "store.apply.before_commit" => Some("paredao_consumer_apply_duration_seconds"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: &str = "log.append.before_sync";

    #[test]
    fn an_armed_point_is_no_evidence_and_a_failure_that_names_it_is() {
        let armed = r#"{"event":"failpoint_armed","point":"log.append.before_sync=error@3..5"}"#;
        assert!(!shows_failure(armed, POINT));
        let failed = r#"{"event":"vote_log_append_failed","error":"x: failure point log.append.before_sync"}"#;
        let log = format!("{armed}\n{failed}\n");
        assert!(shows_failure(&log, POINT));
        assert!(!shows_failure(&log, "store.apply.before_commit"));
    }

    #[test]
    fn a_delay_is_shown_by_steps_that_all_took_so_long() {
        let shown = |count: u32, sum: f64| {
            let name = "paredao_append_duration_seconds";
            let text = format!("{name}_sum {sum}\n{name}_count {count}\n");
            shows_delay(&text, POINT, Duration::from_millis(20))
        };
        assert!(shown(5, 0.1) && shown(5, 0.4));
        assert!(!shown(5, 0.09), "some were quick");
        assert!(!shown(0, 0.0), "nobody passed");
        assert!(!shows_delay("", POINT, Duration::ZERO));
    }
}
