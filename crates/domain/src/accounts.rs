//! The books: where every accepted vote ended, and whether they close.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::MarkKind;

/// Where a vote of an applied batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// In the totals.
    Counted,
    /// A copy of one that stands.
    Duplicate,
    /// A copy of one that stands, for another candidate.
    KeyConflict,
    /// Quarantined: accepted after the end by an API that had not heard of it.
    AfterClose,
    /// Came when the result was final.
    Late,
}

impl Account {
    /// Every account, in the order of the books.
    pub const ALL: [Self; 5] = [
        Self::Counted,
        Self::Duplicate,
        Self::KeyConflict,
        Self::AfterClose,
        Self::Late,
    ];

    /// The name under which the store and the metrics keep it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Duplicate => "duplicate",
            Self::KeyConflict => "key_conflict",
            Self::AfterClose => "after_close",
            Self::Late => "late",
        }
    }
}

impl From<MarkKind> for Account {
    fn from(kind: MarkKind) -> Self {
        match kind {
            MarkKind::Duplicate => Self::Duplicate,
            MarkKind::KeyConflict => Self::KeyConflict,
            MarkKind::AfterClose => Self::AfterClose,
            MarkKind::Late => Self::Late,
        }
    }
}

/// Votes per account, of one poll or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// In the totals.
    pub counted: u64,
    /// Copies of one that stands.
    pub duplicate: u64,
    /// Copies of one that stands, for another candidate.
    pub key_conflict: u64,
    /// Quarantined as accepted after the end.
    pub after_close: u64,
    /// Came when the result was final.
    pub late: u64,
}

impl Accounts {
    /// The votes of one account.
    pub fn get(&self, account: Account) -> u64 {
        match account {
            Account::Counted => self.counted,
            Account::Duplicate => self.duplicate,
            Account::KeyConflict => self.key_conflict,
            Account::AfterClose => self.after_close,
            Account::Late => self.late,
        }
    }

    /// Books `votes` to one account.
    pub fn add(&mut self, account: Account, votes: u64) {
        let entry = match account {
            Account::Counted => &mut self.counted,
            Account::Duplicate => &mut self.duplicate,
            Account::KeyConflict => &mut self.key_conflict,
            Account::AfterClose => &mut self.after_close,
            Account::Late => &mut self.late,
        };
        *entry += votes;
    }

    /// All votes booked.
    pub fn total(&self) -> u64 {
        Account::ALL.iter().map(|&a| self.get(a)).sum()
    }
}

impl AddAssign for Accounts {
    fn add_assign(&mut self, other: Self) {
        Account::ALL.iter().for_each(|&a| self.add(a, other.get(a)));
    }
}

/// The conservation law of a deployment, every term read from durable data of its own:
///
/// `accepted = counted + duplicate + quarantined + dead-lettered + late + missing + in flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conservation {
    /// What incarnations say they cut (their cumulative counts), less `unanswered`.
    pub accepted: u64,
    /// What the ledger's entries were booked as.
    pub booked: Accounts,
    /// Votes of batches in the dead letters, requeued ones excepted.
    pub dead_lettered: u64,
    /// Votes of confirmed batches that never came.
    pub missing: u64,
    /// Votes in the log that are not applied yet.
    pub in_flight: u64,
    /// Votes of batches that a dead incarnation cut and nobody was told of. Not accepted.
    pub unanswered: u64,
}

impl Conservation {
    /// The right-hand side of the law.
    pub fn accounted(&self) -> u64 {
        self.booked.total() + self.dead_lettered + self.missing + self.in_flight
    }

    /// Accepted votes that are nowhere (positive) or votes that nobody accepted (negative).
    pub fn difference(&self) -> i128 {
        i128::from(self.accepted) - i128::from(self.accounted())
    }

    /// Whether the books close.
    pub fn holds(&self) -> bool {
        self.difference() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> Conservation {
        let booked = Accounts {
            counted: 90,
            duplicate: 3,
            key_conflict: 1,
            after_close: 2,
            late: 1,
        };
        Conservation {
            accepted: 106,
            booked,
            dead_lettered: 4,
            missing: 2,
            in_flight: 3,
            unanswered: 8,
        }
    }

    #[test]
    fn books_that_add_up_close() {
        assert!(closed().holds());
    }

    #[test]
    fn a_lost_and_a_doubled_vote_show_with_their_sign() {
        let mut lost = closed();
        lost.booked.counted -= 1;
        assert_eq!(lost.difference(), 1);
        let mut doubled = closed();
        doubled.booked.counted += 1;
        assert_eq!(doubled.difference(), -1);
    }

    #[test]
    fn every_account_is_booked_and_added_apart() {
        let mut all = Accounts::default();
        for (votes, account) in (1..).zip(Account::ALL) {
            all.add(account, votes);
        }
        let mut twice = all;
        twice += all;
        assert_eq!(twice.total(), 30);
        assert_eq!(twice.get(Account::Late), 10);
    }
}
