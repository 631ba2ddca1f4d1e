//! The real store, which goes away and comes back as told, and counts what it is asked for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use paredao_domain::{
    BatchId, Lane, LedgerEntry, Poll, PollDraft, PollId, Position, ReceiptSecret, Slug, UnixMillis,
};
use paredao_store::{
    Application, ApplyError, DeadLetter, DeadLetterHead, DeadLetterId, DeadLetterState,
    EmbeddedStore, Fate, Fence, FinalityHurdle, Known, LaneClaim, LedgerQuery, Loss, LossName,
    OwnerId, PollChange, Snapshot, Store, StoreError,
};

/// The store, which goes away and comes back as told, and counts what it is asked for.
pub(crate) struct LeavingStore {
    inner: EmbeddedStore,
    is_away: AtomicBool,
    takes_nothing: AtomicBool,
    claims: AtomicUsize,
    ledger_reads: AtomicUsize,
    entries_read: AtomicUsize,
}

impl LeavingStore {
    pub(crate) fn new(inner: EmbeddedStore) -> Self {
        Self {
            inner,
            is_away: AtomicBool::new(false),
            takes_nothing: AtomicBool::new(false),
            claims: AtomicUsize::new(0),
            ledger_reads: AtomicUsize::new(0),
            entries_read: AtomicUsize::new(0),
        }
    }

    /// The store itself, which is always there.
    pub(crate) fn inner(&self) -> &EmbeddedStore {
        &self.inner
    }

    /// How often a lane was claimed.
    pub(crate) fn claims(&self) -> usize {
        self.claims.load(Ordering::SeqCst)
    }

    /// How often a page of the ledger was asked for.
    pub(crate) fn ledger_reads(&self) -> usize {
        self.ledger_reads.load(Ordering::SeqCst)
    }

    /// How many entries these pages held.
    pub(crate) fn entries_read(&self) -> usize {
        self.entries_read.load(Ordering::SeqCst)
    }

    pub(crate) fn go_away(&self) {
        self.is_away.store(true, Ordering::SeqCst);
    }

    /// It still answers questions, and refuses every transaction.
    pub(crate) fn take_nothing(&self) {
        self.takes_nothing.store(true, Ordering::SeqCst);
    }

    pub(crate) fn come_back(&self) {
        self.is_away.store(false, Ordering::SeqCst);
        self.takes_nothing.store(false, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("told to be away".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for LeavingStore {
    async fn receipt_secret(&self) -> Result<ReceiptSecret, StoreError> {
        self.check()?;
        self.inner.receipt_secret().await
    }

    async fn create_poll(&self, draft: PollDraft, now: UnixMillis) -> Result<Poll, StoreError> {
        self.check()?;
        self.inner.create_poll(draft, now).await
    }

    async fn change_poll(
        &self,
        slug: &Slug,
        change: PollChange,
        now: UnixMillis,
    ) -> Result<Poll, StoreError> {
        self.check()?;
        self.inner.change_poll(slug, change, now).await
    }

    async fn polls(&self) -> Result<Vec<Poll>, StoreError> {
        self.check()?;
        self.inner.polls().await
    }

    async fn snapshot(&self, now: UnixMillis) -> Result<Snapshot, StoreError> {
        self.check()?;
        self.inner.snapshot(now).await
    }

    async fn claim_lane(&self, lane: Lane, owner: OwnerId) -> Result<LaneClaim, StoreError> {
        self.check()?;
        self.claims.fetch_add(1, Ordering::SeqCst);
        self.inner.claim_lane(lane, owner).await
    }

    async fn apply(&self, fence: &Fence, application: &Application) -> Result<(), ApplyError> {
        self.check()?;
        if self.takes_nothing.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("told to take nothing".to_owned()).into());
        }
        self.inner.apply(fence, application).await
    }

    async fn known(&self, ids: &[BatchId]) -> Result<Vec<(BatchId, Known)>, StoreError> {
        self.check()?;
        self.inner.known(ids).await
    }

    async fn ledger(&self, query: &LedgerQuery) -> Result<Vec<LedgerEntry>, StoreError> {
        self.check()?;
        self.ledger_reads.fetch_add(1, Ordering::SeqCst);
        let page = self.inner.ledger(query).await?;
        self.entries_read.fetch_add(page.len(), Ordering::SeqCst);
        Ok(page)
    }

    async fn finalize(
        &self,
        fence: &Fence,
        poll: PollId,
        now: UnixMillis,
    ) -> Result<Vec<FinalityHurdle>, ApplyError> {
        self.check()?;
        self.inner.finalize(fence, poll, now).await
    }

    async fn fate(&self, batch: BatchId, position: Position) -> Result<Fate, StoreError> {
        self.check()?;
        self.inner.fate(batch, position).await
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetterHead>, StoreError> {
        self.check()?;
        self.inner.dead_letters().await
    }

    async fn dead_letter(&self, id: DeadLetterId) -> Result<DeadLetter, StoreError> {
        self.check()?;
        self.inner.dead_letter(id).await
    }

    async fn resolve_dead_letter(
        &self,
        id: DeadLetterId,
        state: DeadLetterState,
    ) -> Result<(), StoreError> {
        self.check()?;
        self.inner.resolve_dead_letter(id, state).await
    }

    async fn losses(&self) -> Result<Vec<Loss>, StoreError> {
        self.check()?;
        self.inner.losses().await
    }

    async fn write_off_loss(
        &self,
        name: LossName,
        reason: &str,
        now: UnixMillis,
    ) -> Result<Loss, StoreError> {
        self.check()?;
        self.inner.write_off_loss(name, reason, now).await
    }

    async fn checkpoint(&self) -> Result<(), StoreError> {
        self.check()?;
        self.inner.checkpoint().await
    }
}
