//! The conservation law, read from two places that are never still at one instant.
//!
//! The log says what was cut and what it still holds; the store says what was booked. Their two
//! readings lie some milliseconds apart, and batches move from one to the other meanwhile. The law
//! closes all the same, under any load, because of the order: **the log is read first.**
//!
//! - A batch that the store's snapshot does not know and the log's reading does was not
//!   acknowledged at that reading: acknowledging comes after applying, and the snapshot is later.
//!   So it is among the votes that the log said it held.
//! - A batch applied between the readings, or applied and not yet acknowledged, is in both: among
//!   the votes the log held and in the books. It would count twice. So of the votes the log held,
//!   only as many are in flight as were cut beyond what the ledger knows.
//!
//! A vote that was acknowledged and never booked is then in neither, and shows as a difference.
//! Both bounds come from counters of their own; none is the remainder of the law.
//!
//! Two harmless things show as votes that are nowhere, while the log holds votes: a number given
//! up and never stored, until the batch after it is applied and tells (it is `unanswered` then),
//! and a dead letter sent again, which the books have let go. So a positive difference is judged
//! only while the log holds nothing. A negative one (something is booked that nobody accepted) has
//! no harmless reason.

use std::collections::HashMap;

use paredao_domain::{Conservation, Incarnation};
use paredao_store::DeploymentBooks;
use paredao_vote_log::LogStatus;

/// Refreshes over which a difference must stand before it is an alarm.
const PERSISTENT_REFRESHES: u32 = 3;

/// Brings the two readings together; `log` was read before `books`.
pub(crate) fn conservation(log: &LogStatus, books: &DeploymentBooks) -> Conservation {
    let known: HashMap<Incarnation, u64> = books.cut.iter().copied().collect();
    let known_cut: u64 = known.values().sum();
    let beyond: u64 = log
        .cut
        .iter()
        .map(|(who, cut)| cut.saturating_sub(known.get(who).copied().unwrap_or(0)))
        .sum();
    Conservation {
        accepted: (known_cut + beyond).saturating_sub(books.unanswered),
        booked: books.accounts,
        dead_lettered: books.dead_lettered,
        missing: books.missing,
        in_flight: beyond.min(log.votes),
        unanswered: books.unanswered,
    }
}

/// What there is to say about a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing new.
    Nothing,
    /// The books do not close, and no movement explains it.
    Broken(i128),
    /// They close again.
    Mended,
}

/// Tells a difference that stands from one that passes, and a loss that is new from a known one.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    suspicious: u32,
    missing: u64,
    segments_lost: u64,
}

impl Judge {
    /// Judges one reading; `held` is what the log holds unacknowledged.
    pub(crate) fn judge(&mut self, law: &Conservation, held: u64) -> Finding {
        let difference = law.difference();
        let is_explained = difference == 0 || (difference > 0 && held > 0);
        if is_explained {
            let was_broken = self.suspicious >= PERSISTENT_REFRESHES;
            self.suspicious = 0;
            return if was_broken {
                Finding::Mended
            } else {
                Finding::Nothing
            };
        }
        self.suspicious = self.suspicious.saturating_add(1);
        if self.suspicious == PERSISTENT_REFRESHES {
            Finding::Broken(difference)
        } else {
            Finding::Nothing
        }
    }

    /// How many votes are missing that were not at the last reading, if there are any. The law
    /// closes all the same: missing is one of its terms.
    pub(crate) fn newly_missing(&mut self, missing: u64) -> Option<u64> {
        risen(&mut self.missing, missing)
    }

    /// How many files of the log are lost that were not at the last reading, if there are any.
    /// The law says nothing of them: what they held that was not booked is in none of its terms.
    pub(crate) fn newly_lost_segments(&mut self, segments: u64) -> Option<u64> {
        risen(&mut self.segments_lost, segments)
    }
}

/// By how much a number has risen since it was remembered, if it has.
fn risen(last: &mut u64, now: u64) -> Option<u64> {
    let before = std::mem::replace(last, now);
    now.checked_sub(before).filter(|&more| more > 0)
}

#[cfg(test)]
mod tests {
    use paredao_domain::Accounts;

    use super::Finding::{Broken, Mended, Nothing};
    use super::*;

    fn books(cut: &[(u64, u64)], counted: u64) -> DeploymentBooks {
        DeploymentBooks {
            accounts: Accounts {
                counted,
                ..Accounts::default()
            },
            cut: cut
                .iter()
                .map(|&(who, votes)| (Incarnation(who), votes))
                .collect(),
            ..DeploymentBooks::default()
        }
    }

