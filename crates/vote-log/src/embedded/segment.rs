//! What is kept in memory of one segment: how far it is acknowledged and what waits in it.

use std::collections::{BTreeMap, BTreeSet};

use paredao_domain::{Envelope, Incarnation, Minute};

use super::place::HEADER_BYTES;

/// The part of a segment that one delivery covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Its votes, as far as the log knows.
    pub(super) votes: u32,
    /// Its minute, as far as the log knows.
    pub(super) minute: Option<Minute>,
}

impl Stretch {
    pub(super) fn new(start: u32, end: u32, envelope: Option<&Envelope>) -> Self {
        Self {
            start,
            end,
            votes: envelope.map_or(0, |envelope| envelope.votes),
            minute: envelope.map(|envelope| envelope.minute),
        }
    }
}

/// What was not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) batches: u64,
    pub(super) votes: u64,
    minutes: BTreeMap<Minute, u64>,
}

impl Waiting {
    fn add(&mut self, stretch: &Stretch) {
        self.batches += 1;
        self.votes += u64::from(stretch.votes);
        if let Some(minute) = stretch.minute {
            *self.minutes.entry(minute).or_default() += 1;
        }
    }

    /// Never below zero: damage that came after the counting changes what is delivered.
    fn subtract(&mut self, stretch: &Stretch) {
        self.batches = self.batches.saturating_sub(1);
        self.votes = self.votes.saturating_sub(u64::from(stretch.votes));
        let Some(minute) = stretch.minute else { return };
        if let Some(count) = self.minutes.get_mut(&minute) {
            *count -= 1;
            if *count == 0 {
                self.minutes.remove(&minute);
            }
        }
    }

    pub(super) fn oldest(&self) -> Option<Minute> {
        self.minutes.keys().next().copied()
    }
}

/// One segment. Its offsets fall into three parts: acknowledged without a hole up to
/// `acked_to`, then acknowledged here and there, then (from `end`) not durable.
#[derive(Debug)]
pub(super) struct Segment {
    end: u32,
    acked_to: u32,
    /// Acknowledged stretches beyond the first hole: start to end.
    acked_beyond: BTreeMap<u32, u32>,
    waiting: Waiting,
    cut: BTreeMap<Incarnation, u64>,
    /// Where damaged regions begin that were found.
    damaged: BTreeSet<u32>,
}

impl Default for Segment {
    fn default() -> Self {
        Self {
            end: HEADER_BYTES,
            acked_to: HEADER_BYTES,
            acked_beyond: BTreeMap::new(),
            waiting: Waiting::default(),
            cut: BTreeMap::new(),
            damaged: BTreeSet::new(),
        }
    }
}

impl Segment {
    /// Takes in what became durable after everything before.
    pub(super) fn extend(&mut self, stretch: &Stretch, envelope: Option<&Envelope>) {
        self.waiting.add(stretch);
        self.end = stretch.end;
        if let Some(envelope) = envelope {
            let cut = self.cut.entry(envelope.id.incarnation).or_default();
            *cut = envelope.cumulative.max(*cut);
        }
    }

    /// Notes an acknowledgement; one that was noted before changes nothing.
    pub(super) fn acknowledge(&mut self, stretch: &Stretch) {
        if stretch.start < self.acked_to || self.acked_beyond.contains_key(&stretch.start) {
            return;
        }
        self.waiting.subtract(stretch);
        self.acked_beyond.insert(stretch.start, stretch.end);
        while let Some(end) = self.acked_beyond.remove(&self.acked_to) {
            self.acked_to = end;
        }
        if self.is_acknowledged() {
            self.waiting = Waiting::default();
        }
    }

    /// Notes a damaged region; says whether it was not known.
    pub(super) fn note_damage(&mut self, start: u32) -> bool {
        self.damaged.insert(start)
    }

    /// How many damaged regions were found in it.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged.len() as u64
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        self.acked_to >= self.end
    }

    pub(super) fn is_empty(&self) -> bool {
        self.end == HEADER_BYTES
    }

    pub(super) fn end(&self) -> u32 {
        self.end
    }

    pub(super) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The highest cumulative count of each incarnation that its batches name.
    pub(super) fn cut(&self) -> &BTreeMap<Incarnation, u64> {
        &self.cut
    }

    /// The first run of offsets at or after `from` that is durable and not acknowledged.
    pub(super) fn unacknowledged(&self, from: u32) -> Option<(u32, u32)> {
        let mut start = from.max(self.acked_to);
        while let Some(&end) = self.acked_beyond.get(&start) {
            start = end;
        }
        let next_acked = self.acked_beyond.range(start..).next();
        let end = next_acked.map_or(self.end, |(&next, _)| next);
        (start < end).then_some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stretch(number: u32) -> Stretch {
        Stretch {
            start: HEADER_BYTES + number * 10,
            end: HEADER_BYTES + number * 10 + 10,
            votes: number,
            minute: Some(Minute(number / 3)),
        }
    }

    fn segment(stretches: u32) -> Segment {
        let mut segment = Segment::default();
        (0..stretches).for_each(|number| segment.extend(&stretch(number), None));
        segment
    }

    fn left(segment: &Segment) -> Vec<u32> {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some((start, end)) = segment.unacknowledged(from) {
            found.extend((start..end).step_by(10).map(|at| (at - HEADER_BYTES) / 10));
            from = end;
        }
        found
    }

    proptest! {
        #[test]
        fn what_was_not_acknowledged_is_found_whatever_the_order(
            order in Just((0..12_u32).collect::<Vec<_>>()).prop_shuffle(),
            acked in 0_usize..=12,
        ) {
            let mut segment = segment(12);
            let (acked, rest) = order.split_at(acked);
            for number in acked.iter().chain(acked) {
                segment.acknowledge(&stretch(*number));
            }
            let mut rest = rest.to_vec();
            rest.sort_unstable();
            prop_assert_eq!(segment.is_acknowledged(), rest.is_empty());
            prop_assert_eq!(segment.waiting().batches, rest.len() as u64);
            prop_assert_eq!(segment.waiting().votes, rest.iter().map(|n| u64::from(*n)).sum::<u64>());
            prop_assert_eq!(segment.waiting().oldest(), rest.first().map(|n| Minute(n / 3)));
            prop_assert_eq!(left(&segment), rest);
        }
    }

    #[test]
    fn a_segment_that_grows_after_it_was_acknowledged_waits_again() {
        let mut segment = segment(1);
        segment.acknowledge(&stretch(0));
        assert!(segment.is_acknowledged());
        segment.extend(&stretch(1), None);
        assert!(!segment.is_acknowledged());
        assert_eq!(left(&segment), [1]);
    }
}
