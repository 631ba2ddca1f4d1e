//! The intake against a log on a leash: it takes, holds or refuses what is appended, as told.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a failed assumption in a test is a failed test"
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use paredao_domain::{
    BatchKind, BatchNumber, BootMillis, CandidateNumber, Clock, EncodedBatch, Incarnation, KeyHash,
    KeySource, Lane, PollId, Receipt, UnixMillis, VotingHours,
};
use paredao_intake::{Ballot, Door, Incarnations, Intake, IntakeError, IntakeOptions, NotTaken};
use paredao_vote_log::{AppendError, LogError, LogStatus, Subscription, VoteLog};
use tokio::sync::{Mutex, watch};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Takes,
    /// Takes the batches up to this number and holds the others.
    TakesUpTo(BatchNumber),
    Holds,
    Refuses,
}

impl Mood {
    fn decides(self, number: BatchNumber) -> bool {
        match self {
            Self::Takes | Self::Refuses => true,
            Self::TakesUpTo(last) => number <= last,
            Self::Holds => false,
        }
    }
}

/// Appends wait while it holds, fail while it refuses, and are kept while it takes.
struct Leash {
    mood: watch::Sender<Mood>,
    kept: Mutex<Vec<EncodedBatch>>,
    attempts: Mutex<Vec<EncodedBatch>>,
}

impl Leash {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            mood: watch::Sender::new(mood),
            kept: Mutex::default(),
            attempts: Mutex::default(),
        })
    }

    fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    async fn kept(&self) -> Vec<EncodedBatch> {
        self.kept.lock().await.clone()
    }
}

#[async_trait]
impl VoteLog for Leash {
    async fn append(&self, batch: &EncodedBatch) -> Result<(), AppendError> {
        self.attempts.lock().await.push(batch.clone());
        let mut mood = self.mood.subscribe();
        let decided = *mood
            .wait_for(|mood| mood.decides(batch.id().number))
            .await
            .expect("the leash lives");
        if decided == Mood::Refuses {
            return Err(AppendError::Unavailable("refused by the test".to_owned()));
        }
        self.kept.lock().await.push(batch.clone());
        Ok(())
    }

    async fn subscribe(&self, _: Lane) -> Result<Box<dyn Subscription>, LogError> {
        Err(LogError::Closed)
    }

    async fn status(&self, _: Lane) -> Result<LogStatus, LogError> {
        Ok(LogStatus::default())
    }
}

#[derive(Default)]
struct TestClock {
    now: AtomicI64,
    boot: AtomicU64,
}

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.now.load(Ordering::Relaxed))
    }

    fn boot(&self) -> BootMillis {
        BootMillis(self.boot.load(Ordering::Relaxed))
    }
}

struct Rig {
    log: Arc<Leash>,
    clock: Arc<TestClock>,
    intake: Arc<Intake>,
}

fn options() -> IntakeOptions {
    IntakeOptions {
        lane: Lane(0),
        waiting_max: 100,
        batch_votes_max: 50,
        linger_max: Duration::from_micros(500),
        append_deadline: Duration::from_secs(5),
        appends_max: 1,
    }
}

/// Incarnation 77, then 78, and so on.
fn incarnations() -> Incarnations {
    let mut last = 76;
    Box::new(move || {
        last += 1;
        Ok(Incarnation(last))
    })
}

fn rig_with(mood: Mood, incarnations: Incarnations) -> Rig {
    let (log, clock) = (Leash::new(mood), Arc::new(TestClock::default()));
    let intake = Intake::start(
        Arc::clone(&log) as Arc<dyn VoteLog>,
        Arc::clone(&clock) as Arc<dyn Clock>,
        incarnations,
        options(),
    );
    Rig {
        log,
        clock,
        intake: Arc::new(intake.expect("the options fit")),
    }
}

fn rig(mood: Mood) -> Rig {
    rig_with(mood, incarnations())
}

fn ballot() -> Ballot {
    ballot_in(1)
}

