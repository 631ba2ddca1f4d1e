//! The store in one SQLite file, for one machine.
//!
//! One thread writes, one answers short questions, one reads the ledger: so neither a page of the
//! ledger nor a snapshot waits for a transaction (WAL), and a snapshot does not wait for a page.
//! A transaction is durable when it is answered (`synchronous=FULL`); after anything that looks
//! like a broken disk the file is opened again before anything read from it is believed. Damage to
//! the journal takes back what the vote log delivers again; what it does not deliver (polls, final
//! results, decisions) is moved into the file at once.

use std::ops::RangeInclusive;
use std::path::Path;

use async_trait::async_trait;
use paredao_domain::{
    BatchId, Lane, LedgerEntry, Poll, PollDraft, PollId, Position, ReceiptSecret, Slug, UnixMillis,
};
use rusqlite::Connection;

use crate::{
    Application, ApplyError, DeadLetter, DeadLetterHead, DeadLetterId, DeadLetterState, Fate,
    Fence, FinalityHurdle, Known, LaneClaim, LedgerQuery, Loss, LossName, OwnerId, PollChange,
    Snapshot, Store, StoreError,
};

mod apply;
mod books;
mod dead_letters;
mod door;
mod fate;
mod fault;
mod file;
mod finality;
mod journal;
mod lane;
mod ledger;
mod losses;
mod polls;
mod segments;
mod snapshot;
mod tally;
mod worker;

pub use door::EmbeddedLedger;
pub use file::EmbeddedOptions;
pub use segments::LogSegments;

use fault::Work;
use file::{Access, File};
use worker::{Seat, Worker};

/// The store in one SQLite file.
///
/// Dropping it finishes what was asked, moves the journal into the file and closes it; that takes
/// as long as the disk does, so do it where waiting is allowed.
pub struct EmbeddedStore {
    // Dropped in this order: the writer closes the file last and so empties the journal.
    views: Worker,
    ledger: Worker,
    writer: Worker,
    log_segments: LogSegments,
}

impl EmbeddedStore {
    /// Opens the file, or makes it if there is none. Blocks while the disk works.
    ///
    /// A journal with a damaged or missing end is read up to the damage: what was applied after
    /// the last checkpoint may be gone then, and the vote log delivers it again.
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<Self, StoreError> {
        let file = File::new(path, options);
        file.make_if_absent()?;
        let mut writer = take_over(file)?;
        let log_segments = writer.work(|connection| segments::known(connection))?;
        let readers = EmbeddedOptions {
            cache_bytes: options.cache_bytes / 4,
            ..options
        };
        let reader = || Seat::take(File::new(path, readers), Access::Read);
        Ok(Self {
            views: Worker::start("store-views", reader()?)?,
            ledger: Worker::start("store-ledger", reader()?)?,
            writer: Worker::start("store-writer", writer)?,
            log_segments,
        })
    }

    /// Resolves when a thread of it has died. What is asked of it then is answered with
    /// [`StoreError::Dead`], and only a new process brings it back.
    pub async fn died(&self) {
        tokio::select! {
            () = self.views.died() => {}
            () = self.ledger.died() => {}
            () = self.writer.died() => {}
        }
    }

    /// What was kept of the vote log's files when this was opened, so that the log can tell
    /// whether they are still there.
    pub fn log_segments(&self) -> LogSegments {
        self.log_segments
    }

    /// Notes the highest number of a file of the vote log.
    pub async fn note_newest_segment(&self, newest: u64) -> Result<(), StoreError> {
        self.write_for_good(move |connection| segments::note_newest(connection, newest))
            .await
    }

    /// Notes that the files of the vote log up to this one may go. The one after is there then: the
    /// newest stays.
    pub async fn note_released_segments(&self, up_to: u64) -> Result<(), StoreError> {
        self.write_for_good(move |connection| segments::note_released(connection, up_to))
            .await
    }

    /// Notes which files of the vote log are gone, all that it misses, and which are there: those
    /// that are gone keep results from becoming final until they are there again or somebody gives
    /// them up.
    pub async fn note_lost_segments(
        &self,
        lost: Vec<RangeInclusive<u64>>,
        there: Vec<RangeInclusive<u64>>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.write_for_good(move |connection| segments::note_lost(connection, &lost, &there, now))
            .await
    }

    /// Has the writer do a piece of work.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Work<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.run(move |seat| seat.work(work)).await
    }

    /// Has the writer do a piece of work that must survive damage to the journal.
    async fn write_for_good<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Work<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer
            .run(move |seat| apply::for_good(seat, work))
            .await
    }

    /// Has a short question answered.
    async fn view<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Work<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.views.run(move |seat| seat.work(work)).await
    }
}

