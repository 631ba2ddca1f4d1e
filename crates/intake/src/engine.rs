//! The thread that turns waiting votes into durable batches.
//!
//! It is an executor of its own: it polls the appends that are under way, and parks with exact
//! time-outs (a runtime's timers are a millisecond coarse, which is half of the linger). On the
//! embedded log an append does its system calls right here; on a broker many are under way.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use paredao_domain::{
    BatchKind, BatchNumber, BootMillis, Clock, EncodedBatch, Incarnation, Lane, VOTES_MAX,
};
use paredao_telemetry::failpoint;
use paredao_telemetry::metrics::{AppendFailure, Stage, metrics};
use paredao_vote_log::{AppendError, VoteLog};
use parking_lot::{Mutex, MutexGuard};

use crate::bell::{Answer, Bells, Waiter, slot};
use crate::{Ballot, Desk, Door, Inbox, Linger, NotTaken, Taken};

/// First pause after a failed append; each further one is twice as long.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause between attempts: how long recovery goes unnoticed at most.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Where an intake gets its incarnations from: each is drawn at random, none is given twice. It
/// needs a new one at its start, and when the clock went back.
pub type Incarnations = Box<dyn FnMut() -> io::Result<Incarnation> + Send>;

type Append = Pin<Box<dyn Future<Output = (BatchNumber, Result<(), AppendError>)> + Send>>;

/// How an intake works.
#[derive(Clone, Copy, Debug)]
pub struct IntakeOptions {
    /// The lane its batches go to.
    pub lane: Lane,
    /// Votes that may wait to be cut.
    pub waiting_max: usize,
    /// Votes of one batch.
    pub batch_votes_max: usize,
    /// The longest a batch waits for company.
    pub linger_max: Duration,
    /// How long after acceptance a confirm still counts as success.
    pub append_deadline: Duration,
    /// Batches under way at once: 1 for a log whose appends are done on the calling thread.
    pub appends_max: usize,
}