fn ballot_in(poll: u32) -> Ballot {
    Ballot {
        poll: PollId(poll),
        hours: VotingHours {
            opens_at: Some(UnixMillis(0)),
            closes_at: None,
        },
        candidate: CandidateNumber::try_from(1).expect("in range"),
        source: KeySource::Drawn,
        key: KeyHash([0; 12]),
    }
}

type Vote = tokio::task::JoinHandle<Result<Receipt, NotTaken>>;

impl Rig {
    fn vote(&self) -> Vote {
        self.vote_in(1)
    }

    fn vote_in(&self, poll: u32) -> Vote {
        let intake = Arc::clone(&self.intake);
        tokio::spawn(async move { intake.submit(ballot_in(poll)).await })
    }

    fn set_time(&self, now: i64) {
        self.clock.now.store(now, Ordering::Relaxed);
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let waited = async {
            while !holds(self).await {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waited)
            .await
            .unwrap_or_else(|_| panic!("never came: {what}"));
    }
}

#[tokio::test]
async fn every_vote_gets_the_receipt_of_its_own_place() {
    let rig = rig(Mood::Takes);
    let votes: Vec<_> = (0..40).map(|_| rig.vote()).collect();
    let mut receipts = Vec::new();
    for vote in votes {
        receipts.push(vote.await.expect("no panic").expect("taken"));
    }
    let kept = rig.log.kept().await;
    assert_eq!(kept.iter().map(EncodedBatch::vote_count).sum::<u32>(), 40);
    let mut places: Vec<_> = receipts
        .iter()
        .map(|r| (r.batch.number, r.position))
        .collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 40, "no two votes share a place");
    for receipt in receipts {
        let batch = kept
            .iter()
            .find(|b| b.id() == receipt.batch)
            .expect("durable");
        assert!(u32::from(receipt.position) < batch.vote_count());
    }
}

#[tokio::test]
async fn nobody_is_answered_before_the_append_is_done() {
    let rig = rig(Mood::Holds);
    let vote = rig.vote();
    rig.until("an append", async |r| {
        !r.log.attempts.lock().await.is_empty()
    })
    .await;
    assert!(!vote.is_finished());
    rig.log.set(Mood::Takes);
    assert!(vote.await.expect("no panic").is_ok());
}

#[tokio::test]
async fn votes_that_come_during_an_append_share_the_next_one() {
    let rig = rig(Mood::Holds);
    let first = rig.vote();
    rig.until("an append", async |r| {
        !r.log.attempts.lock().await.is_empty()
    })
    .await;
    let others: Vec<_> = (0..30).map(|_| rig.vote()).collect();
    rig.until("thirty waiting", async |r| r.intake.status().waiting == 30)
        .await;
    rig.log.set(Mood::Takes);
    first.await.expect("no panic").expect("taken");
    for vote in others {
        vote.await.expect("no panic").expect("taken");
    }
    let sizes: Vec<u32> = rig
        .log
        .kept()
        .await
        .iter()
        .map(EncodedBatch::vote_count)
        .collect();
    assert_eq!(sizes, [1, 30]);
}

#[tokio::test]
async fn a_full_inbox_refuses_at_once() {
    let rig = rig(Mood::Holds);
    let first = rig.vote();
    rig.until("an append", async |r| {
        !r.log.attempts.lock().await.is_empty()
    })
    .await;
    let waiting: Vec<_> = (0..100).map(|_| rig.vote()).collect();
    rig.until("a full inbox", async |r| r.intake.status().waiting == 100)
        .await;
    assert_eq!(rig.intake.submit(ballot()).await, Err(NotTaken::Overloaded));
    rig.log.set(Mood::Takes);
    first.await.expect("no panic").expect("taken");
    for vote in waiting {
        vote.await.expect("no panic").expect("taken");
    }
}

