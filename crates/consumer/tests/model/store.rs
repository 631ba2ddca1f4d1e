//! The real store behind a connection that loses requests and answers, aborts transactions, and
//! leaves outcomes unknown: executed, not executed, or executed later.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use paredao_domain::{
    BatchId, IncarnationBook, Lane, LedgerEntry, MarkKind, Minute, Poll, PollDraft, PollId,
    Position, ReceiptSecret, Slug, UnixMillis,
};
use paredao_store::{
    Application, ApplyError, DeadLetter, DeadLetterHead, DeadLetterId, DeadLetterState,
    EmbeddedStore, Fate, Fence, FinalityHurdle, Known, LaneClaim, LedgerQuery, Loss, LossName,
    OwnerId, PollChange, Snapshot, Store, StoreError,
};
use parking_lot::Mutex;

use crate::defect::Defect;
use crate::steps::{step, wait};
use crate::violation::Violation;
use crate::world::World;

/// A request of which nobody knows whether it was carried out.
enum Delayed {
    Apply(Fence, Application),
    Finalize(Fence, PollId, UnixMillis),
}

#[derive(Default)]
struct Seen {
    fence: Option<Fence>,
    applied: BTreeSet<BatchId>,
    newly_final: Vec<PollId>,
    delayed: Vec<Delayed>,
}

pub(crate) struct FaultyStore {
    world: Arc<World>,
    inner: EmbeddedStore,
    seen: Mutex<Seen>,
}

/// What happens to a transaction.
enum Course {
    Executed,
    Aborted,
    ExecutedAndUnknown,
    NotExecutedAndUnknown,
    ExecutedLater,
}

fn away() -> StoreError {
    StoreError::Unavailable("said the model".to_owned())
}

fn unknown() -> ApplyError {
    ApplyError::Unknown("said the model".to_owned())
}

