//! The refresher: once a second it reads store and log and shows the result to everybody.
//!
//! Readers never wait for either. When the store does not answer, the last numbers stay, say how
//! old they are, and polls open and close all the same. When the log does not answer, the numbers
//! are fresh and there are no books with them: old ones would pass for new.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use paredao_domain::{Account, Clock, Conservation, Lane, PollState};
use paredao_store::{DeploymentBooks, Snapshot, Store, StoreError};
use paredao_telemetry::health::Component;
use paredao_telemetry::metrics::{self, Label as _, Term, metrics};
use paredao_vote_log::LogStatus;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::board::{Board, Moment};
use crate::law::{Finding, Judge, conservation};
use crate::room::Room;

/// How long store and log may take for one reading before it is given up.
const READING_LIMIT: Duration = Duration::from_secs(5);
/// The only lane there is.
const LANE: Lane = Lane(0);

/// Keeps what readers see fresh.
pub struct Refresher {
    room: Arc<Room>,
    component: Component,
    /// Whether the last reading failed: only the change is worth a line.
    last: Availability,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Availability {
    #[default]
    Answers,
    IsAway,
}

/// What is remembered from one reading to the next.
#[derive(Default)]
pub(crate) struct Memory {
    judge: Judge,
    log: Availability,
}

impl Refresher {
    pub(crate) fn new(room: Arc<Room>) -> Self {
        let component = room.health.register("snapshot");
        component.ready();
        Self {
            room,
            component,
            last: Availability::Answers,
        }
    }

    /// Refreshes until `stop` resolves.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut ticks = interval(self.room.options.refresh);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                _ = ticks.tick() => self.tick().await,
            }
        }
        drop(self.component);
    }

    async fn tick(&mut self) {
        let now = match refresh(&self.room).await {
            Ok(()) => Availability::Answers,
            Err(error) => {
                if self.last == Availability::Answers {
                    tracing::error!(event = "snapshot_not_refreshed", %error, "readers see the last numbers");
                }
                Availability::IsAway
            }
        };
        if (self.last, now) == (Availability::IsAway, Availability::Answers) {
            tracing::info!(event = "snapshot_refreshed_again");
        }
        self.last = now;
    }
}

/// Reads once and shows the result; on an error the last numbers are shown at the present time.
pub(crate) async fn refresh(room: &Room) -> Result<(), StoreError> {
    let mut memory = room.memory.lock().await;
    let log = read_log(room, &mut memory.log).await;
    let result = read_store(room).await;
    let before = room.board.load_full();
    let (snapshot, law) = match &result {
        Ok(snapshot) => (
            Arc::clone(snapshot),
            books(&mut memory.judge, log.as_ref(), snapshot),
        ),
        // The books of the numbers that stay.
        Err(_) => (Arc::clone(before.snapshot()), before.law().copied()),
    };
    let board = Board::new(snapshot, law, Moment::of(&*room.clock), Some(&before));
    show_polls(&board);
    room.publish(Arc::new(board));
    if let Ok(snapshot) = &result {
        metrics().snapshot_age.refresh();
        metrics()
            .dead_letters_unresolved
            .set(snapshot.books.dead_letters_unresolved);
    }
    result.map(drop)
}

/// The first reading, before there is a board.
pub(crate) async fn first_board(store: &dyn Store, clock: &dyn Clock) -> Result<Board, StoreError> {
    let moment = Moment::of(clock);
    let snapshot = store.snapshot(clock.now()).await?;
    metrics().snapshot_age.refresh();
    Ok(Board::new(Arc::new(snapshot), None, moment, None))
}

async fn read_store(room: &Room) -> Result<Arc<Snapshot>, StoreError> {
    let reading = timeout(READING_LIMIT, room.store.snapshot(room.clock.now()));
    let too_slow = |_| StoreError::Unavailable(format!("no answer within {READING_LIMIT:?}"));
    reading.await.map_err(too_slow)?.map(Arc::new)
}

