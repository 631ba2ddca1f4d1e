//! Lines as a reader gets them: their schema, their levels, what never stands in them.
#![expect(
    clippy::unwrap_used,
    reason = "a failed assumption in a test is a failed test"
)]

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paredao_telemetry::logs::{Flush, LogControl, LogFormat, LogOptions, json_subscriber};
use paredao_telemetry::metrics::{Label, VoteOutcome};
use paredao_telemetry::summary::VotesSummary;
use prometheus::IntCounter;
use serde_json::{Value, json};
use tracing::Subscriber;

/// A sink whose lines the test reads.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Line = BTreeMap<String, Value>;

struct Logs {
    captured: Captured,
    control: LogControl,
}

impl Logs {
    fn lines(&self) -> Vec<Line> {
        assert_eq!(self.control.flush(Duration::from_secs(10)), Flush::Done);
        let bytes = self.captured.0.lock().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn only_line(&self) -> Line {
        let [line] = <[Line; 1]>::try_from(self.lines()).unwrap();
        line
    }

    fn events(&self) -> Vec<String> {
        let name = |line: &Line| line["event"].as_str().unwrap().to_owned();
        self.lines().iter().map(name).collect()
    }
}

fn logs(levels: &str) -> (impl Subscriber + Send + Sync, Logs) {
    let captured = Captured::default();
    let options = LogOptions {
        format: LogFormat::Json,
        levels: levels.parse().unwrap(),
        service: "paredao".to_owned(),
        instance: "um".to_owned(),
        version: "1.2.3".to_owned(),
    };
    let dropped = IntCounter::new("dropped", "Lines dropped by one test.").unwrap();
    let (subscriber, control) = json_subscriber(options, captured.clone(), dropped).unwrap();
    (subscriber, Logs { captured, control })
}

/// What `emit` logs at `levels`.
fn logged(levels: &str, emit: impl FnOnce()) -> Logs {
    let (subscriber, logs) = logs(levels);
    tracing::subscriber::with_default(subscriber, emit);
    logs
}

#[test]
fn a_line_has_the_fixed_keys_and_the_fields_beside_them() {
    let line = logged("info", || {
        tracing::warn!(
            event = "votes_summary",
            accepted = 7_u64,
            p99_ms = 1.25,
            idle = false,
            "so"
        );
    })
    .only_line();
    let keys: Vec<&str> = line.keys().map(String::as_str).collect();
    let expected = [
        "accepted",
        "event",
        "idle",
        "instance",
        "level",
        "message",
        "p99_ms",
        "service",
        "target",
        "timestamp",
        "version",
    ];
    assert_eq!(keys, expected);
    assert_eq!(line["level"], "warn");
    assert_eq!(line["event"], "votes_summary");
    assert_eq!(line["message"], "so");
    assert_eq!(line["service"], "paredao");
    assert_eq!(line["instance"], "um");
    assert_eq!(line["version"], "1.2.3");
    assert_eq!(line["target"], "logs");
    assert_eq!(
        (&line["accepted"], &line["p99_ms"], &line["idle"]),
        (&json!(7), &json!(1.25), &json!(false))
    );
}

#[test]
fn the_time_is_rfc_3339_in_utc_with_milliseconds() {
    let line = logged("info", || tracing::warn!(event = "tick")).only_line();
    let text = line["timestamp"].as_str().unwrap();
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    let written: jiff::Timestamp = text.parse().unwrap();
    let age = jiff::Timestamp::now().duration_since(written);
    assert!(age.as_secs().abs() < 60, "{text}");
}

#[test]
fn every_level_has_its_word() {
    let logs = logged("trace,logs=trace", || {
        tracing::error!(event = "e");
        tracing::warn!(event = "e");
        tracing::info!(event = "e");
        tracing::debug!(event = "e");
        tracing::trace!(event = "e");
    });
    let levels: Vec<Value> = logs
        .lines()
        .iter()
        .map(|line| line["level"].clone())
        .collect();
    assert_eq!(levels, ["error", "warn", "info", "debug", "trace"]);
}

#[test]
fn a_line_is_one_line_whatever_a_field_holds() {
    let nasty = "a\nb\"c\\ \u{1b}[2J \u{0}";
    let line = logged("info", || tracing::warn!(event = "odd", reason = nasty)).only_line();
    assert_eq!(line["reason"], nasty);
}

#[test]
fn values_of_every_kind_keep_their_type() {
    let line = logged("info", || {
        let error = io::Error::other("the disk is full");
        tracing::warn!(
            event = "kinds",
            small = -1_i64,
            large = u64::MAX,
            not_a_number = f64::NAN,
            none = Option::<u64>::None,
            shown = %error,
            debugged = ?Some(1),
        );
    })
    .only_line();
    assert_eq!(line["small"], json!(-1));
    assert_eq!(line["large"], json!(u64::MAX));
    assert_eq!(line["not_a_number"], Value::Null);
    assert!(!line.contains_key("none"));
    assert_eq!(line["shown"], "the disk is full");
    assert_eq!(line["debugged"], "Some(1)");
}

#[test]
fn a_field_cannot_take_the_place_of_a_fixed_key() {
    let line = logged("info", || {
        tracing::warn!(event = "honest", service = "other", version = 9);
    })
    .only_line();
    assert_eq!(line["service"], "paredao");
    assert_eq!(
        (&line["field_service"], &line["field_version"]),
        (&json!("other"), &json!(9))
    );
}

#[test]
fn an_event_without_a_name_is_called_unnamed() {
    let line = logged("info", || tracing::warn!("a library speaks")).only_line();
    assert_eq!(line["event"], "unnamed");
    assert_eq!(line["message"], "a library speaks");
}

#[test]
fn what_never_belongs_in_a_log_is_withheld() {
    let line = logged("info", || {
        tracing::warn!(
            event = "careless",
            address = "192.0.2.7",
            ticket = "t",
            key = "k",
            token = "t",
            candidate = 2,
            password = ?"p",
            receipt = %"r",
        );
    })
    .only_line();
    for field in [
        "address",
        "ticket",
        "key",
        "token",
        "candidate",
        "password",
        "receipt",
    ] {
        assert_eq!(line[field], "[withheld]", "{field}");
    }
}

#[test]
fn a_field_that_changes_its_type_is_told_on() {
    let logs = logged("info", || {
        tracing::warn!(event = "first", number = 1);
        tracing::warn!(event = "second", number = "one");
        tracing::warn!(event = "third", number = 2.5);
    });
    assert_eq!(
        logs.events(),
        ["first", "second", "log_field_type_conflict", "third"]
    );
    let told = &logs.lines()[2];
    assert_eq!(
        (&told["field"], &told["other_event"]),
        (&json!("number"), &json!("second"))
    );
}

#[test]
fn levels_change_while_the_process_runs_and_return() {
    let (subscriber, logs) = logs("warn,logs=info");
    let speak = |at: &str| {
        tracing::debug!(target: "logs::inner", event = "detail", at);
        tracing::info!(event = "state", at);
    };
    tracing::subscriber::with_default(subscriber, || {
        speak("before");
        let change = logs.control.set_levels("warn,logs=debug".parse().unwrap());
        speak("during");
        logs.control.take_back(change);
        speak("after");
    });
    assert_eq!(logs.events(), ["state", "detail", "state", "state"]);
    assert_eq!(logs.control.levels().to_string(), "warn,logs=info");
}

#[test]
fn taking_back_a_change_leaves_a_later_one_in_force() {
    let (_subscriber, logs) = logs("info");
    let earlier = logs.control.set_levels("debug".parse().unwrap());
    let later = logs.control.set_levels("trace".parse().unwrap());
    logs.control.take_back(earlier);
    assert_eq!(logs.control.levels().to_string(), "trace");
    logs.control.take_back(later);
    assert_eq!(logs.control.levels().to_string(), "debug");
}

#[test]
fn an_event_below_its_level_is_not_written() {
    let logs = logged("info", || {
        tracing::info!(target: "paredao_intake", event = "own");
        tracing::debug!(target: "paredao_intake", event = "own_detail");
        tracing::info!(target: "actix_http", event = "library");
    });
    assert_eq!(logs.events(), ["own"]);
}

/// What `docs/logging.md` puts between backquotes.
fn documented() -> Vec<&'static str> {
    let document = include_str!("../../../docs/logging.md");
    document.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_summary_of_votes_has_the_documented_fields() {
    let line = logged("info,paredao=info", || VotesSummary::start().log()).only_line();
    assert_eq!(
        (&line["event"], &line["level"]),
        (&json!("votes_summary"), &json!("info"))
    );
    assert_eq!(
        (&line["accepted"], &line["refused"]),
        (&json!(0), &json!(0))
    );
    assert!(line["interval_ms"].is_u64());
    let refusals = line
        .keys()
        .filter(|key| key.starts_with("refused_"))
        .count();
    assert_eq!(
        refusals,
        VoteOutcome::ALL.len() - 1,
        "each outcome but accepted is a refusal"
    );
    let documented = documented();
    for key in line.keys() {
        assert!(
            documented.contains(&key.as_str()),
            "docs/logging.md does not name {key}"
        );
    }
}
