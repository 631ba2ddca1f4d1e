//! Which events are written.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Targets of this program start so; everything else is a library.
const OWN_TARGETS: &str = "paredao";
/// Calls it an error when a client says what is no HTTP, a line each: whoever likes could fill the
/// log. `paredao_http_connection_failures_total` counts them.
const AT_CLIENTS_MERCY: &str = "actix_http";

/// What a wrong setting of levels is answered with; the operator sees it.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[error(
    "`{0}` sets no level: use error, warn, info, debug, trace or off, alone or as target=level"
)]
pub struct LevelsError(String);

/// A level for the program and, where wanted, others for some targets:
/// `info`, `debug`, `info,paredao_intake=debug,actix_http=debug`.
///
/// Libraries speak from `warn` up unless a target names them: their lower levels are about
/// themselves, and some carry addresses. `actix_http` says nothing unless it is named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Levels {
    own: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

impl Levels {
    pub(super) fn to_targets(&self) -> Targets {
        Targets::new()
            .with_default(self.own.min(LevelFilter::WARN))
            .with_target(OWN_TARGETS, self.own)
            .with_target(AT_CLIENTS_MERCY, LevelFilter::OFF)
            .with_targets(self.targets.iter().cloned())
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            own: LevelFilter::INFO,
            targets: Vec::new(),
        }
    }
}

impl FromStr for Levels {
    type Err = LevelsError;

    fn from_str(text: &str) -> Result<Self, LevelsError> {
        let mut levels = Self::default();
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                None => levels.own = level(part)?,
                Some(("", _)) => return Err(LevelsError(part.to_owned())),
                Some((target, text)) => levels.targets.push((target.to_owned(), level(text)?)),
            }
        }
        Ok(levels)
    }
}

/// Names only: the parser of `tracing` would also take numbers and an empty text.
fn level(text: &str) -> Result<LevelFilter, LevelsError> {
    match text {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        other => Err(LevelsError(other.to_owned())),
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.own)?;
        let mut targets = self.targets.iter();
        targets.try_for_each(|(target, level)| write!(f, ",{target}={level}"))
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn shows(levels: &str, target: &str, level: Level) -> bool {
        let levels: Levels = levels.parse().unwrap();
        levels.to_targets().would_enable(target, &level)
    }

    #[test]
    fn a_level_alone_is_the_programs_and_leaves_libraries_at_warn() {
        assert!(shows("debug", "paredao_intake::engine", Level::DEBUG));
        assert!(!shows("debug", "actix_web::app", Level::INFO));
        assert!(shows("debug", "actix_web::app", Level::WARN));
        assert!(!shows("error", "actix_web::app", Level::WARN));
        assert!(!shows("off", "paredao_intake", Level::ERROR));
    }

    #[test]
    fn what_clients_can_say_at_will_is_silent_until_it_is_named() {
        assert!(!shows("debug", "actix_http::h1::dispatcher", Level::ERROR));
        for named in ["info,actix_http=error", "info,actix_http::h1=error"] {
            assert!(shows(named, "actix_http::h1::dispatcher", Level::ERROR));
        }
    }

    #[test]
    fn a_target_has_the_level_it_was_given() {
        let levels = "info,paredao_intake=trace,actix_http=debug";
        assert!(shows(levels, "paredao_intake::engine", Level::TRACE));
        assert!(!shows(levels, "paredao_store", Level::DEBUG));
        assert!(shows(levels, "actix_http::h1", Level::DEBUG));
    }

    #[test]
    fn levels_are_shown_as_they_are_read() {
        for text in ["info", "off", "warn,paredao_store=debug,actix_web=info"] {
            assert_eq!(text.parse::<Levels>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_sets_no_level_is_refused() {
        for text in [
            "",
            "loud",
            "3",
            "info,",
            "=debug",
            "paredao=",
            "paredao=loud",
            "INFO ",
        ] {
            assert!(text.parse::<Levels>().is_err(), "{text:?} was taken");
        }
    }
}
