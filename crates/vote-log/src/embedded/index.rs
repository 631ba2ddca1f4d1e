//! What the log knows of itself without reading: its segments, and who consumes.

use std::collections::BTreeMap;

use paredao_domain::{Envelope, Incarnation, Minute};

use super::place::{Place, Sequence};
use super::segment::{Segment, Stretch};
use crate::{LogError, LogStatus};

/// Which subscription holds the lane; a later one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epoch(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consumer {
    Nobody,
    Subscribed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    Closed,
}

/// A run of bytes to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) sequence: Sequence,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The log's knowledge of itself.
#[derive(Debug)]
pub(super) struct Index {
    segments: BTreeMap<Sequence, Segment>,
    /// The newest segment. Its file stays: from it the next start learns with which number to go
    /// on, and whoever keeps the number elsewhere that no segment was lost.
    newest: Option<Sequence>,
    epoch: Epoch,
    consumer: Consumer,
    life: Life,
    /// Damaged regions found so far, in segments that are gone as well.
    damaged: u64,
}

impl Index {
    /// The index of a log that was just opened: all these segments are written for good.
    pub(super) fn new(segments: BTreeMap<Sequence, Segment>, newest: Option<Sequence>) -> Self {
        Self {
            damaged: segments.values().map(Segment::damaged).sum(),
            segments,
            newest,
            epoch: Epoch::default(),
            consumer: Consumer::Nobody,
            life: Life::Open,
        }
    }

    /// Takes in a record that is durable now.
    pub(super) fn appended(&mut self, sequence: Sequence, stretch: &Stretch, envelope: &Envelope) {
        self.newest = Some(sequence);
        self.segments
            .entry(sequence)
            .or_default()
            .extend(stretch, Some(envelope));
    }

    pub(super) fn subscribe(&mut self) -> Result<Epoch, LogError> {
        self.check_open()?;
        self.epoch.0 += 1;
        self.consumer = Consumer::Subscribed;
        Ok(self.epoch)
    }

    pub(super) fn unsubscribe(&mut self, epoch: Epoch) {
        if self.epoch == epoch {
            self.consumer = Consumer::Nobody;
        }
    }

    pub(super) fn close(&mut self) {
        self.life = Life::Closed;
    }

    fn check_open(&self) -> Result<(), LogError> {
        match self.life {
            Life::Open => Ok(()),
            Life::Closed => Err(LogError::Closed),
        }
    }

    /// Fails for a subscription that does not hold the lane any more.
    pub(super) fn check_held(&self, epoch: Epoch) -> Result<(), LogError> {
        self.check_open()?;
        if self.epoch == epoch {
            Ok(())
        } else {
            Err(LogError::Closed)
        }
    }

    /// The first run at or after `from` that is durable and not acknowledged.
    pub(super) fn next_run(&self, from: Place) -> Option<Run> {
        self.segments
            .range(from.sequence..)
            .find_map(|(&sequence, segment)| {
                let offset = if sequence == from.sequence {
                    from.offset
                } else {
                    0
                };
                let (start, end) = segment.unacknowledged(offset)?;
                Some(Run {
                    sequence,
                    start,
                    end,
                })
            })
    }

    /// Notes a damaged region that was read. It may have been read before, or when the log was
    /// opened; damage that came since is new.
    pub(super) fn note_damage(&mut self, sequence: Sequence, start: u32) {
        if let Some(segment) = self.segments.get_mut(&sequence)
            && segment.note_damage(start)
        {
            self.damaged += 1;
        }
    }

    pub(super) fn acknowledge(&mut self, sequence: Sequence, stretch: &Stretch) {
        if let Some(segment) = self.segments.get_mut(&sequence) {
            segment.acknowledge(stretch);
        }
    }

    /// The segments that nobody needs: the oldest, up to the first that somebody does. (So one
    /// number tells which have gone.)
    pub(super) fn done(&self) -> Vec<Sequence> {
        self.segments
            .iter()
            .take_while(|(sequence, segment)| {
                Some(**sequence) != self.newest && segment.is_acknowledged()
            })
            .map(|(sequence, _)| *sequence)
            .collect()
    }

    pub(super) fn forget(&mut self, sequence: Sequence) {
        self.segments.remove(&sequence);
    }

    /// The number of the newest segment.
    pub(super) fn newest(&self) -> Option<u64> {
        self.newest.map(Sequence::get)
    }

    pub(super) fn status(&self) -> LogStatus {
        let mut cut: BTreeMap<Incarnation, u64> = BTreeMap::new();
        for (&incarnation, &count) in self.segments.values().flat_map(Segment::cut) {
            let highest = cut.entry(incarnation).or_default();
            *highest = count.max(*highest);
        }
        let waiting = || self.segments.values().map(Segment::waiting);
        LogStatus {
            batches: waiting().map(|waiting| waiting.batches).sum(),
            votes: waiting().map(|waiting| waiting.votes).sum(),
            oldest: waiting()
                .filter_map(super::segment::Waiting::oldest)
                .min()
                .map(Minute::start),
            bytes: self.segments.values().map(|s| u64::from(s.end())).sum(),
            consumed: self.consumer == Consumer::Subscribed,
            cut: cut.into_iter().collect(),
            damaged: self.damaged,
        }
    }
}
