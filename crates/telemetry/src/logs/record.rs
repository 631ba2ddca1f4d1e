//! One event, taken out of `tracing` and ready to be written in either form.

use std::fmt;

use serde_json::{Number, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// The name of an event that did not say its own: those of libraries.
const UNNAMED: &str = "unnamed";

/// Stands for a value that must not be written.
const WITHHELD: &str = "[withheld]";

/// Names of fields that hold what never belongs in a log. Their values are not written, whoever
/// sends them; a field that means something harmless takes another name (`listen`, `setting`).
pub(super) const NEVER_WRITTEN: &[&str] = &[
    "address",
    "authorization",
    "candidate",
    "choice",
    "client",
    "cookie",
    "idempotency_key",
    "ip",
    "key",
    "key_hash",
    "password",
    "peer",
    "receipt",
    "secret",
    "ticket",
    "token",
];

/// Names that every line has of its own; a field of that name is written as `field_…`.
pub(super) const FIXED: &[&str] = &[
    "timestamp",
    "level",
    "service",
    "instance",
    "version",
    "event",
    "target",
    "message",
];

/// What happened.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) level: Level,
    pub(super) target: &'static str,
    pub(super) event: String,
    pub(super) message: Option<String>,
    pub(super) fields: Vec<(&'static str, Value)>,
}

impl Record {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut record = Self {
            level: *metadata.level(),
            target: metadata.target(),
            event: UNNAMED.to_owned(),
            message: None,
            fields: Vec::with_capacity(metadata.fields().len()),
        };
        event.record(&mut record);
        record
    }

    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        if NEVER_WRITTEN.contains(&name) {
            self.fields.push((name, Value::from(WITHHELD)));
        } else {
            self.fields.push((name, value));
        }
    }

    fn put_text(&mut self, field: &Field, text: String) {
        match field.name() {
            "event" => self.event = text,
            "message" => self.message = Some(text),
            _ => self.put(field, Value::from(text)),
        }
    }
}

impl Visit for Record {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity and no NaN: those become null, which is of every type.
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(
            field,
            Number::from_i128(value).map_or(Value::Null, Value::from),
        );
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(
            field,
            Number::from_u128(value).map_or(Value::Null, Value::from),
        );
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_the_fixed_keys_and_what_is_withheld() {
        let document = include_str!("../../../../docs/logging.md");
        for name in NEVER_WRITTEN.iter().chain(FIXED) {
            assert!(
                document.contains(&format!("`{name}`")),
                "docs/logging.md does not name {name}"
            );
        }
    }
}
