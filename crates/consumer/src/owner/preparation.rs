//! One transaction in the making.

use std::collections::HashMap;

use paredao_domain::{
    BatchError, BatchId, BatchKind, EncodedBatch, Envelope, Incarnation, IncarnationBook, Lane,
    LedgerEntry, LedgerPosition, Poll,
};
use paredao_store::{Known, NewDeadLetter};
use paredao_vote_log::Delivery;

use super::{LaneOwner, OwnerError, Prepared};
use crate::copies::Copies;
use crate::judge::Judge;

/// A delivery, read.
pub(super) enum Read {
    Good(EncodedBatch),
    Bad { delivery: Delivery, reason: String },
}

/// Reads a delivery of a lane.
pub(super) fn read(delivery: &Delivery, lane: Lane) -> Result<Read, OwnerError> {
    let bad = |reason: String| Read::Bad {
        delivery: delivery.clone(),
        reason,
    };
    match EncodedBatch::decode(delivery.body.clone()) {
        Ok(batch) if contradicts(delivery.envelope.as_ref(), &batch) => Ok(bad(
            "the envelope and the batch name different batches".to_owned(),
        )),
        Ok(batch) if batch.id().lane != lane => {
            Ok(bad(format!("a batch of lane {}", batch.id().lane)))
        }
        Ok(batch) => Ok(Read::Good(batch)),
        Err(error @ BatchError::NewerVersion(_)) => Err(OwnerError::Newer {
            id: delivery.envelope.map(|e| e.id),
            error,
        }),
        Err(error) => Ok(bad(error.to_string())),
    }
}

fn contradicts(envelope: Option<&Envelope>, batch: &EncodedBatch) -> bool {
    envelope.is_some_and(|envelope| *envelope != Envelope::from(batch))
}

impl Read {
    pub(super) fn id(&self) -> Option<BatchId> {
        match self {
            Self::Good(batch) => Some(batch.id()),
            Self::Bad { delivery, .. } => delivery.envelope.map(|e| e.id),
        }
    }

    pub(super) fn good(&self) -> Option<&EncodedBatch> {
        match self {
            Self::Good(batch) => Some(batch),
            Self::Bad { .. } => None,
        }
    }
}

/// One transaction in the making.
pub(super) struct Preparation<'a> {
    owner: &'a LaneOwner,
    known: &'a HashMap<BatchId, Known>,
    judge: Judge<'a>,
    next_position: LedgerPosition,
    changed: HashMap<Incarnation, IncarnationBook>,
    taken: HashMap<BatchId, u32>,
    prepared: Prepared,
}

impl<'a> Preparation<'a> {
    pub(super) fn new(
        owner: &'a LaneOwner,
        polls: &'a [Poll],
        known: &'a HashMap<BatchId, Known>,
        earlier: &'a Copies,
    ) -> Self {
        let mut prepared = Prepared::default();
        prepared.application.now = owner.clock.now();
        Self {
            owner,
            known,
            judge: Judge::new(polls, &owner.window, earlier),
            next_position: owner.next_position,
            changed: HashMap::new(),
            taken: HashMap::new(),
            prepared,
        }
    }

    pub(super) fn run(mut self, read: Vec<Read>) -> Prepared {
        for delivery in read {
            match delivery {
                Read::Good(batch) => self.good(batch),
                Read::Bad { delivery, reason } => self.bad(&delivery, reason),
            }
        }
        self.prepared.application.incarnations = self.changed.into_values().collect();
        self.prepared
    }

    fn good(&mut self, batch: EncodedBatch) {
        match self.checksum_before(batch.id()) {
            Some(checksum) if checksum == batch.checksum() => self.prepared.good += 1,
            Some(_) => self.other_bytes(&batch),
            None => self.judge(batch),
        }
    }

    /// The checksum under which this batch is in the ledger or in this transaction already.
    fn checksum_before(&self, id: BatchId) -> Option<u32> {
        match self.known.get(&id) {
            Some(Known::Applied { checksum }) => Some(*checksum),
            Some(Known::DeadLettered) | None => self.taken.get(&id).copied(),
        }
    }