/// Takes the writer's seat. The journal of an earlier life goes into the file first: nothing that
/// happens to it later can take anything back.
fn take_over(file: File) -> Result<Seat, StoreError> {
    match journal::unreadable_bytes(&file.journal()) {
        Ok(0) => {}
        Ok(bytes) => tracing::warn!(
            event = "store_journal_cut",
            journal = %file.journal().display(),
            size_bytes = bytes,
            "the end of the journal cannot be read: what was applied there comes again from the vote log",
        ),
        Err(error) => tracing::warn!(event = "store_journal_not_checked", %error),
    }
    let mut seat = Seat::take(file, Access::Write)?;
    if seat.file().journal_bytes() > 0 {
        apply::empty_journal(&mut seat);
    }
    Ok(seat)
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn receipt_secret(&self) -> Result<ReceiptSecret, StoreError> {
        self.view(|connection| {
            let sql = "SELECT value FROM meta WHERE name = 'receipt_secret'";
            Ok(connection.query_row(sql, [], |row| row.get(0).map(ReceiptSecret::new))?)
        })
        .await
    }

    async fn create_poll(&self, draft: PollDraft, now: UnixMillis) -> Result<Poll, StoreError> {
        self.write_for_good(move |connection| polls::create(connection, draft, now))
            .await
    }

    async fn change_poll(
        &self,
        slug: &Slug,
        change: PollChange,
        now: UnixMillis,
    ) -> Result<Poll, StoreError> {
        let slug = slug.clone();
        self.write_for_good(move |connection| polls::change(connection, &slug, change, now))
            .await
    }

    async fn polls(&self) -> Result<Vec<Poll>, StoreError> {
        self.view(|connection| polls::all(connection)).await
    }

    async fn snapshot(&self, now: UnixMillis) -> Result<Snapshot, StoreError> {
        self.view(move |connection| snapshot::take(connection, now))
            .await
    }

    async fn claim_lane(&self, lane: Lane, owner: OwnerId) -> Result<LaneClaim, StoreError> {
        self.write(move |connection| lane::claim(connection, lane, owner))
            .await
    }

    async fn apply(&self, fence: &Fence, application: &Application) -> Result<(), ApplyError> {
        // Cloning copies marks, not batches: their bytes are shared.
        let (fence, application) = (*fence, application.clone());
        self.writer
            .run(move |seat| apply::apply(seat, &fence, &application))
            .await
    }

    async fn known(&self, ids: &[BatchId]) -> Result<Vec<(BatchId, Known)>, StoreError> {
        let ids = ids.to_vec();
        self.view(move |connection| fate::known(connection, &ids))
            .await
    }

    async fn ledger(&self, query: &LedgerQuery) -> Result<Vec<LedgerEntry>, StoreError> {
        let query = query.clone();
        self.ledger
            .run(move |seat| seat.work(|connection| ledger::page(connection, &query)))
            .await
    }

    async fn finalize(
        &self,
        fence: &Fence,
        poll: PollId,
        now: UnixMillis,
    ) -> Result<Vec<FinalityHurdle>, ApplyError> {
        let fence = *fence;
        self.writer
            .run(move |seat| {
                let hurdles =
                    seat.work(|connection| finality::finalize(connection, &fence, poll, now))?;
                if hurdles.is_empty() {
                    apply::empty_journal(seat);
                }
                Ok(hurdles)
            })
            .await
    }

    async fn fate(&self, batch: BatchId, position: Position) -> Result<Fate, StoreError> {
        self.view(move |connection| fate::fate(connection, batch, position))
            .await
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetterHead>, StoreError> {
        self.view(|connection| dead_letters::all(connection)).await
    }

    async fn dead_letter(&self, id: DeadLetterId) -> Result<DeadLetter, StoreError> {
        self.view(move |connection| dead_letters::find(connection, id))
            .await
    }

    async fn resolve_dead_letter(
        &self,
        id: DeadLetterId,
        state: DeadLetterState,
    ) -> Result<(), StoreError> {
        self.write_for_good(move |connection| dead_letters::resolve(connection, id, &state))
            .await
    }

    async fn losses(&self) -> Result<Vec<Loss>, StoreError> {
        self.view(|connection| losses::all(connection)).await
    }

    async fn write_off_loss(
        &self,
        name: LossName,
        reason: &str,
        now: UnixMillis,
    ) -> Result<Loss, StoreError> {
        let reason = reason.to_owned();
        self.write_for_good(move |connection| losses::write_off(connection, name, &reason, now))
            .await
    }

    async fn checkpoint(&self) -> Result<(), StoreError> {
        self.write(apply::checkpoint).await
    }
}
