//! A vote log that does everything a log may do: it stores without answering, answers without
//! hurry, stores late, delivers in any order and again, and (told to) loses and damages.
//!
//! One thing it never does: deliver a barrier before what was confirmed when the barrier came.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use paredao_domain::{BatchId, BatchKind, EncodedBatch, Envelope, Incarnation, Lane, UnixMillis};
use paredao_vote_log::{
    AppendError, Delivery, DeliveryTag, LogError, LogStatus, Release, Subscription, VoteLog,
};
use parking_lot::Mutex;

use crate::defect::Defect;
use crate::steps::step;
use crate::world::{DEADLINE_MS, World};

/// Deliveries taken at once.
const DELIVERIES_MAX: usize = 6;
/// How far apart two deliveries may change places.
const REORDER_MAX: usize = 8;

/// Something the log holds.
struct Item {
    envelope: Option<Envelope>,
    body: Bytes,
    /// The batch, if its body is whole.
    batch: Option<EncodedBatch>,
    is_barrier: bool,
    /// Is never delivered, if a later batch of its incarnation can show that it is gone.
    is_losing: bool,
    is_acked: bool,
    /// To which subscription it was delivered last.
    delivered_to: Option<u64>,
}

#[derive(Default)]
struct Lines {
    items: Vec<Item>,
    /// Requests that are on their way although nobody waits for them any more.
    later: Vec<(UnixMillis, EncodedBatch)>,
    subscribers: VecDeque<u64>,
    last_subscriber: u64,
}

pub(crate) struct SimLog {
    world: Arc<World>,
    lines: Arc<Mutex<Lines>>,
}

/// What the log knows of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    /// A whole copy is there and is or was delivered.
    pub(crate) whole: bool,
    /// A copy with a good envelope and a damaged body is there.
    pub(crate) damaged: bool,
    /// It was stored, and all copies are lost.
    pub(crate) lost: bool,
}

impl SimLog {
    pub(crate) fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            lines: Arc::default(),
        })
    }

    /// What became of the batches that were stored.
    pub(crate) fn whereabouts(&self) -> BTreeMap<BatchId, Whereabouts> {
        let lines = self.lines.lock();
        let mut all: BTreeMap<BatchId, Whereabouts> = BTreeMap::new();
        for item in &lines.items {
            let Some(envelope) = item.envelope else {
                continue;
            };
            let entry = all.entry(envelope.id).or_default();
            match (item.is_losing, item.batch.is_some()) {
                (true, _) => entry.lost = true,
                (false, true) => entry.whole = true,
                (false, false) => entry.damaged = true,
            }
        }
        for entry in all.values_mut() {
            entry.lost &= !entry.whole && !entry.damaged;
        }
        all
    }

    /// Puts a whole batch into the log: what an operator requeues, or what nobody should send.
    pub(crate) fn inject(&self, batch: &EncodedBatch) {
        self.lines.lock().items.push(Item::whole(batch));
    }

    /// A copy of something stored, with one bit changed, beside it.
    pub(crate) fn inject_damaged_copy(&self) {
        let mut lines = self.lines.lock();
        let votes = |item: &&Item| item.envelope.is_some_and(|envelope| envelope.votes > 0);
        let at = self.world.below(lines.items.iter().filter(votes).count());
        let copy = lines.items.iter().filter(votes).nth(at);
        if let Some(copy) = copy.map(|item| self.damaged(item)) {
            lines.items.push(copy);
            self.world.saw("damaged copy");
        }
    }

    /// A region in which nothing can be read.
    pub(crate) fn inject_garbage(&self) {
        let body: Vec<u8> = (0..40)
            .map(|_| self.world.next().to_le_bytes()[0])
            .collect();
        self.lines.lock().items.push(Item {
            envelope: None,
            body: body.into(),
            batch: None,
            is_barrier: false,
            is_losing: false,
            is_acked: false,
            delivered_to: None,
        });
        self.world.saw("garbage");
    }

    /// Requests whose time has come arrive; all of them if `at` is the end of time.
    pub(crate) fn arrive(&self, at: UnixMillis) {
        let mut lines = self.lines.lock();
        let (due, later) = std::mem::take(&mut lines.later)
            .into_iter()
            .partition(|(due, _)| *due <= at);
        lines.later = later;
        let due: Vec<(UnixMillis, EncodedBatch)> = due;
        for (_, batch) in due {
            self.world.saw("stored later");
            lines.items.push(Item::whole(&batch));
        }
    }

    /// The broker gives the lane to the next consumer in line; the present one does not notice.
    pub(crate) fn fail_over(&self) {
        if self.lines.lock().subscribers.pop_front().is_some() {
            self.world.saw("fail-over");
        }
    }

    /// The log starts again: everybody must subscribe again, and some of what was acknowledged
    /// is delivered again.
    pub(crate) fn restart(&self) {
        let mut lines = self.lines.lock();
        lines.subscribers.clear();
        for item in &mut lines.items {
            item.is_acked &= self.world.hits(500);
            item.delivered_to = None;
        }
        self.world.saw("log restarted");
    }

    /// Whether everything that can be delivered is acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        let mut lines = self.lines.lock();
        lines.give_up_losses_nobody_could_see(usize::MAX);
        lines.later.is_empty() && lines.items.iter().all(|i| i.is_acked || i.is_losing)
    }

    /// Everything that was stored of one incarnation.
    pub(crate) fn tell(&self, incarnation: Incarnation) -> String {
        let lines = self.lines.lock();
        let of_it = |item: &&Item| {
            item.envelope
                .is_some_and(|e| e.id.incarnation == incarnation)
        };
        let items = lines.items.iter().filter(of_it);
        items.map(Item::tell).collect()
    }

    /// Why it is not settled.
    pub(crate) fn describe(&self) -> String {
        let lines = self.lines.lock();
        let open: String = lines
            .items
            .iter()
            .filter(|i| i.is_open())
            .map(Item::tell)
            .collect();
        format!(
            "subscribers {:?}, not acknowledged: {open}",
            lines.subscribers
        )
    }

    pub(crate) fn listen(&self) -> SimSubscription {
        let mut lines = self.lines.lock();
        lines.last_subscriber += 1;
        let id = lines.last_subscriber;
        lines.subscribers.push_back(id);
        SimSubscription {
            id,
            world: Arc::clone(&self.world),
            lines: Arc::clone(&self.lines),
        }
    }

    fn damaged(&self, item: &Item) -> Item {
        let mut body = item.body.to_vec();
        let at = self.world.below(body.len());
        body[at] ^= 1 << self.world.below(8);
        let body = Bytes::from(body);
        Item {
            envelope: item.envelope,
            // The second change may have taken the first one back.
            batch: EncodedBatch::decode(body.clone()).ok(),
            body,
            is_barrier: false,
            is_losing: false,
            is_acked: false,
            delivered_to: None,
        }
    }

    /// How long an append hangs: often just as long as it may.
    fn hang(&self) -> i64 {
        if self.world.hits(500) {
            DEADLINE_MS - self.world.between(0, 500)
        } else {
            self.world.between(1, 2 * DEADLINE_MS)
        }
    }

    fn store(&self, batch: &EncodedBatch) {
        let trouble = self.world.trouble();
        // Losing what names void numbers would hide that those were answered to nobody.
        let is_plain = batch.header().kind == BatchKind::Votes && batch.voids().next().is_none();
        let mut item = Item::whole(batch);
        if is_plain && self.world.hits(trouble.body_damaged) {
            self.world.saw("damaged batch");
            item = self.damaged(&item);
        } else if is_plain && self.world.hits(trouble.batch_lost) {
            item.is_losing = true;
        }
        self.lines.lock().items.push(item);
    }
}