#[tokio::test]
async fn a_log_that_refuses_closes_the_door_and_opens_it_again_by_itself() {
    let rig = rig(Mood::Refuses);
    let first = rig.vote();
    rig.until("a closed door", async |r| {
        r.intake.status().door == Door::LogUnavailable
    })
    .await;
    assert_eq!(
        rig.intake.submit(ballot()).await,
        Err(NotTaken::LogUnavailable)
    );
    rig.log.set(Mood::Takes);
    assert!(
        first.await.expect("no panic").is_ok(),
        "the first one was retried in time"
    );
    rig.until("an open door", async |r| {
        r.intake.status().door == Door::Open
    })
    .await;
    assert!(rig.intake.submit(ballot()).await.is_ok());
    let attempts = rig.log.attempts.lock().await;
    let first = &attempts[0];
    let same = |b: &&EncodedBatch| b.id() == first.id();
    assert!(
        attempts
            .iter()
            .filter(same)
            .all(|b| b.bytes() == first.bytes()),
        "a retry sends the same bytes"
    );
}

#[tokio::test]
async fn a_batch_past_its_deadline_is_given_up_and_named_void() {
    let rig = rig(Mood::Refuses);
    let vote = rig.vote();
    rig.until("a failed append", async |r| {
        r.intake.status().door == Door::LogUnavailable
    })
    .await;
    rig.clock.boot.store(5_001, Ordering::Relaxed);
    assert_eq!(vote.await.expect("no panic"), Err(NotTaken::OutcomeUnknown));
    rig.log.set(Mood::Takes);
    rig.until("an open door", async |r| {
        r.intake.status().door == Door::Open
    })
    .await;
    let kept = rig.log.kept().await;
    assert_eq!(kept[0].header().kind, BatchKind::Void);
    assert_eq!(kept[0].voids().collect::<Vec<_>>(), [1]);
    assert!(rig.intake.submit(ballot()).await.is_ok());
}

#[tokio::test]
async fn whoever_waits_on_a_hanging_append_is_told_at_the_deadline() {
    let rig = rig(Mood::Holds);
    let vote = rig.vote();
    rig.until("an append", async |r| {
        !r.log.attempts.lock().await.is_empty()
    })
    .await;
    rig.intake.answer_overdue();
    assert!(!vote.is_finished());
    rig.clock.boot.store(5_001, Ordering::Relaxed);
    rig.intake.answer_overdue();
    assert_eq!(vote.await.expect("no panic"), Err(NotTaken::OutcomeUnknown));
    assert_eq!(
        rig.intake.submit(ballot()).await,
        Err(NotTaken::LogUnavailable)
    );
    rig.log.set(Mood::Takes);
    rig.until("an open door", async |r| {
        r.intake.status().door == Door::Open
    })
    .await;
}

#[tokio::test]
async fn while_any_batch_is_overdue_nobody_is_let_in_to_wait_for_it() {
    let rig = rig(Mood::Holds);
    let mut votes = vec![rig.vote()];
    rig.until("an append", async |r| {
        !r.log.attempts.lock().await.is_empty()
    })
    .await;
    votes.extend((1..=3).map(|poll| rig.vote_in(poll)));
    rig.until("three waiting", async |r| r.intake.status().waiting == 3)
        .await;
    rig.log.set(Mood::TakesUpTo(1));
    rig.until("a batch for each poll", async |r| {
        r.log.attempts.lock().await.len() == 4 && r.intake.status().batches_out == 3
    })
    .await;

    rig.clock.boot.store(5_001, Ordering::Relaxed);
    rig.intake.answer_overdue();
    assert!(votes.remove(0).await.expect("no panic").is_ok());
    for vote in votes {
        assert_eq!(vote.await.expect("no panic"), Err(NotTaken::OutcomeUnknown));
    }
    rig.log.set(Mood::TakesUpTo(3));
    rig.until("one batch left", async |r| {
        r.intake.status().batches_out == 1
    })
    .await;
    assert_eq!(rig.intake.status().door, Door::LogUnavailable);
    rig.intake.answer_overdue();
    assert_eq!(
        rig.intake.submit(ballot()).await,
        Err(NotTaken::LogUnavailable)
    );
    rig.log.set(Mood::Takes);
    rig.until("an open door", async |r| {
        r.intake.status().door == Door::Open
    })
    .await;
    assert!(rig.intake.submit(ballot()).await.is_ok());
}

