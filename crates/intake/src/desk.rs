//! The desk: which batches are out, how they are numbered, whom a confirm answers. No I/O, no
//! clock.

use std::collections::BTreeMap;

use paredao_domain::{
    BatchHeader, BatchId, BatchKind, BatchNumber, BootMillis, EncodedBatch, Incarnation, Lane,
    Minute, Mode, PollId, Position, Receipt, UnixMillis, VOTES_MAX, Vote,
};

use crate::numbers::Numbers;
use crate::{NotTaken, Taken, Waiting};

/// A batch that is out: frozen until it is confirmed or given up.
struct Out<W> {
    batch: EncodedBatch,
    waiters: Vec<W>,
    oldest: BootMillis,
}

/// Votes that go into one batch.
struct Pile<W> {
    poll: PollId,
    minute: Minute,
    votes: Vec<Vote>,
    waiters: Vec<W>,
}

/// The batches of one incarnation on one lane.
pub struct Desk<W> {
    incarnation: Incarnation,
    lane: Lane,
    batch_votes_max: usize,
    deadline_ms: u64,
    numbers: Numbers,
    /// Of the newest number. It never goes back, so that whoever misses a number learns from its
    /// neighbours when its votes were accepted.
    minute: Minute,
    cumulative: u64,
    out: BTreeMap<BatchNumber, Out<W>>,
}

impl<W> Desk<W> {
    /// A desk for a new incarnation. A confirm later than `deadline_ms` after the acceptance of
    /// a batch's oldest vote is no success any more.
    ///
    /// # Panics
    ///
    /// If `batch_votes_max` is 0 or more than [`VOTES_MAX`].
    pub fn new(
        incarnation: Incarnation,
        lane: Lane,
        batch_votes_max: usize,
        deadline_ms: u64,
    ) -> Self {
        assert!(
            (1..=VOTES_MAX).contains(&batch_votes_max),
            "1 to {VOTES_MAX} votes a batch"
        );
        Self {
            incarnation,
            lane,
            batch_votes_max,
            deadline_ms,
            numbers: Numbers::default(),
            minute: Minute(0),
            cumulative: 0,
            out: BTreeMap::new(),
        }
    }

    /// Begins the next incarnation by the same rules. What is out of the old one is forgotten.
    pub fn begin_incarnation(&mut self, incarnation: Incarnation) {
        *self = Self::new(
            incarnation,
            self.lane,
            self.batch_votes_max,
            self.deadline_ms,
        );
    }

    /// Cuts votes into batches: each of one poll and one minute, and none of a later minute before
    /// all of an earlier one. They are out from now on. `taken` is left empty, with its room.
    pub fn cut(&mut self, taken: &mut Taken<W>) -> Vec<EncodedBatch> {
        let oldest = taken.oldest;
        let mut piles: Vec<Pile<W>> = Vec::new();
        let mut batches = Vec::new();
        for waiting in taken.votes.drain(..) {
            let minute = waiting.accepted_at.minute();
            if piles.first().is_some_and(|pile| pile.minute != minute) {
                let sent = piles.drain(..).map(|pile| self.send_out(pile, oldest));
                batches.extend(sent);
            }
            let at = pile_for(&mut piles, waiting.ballot.poll, minute);
            if let Some(pile) = piles.get_mut(at) {
                pile.put(waiting);
                if pile.votes.len() >= self.batch_votes_max {
                    let full = piles.remove(at);
                    batches.push(self.send_out(full, oldest));
                }
            }
        }
        batches.extend(piles.into_iter().map(|pile| self.send_out(pile, oldest)));
        batches
    }

    fn send_out(&mut self, pile: Pile<W>, oldest: BootMillis) -> EncodedBatch {
        let batch = self.number(BatchKind::Votes, pile.poll, pile.minute, &pile.votes);
        let out = Out {
            batch: batch.clone(),
            waiters: pile.waiters,
            oldest,
        };
        self.out.insert(batch.id().number, out);
        batch
    }

    /// A marker of this incarnation: its end, or the naming of its void numbers. It is out from
    /// now on and answers nobody.
    pub fn marker(&mut self, kind: BatchKind, now: UnixMillis, boot: BootMillis) -> EncodedBatch {
        let minute = match kind {
            // Nothing comes after it.
            BatchKind::End => self.minute.max(now.minute()),
            // The votes that come after it may have been accepted before it was made.
            BatchKind::Void | BatchKind::Votes | BatchKind::Barrier => self.minute,
        };
        let batch = self.number(kind, PollId::NONE, minute, &[]);
        let out = Out {
            batch: batch.clone(),
            waiters: Vec::new(),
            oldest: boot,
        };
        self.out.insert(batch.id().number, out);
        batch
    }

