//! What stands in a specification: which point, what it does, on which hits.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{NAMES, SpecError};

/// Longer than any test waits: a larger number is a mistyped unit.
const DELAY_MAX: Duration = Duration::from_mins(1);

/// What a point does when it is hit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    Kill,
    Panic,
    Error(Failure),
    Delay(Duration),
}

/// Which error a point gives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    Named,
    DiskFull,
    DiskBroken,
}

/// Which hits of a point are meant: from `first` (counted from 1) to before `end`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Hits {
    first: u64,
    end: u64,
}

/// One entry of a specification.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Point {
    pub(super) name: &'static str,
    pub(super) action: Action,
    pub(super) hits: Hits,
    text: String,
}

impl Hits {
    const EVERY: Self = Self {
        first: 1,
        end: u64::MAX,
    };

    pub(super) fn contains(self, hit: u64) -> bool {
        (self.first..self.end).contains(&hit)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads a comma-separated specification; an empty one has no points.
pub(super) fn parse(text: &str) -> Result<Vec<Point>, SpecError> {
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(str::parse)
        .collect()
}

impl FromStr for Point {
    type Err = SpecError;

    fn from_str(entry: &str) -> Result<Self, SpecError> {
        let (name, rest) = entry
            .split_once('=')
            .ok_or_else(|| SpecError::NoAction(entry.to_owned()))?;
        let (action, hits) = match rest.split_once('@') {
            Some((action, hits)) => (action, hits.parse()?),
            None => (rest, Hits::EVERY),
        };
        Ok(Self {
            name: known(name.trim())?,
            action: action.trim().parse()?,
            hits,
            text: entry.to_owned(),
        })
    }
}

fn known(name: &str) -> Result<&'static str, SpecError> {
    NAMES
        .iter()
        .find(|known| **known == name)
        .copied()
        .ok_or_else(|| SpecError::UnknownName(name.to_owned()))
}

impl FromStr for Action {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        if let Some(delay) = text.strip_prefix("delay:") {
            return parse_delay(delay).map(Self::Delay);
        }
        match text {
            "kill" => Ok(Self::Kill),
            "panic" => Ok(Self::Panic),
            "error" => Ok(Self::Error(Failure::Named)),
            "error:enospc" => Ok(Self::Error(Failure::DiskFull)),
            "error:eio" => Ok(Self::Error(Failure::DiskBroken)),
            _ => Err(SpecError::UnknownAction(text.to_owned())),
        }
    }
}

fn parse_delay(text: &str) -> Result<Duration, SpecError> {
    let bad = || SpecError::BadDelay(text.to_owned());
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number = whole_number(digits).ok_or_else(bad)?;
    let delay = match text.strip_prefix(digits) {
        Some("us") => Duration::from_micros(number),
        Some("ms") => Duration::from_millis(number),
        Some("s") => Duration::from_secs(number),
        _ => return Err(bad()),
    };
    if delay > DELAY_MAX {
        return Err(bad());
    }
    Ok(delay)
}

impl FromStr for Hits {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let hits = match text.split_once("..") {
            Some((first, "")) => whole_number(first).map(|first| (first, u64::MAX)),
            Some((first, end)) => whole_number(first).zip(whole_number(end)),
            None => whole_number(text).and_then(|only| Some((only, only.checked_add(1)?))),
        };
        match hits {
            Some((first, end)) if first >= 1 && first < end => Ok(Self { first, end }),
            _ => Err(SpecError::BadHits(text.to_owned())),
        }
    }
}

/// Digits only: `u64::from_str` would also take a plus sign.
fn whole_number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Point {
        let [point] = <[Point; 1]>::try_from(parse(text).unwrap()).unwrap();
        point
    }

    fn refused(text: &str) -> SpecError {
        parse(text).unwrap_err()
    }

    fn hits_of(text: &str) -> Vec<u64> {
        let hits = only(&format!("consumer.before_ack=error{text}")).hits;
        (1..=12).filter(|&hit| hits.contains(hit)).collect()
    }

    #[test]
    fn a_specification_may_name_many_points() {
        let points = parse("log.append.before_sync=kill@37, consumer.before_ack=error,").unwrap();
        let names: Vec<&str> = points.iter().map(|point| point.name).collect();
        assert_eq!(names, ["log.append.before_sync", "consumer.before_ack"]);
        assert_eq!(points[0].to_string(), "log.append.before_sync=kill@37");
    }

    #[test]
    fn an_empty_specification_has_no_points() {
        assert_eq!(parse(" , ").unwrap(), []);
    }

    #[test]
    fn every_action_is_read() {
        let action = |text: &str| only(&format!("intake.after_cut={text}")).action;
        assert_eq!(action("kill"), Action::Kill);
        assert_eq!(action("error"), Action::Error(Failure::Named));
        assert_eq!(action("error:enospc"), Action::Error(Failure::DiskFull));
        assert_eq!(action("panic"), Action::Panic);
        assert_eq!(action("error:eio"), Action::Error(Failure::DiskBroken));
        assert_eq!(
            action("delay:20ms"),
            Action::Delay(Duration::from_millis(20))
        );
        assert_eq!(action("delay:7us"), Action::Delay(Duration::from_micros(7)));
        assert_eq!(action("delay:60s"), Action::Delay(DELAY_MAX));
    }

    #[test]
    fn hits_are_one_a_range_or_all_from_one_on() {
        assert_eq!(hits_of("@3"), [3]);
        assert_eq!(hits_of("@3..6"), [3, 4, 5]);
        assert_eq!(hits_of("@11.."), [11, 12]);
        assert_eq!(hits_of(""), (1..=12).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let unknown = SpecError::UnknownName("log.apend.before_sync".to_owned());
        assert_eq!(refused("log.apend.before_sync=kill"), unknown);
        let silent = SpecError::NoAction("intake.after_cut".to_owned());
        assert_eq!(refused("intake.after_cut"), silent);
        let unknown = SpecError::UnknownAction("explode".to_owned());
        assert_eq!(refused("intake.after_cut=explode@1"), unknown);
    }

    #[test]
    fn delays_without_sense_are_refused() {
        for delay in [
            "",
            "ms",
            "20",
            "20h",
            "-1ms",
            "+1ms",
            "1.5s",
            "61s",
            "99999999999999999999s",
        ] {
            let refused = refused(&format!("intake.after_cut=delay:{delay}"));
            assert_eq!(refused, SpecError::BadDelay(delay.to_owned()));
        }
    }

    #[test]
    fn hits_without_sense_are_refused() {
        for hits in [
            "",
            "0",
            "0..3",
            "3..3",
            "4..3",
            "..3",
            "x",
            "+1",
            "18446744073709551615",
        ] {
            let refused = refused(&format!("intake.after_cut=kill@{hits}"));
            assert_eq!(refused, SpecError::BadHits(hits.to_owned()));
        }
    }
}