    fn other_bytes(&mut self, batch: &EncodedBatch) {
        tracing::error!(event = "batch_id_reused", batch = %batch.id(), "two batches of one name: somebody must look");
        let reason = "a known batch id under another checksum".to_owned();
        self.dead_letter(batch, reason, 0);
    }

    fn judge(&mut self, batch: EncodedBatch) {
        let position = self.next_position;
        match self.judge.judge(&batch, position) {
            Ok(marks) => self.entry(LedgerEntry {
                position,
                batch,
                marks,
            }),
            Err(poison) => {
                let votes = self.votes_not_in_a_letter(batch.id(), batch.vote_count());
                self.book(batch.id()).record(&batch);
                self.dead_letter(&batch, poison.to_string(), votes);
            }
        }
    }

    /// The votes of a batch that becomes a dead letter, as far as the books need them: 0 if
    /// another letter of the same batch, whole or damaged, holds them already.
    fn votes_not_in_a_letter(&self, id: BatchId, votes: u32) -> u32 {
        if self.is_lettered(id) { 0 } else { votes }
    }

    fn is_lettered(&self, id: BatchId) -> bool {
        let letters = &self.prepared.application.dead_letters;
        let lettered_here = letters
            .iter()
            .any(|l| l.envelope.is_some_and(|e| e.id == id));
        lettered_here || self.known.get(&id) == Some(&Known::DeadLettered)
    }

    fn entry(&mut self, entry: LedgerEntry) {
        let batch = &entry.batch;
        let id = batch.id();
        self.next_position = self.next_position.next();
        self.taken.insert(id, batch.checksum());
        self.book(id).record(batch);
        let is_lettered = self.is_lettered(id);
        let application = &mut self.prepared.application;
        if is_lettered {
            application.recovered.push(id);
        }
        if batch.header().kind == BatchKind::Barrier {
            application.barriers.push(batch.header().poll);
        }
        application.entries.push(entry);
        self.prepared.good += 1;
    }

    fn bad(&mut self, delivery: &Delivery, reason: String) {
        let Some(envelope) = delivery.envelope else {
            return self.push_letter(None, delivery.body.clone(), reason, 0);
        };
        if self.checksum_before(envelope.id).is_some() {
            // Its votes stand: nobody has anything to decide about this copy.
            tracing::warn!(event = "damaged_copy", batch = %envelope.id, reason, "another copy is in the ledger");
            self.prepared.good += 1;
            return;
        }
        let is_a_number = (1..=BatchId::NUMBER_MAX).contains(&envelope.id.number);
        if envelope.id.lane != self.owner.fence.lane || !is_a_number {
            // No book of this lane has a place for it.
            return self.push_letter(Some(envelope), delivery.body.clone(), reason, 0);
        }
        let votes = self.votes_not_in_a_letter(envelope.id, envelope.votes);
        let book = self.book(envelope.id);
        book.record_damaged(
            envelope.id.number,
            envelope.votes,
            envelope.cumulative,
            envelope.minute,
        );
        self.push_letter(Some(envelope), delivery.body.clone(), reason, votes);
    }

    fn dead_letter(&mut self, batch: &EncodedBatch, reason: String, votes: u32) {
        let envelope = Envelope::from(batch);
        self.push_letter(Some(envelope), batch.bytes().clone(), reason, votes);
    }

    fn push_letter(
        &mut self,
        envelope: Option<Envelope>,
        body: bytes::Bytes,
        reason: String,
        votes: u32,
    ) {
        let known = envelope.and_then(|e| self.known.get(&e.id));
        if known == Some(&Known::DeadLettered) {
            // Delivered again, after a restart perhaps: that says nothing new about the log.
            self.prepared.good += 1;
        } else {
            self.prepared.bad += 1;
        }
        let letter = NewDeadLetter {
            envelope,
            body,
            reason,
            votes,
        };
        self.prepared.application.dead_letters.push(letter);
    }

    fn book(&mut self, id: BatchId) -> &mut IncarnationBook {
        let owner = self.owner;
        self.changed.entry(id.incarnation).or_insert_with(|| {
            let fresh = || IncarnationBook::new(id.incarnation, id.lane);
            owner
                .books
                .get(&id.incarnation)
                .cloned()
                .unwrap_or_else(fresh)
        })
    }
}
