//! The room's door: where votes are handed in, and what those who do so share with the thread that
//! makes them durable.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use paredao_domain::{BootMillis, Clock, Incarnation, Lane, VOTES_MAX};
use paredao_telemetry::metrics::metrics;
use paredao_vote_log::VoteLog;
use parking_lot::{Mutex, MutexGuard};

use crate::bell::{Answer, Bells, Waiter, slot};
use crate::engine::Engine;
use crate::{Ballot, Desk, Door, Inbox, NotTaken};

/// Where an intake gets its incarnations from: each is drawn at random, none is given twice. It
/// needs a new one at its start, and when the clock went back.
pub type Incarnations = Box<dyn FnMut() -> io::Result<Incarnation> + Send>;

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
    /// Batches under way at which nothing more is cut (one cut may put out several): 1 for a log
    /// whose appends are done on the calling thread.
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

/// What those who hand in votes share with the thread.
pub(crate) struct Shared {
    pub(crate) inbox: Mutex<Inbox<Waiter>>,
    pub(crate) desk: Mutex<Desk<Waiter>>,
    pub(crate) bells: Bells,
    pub(crate) clock: Arc<dyn Clock>,
    /// Waiting votes at which a submitter wakes the thread.
    pub(crate) wake_at: AtomicUsize,
    pub(crate) stopping: AtomicBool,
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
    pub(crate) fn open_again(&self, desk: &Desk<Waiter>, boot: BootMillis) {
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
    pub(crate) fn close(&self) {
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
