//! The owner of a lane: what it knows between transactions, and how one is made.
//!
//! A transaction is prepared from deliveries without changing anything here; only when it is
//! known to be committed does [`LaneOwner::commit`] take its keys into the window. An abort, a
//! crash or a repetition in between leaves no trace.

mod preparation;

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use paredao_domain::{
    BatchError, BatchId, BatchKind, Clock, Incarnation, IncarnationBook, KeyHash, Lane,
    LedgerEntry, LedgerPosition, Minute, Poll, PollId, UnixMillis,
};
use paredao_store::{
    Application, Fence, Known, LaneClaim, LedgerQuery, OwnerId, Store, StoreError,
};
use paredao_telemetry::metrics::metrics;
use paredao_vote_log::Delivery;

use crate::copies::Copies;
use crate::judge::{learn, standing_votes};
use crate::reach::{Lookups, Reach, longest_life_ms, minute_of};
use crate::window::{Source, Window};
use preparation::{Preparation, Read, read};

/// How far from the newest batch's minute another may come and still be judged by the window
/// alone: the turn of a minute, and clocks that are ten seconds apart.
const TOLERANCE_MS: i64 = 70_000;
/// Ledger read at once.
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
    /// The newest minute of the ledger, those too far ahead of the clock left aside.
    newest: Option<Minute>,
    /// The longest key life of the polls that still get votes.
    key_life_ms: i64,
}

impl LaneOwner {
    /// Claims a lane and builds the window from its ledger. Whoever owned it is fenced out
    /// from the claim on, so nothing is added behind the back of the building.
    pub async fn claim(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        lane: Lane,
        owner: OwnerId,
    ) -> Result<Self, StoreError> {
        let claim = store.claim_lane(lane, owner).await?;
        let polls = store.polls().await?;
        let mut this = Self::from_claim(store, clock, claim);
        this.note_polls(&polls);
        let horizon = this.horizon();
        this.newest = this.newest.filter(|newest| newest.start() <= horizon);
        this.build_window().await?;
        Ok(this)
    }

    fn from_claim(store: Arc<dyn Store>, clock: Arc<dyn Clock>, claim: LaneClaim) -> Self {
        let books = claim
            .incarnations
            .into_iter()
            .map(|b| (b.incarnation(), b))
            .collect();
        Self {
            store,
            clock,
            fence: claim.fence,
            next_position: claim.next_position,
            books,
            window: Window::closed(),
            newest: claim.newest_minute,
            key_life_ms: 0,
        }
    }

    fn note_polls(&mut self, polls: &[Poll]) {
        let settled = self.present().plus(-TOLERANCE_MS);
        self.key_life_ms = longest_life_ms(polls, self.clock.now(), settled);
    }

    /// Where the votes that come now are in time: at the newest, but never ahead of this
    /// consumer's own clock.
    fn present(&self) -> UnixMillis {
        let now = self.clock.now();
        self.newest.map_or(now, |newest| now.min(newest.start()))
    }

    /// Keys accepted before this can no longer meet a copy that the window must judge alone.
    fn edge(&self) -> UnixMillis {
        self.present().plus(-self.key_life_ms - TOLERANCE_MS)
    }

    /// Keys accepted after this cannot meet one yet.
    fn horizon(&self) -> UnixMillis {
        self.clock.now().plus(self.key_life_ms + TOLERANCE_MS)
    }

    /// Builds the window from the ledger.
    async fn build_window(&mut self) -> Result<(), StoreError> {
        let (edge, horizon) = (self.edge(), self.horizon());
        // The old one makes room first. Should the store not answer, nothing is judged by what
        // is left here.
        self.window = Window::closed();
        let complete_to = self.last_before_the_next_after(horizon).await?;
        let mut window = Window::between(edge, complete_to);
        let minutes = minute_of(edge)..=minute_of(horizon);
        self.read_ledger(minutes, None, |entry| keep(&mut window, entry))
            .await?;
        self.window = window;
        Ok(())
    }

    /// The last instant before the first minute of the ledger after `horizon`.
    async fn last_before_the_next_after(
        &self,
        horizon: UnixMillis,
    ) -> Result<UnixMillis, StoreError> {
        let next = Minute(minute_of(horizon).0.saturating_add(1));
        let query = LedgerQuery {
            bytes_max: 1,
            ..self.query(next..=Minute(u32::MAX), None)
        };
        let page = self.store.ledger(&query).await?;
        let first = page.first().map(|entry| entry.batch.header().minute);
        Ok(first.map_or(UnixMillis(i64::MAX), |first| first.start().plus(-1)))
    }

