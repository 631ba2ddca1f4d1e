//! Counting again, from the ledger alone, and comparing with what is kept.
//!
//! [`plain()`] believes the marks and adds up: totals, minutes, hours and accounts must be those
//! that are kept. [`keys()`] believes nothing but the batches and the polls: it derives from the
//! keys which votes are copies, and reports every key that was counted twice or never, and every
//! mark that says something else.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use paredao_domain::{Account, CandidateNumber, Lane, LedgerPosition, Minute, Poll, PollId};

use crate::StoreError;
use crate::entry::KeptEntry;

mod judge;
mod keys;
mod plain;
mod record;
mod scan;
mod sort;

pub use judge::{KeyFinding, Verdict, VoteName};
pub use keys::{KeysOptions, KeysReport, keys};
pub use plain::{PlainReport, plain};

/// Findings that are listed; more are only counted.
pub const FINDINGS_MAX: usize = 1_000;

/// Where a recount reads. The ledger up to an instant and what was kept at that instant, so that a
/// program may go on applying meanwhile.
pub trait LedgerDoor {
    /// What is kept, of one instant.
    fn kept(&mut self) -> Result<Kept, StoreError>;

    /// Shows a lane's entries up to `last` in order of position, until `show` says stop. What
    /// cannot be read is named, and what follows is shown all the same.
    fn scan(
        &mut self,
        lane: Lane,
        last: LedgerPosition,
        show: &mut dyn FnMut(Shown<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;
}

/// What a scan meets.
#[derive(Debug)]
pub enum Shown<'a> {
    /// An entry, not checked yet.
    Entry(&'a KeptEntry<'a>),
    /// The entry of this position cannot be read, and why.
    Unreadable(LedgerPosition, String),
}

/// What a store keeps beside its ledger.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// All polls.
    pub polls: Vec<Poll>,
    /// Every lane with the last position of its ledger, 0 if it is empty.
    pub lanes: Vec<(Lane, LedgerPosition)>,
    /// When results became final, in places of the ledger.
    pub finality: Finality,
    /// Totals, buckets and accounts.
    pub figures: Figures,
}

/// After which place of each lane a poll's votes came late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finality(BTreeMap<(PollId, Lane), LedgerPosition>);

impl Finality {
    /// Notes the last position of a lane when a result became final.
    pub fn note(&mut self, poll: PollId, lane: Lane, last: LedgerPosition) {
        self.0.insert((poll, lane), last);
    }

    /// Whether what stands at a position was applied when the result was final.
    pub fn is_past(&self, poll: PollId, lane: Lane, position: LedgerPosition) -> bool {
        self.0
            .get(&(poll, lane))
            .is_some_and(|&last| position > last)
    }
}

/// One number that is kept and can be counted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Figure {
    /// A candidate's total.
    Total(CandidateNumber),
    /// A candidate's votes of a minute.
    Minute(Minute, CandidateNumber),
    /// A candidate's votes of the hour of the poll's clock that begins with this minute.
    Hour(Minute, CandidateNumber),
    /// The votes booked to an account.
    Account(Account),
}

impl Figure {
    /// For ordering: kind, time, candidate or account.
    fn rank(self) -> (u8, u32, u8) {
        match self {
            Self::Total(candidate) => (0, 0, candidate.get()),
            Self::Account(account) => (1, 0, account_rank(account)),
            Self::Hour(start, candidate) => (2, start.0, candidate.get()),
            Self::Minute(start, candidate) => (3, start.0, candidate.get()),
        }
    }
}

fn account_rank(account: Account) -> u8 {
    match account {
        Account::Counted => 0,
        Account::Duplicate => 1,
        Account::KeyConflict => 2,
        Account::AfterClose => 3,
        Account::Late => 4,
    }
}

impl PartialOrd for Figure {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Figure {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total(candidate) => write!(f, "total of candidate {candidate}"),
            Self::Minute(start, candidate) => {
                write!(f, "candidate {candidate} in UTC minute {}", start.0)
            }
            Self::Hour(start, candidate) => {
                write!(
                    f,
                    "candidate {candidate} in the hour from UTC minute {}",
                    start.0
                )
            }
            Self::Account(account) => write!(f, "account {}", account.name()),
        }
    }
}

/// Every figure of every poll.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures(BTreeMap<(PollId, Figure), u64>);

impl Figures {
    /// Adds votes to a figure.
    pub fn add(&mut self, poll: PollId, figure: Figure, votes: u64) {
        *self.0.entry((poll, figure)).or_insert(0) += votes;
    }

    /// The votes of a figure.
    pub fn get(&self, poll: PollId, figure: Figure) -> u64 {
        self.0.get(&(poll, figure)).copied().unwrap_or(0)
    }

    /// Votes booked to any account, of one poll or of all.
    pub fn booked(&self, poll: Option<PollId>) -> u64 {
        self.0
            .iter()
            .filter(|((of, figure), _)| {
                matches!(figure, Figure::Account(_)) && poll.is_none_or(|poll| poll == *of)
            })
            .map(|(_, votes)| votes)
            .sum()
    }

    /// Where `self`, the kept figures, differs from `recounted`, among the figures chosen.
    fn differences(
        &self,
        recounted: &Self,
        chosen: impl Fn(PollId, Figure) -> bool,
    ) -> Vec<Difference> {
        let names = self.0.keys().chain(recounted.0.keys());
        let names: std::collections::BTreeSet<_> = names.copied().collect();
        names
            .into_iter()
            .filter(|&(poll, figure)| chosen(poll, figure))
            .map(|(poll, figure)| Difference {
                poll,
                figure,
                kept: self.get(poll, figure),
                recounted: recounted.get(poll, figure),
            })
            .filter(|difference| difference.kept != difference.recounted)
            .collect()
    }
}

/// A kept figure that the ledger does not bear out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The poll.
    pub poll: PollId,
    /// Which figure.
    pub figure: Figure,
    /// What is kept.
    pub kept: u64,
    /// What the ledger says.
    pub recounted: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "poll {}: {}: kept {}, recounted {}",
            self.poll, self.figure, self.kept, self.recounted
        )
    }
}

/// An entry of the ledger that is damaged or not there. Its votes are in no recounted figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerDamage {
    /// The lane.
    pub lane: Lane,
    /// The position.
    pub position: LedgerPosition,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for LedgerDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "lane {}, position {}: {}",
            self.lane, self.position, self.what
        )
    }
}

/// Things found, as many as are worth listing, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings<T> {
    listed: Vec<T>,
    count: u64,
}

impl<T> Default for Findings<T> {
    fn default() -> Self {
        Self {
            listed: Vec::new(),
            count: 0,
        }
    }
}

impl<T> Findings<T> {
    /// Adds one.
    fn push(&mut self, finding: T) {
        self.count += 1;
        if self.listed.len() < FINDINGS_MAX {
            self.listed.push(finding);
        }
    }

    /// The first [`FINDINGS_MAX`].
    pub fn listed(&self) -> &[T] {
        &self.listed
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// How far a recount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Votes done in this phase.
    pub votes_done: u64,
    /// Votes of this phase, as far as known before.
    pub votes_total: u64,
}

/// What a recount does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reads the ledger and adds up.
    Reading,
    /// Compares the copies of each key.
    Judging,
}
