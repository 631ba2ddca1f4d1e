//! The thread that turns waiting votes into durable batches.
//!
//! It is an executor of its own: it polls the appends that are under way, and parks with exact
//! time-outs (a runtime's timers are a millisecond coarse, which is half of the linger). On the
//! embedded log an append does its system calls right here; on a broker many are under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use paredao_domain::{BatchKind, BatchNumber, EncodedBatch};
use paredao_telemetry::failpoint;
use paredao_telemetry::metrics::{AppendFailure, Stage, metrics};
use paredao_vote_log::{AppendError, VoteLog};

use crate::bell::Waiter;
use crate::intake::{Incarnations, IntakeOptions, Shared};
use crate::{Linger, Taken};

/// First pause after a failed append; each further one is twice as long.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause between attempts: how long recovery goes unnoticed at most.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);

type Append = Pin<Box<dyn Future<Output = (BatchNumber, Result<(), AppendError>)> + Send>>;

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

/// What the thread works with.
pub(crate) struct Engine {
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
    pub(crate) fn new(
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

    /// Works until it has been stopped and everything is settled.
    pub(crate) fn run(mut self) {
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