#[tokio::test]
async fn a_confirm_after_the_deadline_is_not_called_success() {
    let rig = rig(Mood::Holds);
    let vote = rig.vote();
    rig.until("an append", async |r| {
        !r.log.attempts.lock().await.is_empty()
    })
    .await;
    rig.clock.boot.store(5_001, Ordering::Relaxed);
    rig.log.set(Mood::Takes);
    assert_eq!(vote.await.expect("no panic"), Err(NotTaken::OutcomeUnknown));
}

#[tokio::test]
async fn a_stop_makes_durable_what_waits_and_appends_the_end_marker_last() {
    let rig = rig(Mood::Holds);
    let votes: Vec<_> = (0..20).map(|_| rig.vote()).collect();
    rig.until("an append", async |r| {
        !r.log.attempts.lock().await.is_empty()
    })
    .await;
    let intake = Arc::clone(&rig.intake);
    let stop = tokio::spawn(async move { intake.stop(PATIENCE).await });
    rig.until("a closed door", async |r| {
        r.intake.status().door == Door::ShuttingDown
    })
    .await;
    assert_eq!(
        rig.intake.submit(ballot()).await,
        Err(NotTaken::ShuttingDown)
    );
    rig.log.set(Mood::Takes);
    assert!(stop.await.expect("no panic"), "in time");
    let mut taken = 0;
    for vote in votes {
        taken += u64::from(vote.await.expect("no panic").is_ok());
    }
    let kept = rig.log.kept().await;
    let last = kept.last().expect("an end marker");
    assert_eq!(
        (last.header().kind, last.header().cumulative),
        (BatchKind::End, taken)
    );
    assert_eq!(last.header().confirmed + 1, last.id().number);
}

/// A poll that ends before the time that a clock once showed.
fn ballot_of_a_short_poll() -> Ballot {
    let mut ballot = ballot_in(2);
    ballot.hours.closes_at = Some(UnixMillis(5_000));
    ballot
}

const AHEAD: i64 = 10_000_000;

/// Votes until somebody is let in again.
async fn first_taken(rig: &Rig) -> Receipt {
    let mut taken = None;
    rig.until("a vote is taken", async |r| {
        taken = r.intake.submit(ballot_of_a_short_poll()).await.ok();
        taken.is_some()
    })
    .await;
    taken.expect("it was")
}

#[tokio::test]
async fn a_clock_that_is_put_right_begins_a_new_incarnation_in_which_votes_count_from_now() {
    let rig = rig(Mood::Takes);
    rig.set_time(AHEAD);
    let early = rig.intake.submit(ballot()).await.expect("taken");
    rig.set_time(1_000);
    let refused = rig.intake.submit(ballot_of_a_short_poll()).await;
    assert_eq!(refused, Err(NotTaken::LogUnavailable), "503, and not 409");
    let late = first_taken(&rig).await;

    let kept = rig.log.kept().await;
    let told: Vec<_> = kept
        .iter()
        .map(|b| (b.id().incarnation.0, b.id().number, b.header().kind))
        .collect();
    let expected = [
        (77, 1, BatchKind::Votes),
        (77, 2, BatchKind::End),
        (78, 1, BatchKind::Votes),
    ];
    assert_eq!(told, expected);
    assert_eq!((early.batch, late.batch), (kept[0].id(), kept[2].id()));
    let end = kept[1].header();
    assert_eq!((end.cumulative, end.confirmed), (1, 1));
    let (_, vote) = kept[2].votes().next().expect("one vote");
    assert_eq!(kept[2].header().minute.at(vote.offset), UnixMillis(1_000));
}