impl FaultyStore {
    pub(crate) fn new(world: &Arc<World>, inner: EmbeddedStore) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            inner,
            seen: Mutex::default(),
        })
    }

    /// The store itself, without anything going wrong.
    pub(crate) fn inner(&self) -> &EmbeddedStore {
        &self.inner
    }

    pub(crate) fn is_applied(&self, batch: BatchId) -> bool {
        self.seen.lock().applied.contains(&batch)
    }

    pub(crate) fn applied(&self) -> Vec<BatchId> {
        self.seen.lock().applied.iter().copied().collect()
    }

    /// Polls that became final since this was asked last.
    pub(crate) fn newly_final(&self) -> Vec<PollId> {
        std::mem::take(&mut self.seen.lock().newly_final)
    }

    /// One of the requests that got lost on the way arrives after all.
    pub(crate) fn arrive(&self) {
        let mut seen = self.seen.lock();
        if seen.delayed.is_empty() {
            return;
        }
        let at = self.world.below(seen.delayed.len());
        let delayed = seen.delayed.swap_remove(at);
        drop(seen);
        self.world.saw("executed later");
        match delayed {
            Delayed::Apply(fence, application) => drop(self.execute(&fence, &application)),
            Delayed::Finalize(fence, poll, now) => {
                drop(self.execute_final(&fence, poll, now));
            }
        }
    }

    fn course(&self) -> Course {
        let trouble = self.world.trouble();
        if self.world.hits(trouble.commit_aborted) {
            return Course::Aborted;
        }
        if !self.world.hits(trouble.commit_unknown) {
            return Course::Executed;
        }
        self.world.saw("outcome unknown");
        match self.world.below(3) {
            0 => Course::ExecutedAndUnknown,
            1 => Course::NotExecutedAndUnknown,
            _ => Course::ExecutedLater,
        }
    }

    fn execute(&self, fence: &Fence, application: &Application) -> Result<(), ApplyError> {
        let newest = self.seen.lock().fence;
        let used = if self.world.has(Defect::IgnoresTheFence) {
            newest.unwrap_or(*fence)
        } else {
            *fence
        };
        let application = self.with_defect(application);
        let result = wait(self.inner.apply(&used, &application));
        match &result {
            Ok(()) => self.note_applied(fence, newest, &application),
            Err(error) => self.note_refusal(error),
        }
        result
    }

    fn note_refusal(&self, error: &ApplyError) {
        match error {
            ApplyError::Fenced => self.world.saw("fenced"),
            ApplyError::Store(error) => self.note_damage(error),
            ApplyError::AlreadyApplied(_) | ApplyError::Unknown(_) => {}
        }
    }

    fn note_damage(&self, error: &StoreError) {
        if !error.may_pass() {
            self.world.report(Violation::Damaged(error.to_string()));
        }
    }

    fn note_applied(&self, fence: &Fence, newest: Option<Fence>, application: &Application) {
        if Some(*fence) != newest {
            let written = format!("{} entries", application.entries.len());
            self.world.report(Violation::FencedWrote(written));
        }
        let ids = application.entries.iter().map(|entry| entry.batch.id());
        self.seen.lock().applied.extend(ids);
        self.world
            .saw_times("recovered", application.recovered.len() as u64);
        self.world
            .saw_times("dead letter", application.dead_letters.len() as u64);
    }

    fn execute_final(
        &self,
        fence: &Fence,
        poll: PollId,
        now: UnixMillis,
    ) -> Result<Vec<FinalityHurdle>, ApplyError> {
        if self.world.has(Defect::NeverDeclaresFinal) {
            return Ok(vec![FinalityHurdle::NotClosed]);
        }
        let newest = self.seen.lock().fence;
        let result = wait(self.inner.finalize(fence, poll, now));
        match &result {
            Ok(hurdles) if hurdles.is_empty() => {
                if Some(*fence) != newest {
                    self.world
                        .report(Violation::FencedWrote("a final result".to_owned()));
                }
                self.seen.lock().newly_final.push(poll);
            }
            Ok(_) => {}
            Err(error) => self.note_refusal(error),
        }
        result
    }

    fn with_defect(&self, application: &Application) -> Application {
        let mut application = application.clone();
        if self.world.has(Defect::CountsCopies) {
            let stays = |kind| !matches!(kind, MarkKind::Duplicate | MarkKind::KeyConflict);
            let entries = application.entries.iter_mut();
            entries.for_each(|entry| entry.marks.retain(|mark| stays(mark.kind)));
        }
        if self.world.has(Defect::MarksWrongly) {
            let marks = application.entries.iter_mut().flat_map(|e| &mut e.marks);
            for mark in marks.filter(|mark| mark.kind == MarkKind::Duplicate) {
                mark.kind = MarkKind::KeyConflict;
            }
        }
        if self.world.has(Defect::ThrowsLettersAway) {
            application.dead_letters.clear();
        }
        if self.world.has(Defect::ForgetsWhatWasConfirmed) {
            application.incarnations = forgetful(&application);
        }
        if self.world.has(Defect::NeedsNoBarrier) {
            let polls = wait(self.inner.polls()).unwrap_or_default();
            application.barriers = polls.iter().map(|poll| poll.id).collect();
        }
        application
    }

    async fn ask<T>(&self, ask: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        step().await;
        if self.world.hits(self.world.trouble().store_away) {
            return Err(away());
        }
        let answer = ask();
        if let Err(error) = &answer {
            self.note_damage(error);
        }
        step().await;
        if self.world.hits(self.world.trouble().store_answer_lost) {
            return Err(away());
        }
        answer
    }
}

/// Batches of one incarnation in a history are fewer.
const NUMBERS_MAX: u64 = 1_000;

/// The same books, written by somebody who does not note what was confirmed.
fn forgetful(application: &Application) -> Vec<IncarnationBook> {
    let rewrite = |book: &IncarnationBook| {
        let mut copy = IncarnationBook::new(book.incarnation(), book.lane());
        for number in (1..=NUMBERS_MAX).filter(|&number| book.knows(number)) {
            copy.record_damaged(number, 0, book.cumulative(), Minute(0));
        }
        copy
    };
    application.incarnations.iter().map(rewrite).collect()
}

#[async_trait]
impl Store for FaultyStore {
    async fn receipt_secret(&self) -> Result<ReceiptSecret, StoreError> {
        self.inner.receipt_secret().await
    }

    async fn create_poll(&self, draft: PollDraft, now: UnixMillis) -> Result<Poll, StoreError> {
        self.inner.create_poll(draft, now).await
    }