/// The log, before the store: see [`crate::law`]. Only the change is worth a line.
async fn read_log(room: &Room, last: &mut Availability) -> Option<LogStatus> {
    let reading = timeout(READING_LIMIT, room.log.status(LANE)).await;
    let too_slow = |_| format!("no answer within {READING_LIMIT:?}");
    let reading = reading.map_err(too_slow);
    match reading.and_then(|status| status.map_err(|error| error.to_string())) {
        Ok(status) => {
            if std::mem::take(last) == Availability::IsAway {
                tracing::info!(event = "vote_log_read_again");
            }
            show_log(room, &status);
            Some(status)
        }
        Err(error) => {
            if std::mem::replace(last, Availability::IsAway) == Availability::Answers {
                tracing::warn!(event = "vote_log_not_read", error, "no books until it is");
            }
            None
        }
    }
}

/// The books of a fresh snapshot, if the log could be read as well.
fn books(judge: &mut Judge, log: Option<&LogStatus>, snapshot: &Snapshot) -> Option<Conservation> {
    show_losses(judge, &snapshot.books);
    let log = log?;
    let law = conservation(log, &snapshot.books);
    show_law(&law);
    match judge.judge(&law, log.votes) {
        Finding::Nothing => {}
        Finding::Broken(difference) => tracing::error!(
            event = "conservation_broken",
            difference = i64::try_from(difference).unwrap_or(i64::MAX),
            accepted = law.accepted,
            accounted = law.accounted(),
            "votes are nowhere (positive) or were accepted by nobody (negative): run recount --keys",
        ),
        Finding::Mended => tracing::warn!(event = "conservation_holds_again"),
    }
    Some(law)
}

/// What is lost and was not given up keeps results from becoming final. An operator hears of it
/// when it grows, and at each start.
fn show_losses(judge: &mut Judge, books: &DeploymentBooks) {
    let (missing, segments) = (books.missing_undecided, books.segments_lost);
    metrics().missing_undecided.set(missing);
    metrics().log_segments_lost.set(segments);
    if let Some(newly) = judge.newly_missing(missing) {
        tracing::error!(
            event = "votes_missing",
            missing,
            newly,
            "votes that were answered with success never came out of the log: no result becomes final without them",
        );
    }
    if judge.newly_lost_segments(segments).is_some() {
        tracing::error!(
            event = "vote_log_segments_lost",
            segments,
            "files of the log are gone, and votes answered with success may be in them: `paredao vote-log missing` names them; stop, put them back beside the others, and start again",
        );
    }
}

fn show_law(law: &Conservation) {
    let terms = &metrics().conservation;
    terms.of(Term::Accepted).set(law.accepted);
    for account in Account::ALL {
        terms.of(term(account)).set(law.booked.get(account));
    }
    terms.of(Term::DeadLettered).set(law.dead_lettered);
    terms.of(Term::Missing).set(law.missing);
    terms.of(Term::Unanswered).set(law.unanswered);
    terms.of(Term::InFlight).set(law.in_flight);
    let difference = i64::try_from(law.difference()).unwrap_or(i64::MAX);
    metrics().conservation_difference.set(difference);
    metrics().conservation_age.refresh();
}

fn term(account: Account) -> Term {
    match account {
        Account::Counted => Term::Counted,
        Account::Duplicate => Term::Duplicate,
        Account::KeyConflict => Term::KeyConflict,
        Account::AfterClose => Term::AfterClose,
        Account::Late => Term::Late,
    }
}

fn show_log(room: &Room, status: &LogStatus) {
    metrics().log_batches.set(status.batches);
    metrics().log_votes.set(status.votes);
    metrics().log_bytes.set(status.bytes);
    metrics().log_damaged_regions.set(status.damaged);
    let age_ms = status
        .oldest
        .map_or(0, |oldest| room.clock.now().since(oldest));
    let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
    metrics().log_oldest_age_seconds.set(age.as_secs_f64());
}

fn show_polls(board: &Board) {
    for &label in metrics::PollState::ALL {
        let polls = board
            .polls()
            .iter()
            .filter(|poll| label_of(poll.state) == label);
        metrics().polls.of(label).set(polls.count() as u64);
    }
}

fn label_of(state: PollState) -> metrics::PollState {
    match state {
        PollState::Scheduled => metrics::PollState::Scheduled,
        PollState::Open => metrics::PollState::Open,
        PollState::Closed => metrics::PollState::Closed,
        PollState::Final => metrics::PollState::Final,
    }
}
