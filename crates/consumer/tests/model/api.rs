//! An API: the real inbox and the real desk, driven the way the engine's thread drives them.

use std::sync::Arc;

use paredao_domain::{
    BatchId, BatchKind, BatchNumber, Clock, EncodedBatch, Incarnation, Lane, Poll, PollId, Receipt,
    UnixMillis,
};
use paredao_intake::{Ballot, Desk, Door, Inbox, NotTaken};
use paredao_vote_log::{AppendError, VoteLog};
use parking_lot::Mutex;

use crate::defect::Defect;
use crate::log::SimLog;
use crate::steps::Process;
use crate::violation::Violation;
use crate::voters::{Answer, CopyId, Voters};
use crate::world::{DEADLINE_MS, ProcessClock, REFRESH_MS, World};

type Outcome = Arc<Mutex<Option<Result<(), AppendError>>>>;

/// A batch on its way to the log.
struct Append {
    number: BatchNumber,
    process: Process,
    outcome: Outcome,
}

pub(crate) struct Api {
    world: Arc<World>,
    log: Arc<SimLog>,
    clock: Arc<ProcessClock>,
    incarnation: Incarnation,
    inbox: Inbox<CopyId>,
    desk: Desk<CopyId>,
    appends: Vec<Append>,
    appends_max: usize,
    retries: Vec<(BatchNumber, UnixMillis)>,
    /// It does nothing at present; what it sent goes on.
    is_frozen: bool,
    /// The last instant at which it could reach the store, if it no longer can.
    cut_off_since: Option<UnixMillis>,
    end_marker_sent: bool,
    /// Every batch it ever cut.
    pub(crate) cuts: Vec<EncodedBatch>,
}

impl Api {
    pub(crate) fn start(world: &Arc<World>, log: &Arc<SimLog>) -> Self {
        let incarnation = Incarnation(world.next());
        let batch_votes_max = 1 + world.below(5);
        Self {
            world: Arc::clone(world),
            log: Arc::clone(log),
            clock: ProcessClock::new(world),
            incarnation,
            inbox: Inbox::new(10),
            desk: Desk::new(
                incarnation,
                Lane(0),
                batch_votes_max,
                DEADLINE_MS.unsigned_abs(),
            ),
            appends: Vec::new(),
            appends_max: 1 + world.below(3),
            retries: Vec::new(),
            is_frozen: false,
            cut_off_since: None,
            end_marker_sent: false,
            cuts: Vec::new(),
        }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// As of when this process knows the polls.
    pub(crate) fn hears(&self) -> UnixMillis {
        let lag = self.world.between(0, REFRESH_MS);
        self.cut_off_since
            .unwrap_or_else(|| self.world.now().plus(-lag))
    }

    pub(crate) fn toggle_frozen(&mut self) {
        self.is_frozen = !self.is_frozen;
    }

    pub(crate) fn toggle_cut_off(&mut self) {
        self.cut_off_since = match self.cut_off_since {
            None => Some(self.world.now()),
            Some(_) => None,
        };
    }

    pub(crate) fn jump_clock(&self) {
        self.clock.jump();
    }

    pub(crate) fn heal(&mut self) {
        self.is_frozen = false;
        self.cut_off_since = None;
    }

    /// A request comes in.
    pub(crate) fn submit(&mut self, voters: &mut Voters, copy: CopyId, known: &[Poll]) {
        let key = &voters.keys[voters.copies[copy].key];
        voters.copies[copy].api = Some(self.incarnation);
        let Some(poll) = known.iter().find(|poll| poll.id == key.poll) else {
            return voters.answer(copy, Answer::Refused(NotTaken::NotOpen));
        };
        let ballot = Ballot {
            poll: poll.id,
            hours: poll.hours(),
            candidate: voters.copies[copy].candidate,
            source: key.source,
            key: key.hash,
        };
        let (now, boot) = (self.clock.now(), self.clock.boot());
        if self.is_frozen {
            // It waits in a socket of a process that does not run.
            return voters.answer(copy, Answer::Silence);
        }
        if let Err(why) = self.inbox.admit(ballot, copy, now, boot) {
            voters.answer(copy, Answer::Refused(why));
        }
    }

    /// A moment of the process's time.
    pub(crate) fn turn(&mut self, voters: &mut Voters) {
        if !self.appends.is_empty() {
            let at = self.world.below(self.appends.len());
            self.appends[at].process.step();
        }
        if self.is_frozen {
            return;
        }
        match self.world.below(4) {
            0 => self.settle(voters),
            1 => self.send_due_retries(voters),
            2 => self.answer_overdue(voters),
            _ if self.is_over() => self.change_incarnation(),
            _ => self.cut(voters),
        }
    }

    fn is_idle(&self) -> bool {
        self.appends.is_empty() && self.retries.is_empty() && self.inbox.is_empty()
    }

    /// Whether the clock went back and what was accepted before is settled.
    fn is_over(&self) -> bool {
        self.inbox.went_back_ms().is_some() && self.is_idle()
    }

    fn change_incarnation(&mut self) {
        if !std::mem::replace(&mut self.end_marker_sent, true) {
            return self.append_marker(BatchKind::End);
        }
        self.world.saw("clock went back");
        self.incarnation = Incarnation(self.world.next());
        self.desk.begin_incarnation(self.incarnation);
        self.inbox.begin_incarnation();
        self.end_marker_sent = false;
    }

    fn settle(&mut self, voters: &mut Voters) {
        let done = |append: &Append| append.outcome.lock().is_some();
        while let Some(at) = self.appends.iter().position(done) {
            let append = self.appends.swap_remove(at);
            let outcome = append.outcome.lock().take();
            match outcome {
                Some(Err(_)) if !self.world.has(Defect::AnswersWithoutTheLog) => {
                    self.failed(append.number, voters);
                }
                _ => self.confirmed(append.number, voters),
            }
        }
    }

    fn confirmed(&mut self, number: BatchNumber, voters: &mut Voters) {
        let boot = self.clock.boot();
        self.desk.confirm(number, boot, |copy, result| {
            let answer = match result {
                Ok(receipt) => Answer::Success(receipt),
                Err(why) => {
                    self.world.saw("confirmed too late");
                    Answer::Refused(why)
                }
            };
            voters.answer(copy, answer);
        });
        if !self.retries.is_empty() {
            return;
        }
        if self.desk.has_voids() {
            self.append_marker(BatchKind::Void);
        } else if self.inbox.door() == Door::LogUnavailable && !self.desk.is_overdue(boot) {
            self.inbox.set_door(Door::Open);
        }
    }

    fn failed(&mut self, number: BatchNumber, voters: &mut Voters) {
        self.turn_away(voters);
        let pause = self.world.between(20, 500);
        self.retries.push((number, self.world.now().plus(pause)));
    }

    /// Closes the door; whoever waits in the inbox is nowhere and hears so.
    fn turn_away(&mut self, voters: &mut Voters) {
        self.inbox.set_door(Door::LogUnavailable);
        for waiting in self.inbox.take(Vec::new()).votes {
            voters.answer(waiting.waiter, Answer::Refused(NotTaken::LogUnavailable));
        }
    }

    fn send_due_retries(&mut self, voters: &mut Voters) {
        let now = self.world.now();
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.retries)
            .into_iter()
            .partition(|(_, at)| *at <= now);
        self.retries = later;
        for (number, _) in due {
            let boot = self.clock.boot();
            let again = self.desk.retry(number, boot, |copy, why| {
                voters.answer(copy, Answer::Refused(why));
            });
            match again {
                Some(batch) => self.append(&batch),
                None => self.given_up(),
            }
        }
    }

