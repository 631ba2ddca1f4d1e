//! A field has one type, in every event and for ever: whoever indexes the lines takes the type of
//! the first one and refuses the others. Builds with debug assertions watch for it, so that any
//! test that reads the lines shows a field that changes its type.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tracing::Level;

use super::record::Record;

/// A type of JSON that a field can have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Type {
    Flag,
    Number,
    Text,
}

impl Type {
    /// `None` for null, which is of every type, and for what a field never holds.
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(_) => Some(Self::Flag),
            Value::Number(_) => Some(Self::Number),
            Value::String(_) => Some(Self::Text),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// The type that each field had first.
#[derive(Debug, Default)]
pub(super) struct FieldTypes {
    first: Mutex<HashMap<&'static str, Type>>,
}

impl FieldTypes {
    /// An event for every field of `record` that had another type before.
    pub(super) fn conflicts(&self, record: &Record) -> Vec<Record> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_other = |name: &'static str, value: &Value| {
            Type::of(value).is_some_and(|own| *first.entry(name).or_insert(own) != own)
        };
        let conflicting = record
            .fields
            .iter()
            .filter(|(name, value)| is_other(name, value));
        conflicting
            .map(|(name, _)| conflict(name, record))
            .collect()
    }
}

fn conflict(field: &'static str, record: &Record) -> Record {
    Record {
        level: Level::ERROR,
        target: module_path!(),
        event: "log_field_type_conflict".to_owned(),
        message: None,
        fields: vec![
            ("field", Value::from(field)),
            ("other_event", Value::from(record.event.as_str())),
        ],
    }
}