    fn number(
        &mut self,
        kind: BatchKind,
        poll: PollId,
        minute: Minute,
        votes: &[Vote],
    ) -> EncodedBatch {
        self.minute = minute;
        self.cumulative += votes.len() as u64;
        let header = BatchHeader {
            kind,
            mode: Mode::Torcida,
            poll,
            id: BatchId {
                incarnation: self.incarnation,
                lane: self.lane,
                number: self.numbers.draw(),
            },
            minute,
            cumulative: self.cumulative,
            confirmed: self.numbers.confirmed(),
        };
        EncodedBatch::encode(header, &self.numbers.voids_to_name(), votes)
    }

    /// The log confirmed a batch: answers everybody who waits for it, with a receipt if the
    /// confirm came in time.
    pub fn confirm(
        &mut self,
        number: BatchNumber,
        boot: BootMillis,
        mut answer: impl FnMut(W, Result<Receipt, NotTaken>),
    ) {
        let Some(out) = self.out.remove(&number) else {
            return;
        };
        self.numbers
            .confirm(out.batch.id().number, out.batch.voids());
        let in_time = !self.is_late(out.oldest, boot);
        let batch = out.batch.id();
        for (waiter, position) in out.waiters.into_iter().zip(0 as Position..) {
            let receipt = Receipt { batch, position };
            answer(
                waiter,
                if in_time {
                    Ok(receipt)
                } else {
                    Err(NotTaken::OutcomeUnknown)
                },
            );
        }
    }

    /// Whether the deadline of what was accepted at `oldest` has passed.
    pub fn is_late(&self, oldest: BootMillis, boot: BootMillis) -> bool {
        boot.since(oldest) > self.deadline_ms
    }

    /// Whether something is out past its deadline, whether anybody still waits for it or not.
    pub fn is_overdue(&self, boot: BootMillis) -> bool {
        self.out.values().any(|out| self.is_late(out.oldest, boot))
    }

    /// Answers everybody whose deadline has passed while their batch is out: "unknown".
    pub fn answer_overdue(&mut self, boot: BootMillis, mut answer: impl FnMut(W, NotTaken)) {
        let deadline_ms = self.deadline_ms;
        let overdue = self
            .out
            .values_mut()
            .filter(|out| boot.since(out.oldest) > deadline_ms);
        for waiter in overdue.flat_map(|out| out.waiters.drain(..)) {
            answer(waiter, NotTaken::OutcomeUnknown);
        }
    }

    /// An append of this batch failed. Returns the same bytes for a retry, or gives the number
    /// up when its deadline has passed: it may be stored all the same, and is named void.
    /// Markers are never given up.
    pub fn retry(
        &mut self,
        number: BatchNumber,
        boot: BootMillis,
        mut answer: impl FnMut(W, NotTaken),
    ) -> Option<EncodedBatch> {
        let out = self.out.get(&number)?;
        if out.batch.header().kind != BatchKind::Votes || !self.is_late(out.oldest, boot) {
            return Some(out.batch.clone());
        }
        let out = self.out.remove(&number)?;
        self.numbers.give_up(number);
        out.waiters
            .into_iter()
            .for_each(|waiter| answer(waiter, NotTaken::OutcomeUnknown));
        None
    }

    /// Whether numbers were given up and not yet named so in any confirmed batch.
    pub fn has_voids(&self) -> bool {
        self.numbers.has_unnamed_voids()
    }

    /// Batches that are out.
    pub fn out(&self) -> usize {
        self.out.len()
    }
}

/// The pile of a poll, among piles of one minute.
fn pile_for<W>(piles: &mut Vec<Pile<W>>, poll: PollId, minute: Minute) -> usize {
    let found = piles.iter().position(|pile| pile.poll == poll);
    found.unwrap_or_else(|| {
        piles.push(Pile {
            poll,
            minute,
            votes: Vec::new(),
            waiters: Vec::new(),
        });
        piles.len() - 1
    })
}

impl<W> Pile<W> {
    fn put(&mut self, waiting: Waiting<W>) {
        let ballot = waiting.ballot;
        self.votes.push(Vote {
            candidate: ballot.candidate,
            source: ballot.source,
            offset: waiting.accepted_at.offset_in_minute(),
            key: ballot.key,
        });
        self.waiters.push(waiting.waiter);
    }
}

#[cfg(test)]
mod tests;
