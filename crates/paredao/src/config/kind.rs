//! Which values a key takes, and how they are read.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use toml::Value;

/// What a value must be.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// An IP address and a port.
    Address,
    /// A path, not empty.
    Path,
    /// True or false.
    Switch,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Free text, not empty.
    Text,
    /// A whole number in a unit, within bounds.
    Number {
        /// What is counted.
        unit: &'static str,
        /// The bounds.
        range: RangeInclusive<i64>,
    },
}

impl Kind {
    /// Reads a value from an environment variable or a flag.
    pub(super) fn read(&self, text: &str) -> Result<Value, String> {
        let value = match self {
            Self::Switch => text.parse().map(Value::Boolean).ok(),
            Self::Number { .. } => text.parse().map(Value::Integer).ok(),
            Self::Address | Self::Path | Self::Word(_) | Self::Text => {
                Some(Value::String(text.to_owned()))
            }
        };
        let value = value.ok_or_else(|| self.refusal(&format!("{text:?}")))?;
        self.check(value)
    }

    /// Lets a value pass that is what it must be.
    pub(super) fn check(&self, value: Value) -> Result<Value, String> {
        if self.admits(&value) {
            Ok(value)
        } else {
            Err(self.refusal(&value.to_string()))
        }
    }

    fn admits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Address, Value::String(text)) => text.parse::<SocketAddr>().is_ok(),
            (Self::Path | Self::Text, Value::String(text)) => !text.trim().is_empty(),
            (Self::Word(words), Value::String(text)) => words.contains(&text.as_str()),
            (Self::Number { range, .. }, Value::Integer(number)) => range.contains(number),
            (Self::Switch, Value::Boolean(_)) => true,
            _ => false,
        }
    }

    fn refusal(&self, found: &str) -> String {
        format!("must be {}, not {found}", self.description())
    }

    /// What it must be, in words.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Address => "an IP address and a port such as 127.0.0.1:8080".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Switch => "true or false".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Text => "a text".to_owned(),
            Self::Number { unit, range } => {
                format!("{} to {} {unit}", range.start(), range.end())
            }
        }
    }

    /// What stands for a value in help texts.
    pub(super) fn placeholder(&self) -> String {
        match self {
            Self::Address => "ADDRESS".to_owned(),
            Self::Path => "PATH".to_owned(),
            Self::Switch => "true|false".to_owned(),
            Self::Word(words) => words.join("|"),
            Self::Text => "TEXT".to_owned(),
            Self::Number { unit, .. } => unit.to_uppercase(),
        }
    }
}