/// Why an intake cannot start.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// Options that contradict each other; names the limit.
    #[error("{0}")]
    Options(&'static str),
    /// No incarnation could be drawn.
    #[error("cannot name this start of the intake: {0}")]
    Incarnation(#[source] io::Error),
    /// The system gives no thread.
    #[error("cannot start the intake's thread: {0}")]
    Thread(#[source] io::Error),
}

/// What an intake is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeStatus {
    /// Votes waiting to be cut.
    pub waiting: usize,
    /// Batches under way.
    pub batches_out: usize,
    /// Whether it takes votes.
    pub door: Door,
}

struct Shared {
    inbox: Mutex<Inbox<Waiter>>,
    desk: Mutex<Desk<Waiter>>,
    bells: Bells,
    clock: Arc<dyn Clock>,
    /// Waiting votes at which a submitter wakes the thread.
    wake_at: AtomicUsize,
    stopping: AtomicBool,
}

/// Where votes are handed in.
pub struct Intake {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Intake {
    /// Starts the thread.
    pub fn start(
        log: Arc<dyn VoteLog>,
        clock: Arc<dyn Clock>,
        mut incarnations: Incarnations,
        options: IntakeOptions,
    ) -> Result<Self, IntakeError> {
        check(&options)?;
        let incarnation = incarnations().map_err(IntakeError::Incarnation)?;
        let deadline_ms = u64::try_from(options.append_deadline.as_millis()).unwrap_or(u64::MAX);
        let desk = Desk::new(
            incarnation,
            options.lane,
            options.batch_votes_max,
            deadline_ms,
        );
        let shared = Arc::new(Shared {
            inbox: Mutex::new(Inbox::new(options.waiting_max)),
            desk: Mutex::new(desk),
            bells: Bells::default(),
            clock,
            wake_at: AtomicUsize::new(1),
            stopping: AtomicBool::new(false),
        });
        let engine = Engine::new(Arc::clone(&shared), log, incarnations, &options);
        let handle = thread::Builder::new()
            .name("intake".to_owned())
            .spawn(move || engine.run())
            .map_err(IntakeError::Thread)?;
        Ok(Self {
            shared,
            thread: handle.thread().clone(),
            handle: Mutex::new(Some(handle)),
        })
    }

    /// Hands in a vote and waits for its receipt. Dropping the future does not take it back.
    pub async fn submit(&self, ballot: Ballot) -> Answer {
        let (waiter, answer) = slot();
        self.enqueue(ballot, waiter)?;
        answer.await
    }

    /// Makes this thread a cheap one to answer: to be run once, as a task, by every thread that
    /// serves many voters. Never resolves.
    pub fn answer_bell(&self) -> impl Future<Output = ()> + use<> {
        self.shared.bells.answer()
    }

    fn enqueue(&self, ballot: Ballot, waiter: Waiter) -> Result<(), NotTaken> {
        let (now, boot) = (self.shared.clock.now(), self.shared.clock.boot());
        let mut inbox = self.shared.inbox.lock();
        let admitted = inbox.admit(ballot, waiter, now, boot);
        let is_over = inbox.went_back_ms().is_some();
        drop(inbox);
        let wakes = match admitted {
            Ok(waiting) => waiting == 1 || waiting == self.shared.wake_at.load(Ordering::Relaxed),
            Err(_) => is_over,
        };
        if wakes {
            self.thread.unpark();
        }
        admitted.map(drop)
    }

    /// What it is doing.
    pub fn status(&self) -> IntakeStatus {
        let (waiting, door) = {
            let inbox = self.shared.inbox.lock();
            (inbox.len(), inbox.door())
        };
        IntakeStatus {
            waiting,
            batches_out: self.shared.desk.lock().out(),
            door,
        }
    }

    /// Answers whoever has waited past the deadline, also while the engine's thread hangs in a
    /// system call, and shows how much waits. To be called a few times a second.
    pub fn answer_overdue(&self) {
        self.shared.answer_overdue();
        let status = self.status();
        metrics().votes_waiting.set(status.waiting as u64);
        metrics().batches_in_flight.set(status.batches_out as u64);
    }

    /// Whether its thread runs: until [`Self::stop`], unless it panicked.
    pub fn is_running(&self) -> bool {
        let handle = self.handle.lock();
        handle.as_ref().is_some_and(|handle| !handle.is_finished())
    }

    /// Takes no more votes, makes durable what waits, appends the end marker and ends the
    /// thread. Returns whether all of that happened within `limit`.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.shared.inbox.lock().set_door(Door::ShuttingDown);
        self.shared.stopping.store(true, Ordering::Release);
        self.thread.unpark();
        let Some(handle) = self.handle.lock().take() else {
            return true;
        };
        let joined = tokio::task::spawn_blocking(move || handle.join().is_ok());
        matches!(tokio::time::timeout(limit, joined).await, Ok(Ok(true)))
    }
}

fn check(options: &IntakeOptions) -> Result<(), IntakeError> {
    let refuse = |what| Err(IntakeError::Options(what));
    if !(1..=VOTES_MAX).contains(&options.batch_votes_max) {
        return refuse("batch_votes_max: 1 to 32768");
    }
    if options.waiting_max < options.batch_votes_max {
        return refuse("votes_waiting_max must be at least batch_votes_max");
    }
    if options.linger_max >= options.append_deadline {
        return refuse("linger_us_max must be shorter than append_deadline_ms");
    }
    if options.appends_max == 0 {
        return refuse("at least one append at a time");
    }
    Ok(())
}

impl Shared {
    /// Answers whoever has waited past the deadline. As long as a batch is overdue the log hangs,
    /// and the door is closed, whether anybody still waits for that batch or not.
    fn answer_overdue(&self) {
        let boot = self.clock.boot();
        let mut round = self.bells.round();
        let mut desk = self.desk.lock();
        desk.answer_overdue(boot, |waiter, why| round.answer(&waiter, Err(why)));
        // Still under the desk's lock, so that the confirm of what is overdue, which opens the
        // door again, comes after this and not in between.
        if desk.is_overdue(boot) {
            self.close();
            return;
        }
        let inbox = self.inbox.lock();
        // A batch of theirs would be as old as the oldest of them, and a success for nobody.
        if inbox
            .oldest()
            .is_some_and(|oldest| desk.is_late(oldest, boot))
        {
            self.turn_away(inbox);
        }
    }

    /// Opens the door again, unless the log still hangs.
    fn open_again(&self, desk: &Desk<Waiter>, boot: BootMillis) {
        if desk.is_overdue(boot) {
            return;
        }
        let mut inbox = self.inbox.lock();
        if inbox.door() == Door::LogUnavailable {
            inbox.set_door(Door::Open);
            drop(inbox);
            tracing::info!(event = "vote_log_available");
        }
    }

    /// Closes the door while the log takes nothing, and answers everybody in the inbox.
    fn close(&self) {
        let mut inbox = self.inbox.lock();
        inbox.set_door(Door::LogUnavailable);
        self.turn_away(inbox);
    }

    /// Answers everybody in the inbox: their votes are nowhere.
    fn turn_away(&self, mut inbox: MutexGuard<'_, Inbox<Waiter>>) {
        let turned_away = inbox.take(Vec::new());
        drop(inbox);
        let mut round = self.bells.round();
        for waiting in turned_away.votes {
            round.answer(&waiting.waiter, Err(NotTaken::LogUnavailable));
        }
    }
}

/// Wakes the engine's thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// When a failed batch is tried again.
struct Retry {
    number: BatchNumber,
    at: Instant,
}

struct Engine {
    shared: Arc<Shared>,
    log: Arc<dyn VoteLog>,
    incarnations: Incarnations,
    linger: Linger,
    appends_max: usize,
    appends: FuturesUnordered<Append>,
    retries: Vec<Retry>,
    pause: Duration,
    /// When the engine first saw the votes that wait now.
    waiting_since: Option<Instant>,
    /// Emptied vectors that go back into the inbox.
    taken: Taken<Waiter>,
    end_marker_sent: bool,
}

/// What to do next.
enum Step {
    /// Cut what waits.
    Cut { waited: Duration },
    /// Nothing until something happens, or for so long.
    Wait(Option<Duration>),
    /// Append the end marker: nothing is left.
    End,
    /// Begin the next incarnation.
    Begin,
    /// End the thread.
    Done,
}

impl Engine {
    fn new(
        shared: Arc<Shared>,
        log: Arc<dyn VoteLog>,
        incarnations: Incarnations,
        options: &IntakeOptions,
    ) -> Self {
        let taken = shared.inbox.lock().take(Vec::new());
        Self {
            shared,
            log,
            incarnations,
            linger: Linger::new(options.linger_max),
            appends_max: options.appends_max,
            appends: FuturesUnordered::new(),
            retries: Vec::new(),
            pause: RETRY_PAUSE_MIN,
            waiting_since: None,
            taken,
            end_marker_sent: false,
        }
    }

    fn run(mut self) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            self.send_due_retries();
            self.settle_ready(&mut context);
            match self.next_step() {
                Step::Cut { waited } => self.cut(waited),
                Step::End => self.end_incarnation(),
                Step::Begin => self.begin_incarnation(),
                Step::Wait(Some(limit)) => thread::park_timeout(limit),
                Step::Wait(None) => thread::park(),
                Step::Done => return,
            }
        }
    }

    /// Settles every append that has finished.
    fn settle_ready(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some((number, result))) = self.appends.poll_next_unpin(context) {
            match result {
                Ok(()) => self.confirmed(number),
                Err(error) => self.failed(number, &error),
            }
        }
    }

    fn confirmed(&mut self, number: BatchNumber) {
        hit("intake.before_answer");
        let started = Instant::now();
        let boot = self.shared.clock.boot();
        let mut round = self.shared.bells.round();
        let mut desk = self.shared.desk.lock();
        desk.confirm(number, boot, |waiter, answer| round.answer(&waiter, answer));
        let has_voids = desk.has_voids();
        if self.retries.is_empty() && !has_voids {
            self.pause = RETRY_PAUSE_MIN;
            self.shared.open_again(&desk, boot);
        }
        drop(desk);
        drop(round);
        observe(Stage::Answer, started.elapsed());
        if self.retries.is_empty() && has_voids {
            self.append_marker(BatchKind::Void);
        }
    }

    fn failed(&mut self, number: BatchNumber, error: &AppendError) {
        if self.end_marker_sent {
            // One attempt is enough: without its end marker the incarnation counts as one that
            // died, which costs nothing.
            tracing::warn!(event = "end_marker_not_appended", %error);
            return;
        }
        let kind = match error {
            AppendError::Unavailable(_) => AppendFailure::Unavailable,
            AppendError::Closed => AppendFailure::Closed,
        };
        metrics().append_failures.of(kind).inc();
        if self.retries.is_empty() {
            tracing::error!(event = "append_failed", number, %error, "votes are refused until it works");
        }
        self.shared.close();
        self.retries.push(Retry {
            number,
            at: Instant::now() + self.pause,
        });
        self.pause = (self.pause * 2).min(RETRY_PAUSE_MAX);
    }

    fn send_due_retries(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.retries)
            .into_iter()
            .partition(|r| r.at <= now);
        self.retries = later;
        let due: Vec<Retry> = due;
        for retry in due {
            self.retry(retry.number);
        }
    }

    fn retry(&mut self, number: BatchNumber) {
        let boot = self.shared.clock.boot();
        let mut round = self.shared.bells.round();
        let mut desk = self.shared.desk.lock();
        let again = desk.retry(number, boot, |waiter, why| round.answer(&waiter, Err(why)));
        drop(desk);
        drop(round);
        match again {
            Some(batch) => self.append(batch),
            None if self.appends.is_empty() && self.retries.is_empty() => {
                self.append_marker(BatchKind::Void);
            }
            None => {}
        }
    }

    /// Appends a marker. A void marker names the numbers that were given up; it is tried until
    /// it is durable, and its confirm also shows that the log takes batches again.
    fn append_marker(&mut self, kind: BatchKind) {
        let (now, boot) = (self.shared.clock.now(), self.shared.clock.boot());
        let marker = self.shared.desk.lock().marker(kind, now, boot);
        self.end_marker_sent |= kind == BatchKind::End;
        self.append(marker);
    }

    /// Appends the end marker: what was accepted is settled, and the process stops or the clock
    /// went back.
    fn end_incarnation(&mut self) {
        if let Some(by_ms) = self.shared.inbox.lock().went_back_ms() {
            tracing::error!(
                event = "clock_went_back",
                by_ms,
                "votes accepted before carry the times of a clock that was ahead"
            );
        }
        self.append_marker(BatchKind::End);
    }

    /// Begins the next incarnation. None can be drawn only while the system is out of order.
    fn begin_incarnation(&mut self) {
        match (self.incarnations)() {
            Ok(incarnation) => {
                let mut desk = self.shared.desk.lock();
                desk.begin_incarnation(incarnation);
                self.shared.inbox.lock().begin_incarnation();
                drop(desk);
                self.end_marker_sent = false;
                tracing::info!(event = "incarnation_began", %incarnation);
            }
            Err(error) => {
                tracing::error!(event = "no_incarnation", %error, "votes are refused until there is one");
                wait(RETRY_PAUSE_MAX);
            }
        }
    }

    fn next_step(&mut self) -> Step {
        let stopping = self.shared.stopping.load(Ordering::Acquire);
        if self.end_marker_sent {
            return match (self.appends.is_empty(), stopping) {
                (false, _) => Step::Wait(None),
                (true, true) => Step::Done,
                (true, false) => Step::Begin,
            };
        }
        let retry_in = self
            .retries
            .iter()
            .map(|r| r.at.saturating_duration_since(Instant::now()))
            .min();
        if retry_in.is_some() || self.appends.len() >= self.appends_max {
            return Step::Wait(retry_in);
        }
        let target = self.linger.target();
        self.shared.wake_at.store(target, Ordering::Relaxed);
        let inbox = self.shared.inbox.lock();
        let (waiting, ending) = (inbox.len(), stopping || inbox.went_back_ms().is_some());
        drop(inbox);
        if waiting == 0 {
            self.waiting_since = None;
            let idle = self.appends.is_empty();
            return if ending && idle {
                Step::End
            } else {
                Step::Wait(None)
            };
        }
        let waited = self
            .waiting_since
            .get_or_insert_with(Instant::now)
            .elapsed();
        if waiting >= target || waited >= self.linger.max() || ending {
            Step::Cut { waited }
        } else {
            Step::Wait(Some(self.linger.max().saturating_sub(waited)))
        }
    }

    fn cut(&mut self, waited: Duration) {
        self.waiting_since = None;
        let room = std::mem::take(&mut self.taken.votes);
        self.taken = self.shared.inbox.lock().take(room);
        self.linger.cut(self.taken.votes.len(), waited);
        observe(Stage::QueueWait, waited);
        metrics()
            .linger_us
            .set(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
        let batches = self.shared.desk.lock().cut(&mut self.taken);
        hit("intake.after_cut");
        for batch in batches {
            metrics().batch_votes.observe(f64::from(batch.vote_count()));
            self.append(batch);
        }
    }

    fn append(&mut self, batch: EncodedBatch) {
        let log = Arc::clone(&self.log);
        self.appends.push(Box::pin(async move {
            let started = Instant::now();
            let result = log.append(&batch).await;
            let took = started.elapsed();
            metrics().append_seconds.observe(took.as_secs_f64());
            observe(Stage::Append, took);
            (batch.id().number, result)
        }));
    }
}