impl Item {
    fn whole(batch: &EncodedBatch) -> Self {
        Self {
            envelope: Some(Envelope::from(batch)),
            body: batch.bytes().clone(),
            batch: Some(batch.clone()),
            is_barrier: batch.header().kind == BatchKind::Barrier,
            is_losing: false,
            is_acked: false,
            delivered_to: None,
        }
    }

    fn is_open(&self) -> bool {
        !self.is_acked && !self.is_losing
    }

    fn tell(&self) -> String {
        format!(
            "\n    batch {:?}: {:?}, losing {}, acknowledged {}, delivered to {:?}",
            self.envelope.map(|envelope| envelope.id.number),
            self.batch.as_ref().map(EncodedBatch::header),
            self.is_losing,
            self.is_acked,
            self.delivered_to,
        )
    }
}

impl Lines {
    /// The `skip`th of the items this subscription may be given next.
    fn next(&mut self, id: u64, skip: usize) -> Option<usize> {
        let first_barrier = self
            .items
            .iter()
            .position(|i| i.is_barrier && i.is_open() && i.delivered_to != Some(id));
        let stop = first_barrier.unwrap_or(self.items.len());
        self.give_up_losses_nobody_could_see(stop);
        let waits = |item: &Item| item.is_open() && item.delivered_to != Some(id);
        let before: Vec<usize> = (0..stop).filter(|&at| waits(&self.items[at])).collect();
        if before.is_empty() {
            return first_barrier;
        }
        before.get(skip % before.len().min(REORDER_MAX)).copied()
    }

    /// A loss shows by a later batch of the same incarnation that knew of the confirm. Where none
    /// came before `stop`, or where the number was given up, the log has not lost it after all: the
    /// model loses nothing that nobody could notice.
    fn give_up_losses_nobody_could_see(&mut self, stop: usize) {
        let stop = stop.min(self.items.len());
        let whole = || {
            let stays = self.items[..stop].iter().filter(|item| !item.is_losing);
            stays.filter_map(|item| item.batch.as_ref())
        };
        let can_be_seen = |id: BatchId| {
            let mut of_it = whole().filter(|batch| batch.id().incarnation == id.incarnation);
            let is_void = whole().any(|batch| {
                batch.id().incarnation == id.incarnation && batch.voids().any(|n| n == id.number)
            });
            !is_void && of_it.any(|batch| batch.header().confirmed >= id.number)
        };
        let found: Vec<usize> = (0..stop)
            .filter(|&at| {
                let item = &self.items[at];
                item.is_losing && item.envelope.is_none_or(|e| !can_be_seen(e.id))
            })
            .collect();
        found
            .into_iter()
            .for_each(|at| self.items[at].is_losing = false);
    }