    fn query(&self, minutes: RangeInclusive<Minute>, poll: Option<PollId>) -> LedgerQuery {
        LedgerQuery {
            lane: self.fence.lane,
            after: LedgerPosition(0),
            minutes: Some(minutes),
            poll,
            bytes_max: PAGE_BYTES,
        }
    }

    /// Shows the ledger's entries of some minutes, of one poll or of all.
    async fn read_ledger(
        &self,
        minutes: RangeInclusive<Minute>,
        poll: Option<PollId>,
        mut show: impl FnMut(&LedgerEntry),
    ) -> Result<(), StoreError> {
        let mut query = self.query(minutes, poll);
        loop {
            let page = self.store.ledger(&query).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            query.after = last.position;
            page.iter().for_each(&mut show);
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
        self.note_polls(&polls);
        let known = self.known(&read).await?;
        let earlier = self.earlier(&read, &polls, &known).await?;
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

    /// Copies that stand in the ledger outside the window, for batches that one of them could
    /// meet.
    async fn earlier(
        &mut self,
        read: &[Read],
        polls: &[Poll],
        known: &HashMap<BatchId, Known>,
    ) -> Result<Copies, StoreError> {
        let stands = |id| matches!(known.get(&id), Some(Known::Applied { .. }));
        let to_judge = read
            .iter()
            .filter_map(Read::good)
            .filter(|batch| !stands(batch.id()));
        let mut outside: Vec<_> = to_judge
            .filter_map(|batch| Some((batch, Reach::of(batch, polls)?)))
            .filter(|(_, reach)| !reach.is_within(&self.window))
            .collect();
        if outside.iter().any(|(_, reach)| self.should_hold(reach)) {
            self.build_window().await?;
            outside.retain(|(_, reach)| !reach.is_within(&self.window));
        }
        let mut lookups = Lookups::default();
        let mut wanted: HashSet<KeyHash> = HashSet::new();
        for (batch, reach) in &outside {
            lookups.add(reach, &self.window);
            wanted.extend(standing_votes(batch, &[]).map(|(_, vote)| vote.key));
        }
        self.copies_of(&wanted, &lookups).await
    }

    /// Whether the window would be complete for this time if it were built now. It is not where a
    /// clock jumped there and back, or where a time has come that was far ahead.
    fn should_hold(&self, reach: &Reach) -> bool {
        let is_near = self.edge() <= reach.first && reach.last <= self.horizon();
        is_near && !self.window.is_crowded()
    }

    async fn copies_of(
        &self,
        wanted: &HashSet<KeyHash>,
        lookups: &Lookups,
    ) -> Result<Copies, StoreError> {
        let mut copies = Copies::default();
        for (poll, minutes) in lookups.iter() {
            let take = |entry: &LedgerEntry| learn(&mut copies, entry, |key| wanted.contains(key));
            self.read_ledger(minutes, Some(poll), take).await?;
        }
        Ok(copies)
    }

    /// The transaction is known to be committed: its keys stand from now on.
    pub fn commit(&mut self, prepared: Prepared) {
        let horizon = self.horizon();
        for entry in &prepared.application.entries {
            let minute = entry.batch.header().minute;
            self.next_position = entry.position.next();
            if minute.start() <= horizon {
                self.newest = self.newest.max(Some(minute));
            }
            keep(&mut self.window, entry);
        }
        for book in prepared.application.incarnations {
            self.books.insert(book.incarnation(), book);
        }
        self.forget();
        metrics().window_keys.set(self.window.len() as u64);
        metrics().window_bytes.set(self.window.bytes() as u64);
    }

    fn forget(&mut self) {
        let complete_to = self.window.complete_to();
        self.window.forget(self.edge(), self.horizon());
        if complete_to == UnixMillis(i64::MAX) && self.window.complete_to() < complete_to {
            tracing::warn!(
                event = "votes_ahead_of_the_clock",
                accepted_at_ms = self.window.complete_to().plus(1).0,
                "some API's clock, or this consumer's, is or was wrong: compare them"
            );
        }
    }
}

fn keep(window: &mut Window, entry: &LedgerEntry) {
    let header = entry.batch.header();
    if header.kind != BatchKind::Votes {
        return;
    }
    let source = Source {
        entry: entry.position,
        poll: header.poll,
        minute: header.minute,
    };
    window.add(source, standing_votes(&entry.batch, &entry.marks));
}

#[cfg(test)]
mod tests;