    fn given_up(&mut self) {
        self.world.saw("number given up");
        if self.appends.is_empty() && self.retries.is_empty() {
            self.append_marker(BatchKind::Void);
        }
    }

    fn answer_overdue(&mut self, voters: &mut Voters) {
        let boot = self.clock.boot();
        self.desk.answer_overdue(boot, |copy, why| {
            voters.answer(copy, Answer::Refused(why));
        });
        if self.desk.is_overdue(boot) {
            self.turn_away(voters);
        }
    }

    fn append_marker(&mut self, kind: BatchKind) {
        let (now, boot) = (self.clock.now(), self.clock.boot());
        let marker = self.desk.marker(kind, now, boot);
        let header = marker.header();
        if kind == BatchKind::End && header.confirmed + 1 != header.id.number {
            let why = format!("an end marker knows of less than everything: {header:?}");
            self.world.report(Violation::Books(why));
        }
        self.cuts.push(marker.clone());
        self.append(&marker);
    }

    fn append(&mut self, batch: &EncodedBatch) {
        let outcome = Outcome::default();
        let (log, frozen, told) = (Arc::clone(&self.log), batch.clone(), Arc::clone(&outcome));
        self.appends.push(Append {
            number: batch.id().number,
            process: Process::new(async move {
                let result = log.append(&frozen).await;
                *told.lock() = Some(result);
            }),
            outcome,
        });
    }

    fn cut(&mut self, voters: &mut Voters) {
        if !self.retries.is_empty() || self.appends.len() >= self.appends_max {
            return;
        }
        let mut taken = self.inbox.take(Vec::new());
        let mut waiting: Vec<(CopyId, PollId, UnixMillis)> = taken
            .votes
            .iter()
            .map(|w| (w.waiter, w.ballot.poll, w.accepted_at))
            .collect();
        for batch in self.desk.cut(&mut taken) {
            place(&batch, &mut waiting, voters);
            self.append(&batch);
            self.cuts.push(batch);
        }
        assert!(waiting.is_empty(), "whoever was taken is in a batch");
    }

    /// Ends the process in good order, one moment at a time. Returns whether it has ended.
    pub(crate) fn stop(&mut self, voters: &mut Voters) -> bool {
        self.inbox.set_door(Door::ShuttingDown);
        self.turn(voters);
        let is_idle = self.is_idle();
        if is_idle && !self.end_marker_sent {
            self.end_marker_sent = true;
            self.append_marker(BatchKind::End);
            return false;
        }
        is_idle
    }
}

/// Notes where each vote of a batch came to stand, by what the batch itself says.
fn place(
    batch: &EncodedBatch,
    waiting: &mut Vec<(CopyId, PollId, UnixMillis)>,
    voters: &mut Voters,
) {
    let header = batch.header();
    for (position, vote) in batch.votes() {
        let at = waiting
            .iter()
            .position(|(copy, poll, accepted)| {
                let copy = &voters.copies[*copy];
                *poll == header.poll
                    && *accepted == header.minute.at(vote.offset)
                    && voters.keys[copy.key].hash == vote.key
                    && voters.keys[copy.key].source == vote.source
                    && copy.candidate == vote.candidate
            })
            .unwrap();
        let (copy, _, accepted) = waiting.remove(at);
        let batch: BatchId = header.id;
        voters.copies[copy].place = Some(Receipt { batch, position });
        voters.copies[copy].accepted = Some(accepted);
    }
}
