//! What is known of one incarnation's batches: which came, which are missing, how many votes.
//!
//! Numbers rise from 1 without holes, so a hole among them says that a batch did not come. What
//! a hole means depends on what the incarnation had been told: at or below a number that was
//! confirmed it is *missing* (somebody was told "success"); above it, or declared void, it was
//! answered to nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{BatchHeader, BatchKind, BatchNumber, EncodedBatch, Incarnation, Lane, Minute, PollId};

/// One batch as far as the book is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    cumulative_before: u64,
    cumulative: u64,
    minute: Minute,
}

/// Batch numbers that did not come, between two that did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The numbers.
    pub numbers: RangeInclusive<BatchNumber>,
    /// The votes they held, from the cumulative counts on both sides.
    pub votes: u64,
    /// When their votes were accepted: between the neighbours' minutes.
    pub minutes: RangeInclusive<Minute>,
}

/// The book of one incarnation on one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncarnationBook {
    incarnation: Incarnation,
    lane: Lane,
    /// Every number up to this one came, or was resolved otherwise.
    complete_to: BatchNumber,
    at_complete: Seen,
    beyond: BTreeMap<BatchNumber, Seen>,
    voids: BTreeSet<BatchNumber>,
    confirmed: BatchNumber,
    ended: bool,
}

impl IncarnationBook {
    /// The book of an incarnation of which nothing came yet.
    pub fn new(incarnation: Incarnation, lane: Lane) -> Self {
        Self {
            incarnation,
            lane,
            complete_to: 0,
            at_complete: Seen {
                cumulative_before: 0,
                cumulative: 0,
                minute: Minute(0),
            },
            beyond: BTreeMap::new(),
            voids: BTreeSet::new(),
            confirmed: 0,
            ended: false,
        }
    }

    /// Whose book it is.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// On which lane.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Whether the batch of this number came.
    pub fn knows(&self, number: BatchNumber) -> bool {
        number >= 1 && (number <= self.complete_to || self.beyond.contains_key(&number))
    }

    /// Writes down a batch that came. A second time changes nothing.
    pub fn record(&mut self, batch: &EncodedBatch) {
        let header = batch.header();
        self.voids.extend(batch.voids());
        self.note(header, batch.vote_count());
    }

    /// Writes down a batch of which only the envelope could be read: it is in the dead letters,
    /// not missing.
    pub fn record_damaged(
        &mut self,
        number: BatchNumber,
        votes: u32,
        cumulative: u64,
        minute: Minute,
    ) {
        if !self.knows(number) {
            self.insert(number, u64::from(votes), cumulative, minute);
        }
    }

    fn note(&mut self, header: &BatchHeader, votes: u32) {
        self.confirmed = self.confirmed.max(header.confirmed);
        self.ended |= header.kind == BatchKind::End;
        if !self.knows(header.id.number) {
            self.insert(
                header.id.number,
                u64::from(votes),
                header.cumulative,
                header.minute,
            );
        }
    }

    fn insert(&mut self, number: BatchNumber, votes: u64, cumulative: u64, minute: Minute) {
        let cumulative_before = cumulative.saturating_sub(votes);
        self.beyond.insert(
            number,
            Seen {
                cumulative_before,
                cumulative,
                minute,
            },
        );
        while let Some(seen) = self.beyond.remove(&(self.complete_to + 1)) {
            self.complete_to += 1;
            self.at_complete = seen;
        }
        self.voids.retain(|&void| void > self.complete_to);
    }

    /// Votes the incarnation cut, as far as anything told.
    pub fn cumulative(&self) -> u64 {
        self.beyond
            .values()
            .next_back()
            .unwrap_or(&self.at_complete)
            .cumulative
    }

    /// Whether its last batch came.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Numbers that did not come although they, or later ones of the same gap, were confirmed.
    pub fn missing(&self) -> Vec<Gap> {
        self.gaps().filter(|gap| self.was_answered(gap)).collect()
    }

    /// Numbers that did not come and were answered to nobody.
    pub fn unanswered(&self) -> Vec<Gap> {
        self.gaps().filter(|gap| !self.was_answered(gap)).collect()
    }

    /// Votes in [`Self::missing`].
    pub fn missing_votes(&self) -> u64 {
        self.missing().iter().map(|gap| gap.votes).sum()
    }

    /// Votes in [`Self::unanswered`].
    pub fn unanswered_votes(&self) -> u64 {
        self.unanswered().iter().map(|gap| gap.votes).sum()
    }

    /// A gap counts as answered if any of its numbers was: the votes of its numbers cannot be
    /// told apart, and an alarm too many is the safe side.
    fn was_answered(&self, gap: &Gap) -> bool {
        gap.numbers
            .clone()
            .any(|n| n <= self.confirmed && !self.voids.contains(&n))
    }

