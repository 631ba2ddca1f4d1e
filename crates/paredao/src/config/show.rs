//! What is in force, and a sample file.

use std::fmt::Write as _;

use toml::Value;

use super::keys::{Default, KEYS, is_secret};
use super::layers::InForce;

const REDACTED: &str = "[redacted]";

/// What is in force as a TOML file, each value with its origin as a comment.
pub(crate) fn as_toml(in_force: &InForce) -> String {
    let lines = KEYS.iter().filter_map(|key| {
        let setting = in_force.settings.get(key.name)?;
        Some((
            format!("{} = {}", key.name, shown(key.name, &setting.value)),
            &setting.origin,
        ))
    });
    let lines: Vec<_> = lines.collect();
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    lines.iter().fold(String::new(), |mut out, (line, origin)| {
        let _ = writeln!(out, "{line:width$}  # {origin}");
        out
    })
}

/// What is in force as JSON: for each key its value and origin.
pub(crate) fn as_json(in_force: &InForce) -> serde_json::Value {
    let entry = |(name, setting): (&&'static str, &super::layers::Setting)| {
        let value = if is_secret(name) {
            serde_json::Value::from(REDACTED)
        } else {
            serde_json::to_value(&setting.value).unwrap_or_default()
        };
        let origin = setting.origin.to_string();
        (
            (*name).to_owned(),
            serde_json::json!({ "value": value, "origin": origin }),
        )
    };
    in_force
        .settings
        .iter()
        .map(entry)
        .collect::<serde_json::Map<_, _>>()
        .into()
}

pub(super) fn shown(name: &str, value: &Value) -> String {
    if is_secret(name) {
        Value::String(REDACTED.to_owned()).to_string()
    } else {
        value.to_string()
    }
}

/// A complete sample file: every key with its default and what it does.
pub(crate) fn sample() -> String {
    let mut out = String::from(
        "# Every key of paredao with its default. A key that is left out has this value.\n\
         # Environment variables (PAREDAO_LISTEN=…) come over this file, flags (--listen …) over both.\n",
    );
    for key in KEYS {
        let _ = write!(
            out,
            "\n# {}\n# {}.\n",
            key.help,
            capitalised(&key.kind.description())
        );
        let line = |text| {
            key.kind
                .read(text)
                .map_or_else(|wrong| wrong, |value| format!("{} = {value}", key.name))
        };
        let _ = match key.default {
            Default::Fixed(text) => writeln!(out, "{}", line(text)),
            Default::Derived { words, example, .. } => {
                writeln!(out, "# Default: {words}.\n# {}", line(example))
            }
        };
    }
    out
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}