    fn log(cut: &[(u64, u64)], votes: u64) -> LogStatus {
        LogStatus {
            cut: cut
                .iter()
                .map(|&(who, votes)| (Incarnation(who), votes))
                .collect(),
            votes,
            ..LogStatus::default()
        }
    }

    #[test]
    fn at_rest_everything_accepted_is_booked() {
        let law = conservation(
            &log(&[(1, 100), (2, 50)], 0),
            &books(&[(1, 100), (2, 50)], 150),
        );
        assert_eq!((law.accepted, law.in_flight, law.difference()), (150, 0, 0));
    }

    #[test]
    fn what_the_log_holds_and_the_ledger_does_not_know_is_in_flight() {
        let law = conservation(&log(&[(1, 130)], 30), &books(&[(1, 100)], 100));
        assert_eq!(
            (law.accepted, law.in_flight, law.difference()),
            (130, 30, 0)
        );
    }

    #[test]
    fn a_batch_applied_and_not_yet_acknowledged_counts_once() {
        // 30 held, of which 20 were applied before the store was read.
        let law = conservation(&log(&[(1, 130)], 30), &books(&[(1, 120)], 120));
        assert_eq!(
            (law.accepted, law.in_flight, law.difference()),
            (130, 10, 0)
        );
    }

    #[test]
    fn a_batch_appended_and_applied_between_the_readings_counts_once() {
        let law = conservation(&log(&[(1, 100)], 0), &books(&[(1, 140)], 140));
        assert_eq!((law.accepted, law.in_flight, law.difference()), (140, 0, 0));
    }

    #[test]
    fn an_incarnation_that_only_one_side_knows_counts() {
        let law = conservation(&log(&[(2, 7)], 7), &books(&[(1, 5)], 5));
        assert_eq!((law.accepted, law.in_flight, law.difference()), (12, 7, 0));
    }

    #[test]
    fn an_acknowledged_vote_that_was_never_booked_shows() {
        let law = conservation(&log(&[(1, 130)], 10), &books(&[(1, 100)], 100));
        assert_eq!(law.difference(), 20);
        let within = conservation(&log(&[(1, 100)], 0), &books(&[(1, 100)], 99));
        assert_eq!(within.difference(), 1);
    }

    #[test]
    fn a_vote_booked_twice_shows() {
        let law = conservation(&log(&[(1, 100)], 0), &books(&[(1, 100)], 101));
        assert_eq!(law.difference(), -1);
    }

    #[test]
    fn votes_answered_to_nobody_were_not_accepted_and_missing_ones_were() {
        let mut books = books(&[(1, 100)], 85);
        (books.unanswered, books.missing) = (10, 5);
        let law = conservation(&log(&[(1, 100)], 0), &books);
        assert_eq!((law.accepted, law.difference()), (90, 0));
    }

    fn law_with(difference: i64) -> Conservation {
        let booked = Accounts {
            counted: 100,
            ..Accounts::default()
        };
        let accepted = 100_u64.saturating_add_signed(difference);
        Conservation {
            accepted,
            booked,
            ..Conservation::default()
        }
    }

    #[test]
    fn only_a_difference_that_stands_is_an_alarm_and_only_once() {
        let mut judge = Judge::default();
        let findings: Vec<_> = (0..5).map(|_| judge.judge(&law_with(1), 0)).collect();
        assert_eq!(findings, [Nothing, Nothing, Broken(1), Nothing, Nothing]);
        assert_eq!(judge.judge(&law_with(0), 0), Mended);
        assert_eq!(judge.judge(&law_with(1), 0), Nothing);
    }

    #[test]
    fn missing_votes_are_an_alarm_whenever_there_are_more_of_them() {
        let mut judge = Judge::default();
        let readings = [0, 3, 3, 5, 0, 0, 1, 1];
        let told = readings.map(|missing| judge.newly_missing(missing));
        let expected = [None, Some(3), None, Some(2), None, None, Some(1), None];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_positive_difference_waits_for_an_empty_log_and_a_negative_one_does_not() {
        let mut judge = Judge::default();
        assert!((0..9).all(|_| judge.judge(&law_with(3), 1) == Nothing));
        let negative: Vec<_> = (0..3).map(|_| judge.judge(&law_with(-3), 1)).collect();
        assert_eq!(negative.last(), Some(&Broken(-3)));
    }
}
