//! The owner of a lane: what it knows between transactions, and how one is made.
//!
//! A transaction is prepared from deliveries without changing anything here; only when it is
//! known to be committed does [`LaneOwner::commit`] take its keys into the window. An abort, a
//! crash or a repetition in between leaves no trace.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use paredao_domain::{
    BatchError, BatchId, BatchKind, Clock, EncodedBatch, Envelope, Incarnation, IncarnationBook,
    KeyHash, Lane, LedgerEntry, LedgerPosition, Minute, Poll, UnixMillis,
};
use paredao_store::{
    Application, Fence, Known, LaneClaim, LedgerQuery, NewDeadLetter, OwnerId, Store, StoreError,
};
use paredao_telemetry::metrics::metrics;
use paredao_vote_log::Delivery;

use crate::copies::Copies;
use crate::judge::{Judge, learn, standing_votes};
use crate::window::{Source, Window};

/// How far behind the newest batch's minute another may come and still be judged by the window
/// alone: the turn of a minute, and clocks that are ten seconds apart.
const TOLERANCE_MS: i64 = 70_000;
/// Ledger read at once while the window is rebuilt.
const PAGE_BYTES: usize = 8 << 20;

/// Why an owner cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// A batch written by a newer release: the consumer stops until it is upgraded.
    #[error("batch {id}: {error}", id = .id.map_or_else(|| "?".to_owned(), |id| id.to_string()))]
    Newer {
        /// The batch, if its envelope could be read.
        id: Option<BatchId>,
        /// What the decoder said.
        error: BatchError,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A transaction ready to be applied.
#[derive(Debug, Default)]
pub struct Prepared {
    /// What to apply.
    pub application: Application,
    /// How many of the deliveries were bad.
    pub bad: usize,
    /// How many were good, known ones included.
    pub good: usize,
}

impl Prepared {
    /// Whether there is anything to apply: not when every delivery is known already.
    pub fn is_empty(&self) -> bool {
        self.application.entries.is_empty() && self.application.dead_letters.is_empty()
    }
}

/// What the owner of a lane knows.
pub struct LaneOwner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    fence: Fence,
    next_position: LedgerPosition,
    books: HashMap<Incarnation, IncarnationBook>,
    window: Window,
    /// From here on the window holds every key that stands.
    complete_from: UnixMillis,
    newest: UnixMillis,
    /// The longest key life of any poll.
    key_life_ms: i64,
}

/// A delivery, read.
enum Read {
    Good(EncodedBatch),
    Bad { delivery: Delivery, reason: String },
}

impl LaneOwner {
    /// Claims a lane and rebuilds the window from its ledger. Whoever owned it is fenced out
    /// from the claim on, so nothing is added behind the back of the rebuild.
    pub async fn claim(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        lane: Lane,
        owner: OwnerId,
    ) -> Result<Self, StoreError> {
        let claim = store.claim_lane(lane, owner).await?;
        let polls = store.polls().await?;
        let mut this = Self::from_claim(store, clock, claim, key_life_ms(&polls));
        this.rebuild().await?;
        Ok(this)
    }

    fn from_claim(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        claim: LaneClaim,
        key_life_ms: i64,
    ) -> Self {
        let newest = claim
            .newest_minute
            .map_or(UnixMillis(0), |minute| minute.at(0));
        let books = claim
            .incarnations
            .into_iter()
            .map(|b| (b.incarnation(), b))
            .collect();
        let mut this = Self {
            store,
            clock,
            fence: claim.fence,
            next_position: claim.next_position,
            books,
            window: Window::new(),
            complete_from: UnixMillis(0),
            newest,
            key_life_ms,
        };
        this.complete_from = this.edge();
        this
    }

    /// Keys accepted before this can no longer meet a copy that the window must judge alone. It
    /// follows the newest batch, and never passes this consumer's own clock.
    fn edge(&self) -> UnixMillis {
        self.newest
            .min(self.clock.now())
            .plus(-self.key_life_ms - TOLERANCE_MS)
    }

    async fn rebuild(&mut self) -> Result<(), StoreError> {
        let minutes = self.complete_from.minute()..=Minute(u32::MAX);
        let mut query = LedgerQuery {
            lane: self.fence.lane,
            after: LedgerPosition(0),
            minutes: Some(minutes),
            poll: None,
            bytes_max: PAGE_BYTES,
        };
        loop {
            let page = self.store.ledger(&query).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            query.after = last.position;
            page.iter().for_each(|entry| keep(&mut self.window, entry));
        }
    }

    /// The right to write.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// The live keys.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Makes a transaction of deliveries, in their order.
    pub async fn prepare(&mut self, deliveries: &[Delivery]) -> Result<Prepared, OwnerError> {
        let read = deliveries
            .iter()
            .map(|delivery| read(delivery, self.fence.lane))
            .collect::<Result<Vec<_>, _>>()?;
        // Read after the deliveries were taken: no API can have known more than this.
        let polls = self.store.polls().await?;
        self.key_life_ms = key_life_ms(&polls);
        let known = self.known(&read).await?;
        let earlier = self.earlier(&read, &known).await?;
        Ok(Preparation::new(self, &polls, &known, &earlier).run(read))
    }

