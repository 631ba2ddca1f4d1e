//! A log, a store and a clock of a test's own, and whoever works on them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use paredao_consumer::{ClosingOptions, Consumer, ConsumerOptions};
use paredao_domain::{
    Accounts, BatchId, BootMillis, Candidate, CandidateNumber, Clock, EncodedBatch, Incarnation,
    KeyHash, KeySource, Lane, LedgerEntry, PartialsPolicy, Poll, PollDraft, PollId, Position,
    ReceiptSecret, Slug, UnixMillis, UtcOffset, VERSION, Vote, VotingHours,
};
use paredao_intake::{Ballot, Intake, IntakeOptions};
use paredao_store::{
    Application, ApplyError, DeadLetter, DeadLetterId, DeadLetterState, EmbeddedOptions,
    EmbeddedStore, Fate, Fence, FinalityHurdle, Known, LaneClaim, LedgerQuery, OwnerId, PollChange,
    Snapshot, Store, StoreError,
};
use paredao_vote_log::disk::RealDisk;
use paredao_vote_log::{
    AppendError, Delivery, DeliveryTag, EmbeddedLog, LogError, LogStatus, Subscription, VoteLog,
};
use tempfile::TempDir;

pub(crate) const LANE: Lane = Lane(0);
pub(crate) const POLL: PollId = PollId(1);
/// When everything begins: half past some minute.
pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_030_000);
pub(crate) const SETTLE_MS: i64 = 7_000;
/// How long anything that must happen may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A vote whose key a voter chose.
pub(crate) fn vote(n: u64, for_whom: u64) -> Vote {
    Vote {
        candidate: CandidateNumber::try_from(for_whom).unwrap(),
        source: KeySource::Client,
        offset: NOW.offset_in_minute(),
        key: key(n),
    }
}

fn key(n: u64) -> KeyHash {
    let mut hash = [0x6b; KeyHash::BYTES];
    hash.iter_mut()
        .zip(n.to_le_bytes())
        .for_each(|(to, from)| *to = from);
    KeyHash(hash)
}

/// Hands votes in, all at once, and waits until each has its receipt.
pub(crate) async fn submit_all(intake: &Arc<Intake>, keys: impl IntoIterator<Item = u64>) {
    let votes: Vec<_> = keys
        .into_iter()
        .map(|n| {
            let intake = Arc::clone(intake);
            tokio::spawn(async move {
                let ballot = Ballot {
                    poll: POLL,
                    hours: VotingHours {
                        opens_at: Some(NOW),
                        closes_at: None,
                    },
                    candidate: CandidateNumber::try_from(1).unwrap(),
                    source: KeySource::Client,
                    key: key(n),
                };
                intake.submit(ballot).await
            })
        })
        .collect();
    for vote in votes {
        vote.await.unwrap().unwrap();
    }
}

/// A clock that goes on only when told to.
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::Relaxed))
    }

    fn boot(&self) -> BootMillis {
        BootMillis(self.0.load(Ordering::Relaxed).cast_unsigned())
    }
}