    fn delivery(&mut self, id: u64, at: usize) -> Delivery {
        let item = &mut self.items[at];
        item.delivered_to = Some(id);
        Delivery {
            tag: DeliveryTag(at as u64),
            envelope: item.envelope,
            body: item.body.clone(),
        }
    }
}

#[async_trait]
impl VoteLog for SimLog {
    async fn append(&self, batch: &EncodedBatch) -> Result<(), AppendError> {
        step().await;
        let trouble = self.world.trouble();
        let away = || Err(AppendError::Unavailable("said the model".to_owned()));
        if self.world.hits(trouble.append_lost) {
            return away();
        }
        if self.world.hits(trouble.append_later) {
            let due = self.world.now().plus(self.world.between(1, 900_000));
            self.lines.lock().later.push((due, batch.clone()));
            return away();
        }
        if self.world.hits(trouble.append_hangs) {
            let until = self.world.now().plus(self.hang());
            while self.world.now() < until {
                step().await;
            }
            self.world.saw("append hung");
        }
        self.store(batch);
        step().await;
        if self.world.hits(trouble.append_answer_lost) {
            return away();
        }
        Ok(())
    }

    async fn subscribe(&self, _: Lane) -> Result<Box<dyn Subscription>, LogError> {
        step().await;
        Ok(Box::new(self.listen()))
    }

    async fn status(&self, _: Lane) -> Result<LogStatus, LogError> {
        let lines = self.lines.lock();
        let mut status = LogStatus {
            consumed: !lines.subscribers.is_empty(),
            ..LogStatus::default()
        };
        let mut cut: BTreeMap<Incarnation, u64> = BTreeMap::new();
        for item in lines.items.iter().filter(|i| i.is_open()) {
            status.batches += 1;
            if let Some(envelope) = item.envelope {
                status.votes += u64::from(envelope.votes);
                let highest = cut.entry(envelope.id.incarnation).or_default();
                *highest = envelope.cumulative.max(*highest);
            }
        }
        status.cut = cut.into_iter().collect();
        Ok(status)
    }
}

/// A consumer's place in the line for the lane; the first in line is given what there is.
pub(crate) struct SimSubscription {
    id: u64,
    world: Arc<World>,
    lines: Arc<Mutex<Lines>>,
}

impl SimSubscription {
    /// Whether [`Subscription::next`] has something to say at once.
    pub(crate) fn is_ready(&self) -> bool {
        let mut lines = self.lines.lock();
        let is_in_line = lines.subscribers.contains(&self.id);
        let is_first = lines.subscribers.front() == Some(&self.id);
        !is_in_line || (is_first && lines.next(self.id, 0).is_some())
    }

    fn take(&self) -> Result<Vec<Delivery>, LogError> {
        let mut lines = self.lines.lock();
        if !lines.subscribers.contains(&self.id) {
            return Err(LogError::Closed);
        }
        if lines.subscribers.front() != Some(&self.id) {
            return Ok(Vec::new());
        }
        let mut taken = Vec::new();
        for _ in 0..=self.world.below(DELIVERIES_MAX) {
            let skip = self.world.below(REORDER_MAX);
            if let Some(at) = lines.next(self.id, skip) {
                taken.push(lines.delivery(self.id, at));
                lines.items[at].is_acked |= self.world.has(Defect::AcknowledgesFirst);
            }
            if self.world.hits(self.world.trouble().delivered_again) {
                let at = self.world.below(lines.items.len());
                let came = |i: &Item| i.is_acked || i.delivered_to == Some(self.id);
                if lines.items.get(at).is_some_and(came) {
                    self.world.saw("delivered again");
                    taken.push(lines.delivery(self.id, at));
                }
            }
        }
        Ok(taken)
    }
}

#[async_trait]
impl Subscription for SimSubscription {
    async fn next(&mut self, _votes_max: usize) -> Result<Vec<Delivery>, LogError> {
        loop {
            step().await;
            let taken = self.take()?;
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
    }

    async fn ack(&mut self, tags: &[DeliveryTag]) -> Result<(), LogError> {
        step().await;
        if self.world.hits(self.world.trouble().ack_lost) {
            return Err(LogError::Closed);
        }
        let mut lines = self.lines.lock();
        if lines.subscribers.front() != Some(&self.id) {
            return Err(LogError::Closed);
        }
        if self.world.has(Defect::NeverAcknowledges) {
            return Ok(());
        }
        for tag in tags {
            let at = usize::try_from(tag.0).unwrap();
            lines.items[at].is_acked = true;
        }
        Ok(())
    }

    async fn release(&mut self) -> Result<Release, LogError> {
        Ok(Release::Done)
    }
}

impl Drop for SimSubscription {
    fn drop(&mut self) {
        let id = self.id;
        self.lines.lock().subscribers.retain(|other| *other != id);
    }
}