    /// What the store knows of those batches that the books say came before.
    async fn known(&self, read: &[Read]) -> Result<HashMap<BatchId, Known>, StoreError> {
        let came_before: Vec<BatchId> = read
            .iter()
            .filter_map(Read::id)
            .filter(|id| self.came(id))
            .collect();
        if came_before.is_empty() {
            return Ok(HashMap::new());
        }
        Ok(self.store.known(&came_before).await?.into_iter().collect())
    }

    fn came(&self, id: &BatchId) -> bool {
        self.books
            .get(&id.incarnation)
            .is_some_and(|book| book.knows(id.number))
    }

    /// Copies that stand in the ledger before the window begins, for batches so old that a copy
    /// could.
    async fn earlier(
        &self,
        read: &[Read],
        known: &HashMap<BatchId, Known>,
    ) -> Result<Copies, StoreError> {
        let stands = |id| matches!(known.get(&id), Some(Known::Applied { .. }));
        let old: Vec<&EncodedBatch> = read
            .iter()
            .filter_map(|r| r.good())
            .filter(|b| self.is_old(b) && !stands(b.id()))
            .collect();
        let mut earlier = Copies::default();
        let minutes = |b: &&EncodedBatch| b.header().minute;
        let (Some(first), Some(last)) =
            (old.iter().map(minutes).min(), old.iter().map(minutes).max())
        else {
            return Ok(earlier);
        };
        let wanted: HashSet<KeyHash> = old
            .iter()
            .flat_map(|b| standing_votes(b, &[]))
            .map(|(_, v)| v.key)
            .collect();
        let mut query = LedgerQuery {
            lane: self.fence.lane,
            after: LedgerPosition(0),
            minutes: Some(self.reach_back(first)..=last.at(59_999).plus(self.key_life_ms).minute()),
            poll: None,
            bytes_max: PAGE_BYTES,
        };
        loop {
            let page = self.store.ledger(&query).await?;
            let Some(end) = page.last() else {
                return Ok(earlier);
            };
            query.after = end.position;
            page.iter()
                .for_each(|entry| learn(&mut earlier, entry, |key| wanted.contains(key)));
        }
    }

    fn is_old(&self, batch: &EncodedBatch) -> bool {
        batch.header().kind == BatchKind::Votes
            && batch.header().minute.start().plus(-self.key_life_ms) < self.complete_from
    }

    /// The first minute in which a copy of a key of this minute may have been accepted.
    fn reach_back(&self, minute: Minute) -> Minute {
        minute.start().plus(-self.key_life_ms).minute()
    }

    /// The transaction is known to be committed: its keys stand from now on.
    pub fn commit(&mut self, prepared: Prepared) {
        for entry in &prepared.application.entries {
            self.next_position = entry.position.next();
            self.newest = self.newest.max(entry.batch.header().minute.at(0));
            keep(&mut self.window, entry);
        }
        for book in prepared.application.incarnations {
            self.books.insert(book.incarnation(), book);
        }
        let edge = self.edge();
        if edge > self.complete_from {
            self.complete_from = edge;
            self.window.forget_before(edge);
        }
        metrics().window_keys.set(self.window.len() as u64);
        metrics().window_bytes.set(self.window.bytes() as u64);
    }
}

/// The longest key life of any poll, in milliseconds.
fn key_life_ms(polls: &[Poll]) -> i64 {
    polls.iter().map(Poll::key_life_ms).max().unwrap_or(0)
}

fn keep(window: &mut Window, entry: &LedgerEntry) {
    let header = entry.batch.header();
    if header.kind != BatchKind::Votes {
        return;
    }
    window.begin(Source {
        entry: entry.position,
        poll: header.poll,
        minute: header.minute,
    });
    for (position, vote) in standing_votes(&entry.batch, &entry.marks) {
        window.insert(vote.key, vote.candidate, position, vote.offset);
    }
}

fn read(delivery: &Delivery, lane: Lane) -> Result<Read, OwnerError> {
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
    fn id(&self) -> Option<BatchId> {
        match self {
            Self::Good(batch) => Some(batch.id()),
            Self::Bad { delivery, .. } => delivery.envelope.map(|e| e.id),
        }
    }

    fn good(&self) -> Option<&EncodedBatch> {
        match self {
            Self::Good(batch) => Some(batch),
            Self::Bad { .. } => None,
        }
    }
}

/// One transaction in the making.
struct Preparation<'a> {
    owner: &'a LaneOwner,
    known: &'a HashMap<BatchId, Known>,
    judge: Judge<'a>,
    next_position: LedgerPosition,
    changed: HashMap<Incarnation, IncarnationBook>,
    taken: HashMap<BatchId, u32>,
    prepared: Prepared,
}

impl<'a> Preparation<'a> {
    fn new(
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

    fn run(mut self, read: Vec<Read>) -> Prepared {
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
        if envelope.id.lane != self.owner.fence.lane {
            // The books of this lane know nothing of it.
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

#[cfg(test)]
mod tests;