#[tokio::test]
async fn what_was_accepted_before_the_clock_was_put_right_is_settled_first() {
    let rig = rig(Mood::Holds);
    rig.set_time(AHEAD);
    let out = rig.vote();
    rig.until("an append", async |r| {
        !r.log.attempts.lock().await.is_empty()
    })
    .await;
    let waiting = rig.vote();
    rig.until("one waiting", async |r| r.intake.status().waiting == 1)
        .await;
    rig.set_time(1_000);
    let refused = rig.intake.submit(ballot()).await;
    assert_eq!(refused, Err(NotTaken::LogUnavailable));
    rig.log.set(Mood::Takes);
    for (vote, number) in [(out, 1), (waiting, 2)] {
        let batch = vote.await.expect("no panic").expect("taken").batch;
        assert_eq!((batch.incarnation, batch.number), (Incarnation(77), number));
    }
    let late = first_taken(&rig).await;
    assert_eq!(late.batch.incarnation, Incarnation(78));
    let kept = rig.log.kept().await;
    assert_eq!(kept[2].header().kind, BatchKind::End);
}

#[tokio::test]
async fn a_log_that_is_away_does_not_keep_a_clock_from_being_put_right() {
    let rig = rig(Mood::Takes);
    rig.set_time(AHEAD);
    rig.intake.submit(ballot()).await.expect("taken");
    rig.log.set(Mood::Refuses);
    rig.set_time(1_000);
    let refused = rig.intake.submit(ballot()).await;
    assert_eq!(refused, Err(NotTaken::LogUnavailable));
    rig.until("an end marker that is refused", async |r| {
        r.log.attempts.lock().await.len() == 2
    })
    .await;
    rig.log.set(Mood::Takes);
    let late = first_taken(&rig).await;
    assert_eq!(late.batch.incarnation, Incarnation(78));
}

#[tokio::test]
async fn an_incarnation_that_cannot_be_drawn_is_asked_for_again() {
    let mut calls = 0;
    let rig = rig_with(
        Mood::Takes,
        Box::new(move || {
            calls += 1;
            match calls {
                2 => Err(io::Error::other("said the test")),
                _ => Ok(Incarnation(calls)),
            }
        }),
    );
    rig.set_time(AHEAD);
    rig.intake.submit(ballot()).await.expect("taken");
    rig.set_time(1_000);
    assert_eq!(first_taken(&rig).await.batch.incarnation, Incarnation(3));
}

#[tokio::test]
async fn without_an_incarnation_nothing_starts() {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
    let none: Incarnations = Box::new(|| Err(io::Error::other("said the test")));
    let started = Intake::start(Leash::new(Mood::Takes), clock, none, options());
    assert!(matches!(started.err(), Some(IntakeError::Incarnation(_))));
}

/// Votes a thousand times on a thread of its own, with a bell.
fn vote_with_a_bell(intake: &Arc<Intake>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let bell = tokio::spawn(intake.answer_bell());
        for _ in 0..50 {
            let vote = |_| {
                let intake = Arc::clone(intake);
                tokio::spawn(async move { intake.submit(ballot()).await })
            };
            let votes: Vec<Vote> = (0..20).map(vote).collect();
            for vote in votes {
                let heard = tokio::time::timeout(PATIENCE, vote).await;
                let answer = heard.expect("an answer").expect("no panic");
                answer.expect("taken");
            }
        }
        bell.abort();
    });
}

#[test]
fn on_every_thread_with_a_bell_everybody_hears_their_answer() {
    let rig = rig(Mood::Takes);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| vote_with_a_bell(&rig.intake));
        }
    });
    let kept = rig.log.kept.blocking_lock();
    assert_eq!(
        kept.iter().map(EncodedBatch::vote_count).sum::<u32>(),
        3_000
    );
}

#[tokio::test]
async fn options_that_contradict_each_other_are_refused() {
    let start = |options| {
        let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
        Intake::start(Leash::new(Mood::Takes), clock, incarnations(), options).is_err()
    };
    assert!(start(IntakeOptions {
        waiting_max: 10,
        ..options()
    }));
    assert!(start(IntakeOptions {
        batch_votes_max: 0,
        ..options()
    }));
    assert!(start(IntakeOptions {
        linger_max: Duration::from_secs(9),
        ..options()
    }));
    assert!(start(IntakeOptions {
        appends_max: 0,
        ..options()
    }));
    assert!(!start(options()));
}
