//! What is known of one incarnation's batches: which came, which are missing, how many votes.
//!
//! Numbers rise from 1 without holes, so a hole among them says that a batch did not come. What
//! a hole means depends on what the incarnation had been told: at or below a number that was
//! confirmed it is *missing* (somebody was told "success"); above it, or declared void, it was
//! answered to nobody.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{BatchId, BatchNumber, EncodedBatch, Incarnation, Lane, Minute, PollId, Ranges};

/// Batches with consecutive numbers, all of which came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    /// Number of its last batch.
    last: BatchNumber,
    /// Votes the incarnation had cut before its first batch…
    cut_before: u64,
    /// …and up to and including its last.
    cut: u64,
    /// When the votes of its first batch were accepted…
    first_minute: Minute,
    /// …and those of its last.
    last_minute: Minute,
}

impl Run {
    /// What stands before every batch.
    const NOTHING: Self = Self {
        last: 0,
        cut_before: 0,
        cut: 0,
        first_minute: Minute(0),
        last_minute: Minute(0),
    };
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

/// The book of one incarnation on one lane. It takes as much room as it has holes, however many
/// batches came.
///
/// Its serialised form is part of the store's schema 1: a form with other fields is refused, not
/// guessed at, and whoever changes it after the first release writes a new schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncarnationBook {
    incarnation: Incarnation,
    lane: Lane,
    /// What came, by the number of each run's first batch. Between two runs is a hole.
    runs: BTreeMap<BatchNumber, Run>,
    /// Numbers in the holes that the incarnation declared void.
    voids: Ranges,
    confirmed: BatchNumber,
}

impl IncarnationBook {
    /// The book of an incarnation of which nothing came yet.
    pub fn new(incarnation: Incarnation, lane: Lane) -> Self {
        Self {
            incarnation,
            lane,
            runs: BTreeMap::new(),
            voids: Ranges::default(),
            confirmed: 0,
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
        let run = self.runs.range(..=number).next_back();
        run.is_some_and(|(_, run)| number <= run.last)
    }

    /// Writes down a batch that came. A second time changes nothing.
    pub fn record(&mut self, batch: &EncodedBatch) {
        for void in batch.voids() {
            if !self.knows(void) {
                self.voids.insert(void..=void);
            }
        }
        let header = batch.header();
        self.confirmed = self.confirmed.max(header.confirmed);
        self.note(
            header.id.number,
            batch.vote_count(),
            header.cumulative,
            header.minute,
        );
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
        self.note(number, votes, cumulative, minute);
    }

    fn note(&mut self, number: BatchNumber, votes: u32, cumulative: u64, minute: Minute) {
        if self.knows(number) || !(1..=BatchId::NUMBER_MAX).contains(&number) {
            return;
        }
        self.voids.remove(number);
        let mut run = Run {
            last: number,
            cut_before: cumulative.saturating_sub(u64::from(votes)),
            cut: cumulative,
            first_minute: minute,
            last_minute: minute,
        };
        if let Some(right) = self.runs.remove(&(number + 1)) {
            run.last = right.last;
            run.cut = right.cut;
            run.last_minute = right.last_minute;
        }
        let mut first = number;
        if let Some((&left_first, left)) = self.runs.range(..number).next_back()
            && left.last + 1 == number
        {
            first = left_first;
            run.cut_before = left.cut_before;
            run.first_minute = left.first_minute;
        }
        self.runs.insert(first, run);
    }

    /// Votes the incarnation cut, as far as anything told.
    pub fn cumulative(&self) -> u64 {
        self.runs.last_key_value().map_or(0, |(_, run)| run.cut)
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
        votes_in(self.gaps().filter(|gap| self.was_answered(gap)))
    }

    /// Votes in [`Self::unanswered`].
    pub fn unanswered_votes(&self) -> u64 {
        votes_in(self.gaps().filter(|gap| !self.was_answered(gap)))
    }

    /// A gap counts as answered if any of its numbers was: the votes of its numbers cannot be
    /// told apart, and an alarm too many is the safe side.
    fn was_answered(&self, gap: &Gap) -> bool {
        let confirmed = *gap.numbers.start()..=self.confirmed.min(*gap.numbers.end());
        !self.voids.covers(&confirmed)
    }

    fn gaps(&self) -> impl Iterator<Item = Gap> {
        let left = std::iter::once(&Run::NOTHING).chain(self.runs.values());
        let pairs = left.zip(&self.runs);
        let apart = pairs.filter(|(left, (first, _))| left.last + 1 < **first);
        apart.map(|(left, (first, right))| Gap {
            numbers: left.last + 1..=first - 1,
            votes: right.cut_before.saturating_sub(left.cut),
            minutes: left.last_minute..=right.first_minute,
        })
    }
}

/// Counts that contradict each other add up to no more than a number holds.
fn votes_in(gaps: impl Iterator<Item = Gap>) -> u64 {
    gaps.fold(0, |votes, gap| votes.saturating_add(gap.votes))
}

/// Which batches an envelope can still name when a body is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Version of the body's encoding.
    pub version: u8,
    /// The poll.
    pub poll: PollId,
    /// The batch.
    pub id: BatchId,
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
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{BatchHeader, BatchKind, CandidateNumber, KeyHash, KeySource, Mode, Vote};

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
            minute: minute(number),
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