    fn gaps(&self) -> impl Iterator<Item = Gap> {
        let before = std::iter::once((self.complete_to, &self.at_complete))
            .chain(self.beyond.iter().map(|(&number, seen)| (number, seen)));
        let pairs = before.zip(&self.beyond);
        let apart = pairs.filter(|((low, _), (high, _))| **high > low + 1);
        apart.map(|((low, left), (&high, right))| Gap {
            numbers: low + 1..=high - 1,
            votes: right.cumulative_before.saturating_sub(left.cumulative),
            minutes: left.minute..=right.minute,
        })
    }
}

/// Which batches an envelope can still name when a body is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Version of the body's encoding.
    pub version: u8,
    /// The poll.
    pub poll: PollId,
    /// The batch.
    pub id: crate::BatchId,
    /// The UTC minute of its votes.
    pub minute: Minute,
    /// How many votes it holds.
    pub votes: u32,
    /// Votes of the incarnation on this lane, up to and including this batch.
    pub cumulative: u64,
}

impl From<&EncodedBatch> for Envelope {
    fn from(batch: &EncodedBatch) -> Self {
        let header = batch.header();
        Self {
            version: crate::VERSION,
            poll: header.poll,
            id: header.id,
            minute: header.minute,
            votes: batch.vote_count(),
            cumulative: header.cumulative,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchId, CandidateNumber, KeyHash, KeySource, Mode, Vote};

    const WHO: Incarnation = Incarnation(5);

    /// Batch `number` of an incarnation whose batches all hold ten votes.
    fn batch(number: BatchNumber, confirmed: BatchNumber, voids: &[BatchNumber]) -> EncodedBatch {
        let header = BatchHeader {
            kind: BatchKind::Votes,
            mode: Mode::Torcida,
            poll: PollId(1),
            id: BatchId {
                incarnation: WHO,
                lane: Lane(0),
                number,
            },
            minute: Minute(u32::try_from(number).unwrap()),
            cumulative: number * 10,
            confirmed,
        };
        let vote = Vote {
            candidate: CandidateNumber::try_from(1).unwrap(),
            source: KeySource::Drawn,
            offset: 0,
            key: KeyHash([0; 12]),
        };
        EncodedBatch::encode(header, voids, &[vote; 10])
    }

    fn book(batches: &[EncodedBatch]) -> IncarnationBook {
        let mut book = IncarnationBook::new(WHO, Lane(0));
        batches.iter().for_each(|b| book.record(b));
        book
    }

    #[test]
    fn batches_in_any_order_and_any_number_of_times_leave_no_gap() {
        let all = [3, 1, 2, 2, 5, 4, 1].map(|n| batch(n, n - 1, &[]));
        let book = book(&all);
        assert_eq!((book.missing_votes(), book.unanswered_votes()), (0, 0));
        assert_eq!(book.cumulative(), 50);
        assert!((1..=5).all(|n| book.knows(n)) && !book.knows(6) && !book.knows(0));
    }

    #[test]
    fn a_hole_below_a_confirmed_number_is_missing_until_it_comes() {
        let mut book = book(&[batch(1, 0, &[]), batch(4, 3, &[])]);
        assert_eq!(
            book.missing(),
            [Gap {
                numbers: 2..=3,
                votes: 20,
                minutes: Minute(1)..=Minute(4)
            }]
        );
        book.record(&batch(2, 1, &[]));
        assert_eq!(book.missing_votes(), 10);
        book.record(&batch(3, 2, &[]));
        assert_eq!(book.missing_votes(), 0);
    }

    #[test]
    fn a_hole_above_every_confirmed_number_was_answered_to_nobody() {
        let book = book(&[batch(1, 0, &[]), batch(3, 1, &[])]);
        assert_eq!((book.missing_votes(), book.unanswered_votes()), (0, 10));
    }

    #[test]
    fn a_void_number_is_not_missing() {
        let book = book(&[batch(1, 0, &[]), batch(3, 1, &[]), batch(4, 3, &[2])]);
        assert_eq!((book.missing_votes(), book.unanswered_votes()), (0, 10));
    }

    #[test]
    fn a_damaged_batch_with_a_readable_envelope_is_not_missing() {
        let mut book = book(&[batch(1, 0, &[]), batch(3, 2, &[])]);
        book.record_damaged(2, 10, 20, Minute(2));
        assert_eq!(book.missing_votes(), 0);
        assert!(book.knows(2));
    }

    #[test]
    fn the_first_batches_can_be_missing_too() {
        let book = book(&[batch(3, 2, &[])]);
        assert_eq!(book.missing()[0].numbers, 1..=2);
        assert_eq!(book.missing_votes(), 20);
    }
}
