//! A store that goes away when a test says so, in front of the real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use paredao_domain::{
    BatchId, Lane, LedgerEntry, Poll, PollDraft, PollId, Position, ReceiptSecret, Slug, UnixMillis,
};
use paredao_store::{
    Application, ApplyError, DeadLetter, DeadLetterHead, DeadLetterId, DeadLetterState,
    EmbeddedStore, Fate, Fence, FinalityHurdle, Known, LaneClaim, LedgerQuery, Loss, LossName,
    OwnerId, PollChange, Snapshot, Store, StoreError,
};

/// The real store, as the API sees it.
pub(crate) struct MoodyStore {
    store: Arc<EmbeddedStore>,
    is_away: AtomicBool,
    is_stuck: AtomicBool,
}

impl MoodyStore {
    pub(crate) fn new(store: Arc<EmbeddedStore>) -> Self {
        Self {
            store,
            is_away: AtomicBool::new(false),
            is_stuck: AtomicBool::new(false),
        }
    }

    /// Look-ups of receipts are never answered from now on.
    pub(crate) fn get_stuck(&self) {
        self.is_stuck.store(true, Ordering::Relaxed);
    }

    pub(crate) fn go_away(&self) {
        self.is_away.store(true, Ordering::Relaxed);
    }

    pub(crate) fn come_back(&self) {
        self.is_away.store(false, Ordering::Relaxed);
    }

    fn there(&self) -> Result<&EmbeddedStore, StoreError> {
        if self.is_away.load(Ordering::Relaxed) {
            Err(StoreError::Unavailable("the test says so".to_owned()))
        } else {
            Ok(&self.store)
        }
    }
}

#[async_trait]
impl Store for MoodyStore {
    async fn receipt_secret(&self) -> Result<ReceiptSecret, StoreError> {
        self.there()?.receipt_secret().await
    }

    async fn create_poll(&self, draft: PollDraft, now: UnixMillis) -> Result<Poll, StoreError> {
        self.there()?.create_poll(draft, now).await
    }

    async fn change_poll(
        &self,
        slug: &Slug,
        change: PollChange,
        now: UnixMillis,
    ) -> Result<Poll, StoreError> {
        self.there()?.change_poll(slug, change, now).await
    }

    async fn polls(&self) -> Result<Vec<Poll>, StoreError> {
        self.there()?.polls().await
    }

    async fn snapshot(&self, now: UnixMillis) -> Result<Snapshot, StoreError> {
        self.there()?.snapshot(now).await
    }

    async fn claim_lane(&self, lane: Lane, owner: OwnerId) -> Result<LaneClaim, StoreError> {
        self.there()?.claim_lane(lane, owner).await
    }

    async fn apply(&self, fence: &Fence, application: &Application) -> Result<(), ApplyError> {
        self.there()?.apply(fence, application).await
    }

    async fn known(&self, ids: &[BatchId]) -> Result<Vec<(BatchId, Known)>, StoreError> {
        self.there()?.known(ids).await
    }

    async fn ledger(&self, query: &LedgerQuery) -> Result<Vec<LedgerEntry>, StoreError> {
        self.there()?.ledger(query).await
    }

    async fn finalize(
        &self,
        fence: &Fence,
        poll: PollId,
        now: UnixMillis,
    ) -> Result<Vec<FinalityHurdle>, ApplyError> {
        self.there()?.finalize(fence, poll, now).await
    }

    async fn fate(&self, batch: BatchId, position: Position) -> Result<Fate, StoreError> {
        if self.is_stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.there()?.fate(batch, position).await
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetterHead>, StoreError> {
        self.there()?.dead_letters().await
    }

    async fn dead_letter(&self, id: DeadLetterId) -> Result<DeadLetter, StoreError> {
        self.there()?.dead_letter(id).await
    }

    async fn resolve_dead_letter(
        &self,
        id: DeadLetterId,
        state: DeadLetterState,
    ) -> Result<(), StoreError> {
        self.there()?.resolve_dead_letter(id, state).await
    }

    async fn losses(&self) -> Result<Vec<Loss>, StoreError> {
        self.there()?.losses().await
    }

    async fn write_off_loss(
        &self,
        name: LossName,
        reason: &str,
        now: UnixMillis,
    ) -> Result<Loss, StoreError> {
        self.there()?.write_off_loss(name, reason, now).await
    }

    async fn checkpoint(&self) -> Result<(), StoreError> {
        self.there()?.checkpoint().await
    }
}
