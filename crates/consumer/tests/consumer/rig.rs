//! A log, a store and a clock of a test's own, and whoever works on them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use paredao_consumer::{ClosingOptions, Consumer, ConsumerOptions, LaneOwner};
use paredao_domain::{
    Accounts, BootMillis, Candidate, CandidateNumber, Clock, EncodedBatch, Incarnation, KeyHash,
    KeySource, Lane, PartialsPolicy, Poll, PollDraft, PollId, UnixMillis, UtcOffset, Vote,
    VotingHours,
};
use paredao_intake::{Ballot, Intake, IntakeOptions};
use paredao_store::{EmbeddedOptions, EmbeddedStore, OwnerId, PollChange, Snapshot, Store};
use paredao_vote_log::disk::RealDisk;
use paredao_vote_log::{EmbeddedLog, KnownSegments, SegmentRegister, VoteLog};
use tempfile::TempDir;

use crate::leaving_store::LeavingStore;
use crate::newer_log::NewerLog;

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
    register: Arc<Register>,
    newer_release: bool,
    drawn: AtomicU64,
    folder: TempDir,
}

/// Knows nothing of the log's files, and is told at times in vain that they may go.
#[derive(Default)]
struct Register {
    refusals: AtomicU64,
}

#[async_trait]
impl SegmentRegister for Register {
    fn known(&self) -> KnownSegments {
        KnownSegments::default()
    }

    async fn note_released(&self, _: u64) -> io::Result<()> {
        let refused = self
            .refusals
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        match refused {
            Ok(_) => Err(io::ErrorKind::StorageFull.into()),
            Err(_) => Ok(()),
        }
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("store.sqlite");
        let inner = EmbeddedStore::open(&file, EmbeddedOptions::default()).unwrap();
        let mut rig = Self {
            store: Arc::new(LeavingStore::new(inner)),
            clock: Arc::new(SetClock(AtomicI64::new(NOW.0))),
            log: None,
            register: Arc::default(),
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
        let register = Arc::clone(&self.register) as Arc<dyn SegmentRegister>;
        let log = EmbeddedLog::open_registered(disk, clock, options, register);
        self.log = Some(Arc::new(log.unwrap()));
    }

    /// So many times it cannot be kept that files of the log may go.
    pub(crate) fn refuse_releases(&self, times: u64) {
        self.register.refusals.store(times, Ordering::Relaxed);
    }

    /// Files of the log.
    pub(crate) fn log_files(&self) -> usize {
        std::fs::read_dir(self.log_folder()).unwrap().count()
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
            Arc::new(NewerLog(inner))
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
        self.store.inner()
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

    /// Intake and consumer stop while the store is away, and the log is opened again: what was not
    /// applied, or was acknowledged and is still there, is delivered again.
    pub(crate) async fn restart(&mut self, intake: Arc<Intake>, consumer: Consumer) {
        self.store.go_away();
        assert!(intake.stop(LIMIT).await);
        drop(intake);
        consumer.stop(LIMIT).await;
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
        self.create_open_poll_with(slug, 180).await
    }

    pub(crate) async fn create_open_poll_with(&self, slug: &str, key_life_s: u32) -> Poll {
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
            key_life_s,
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

    /// Lets the time pass in which votes for the first poll may still be on their way, once the
    /// consumer has seen that it is closed.
    pub(crate) async fn settle(&self, consumer: &Consumer) {
        self.until("the consumer sees the end", async |_| {
            consumer.status().hurdles.contains_key(&POLL)
        })
        .await;
        self.clock.advance(SETTLE_MS);
    }

    pub(crate) async fn owner(&self) -> LaneOwner {
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let owner = LaneOwner::claim(store, clock, LANE, OwnerId(self.draw()));
        owner.await.unwrap()
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
