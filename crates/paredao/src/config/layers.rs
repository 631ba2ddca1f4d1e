//! File, environment and flags, one over the other.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use paredao_telemetry::failpoint;
use toml::{Table, Value};

use super::keys::{Default, KEYS, Key, key};
use super::{Config, FILE_VARIABLE, limits};
use crate::failure::Misuse;

/// The file that is read when none is named, if it exists.
const FILE_DEFAULT: &str = "./paredao.toml";

/// A flag as it was given.
#[derive(Clone, Debug)]
pub(crate) struct Flag {
    /// Which key it sets.
    pub(crate) key: &'static Key,
    /// To what.
    pub(crate) text: String,
}

/// The environment variables of the program: those that begin with `PAREDAO_`.
#[derive(Clone, Debug)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process.
    pub(crate) fn of_this_process() -> Self {
        let all = std::env::vars_os().map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        });
        Self(
            all.filter(|(name, _)| name.starts_with("PAREDAO_"))
                .collect(),
        )
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// A default that depends on the machine or on other keys.
    Derived(&'static str),
    /// The configuration file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// This flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Derived(words) => write!(f, "default: {words}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(flag) => write!(f, "--{flag}"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The value.
    pub(crate) value: Value,
    /// Its origin.
    pub(crate) origin: Origin,
}

/// The configuration in force.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    /// Checked and typed.
    pub(crate) config: Config,
    /// Every key with its origin.
    pub(super) settings: BTreeMap<&'static str, Setting>,
}

/// Reads all layers. `file` is the one a flag names.
pub(crate) fn read(
    file: Option<&Path>,
    environment: &Environment,
    flags: &[Flag],
) -> Result<InForce, Misuse> {
    let mut settings = BTreeMap::new();
    if let Some((path, table)) = read_file(file, environment)? {
        take_file(&mut settings, &path, table)?;
    }
    take_environment(&mut settings, environment)?;
    take_flags(&mut settings, flags)?;
    take_defaults(&mut settings)?;
    let config = typed(&settings)?;
    limits::check(&config)?;
    Ok(InForce { config, settings })
}

type Settings = BTreeMap<&'static str, Setting>;

fn read_file(
    named: Option<&Path>,
    environment: &Environment,
) -> Result<Option<(PathBuf, Table)>, Misuse> {
    let variable = environment.0.get(FILE_VARIABLE).map(Path::new);
    let path = named.or(variable).unwrap_or(Path::new(FILE_DEFAULT));
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), parse(path, &text)?))),
        Err(error) if error.kind() == ErrorKind::NotFound && named.or(variable).is_none() => {
            Ok(None)
        }
        Err(error) => Err(Misuse::of("config", format!("{}: {error}", path.display()))),
    }
}

fn parse(path: &Path, text: &str) -> Result<Table, Misuse> {
    text.parse::<Table>().map_err(|error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let message = error.message().replace('\n', " ");
        Misuse(format!("{} line {line}: {message}", path.display()))
    })
}

fn take_file(settings: &mut Settings, path: &Path, table: Table) -> Result<(), Misuse> {
    for (name, value) in table {
        let in_file = |what: String| Misuse(format!("{}: {name}: {what}", path.display()));
        let key = key(&name).ok_or_else(|| in_file("no such key".to_owned()))?;
        let value = key.kind.check(value).map_err(in_file)?;
        settings.insert(
            key.name,
            Setting {
                value,
                origin: Origin::File(path.to_owned()),
            },
        );
    }
    Ok(())
}

fn take_environment(settings: &mut Settings, environment: &Environment) -> Result<(), Misuse> {
    let others = [FILE_VARIABLE, failpoint::VARIABLE];
    for (variable, text) in &environment.0 {
        if others.contains(&variable.as_str()) {
            continue;
        }
        let key = KEYS.iter().find(|key| key.variable() == *variable);
        let key = key.ok_or_else(|| Misuse::of(variable, "no such key"))?;
        let value = key
            .kind
            .read(text)
            .map_err(|what| Misuse::of(variable, what))?;
        settings.insert(
            key.name,
            Setting {
                value,
                origin: Origin::Environment(variable.clone()),
            },
        );
    }
    Ok(())
}

fn take_flags(settings: &mut Settings, flags: &[Flag]) -> Result<(), Misuse> {
    for Flag { key, text } in flags {
        let flag = key.flag();
        let wrong = |what| Misuse::of(&format!("--{flag}"), what);
        let value = key.kind.read(text).map_err(wrong)?;
        settings.insert(
            key.name,
            Setting {
                value,
                origin: Origin::Flag(flag),
            },
        );
    }
    Ok(())
}

fn take_defaults(settings: &mut Settings) -> Result<(), Misuse> {
    for key in KEYS {
        if settings.contains_key(key.name) {
            continue;
        }
        let (value, origin) = match key.default {
            Default::Fixed(text) => {
                let value = key
                    .kind
                    .read(text)
                    .map_err(|what| Misuse::of(key.name, what))?;
                (value, Origin::Default)
            }
            Default::Derived { words, value, .. } => {
                (value(&as_table(settings)), Origin::Derived(words))
            }
        };
        settings.insert(key.name, Setting { value, origin });
    }
    Ok(())
}

fn typed(settings: &Settings) -> Result<Config, Misuse> {
    as_table(settings)
        .try_into()
        .map_err(|error: toml::de::Error| Misuse(error.message().to_owned()))
}

fn as_table(settings: &Settings) -> Table {
    settings
        .iter()
        .map(|(name, setting)| ((*name).to_owned(), setting.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
