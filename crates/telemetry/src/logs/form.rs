//! The two forms of a line: JSON for machines, short text for whoever sits at the terminal.

use std::fmt::Write as _;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use tracing::Level;

use super::record::{FIXED, Record};

/// Who speaks: the same in every line of a process.
#[derive(Clone, Debug)]
pub(super) struct Speaker {
    pub(super) service: String,
    pub(super) instance: String,
    pub(super) version: String,
}

/// How a line is written.
#[derive(Clone, Debug)]
pub(super) enum Form {
    Json(Speaker),
    Human(Colour),
}

/// Whether the reader's terminal shows colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Colour {
    Plain,
    Ansi,
}

impl Form {
    /// One line, with its end.
    pub(super) fn line(&self, record: &Record, at: Timestamp) -> Vec<u8> {
        match self {
            Self::Json(speaker) => json_line(speaker, record, at),
            Self::Human(colour) => human_line(*colour, record, at).into_bytes(),
        }
    }
}

/// The instant a line bears.
#[expect(
    clippy::disallowed_methods,
    reason = "a line says when it was written; nothing is decided by it"
)]
pub(super) fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

struct JsonLine<'a> {
    speaker: &'a Speaker,
    record: &'a Record,
    at: Timestamp,
}

impl Serialize for JsonLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            speaker,
            record,
            at,
        } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &format_args!("{at:.3}"))?;
        map.serialize_entry("level", level_name(record.level))?;
        map.serialize_entry("service", &speaker.service)?;
        map.serialize_entry("instance", &speaker.instance)?;
        map.serialize_entry("version", &speaker.version)?;
        map.serialize_entry("event", &record.event)?;
        map.serialize_entry("target", record.target)?;
        if let Some(message) = &record.message {
            map.serialize_entry("message", message)?;
        }
        for (name, value) in &record.fields {
            if FIXED.contains(name) {
                map.serialize_entry(&format_args!("field_{name}"), value)?;
            } else {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

fn json_line(speaker: &Speaker, record: &Record, at: Timestamp) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    // Writing text, numbers and flags to memory cannot fail.
    let _ = serde_json::to_writer(
        &mut line,
        &JsonLine {
            speaker,
            record,
            at,
        },
    );
    line.push(b'\n');
    line
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn human_line(colour: Colour, record: &Record, at: Timestamp) -> String {
    let time = at.strftime("%H:%M:%S%.3f");
    let (on, off) = ansi(colour, record.level);
    let level = level_name(record.level);
    let mut line = format!("{time} {on}{level:<5}{off} {}", record.event);
    if let Some(message) = &record.message {
        put(&mut line, format_args!(": {}", one_line(message)));
    }
    for (name, value) in &record.fields {
        match value {
            Value::String(text) => put(&mut line, format_args!(" {name}={}", quoted(text))),
            other => put(&mut line, format_args!(" {name}={other}")),
        }
    }
    line.push('\n');
    line
}

fn put(line: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = line.write_fmt(part);
}

/// Text as it is where that is unambiguous; quoted, with control characters escaped, where not:
/// nothing that comes from outside can move the cursor or pass for another line.
fn quoted(text: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=';
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

fn one_line(message: &str) -> String {
    if message.contains(char::is_control) {
        format!("{message:?}")
    } else {
        message.to_owned()
    }
}

fn ansi(colour: Colour, level: Level) -> (&'static str, &'static str) {
    match (colour, level) {
        (Colour::Plain, _) => ("", ""),
        (Colour::Ansi, Level::ERROR) => ("\x1b[1;31m", "\x1b[0m"),
        (Colour::Ansi, Level::WARN) => ("\x1b[33m", "\x1b[0m"),
        (Colour::Ansi, Level::INFO) => ("\x1b[32m", "\x1b[0m"),
        (Colour::Ansi, _) => ("\x1b[2m", "\x1b[0m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(message: Option<&str>, fields: Vec<(&'static str, Value)>) -> Record {
        Record {
            level: Level::WARN,
            target: "paredao_intake",
            event: "append_failed".to_owned(),
            message: message.map(str::to_owned),
            fields,
        }
    }

    fn at() -> Timestamp {
        "2026-11-20T21:14:03.1209Z".parse().unwrap()
    }

    #[test]
    fn somebody_at_a_terminal_reads_time_level_event_and_fields() {
        let record = record(
            Some("votes wait"),
            vec![("votes", 3.into()), ("file", "a b".into())],
        );
        let line = human_line(Colour::Plain, &record, at());
        assert_eq!(
            line,
            "21:14:03.120 warn  append_failed: votes wait votes=3 file=\"a b\"\n"
        );
    }

    #[test]
    fn colours_are_there_only_where_the_terminal_shows_them() {
        let line = |colour| human_line(colour, &record(None, vec![]), at());
        assert!(!line(Colour::Plain).contains('\x1b'));
        assert!(line(Colour::Ansi).contains("\x1b[33mwarn \x1b[0m"));
    }

    #[test]
    fn nothing_from_outside_moves_the_cursor_or_passes_for_a_line() {
        let record = record(Some("x\n21:14:03"), vec![("reason", "\x1b[2J\ny".into())]);
        let line = human_line(Colour::Plain, &record, at());
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\x1b'));
    }
}
