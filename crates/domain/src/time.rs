//! Instants, minutes and offsets from UTC.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

const MINUTE_MS: i64 = 60_000;

/// Why a time or an offset cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// A time that is not RFC 3339, or beyond the years a batch can name (1970 to 9999).
    #[error("{0:?} is not a time such as 2026-03-31T22:30:00-03:00 (RFC 3339, years 1970 to 9999)")]
    Instant(String),
    /// An offset that is not `±hh:mm` within 14 hours.
    #[error("{0:?} is not an offset from UTC such as -03:00 (at most 14 hours)")]
    Offset(String),
}

/// Milliseconds since 1970-01-01T00:00:00Z, as accepted votes are stamped.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The UTC minute this instant falls in.
    pub fn minute(self) -> Minute {
        Minute(u32::try_from(self.0.div_euclid(MINUTE_MS)).unwrap_or(0))
    }

    /// Milliseconds from the start of its minute.
    pub fn offset_in_minute(self) -> OffsetMillis {
        u16::try_from(self.0.rem_euclid(MINUTE_MS)).unwrap_or(0)
    }

    /// This instant moved by `millis`.
    #[must_use]
    pub fn plus(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this instant; negative if `earlier` is later.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// RFC 3339 with milliseconds and the given offset.
    pub fn rfc3339(self, offset: UtcOffset) -> String {
        let zone = TimeZone::fixed(offset.as_jiff());
        match Timestamp::from_millisecond(self.0) {
            Ok(instant) => instant
                .to_zoned(zone)
                .strftime("%Y-%m-%dT%H:%M:%S%.3f%:z")
                .to_string(),
            Err(_) => format!("{}ms", self.0),
        }
    }
}

impl FromStr for UnixMillis {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let wrong = || TimeError::Instant(text.chars().take(60).collect());
        let instant: Timestamp = text.parse().map_err(|_| wrong())?;
        let millis = instant.as_millisecond();
        if millis < 0 {
            Err(wrong())
        } else {
            Ok(Self(millis))
        }
    }
}

/// Milliseconds within a minute, 0 to 59,999.
pub type OffsetMillis = u16;

/// A UTC minute: minutes since 1970-01-01T00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Minute(pub u32);

impl Minute {
    /// The first instant of the minute.
    pub fn start(self) -> UnixMillis {
        UnixMillis(i64::from(self.0) * MINUTE_MS)
    }

    /// The instant `offset` milliseconds into the minute.
    pub fn at(self, offset: OffsetMillis) -> UnixMillis {
        self.start().plus(i64::from(offset))
    }

    /// The minute in which the clock hour of this minute begins, as clocks at `offset` show it.
    #[must_use]
    pub fn hour_start(self, offset: UtcOffset) -> Self {
        let local = i64::from(self.0) + i64::from(offset.minutes());
        let start = local - local.rem_euclid(60) - i64::from(offset.minutes());
        Self(u32::try_from(start).unwrap_or(0))
    }
}

/// A fixed distance from UTC, in whole minutes, at most 14 hours (the widest in use).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtcOffset(i16);

impl UtcOffset {
    /// Brasília, without daylight saving since 2019.
    pub const BRASILIA: Self = Self(-180);

    const MINUTES_MAX: i16 = 14 * 60;

    /// Minutes east of UTC.
    pub fn minutes(self) -> i16 {
        self.0
    }

    fn as_jiff(self) -> Offset {
        Offset::from_seconds(i32::from(self.0) * 60).unwrap_or(Offset::UTC)
    }
}

impl FromStr for UtcOffset {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        parse_offset(text)
            .filter(|minutes| minutes.abs() <= Self::MINUTES_MAX)
            .map(Self)
            .ok_or_else(|| TimeError::Offset(text.chars().take(60).collect()))
    }
}

fn parse_offset(text: &str) -> Option<i16> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two_digits = |part: &str| {
        (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse::<i16>().ok())
            .flatten()
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    (minutes < 60).then_some(sign * (hours * 60 + minutes))
}

impl TryFrom<String> for UtcOffset {
    type Error = TimeError;

    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

impl From<UtcOffset> for String {
    fn from(offset: UtcOffset) -> Self {
        offset.to_string()
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_the_offset_and_read_back() {
        let instant: UnixMillis = "2020-03-31T23:59:59.120-03:00".parse().unwrap();
        let text = instant.rfc3339(UtcOffset::BRASILIA);
        assert_eq!(text, "2020-03-31T23:59:59.120-03:00");
        assert_eq!(
            instant.rfc3339("+05:30".parse().unwrap()),
            "2020-04-01T08:29:59.120+05:30"
        );
    }

    #[test]
    fn offsets_refuse_what_no_clock_shows() {
        assert_eq!("-03:00".parse(), Ok(UtcOffset::BRASILIA));
        for bad in [
            "", "03:00", "-3:00", "-03:60", "+15:00", "-03", "−03:00", "+99:99",
        ] {
            assert!(bad.parse::<UtcOffset>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_hour_begins_where_the_local_clock_says() {
        let half_past: UnixMillis = "2026-01-01T10:29:00Z".parse().unwrap();
        let start = |offset: &str| {
            let offset = offset.parse().unwrap();
            half_past
                .minute()
                .hour_start(offset)
                .start()
                .rfc3339(offset)
        };
        assert_eq!(start("-03:00"), "2026-01-01T07:00:00.000-03:00");
        assert_eq!(start("+05:30"), "2026-01-01T15:00:00.000+05:30");
    }

    #[test]
    fn an_instant_is_its_minute_plus_its_offset() {
        let instant = UnixMillis(1_700_000_059_999);
        assert_eq!(instant.minute().at(instant.offset_in_minute()), instant);
    }
}
