//! Names of things: small newtypes that cannot be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text or number is not the id it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A candidate number outside 1 to 99; a voter who typed it sees "unknown candidate".
    #[error("a candidate number is 1 to 99, not {0}")]
    CandidateNumber(u64),
    /// A slug with other characters or another length; seen by whoever creates a poll.
    #[error("a poll's slug is 1 to 40 characters of a-z, 0-9 and '-', not {0:?}")]
    Slug(String),
}

/// Number of a poll, given by the store, dense from 1. 0 stands in batches that belong to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PollId(pub u32);

impl PollId {
    /// What an end marker carries: it belongs to an incarnation, not to a poll.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for PollId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A poll's name in addresses and on the command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

impl Slug {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=40).contains(&text.len()) && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Slug(text.chars().take(60).collect()))
        }
    }
}

impl TryFrom<String> for Slug {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number a voter taps, 1 to 99.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct CandidateNumber(u8);

impl CandidateNumber {
    /// Highest number there is.
    pub const MAX: u8 = 99;

    /// The number as it stands on the wire.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The number as an index into a table of `MAX + 1` entries.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl TryFrom<u64> for CandidateNumber {
    type Error = IdError;

    fn try_from(number: u64) -> Result<Self, IdError> {
        match u8::try_from(number) {
            Ok(n @ 1..=Self::MAX) => Ok(Self(n)),
            _ => Err(IdError::CandidateNumber(number)),
        }
    }
}

impl From<CandidateNumber> for u64 {
    fn from(number: CandidateNumber) -> Self {
        Self::from(number.0)
    }
}

impl fmt::Display for CandidateNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One start of one API process, or of its clock when that was set back: drawn at random, never
/// used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({self})")
    }
}

/// A lane of the vote log. One lane carries more than one machine can send; for now it is 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Lane(pub u8);

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a batch within its incarnation and lane, from 1 without holes.
pub type BatchNumber = u64;

/// What a batch is called for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BatchId {
    /// The start of an API that cut it.
    pub incarnation: Incarnation,
    /// The lane it was sent on.
    pub lane: Lane,
    /// Its number there, at most 2⁴⁰ − 1 (five bytes of a receipt).
    pub number: BatchNumber,
}

impl BatchId {
    /// Highest batch number: it must fit a receipt's five bytes.
    pub const NUMBER_MAX: BatchNumber = (1 << 40) - 1;
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.incarnation, self.lane, self.number)
    }
}

/// Place of a vote in its batch, from 0.
pub type Position = u16;

/// Place of an entry in a lane's ledger, from 1 in the order of application.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LedgerPosition(pub u64);

impl LedgerPosition {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for LedgerPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_refuses_what_does_not_fit_an_address() {
        assert!("paredao-1".parse::<Slug>().is_ok());
        for bad in ["", "Paredão", "a b", "../x", &"a".repeat(41)] {
            assert!(bad.parse::<Slug>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn candidate_numbers_run_from_1_to_99() {
        for good in [1, 2, 99] {
            assert_eq!(u64::from(CandidateNumber::try_from(good).unwrap()), good);
        }
        for bad in [0, 100, 256, 257, u64::MAX] {
            assert_eq!(
                CandidateNumber::try_from(bad),
                Err(IdError::CandidateNumber(bad))
            );
        }
    }
}
