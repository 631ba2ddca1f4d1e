//! The campaign's own book of what it was told.

use parking_lot::Mutex;

use super::finding::Finding;
use crate::verdict::Expectation;
use crate::vote::{Candidate, Driven, Outcome, PlannedVote, Receipt, Recorder, SettledVote};

/// A vote that was answered with success, and everything that was answered about it.
#[derive(Clone, Debug)]
pub(super) struct KeptVote {
    /// The vote.
    pub planned: PlannedVote,
    /// The first copy was stored at most once: one request, one answer.
    pub first_copy_is_sure: bool,
    /// The first copy's receipt, then those of resent copies with their candidates.
    pub receipts: Vec<(Candidate, Receipt)>,
}

/// What one round's voters were told.
#[derive(Debug, Default)]
pub(super) struct RoundBook {
    inner: Mutex<RoundNotes>,
}

/// The contents of a round's book.
#[derive(Debug, Default)]
pub(super) struct RoundNotes {
    /// Votes accepted.
    pub kept: Vec<KeptVote>,
    /// Votes and copies that were not.
    pub findings: Vec<Finding>,
}

impl RoundBook {
    /// Takes the notes out.
    pub(super) fn take(&self) -> RoundNotes {
        std::mem::take(&mut *self.inner.lock())
    }
}

impl Recorder for RoundBook {
    fn settled(&self, vote: &SettledVote) {
        let mut notes = self.inner.lock();
        let key = &vote.planned.key;
        let first = (vote.planned.candidate, &vote.outcome);
        let copies = vote
            .copies
            .iter()
            .map(|copy| (copy.candidate, &copy.outcome));
        let mut receipts = Vec::with_capacity(1 + vote.copies.len());
        for (candidate, outcome) in std::iter::once(first).chain(copies) {
            match outcome {
                Outcome::Accepted(receipt) => receipts.push((candidate, receipt.clone())),
                Outcome::Refused(reason) | Outcome::Unknown(reason) => {
                    let (key, reason) = (key.clone(), reason.to_string());
                    notes.findings.push(Finding::NotAccepted { key, reason });
                }
            }
        }
        if matches!(vote.outcome, Outcome::Accepted(_)) {
            let (planned, first_copy_is_sure) = (vote.planned.clone(), vote.attempts == 1);
            notes.kept.push(KeptVote {
                planned,
                first_copy_is_sure,
                receipts,
            });
        }
    }
}

/// What the totals must show after all rounds so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The counts.
    pub expectation: Expectation,
    /// Votes accepted.
    pub votes: u64,
    /// Accepted copies of them.
    pub copies: u64,
}

impl Ledger {
    /// Adds what a run of voters brought.
    pub(super) fn add_run(&mut self, driven: &Driven) {
        let tally = &driven.tally;
        for (&candidate, &votes) in &tally.accepted_by_candidate {
            *self.expectation.accepted.entry(candidate).or_default() += votes;
        }
        for (&candidate, &votes) in &tally.unknown_by_candidate {
            *self.expectation.unknown.entry(candidate).or_default() += votes;
        }
        self.votes += tally.accepted;
        self.copies += tally.resent_accepted + tally.conflicts_accepted;
        self.expectation.duplicates_min += tally.resent_accepted;
        self.expectation.conflicts_min += tally.conflicts_accepted;
        self.expectation.conflicts_max += tally.conflicts_accepted + tally.conflicts_unsure;
    }

    /// Adds an accepted vote that no run of voters cast.
    pub(super) fn add_vote(&mut self, candidate: Candidate) {
        *self.expectation.accepted.entry(candidate).or_default() += 1;
        self.votes += 1;
    }

    /// One of the same-candidate copies added was the vote itself, whichever came first.
    pub(super) fn first_of_copies(&mut self, candidate: Candidate) {
        self.copies -= 1;
        self.expectation.duplicates_min -= 1;
        self.add_vote(candidate);
    }

    /// Adds an accepted copy of `planned`; `unsure` further ones may have been stored.
    pub(super) fn add_copy(&mut self, planned: &PlannedVote, candidate: Candidate, unsure: u32) {
        self.copies += 1;
        if candidate == planned.candidate {
            self.expectation.duplicates_min += 1;
        } else {
            self.expectation.conflicts_min += 1;
            self.expectation.conflicts_max += 1 + u64::from(unsure);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::vote::{Reason, ResentCopy, VotePlan};

    fn receipt(text: &str) -> Outcome {
        Outcome::Accepted(Receipt(text.into()))
    }

    fn settled(outcome: Outcome, copy: Outcome) -> SettledVote {
        SettledVote {
            planned: VotePlan::plain(1, vec![1]).vote(0),
            outcome,
            attempts: 1,
            copies: vec![ResentCopy {
                candidate: 2,
                outcome: copy,
                unsure: 0,
            }],
            intended: Instant::now(),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn all_receipts_of_a_vote_are_kept_with_their_candidates() {
        let book = RoundBook::default();
        book.settled(&settled(receipt("a"), receipt("b")));
        let notes = book.take();
        assert_eq!(notes.findings, []);
        let expected = vec![(1, Receipt("a".into())), (2, Receipt("b".into()))];
        assert_eq!(notes.kept[0].receipts, expected);
        assert!(notes.kept[0].first_copy_is_sure);
        assert!(book.take().kept.is_empty());
    }

    #[test]
    fn whatever_was_not_accepted_is_a_finding() {
        let book = RoundBook::default();
        let refused = Outcome::Refused(Reason("409 poll-not-open".into()));
        book.settled(&settled(refused, receipt("b")));
        book.settled(&settled(
            receipt("a"),
            Outcome::Unknown(Reason("timeout".into())),
        ));
        let notes = book.take();
        assert_eq!((notes.kept.len(), notes.findings.len()), (1, 2));
    }

    #[test]
    fn copies_are_expected_in_the_account_their_candidate_leads_to() {
        let mut ledger = Ledger::default();
        let planned = VotePlan::plain(1, vec![1]).vote(0);
        ledger.add_vote(1);
        ledger.add_copy(&planned, 1, 3);
        ledger.add_copy(&planned, 2, 3);
        assert_eq!((ledger.votes, ledger.copies), (1, 2));
        let expectation = ledger.expectation;
        assert_eq!(expectation.accepted[&1], 1);
        assert_eq!(expectation.duplicates_min, 1);
        assert_eq!(
            (expectation.conflicts_min, expectation.conflicts_max),
            (1, 4)
        );
    }

    #[test]
    fn copies_sent_at_once_are_one_vote_and_the_rest_duplicates() {
        let mut ledger = Ledger::default();
        let planned = VotePlan::plain(1, vec![1]).vote(0);
        for _ in 0..5 {
            ledger.add_copy(&planned, 1, 0);
        }
        ledger.first_of_copies(1);
        assert_eq!((ledger.votes, ledger.copies), (1, 4));
        assert_eq!(ledger.expectation.duplicates_min, 4);
        assert_eq!(ledger.expectation.accepted[&1], 1);
    }
}