/// Waits for so long, whoever wakes this thread meanwhile.
fn wait(pause: Duration) {
    let until = Instant::now() + pause;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

fn observe(stage: Stage, took: Duration) {
    metrics()
        .vote_stage_seconds
        .of(stage)
        .observe(took.as_secs_f64());
}

/// Failure points here have no error to give: only killing and delaying make sense.
fn hit(name: &str) {
    if let Err(error) = failpoint::hit(name) {
        tracing::warn!(event = "failpoint_ignored", name, %error);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use paredao_domain::{CandidateNumber, KeyHash, KeySource, PollId, UnixMillis, VotingHours};

    use super::*;

    const DEADLINE_MS: u64 = 5_000;

    /// A clock that stands so long after the boot.
    struct At(u64);

    impl Clock for At {
        fn now(&self) -> UnixMillis {
            UnixMillis(0)
        }

        fn boot(&self) -> BootMillis {
            BootMillis(self.0)
        }
    }

    /// What an engine shares that does not run.
    fn stuck_at(boot: u64) -> Shared {
        Shared {
            inbox: Mutex::new(Inbox::new(9)),
            desk: Mutex::new(Desk::new(Incarnation(1), Lane(0), 4, DEADLINE_MS)),
            bells: Bells::default(),
            clock: Arc::new(At(boot)),
            wake_at: AtomicUsize::new(1),
            stopping: AtomicBool::new(false),
        }
    }

    fn ballot() -> Ballot {
        Ballot {
            poll: PollId(1),
            hours: VotingHours {
                opens_at: Some(UnixMillis(0)),
                closes_at: None,
            },
            candidate: CandidateNumber::try_from(1).unwrap(),
            source: KeySource::Drawn,
            key: KeyHash([0; 12]),
        }
    }

    /// What somebody hears who has waited in the inbox since the boot.
    fn heard_at(boot: u64) -> (Option<Answer>, usize, Door) {
        let shared = stuck_at(boot);
        let (waiter, voter) = slot();
        let mut inbox = shared.inbox.lock();
        inbox
            .admit(ballot(), waiter, UnixMillis(0), BootMillis(0))
            .unwrap();
        drop(inbox);
        shared.answer_overdue();
        let inbox = shared.inbox.lock();
        (voter.now_or_never(), inbox.len(), inbox.door())
    }

    #[test]
    fn whoever_waits_in_the_inbox_past_the_deadline_is_told_that_the_vote_is_nowhere() {
        assert_eq!(heard_at(DEADLINE_MS), (None, 1, Door::Open));
        let nowhere = Some(Err(NotTaken::LogUnavailable));
        assert_eq!(
            heard_at(DEADLINE_MS + 1),
            (nowhere, 0, Door::Open),
            "and the door stays open, since no confirm would open it again"
        );
    }
}