    fn minute(number: BatchNumber) -> Minute {
        Minute(u32::try_from(number).unwrap_or(u32::MAX))
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
    fn a_void_number_that_comes_after_all_is_in_the_book_once() {
        let mut book = book(&[batch(1, 0, &[]), batch(3, 1, &[2]), batch(4, 3, &[])]);
        assert!(!book.knows(2), "its votes would be booked by nobody");
        for _ in 0..2 {
            book.record(&batch(2, 1, &[]));
            assert_eq!((book.missing_votes(), book.unanswered_votes()), (0, 0));
        }
        assert_eq!(book.voids, Ranges::default());
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

    #[test]
    fn a_number_given_up_and_a_hundred_thousand_batches_after_it_leave_a_small_book() {
        let mut book = book(&[batch(1, 0, &[]), batch(3, 1, &[2])]);
        for number in 4..100_000 {
            book.record(&batch(number, number - 1, &[]));
        }
        let kept = serde_json::to_string(&book).unwrap();
        assert!(kept.len() < 500, "{} bytes: {kept:.200}", kept.len());
        assert_eq!((book.missing_votes(), book.unanswered_votes()), (0, 10));
        assert_eq!(book.cumulative(), 999_990);
    }

    #[test]
    fn the_highest_number_there_is_takes_no_longer_than_another() {
        let highest = BatchId::NUMBER_MAX;
        let mut book = book(&[
            batch(1, 0, &[]),
            batch(highest, highest - 1, &[highest - 1]),
        ]);
        assert_eq!(book.missing()[0].numbers, 2..=highest - 1);
        assert_eq!(book.unanswered(), []);
        for beyond in [0, highest + 1, u64::MAX] {
            book.record_damaged(beyond, 1, 1, Minute(1));
            assert!(!book.knows(beyond), "{beyond} is no number of a batch");
        }
    }

    #[test]
    fn the_stored_form_is_the_one_of_schema_1() {
        let book = book(&[batch(1, 0, &[]), batch(4, 1, &[2])]);
        let kept = concat!(
            r#"{"incarnation":5,"lane":0,"runs":{"#,
            r#""1":{"last":1,"cut_before":0,"cut":10,"first_minute":1,"last_minute":1},"#,
            r#""4":{"last":4,"cut_before":30,"cut":40,"first_minute":4,"last_minute":4}},"#,
            r#""voids":{"2":2},"confirmed":1}"#,
        );
        assert_eq!(serde_json::to_string(&book).unwrap(), kept);
        assert_eq!(serde_json::from_str::<IncarnationBook>(kept).unwrap(), book);
        let other = kept.replacen("confirmed", "complete_to", 1);
        assert!(serde_json::from_str::<IncarnationBook>(&other).is_err());
    }

    /// Every number by itself.
    #[derive(Default)]
    struct NaiveBook {
        came: BTreeMap<BatchNumber, (u64, u64)>,
        voids: BTreeSet<BatchNumber>,
        confirmed: BatchNumber,
    }

    type NaiveGap = (RangeInclusive<BatchNumber>, u64);

    impl NaiveBook {
        /// What is missing, and what was answered to nobody.
        fn gaps(&self) -> (Vec<NaiveGap>, Vec<NaiveGap>) {
            let (mut low, mut cut) = (0, 0);
            let mut gaps = Vec::new();
            for (&number, &(before, after)) in &self.came {
                let numbers = low + 1..=number - 1;
                if !numbers.is_empty() {
                    gaps.push((numbers, before.saturating_sub(cut)));
                }
                (low, cut) = (number, after);
            }
            let is_answered = |n| n <= self.confirmed && !self.voids.contains(&n);
            gaps.into_iter()
                .partition(|(numbers, _)| numbers.clone().any(is_answered))
        }
    }

    fn told(gaps: Vec<Gap>) -> Vec<NaiveGap> {
        let told = gaps.into_iter().map(|gap| (gap.numbers, gap.votes));
        told.collect()
    }

    proptest! {
        #[test]
        fn a_book_of_runs_says_what_a_book_of_every_number_says(
            events in prop::collection::vec(
                (1_u64..40, 0_u64..40, prop::collection::vec(1_u64..40, 0..3), any::<bool>()),
                0..80,
            ),
        ) {
            let (mut book, mut naive) = (book(&[]), NaiveBook::default());
            for (number, confirmed, voids, is_whole) in events {
                if is_whole {
                    let confirmed = confirmed.min(number - 1);
                    let voids: Vec<_> = voids.into_iter().filter(|void| *void < number).collect();
                    book.record(&batch(number, confirmed, &voids));
                    naive.confirmed = naive.confirmed.max(confirmed);
                    naive.voids.extend(voids);
                } else {
                    book.record_damaged(number, 10, number * 10, minute(number));
                }
                naive.came.insert(number, (number * 10 - 10, number * 10));
                let gaps = (told(book.missing()), told(book.unanswered()));
                prop_assert_eq!(gaps, naive.gaps());
            }
            for number in 0..42 {
                prop_assert_eq!(book.knows(number), naive.came.contains_key(&number));
            }
            let cut = naive.came.last_key_value().map_or(0, |(_, (_, cut))| *cut);
            prop_assert_eq!(book.cumulative(), cut);
            prop_assert!(book.runs.len() <= book.gaps().count() + 1, "one more than holes");
            let kept = serde_json::to_string(&book).unwrap();
            prop_assert_eq!(serde_json::from_str::<IncarnationBook>(&kept).unwrap(), book);
        }
    }
}