    async fn change_poll(
        &self,
        slug: &Slug,
        change: PollChange,
        now: UnixMillis,
    ) -> Result<Poll, StoreError> {
        self.inner.change_poll(slug, change, now).await
    }

    async fn polls(&self) -> Result<Vec<Poll>, StoreError> {
        self.ask(|| wait(self.inner.polls())).await
    }

    async fn snapshot(&self, now: UnixMillis) -> Result<Snapshot, StoreError> {
        self.ask(|| wait(self.inner.snapshot(now))).await
    }

    async fn claim_lane(&self, lane: Lane, owner: OwnerId) -> Result<LaneClaim, StoreError> {
        self.ask(|| {
            let claim = wait(self.inner.claim_lane(lane, owner))?;
            self.seen.lock().fence = Some(claim.fence);
            self.world.saw("claim");
            Ok(claim)
        })
        .await
    }

    async fn apply(&self, fence: &Fence, application: &Application) -> Result<(), ApplyError> {
        step().await;
        let result = match self.course() {
            Course::Executed => self.execute(fence, application),
            Course::Aborted => Err(away().into()),
            Course::ExecutedAndUnknown => {
                drop(self.execute(fence, application));
                Err(unknown())
            }
            Course::NotExecutedAndUnknown => Err(unknown()),
            Course::ExecutedLater => {
                let delayed = Delayed::Apply(*fence, application.clone());
                self.seen.lock().delayed.push(delayed);
                Err(unknown())
            }
        };
        step().await;
        result
    }

    async fn known(&self, ids: &[BatchId]) -> Result<Vec<(BatchId, Known)>, StoreError> {
        self.world.saw("known batches looked up");
        self.ask(|| wait(self.inner.known(ids))).await
    }

    async fn ledger(&self, query: &LedgerQuery) -> Result<Vec<LedgerEntry>, StoreError> {
        // Who looks for copies of votes asks for the entries of their poll.
        let is_rebuild = query.poll.is_none();
        self.world.saw(if is_rebuild {
            "window rebuilt"
        } else {
            "old batch looked up in the ledger"
        });
        let skipped = if is_rebuild {
            Defect::SkipsTheRebuild
        } else {
            Defect::SkipsTheLedger
        };
        if self.world.has(skipped) {
            return Ok(Vec::new());
        }
        self.ask(|| wait(self.inner.ledger(query))).await
    }

    async fn finalize(
        &self,
        fence: &Fence,
        poll: PollId,
        now: UnixMillis,
    ) -> Result<Vec<FinalityHurdle>, ApplyError> {
        step().await;
        let result = match self.course() {
            Course::Executed => self.execute_final(fence, poll, now),
            Course::Aborted => Err(away().into()),
            Course::ExecutedAndUnknown => {
                drop(self.execute_final(fence, poll, now));
                Err(unknown())
            }
            Course::NotExecutedAndUnknown => Err(unknown()),
            Course::ExecutedLater => {
                let delayed = Delayed::Finalize(*fence, poll, now);
                self.seen.lock().delayed.push(delayed);
                Err(unknown())
            }
        };
        step().await;
        result
    }

    async fn fate(&self, batch: BatchId, position: Position) -> Result<Fate, StoreError> {
        self.ask(|| wait(self.inner.fate(batch, position))).await
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetterHead>, StoreError> {
        self.ask(|| wait(self.inner.dead_letters())).await
    }

    async fn dead_letter(&self, id: DeadLetterId) -> Result<DeadLetter, StoreError> {
        self.ask(|| wait(self.inner.dead_letter(id))).await
    }

    async fn resolve_dead_letter(
        &self,
        id: DeadLetterId,
        state: DeadLetterState,
    ) -> Result<(), StoreError> {
        self.ask(|| wait(self.inner.resolve_dead_letter(id, state)))
            .await
    }

    async fn losses(&self) -> Result<Vec<Loss>, StoreError> {
        self.ask(|| wait(self.inner.losses())).await
    }

    async fn write_off_loss(
        &self,
        name: LossName,
        reason: &str,
        now: UnixMillis,
    ) -> Result<Loss, StoreError> {
        self.ask(|| wait(self.inner.write_off_loss(name, reason, now)))
            .await
    }

    async fn checkpoint(&self) -> Result<(), StoreError> {
        self.ask(|| wait(self.inner.checkpoint())).await
    }
}