pub(crate) struct Rig {
    pub(crate) store: Arc<LeavingStore>,
    pub(crate) clock: Arc<SetClock>,
    log: Option<Arc<EmbeddedLog>>,
    newer_release: bool,
    drawn: AtomicU64,
    folder: TempDir,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("store.sqlite");
        let inner = EmbeddedStore::open(&file, EmbeddedOptions::default()).unwrap();
        let mut rig = Self {
            store: Arc::new(LeavingStore {
                inner,
                is_away: AtomicBool::new(false),
            }),
            clock: Arc::new(SetClock(AtomicI64::new(NOW.0))),
            log: None,
            newer_release: false,
            drawn: AtomicU64::new(1),
            folder,
        };
        rig.open_log();
        assert_eq!(rig.create_open_poll("paredao").await.id, POLL);
        rig
    }

    fn log_folder(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn open_log(&mut self) {
        let disk = Arc::new(RealDisk::open(self.log_folder()).unwrap());
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let options = paredao_vote_log::EmbeddedOptions::default();
        self.log = Some(Arc::new(EmbeddedLog::open(disk, clock, options).unwrap()));
    }

    /// Opens the log again after its process died; whoever used it must be gone.
    pub(crate) fn reopen_log(&mut self) {
        self.log = None;
        self.open_log();
    }

    pub(crate) fn embedded(&self) -> &EmbeddedLog {
        self.log.as_ref().unwrap()
    }

    pub(crate) fn log(&self) -> Arc<dyn VoteLog> {
        let inner = Arc::clone(self.log.as_ref().unwrap());
        if self.newer_release {
            Arc::new(FromTheFuture(inner))
        } else {
            inner
        }
    }

    /// From now on everything is delivered as a newer release would have written it.
    pub(crate) fn deliver_as_newer_release(&mut self) {
        self.newer_release = true;
    }

    /// The store itself, which is always there.
    pub(crate) fn real(&self) -> &EmbeddedStore {
        &self.store.inner
    }

    fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn options() -> ConsumerOptions {
        ConsumerOptions {
            lane: LANE,
            apply_interval: Duration::from_millis(5),
            checkpoint_interval: Duration::from_secs(1),
            closing: ClosingOptions {
                settle_ms: SETTLE_MS,
            },
            ..ConsumerOptions::default()
        }
    }

    pub(crate) fn consumer(&self) -> Consumer {
        self.consumer_with(Self::options())
    }

    pub(crate) fn consumer_with(&self, options: ConsumerOptions) -> Consumer {
        Consumer::start(
            self.log(),
            Arc::clone(&self.store) as Arc<dyn Store>,
            Arc::clone(&self.clock) as Arc<dyn Clock>,
            OwnerId(self.draw()),
            Incarnation(self.draw()),
            options,
        )
        .unwrap()
    }

    pub(crate) fn intake(&self) -> Arc<Intake> {
        let options = IntakeOptions {
            lane: LANE,
            waiting_max: 10_000,
            batch_votes_max: 64,
            linger_max: Duration::from_micros(500),
            append_deadline: Duration::from_secs(5),
            appends_max: 1,
        };
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let incarnation = Incarnation(self.draw());
        // One is enough: the clock of these tests never goes back.
        let incarnations = Box::new(move || Ok(incarnation));
        Arc::new(Intake::start(self.log(), clock, incarnations, options).unwrap())
    }

    /// Everything but the files goes, and the log is opened again: what was acknowledged and is
    /// still there is delivered again.
    pub(crate) async fn crash(&mut self, intake: Arc<Intake>, consumer: Consumer) {
        self.store.go_away();
        assert!(intake.stop(LIMIT).await);
        drop(intake);
        assert!(consumer.stop(LIMIT).await);
        self.store.come_back();
        self.reopen_log();
    }

    /// Changes one byte of a batch in the log's files, which are opened again.
    pub(crate) fn damage_on_disk(&mut self, batch: &EncodedBatch) {
        self.log = None;
        let mut changed = 0;
        for file in std::fs::read_dir(self.log_folder()).unwrap() {
            let path = file.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            let found = bytes
                .windows(batch.bytes().len())
                .position(|window| window == &batch.bytes()[..]);
            if let Some(at) = found {
                let last = at + batch.bytes().len() - 1;
                if let Some(byte) = bytes.get_mut(last) {
                    *byte ^= 1;
                }
                std::fs::write(&path, bytes).unwrap();
                changed += 1;
            }
        }
        assert_eq!(changed, 1, "the batch is in one file");
        self.open_log();
    }

    pub(crate) async fn create_open_poll(&self, slug: &str) -> Poll {
        let draft = PollDraft {
            slug: slug.parse().unwrap(),
            title: "Quem sai?".to_owned(),
            candidates: [(1, "Ana"), (2, "Bia")]
                .map(|(number, name)| Candidate {
                    number: CandidateNumber::try_from(number).unwrap(),
                    name: name.to_owned(),
                })
                .into(),
            utc_offset: UtcOffset::BRASILIA,
            opens_at: None,
            closes_at: None,
            key_life_s: 180,
            partials_policy: PartialsPolicy::Always,
            principal: false,
        };
        let now = self.clock.now();
        let poll = self.real().create_poll(draft, now).await.unwrap();
        let open = self.real().change_poll(&poll.slug, PollChange::Open, now);
        open.await.unwrap()
    }

    /// Closes the first poll at once.
    pub(crate) async fn close_poll(&self) {
        self.clock.advance(1);
        let slug = "paredao".parse().unwrap();
        let close = PollChange::Close { lead_ms: 0 };
        let now = self.clock.now();
        self.real().change_poll(&slug, close, now).await.unwrap();
    }

    pub(crate) async fn snapshot(&self) -> Snapshot {
        self.real().snapshot(self.clock.now()).await.unwrap()
    }

    pub(crate) async fn accounts(&self) -> Accounts {
        self.snapshot().await.books.accounts
    }

    /// Waits until something holds; it must within [`LIMIT`].
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let end = Instant::now() + LIMIT;
        while !holds(self).await {
            assert!(Instant::now() < end, "never came: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until so many votes are counted, and not one more.
    pub(crate) async fn until_counted(&self, votes: u64) {
        let counted = async |rig: &Self| rig.accounts().await.counted >= votes;
        self.until(&format!("{votes} counted"), counted).await;
        assert_eq!(self.accounts().await.counted, votes);
    }

    /// The conservation law, with so many votes taken in all.
    pub(crate) async fn assert_conserved(&self, accepted: u64) {
        let books = self.snapshot().await.books;
        let cut: u64 = books.cut.iter().map(|(_, votes)| votes).sum();
        let in_flight = self.log().status(LANE).await.unwrap().votes;
        let accounted = books.accounts.total() + books.dead_lettered + books.missing + in_flight;
        assert_eq!(cut - books.unanswered, accepted, "{books:?}");
        assert_eq!(accounted, accepted, "{books:?}");
    }
}

/// The store, which goes away and comes back as told.
pub(crate) struct LeavingStore {
    inner: EmbeddedStore,
    is_away: AtomicBool,
}

impl LeavingStore {
    pub(crate) fn go_away(&self) {
        self.is_away.store(true, Ordering::SeqCst);
    }

    pub(crate) fn come_back(&self) {
        self.is_away.store(false, Ordering::SeqCst);
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
        self.inner.claim_lane(lane, owner).await
    }

    async fn apply(&self, fence: &Fence, application: &Application) -> Result<(), ApplyError> {
        self.check()?;
        self.inner.apply(fence, application).await
    }

    async fn known(&self, ids: &[BatchId]) -> Result<Vec<(BatchId, Known)>, StoreError> {
        self.check()?;
        self.inner.known(ids).await
    }

    async fn ledger(&self, query: &LedgerQuery) -> Result<Vec<LedgerEntry>, StoreError> {
        self.check()?;
        self.inner.ledger(query).await
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

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
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

    async fn checkpoint(&self) -> Result<(), StoreError> {
        self.check()?;
        self.inner.checkpoint().await
    }
}

/// A log whose batches come out as a newer release would write them: another version byte, and a
/// checksum that fits.
struct FromTheFuture(Arc<EmbeddedLog>);

struct FutureSubscription(Box<dyn Subscription>);

#[async_trait]
impl VoteLog for FromTheFuture {
    async fn append(&self, batch: &EncodedBatch) -> Result<(), AppendError> {
        self.0.append(batch).await
    }

    async fn subscribe(&self, lane: Lane) -> Result<Box<dyn Subscription>, LogError> {
        let inner = self.0.subscribe(lane).await?;
        Ok(Box::new(FutureSubscription(inner)))
    }

    async fn status(&self, lane: Lane) -> Result<LogStatus, LogError> {
        self.0.status(lane).await
    }
}

#[async_trait]
impl Subscription for FutureSubscription {
    async fn next(&mut self, votes_max: usize) -> Result<Vec<Delivery>, LogError> {
        let mut deliveries = self.0.next(votes_max).await?;
        for delivery in &mut deliveries {
            let mut body = delivery.body.to_vec();
            body.truncate(body.len() - 4);
            body.iter_mut()
                .take(1)
                .for_each(|version| *version = VERSION + 1);
            body.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
            delivery.body = body.into();
        }
        Ok(deliveries)
    }

    async fn ack(&mut self, tags: &[DeliveryTag]) -> Result<(), LogError> {
        self.0.ack(tags).await
    }

    async fn release(&mut self) -> Result<(), LogError> {
        self.0.release().await
    }
}
