//! One history: everything that happens, in an order and with troubles drawn from one seed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use paredao_domain::{
    BatchId, EncodedBatch, Incarnation, Minute, Poll, PollId, PollState, UnixMillis, Vote,
};
use paredao_store::{EmbeddedOptions, EmbeddedStore, Store};
use tempfile::TempDir;

use crate::api::Api;
use crate::checks;
use crate::consumer::Consumer;
use crate::defect::Defect;
use crate::log::SimLog;
use crate::operator::Operator;
use crate::steps::{Process, wait};
use crate::store::FaultyStore;
use crate::violation::Violation;
use crate::voters::Voters;
use crate::world::{DEADLINE_MS, ProcessClock, SKEW_MS_MAX, World};

const APIS: usize = 3;
const CONSUMERS: usize = 2;
/// Where SQLite's syncs cost nothing; elsewhere the model works too, only slower.
const MEMORY_DISK: &str = "/dev/shm";

/// What a history came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    pub(crate) tally: BTreeMap<&'static str, u64>,
}

/// A consumer's place: a process that may be dead, or alive and not running.
struct Seat {
    clock: Arc<ProcessClock>,
    process: Option<Process>,
    is_frozen: bool,
    has_leapt: bool,
}

pub(crate) struct History {
    pub(crate) world: Arc<World>,
    pub(crate) log: Arc<SimLog>,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) voters: Voters,
    pub(crate) operator: Operator,
    apis: Vec<Api>,
    consumers: Vec<Seat>,
    /// Batches of APIs that are gone.
    past_cuts: Vec<EncodedBatch>,
    folder: TempDir,
}

/// Runs the history of a seed.
pub(crate) fn run(seed: u64, defect: Option<Defect>) -> Outcome {
    let mut history = History::new(seed, defect);
    let turns = 150 + history.world.below(400);
    for _ in 0..turns {
        history.turn();
    }
    history.come_to_rest();
    if defect == Some(Defect::TotalsDrift) {
        history.let_totals_drift();
    }
    checks::check(&history);
    Outcome {
        violations: history.world.violations(),
        tally: history.world.tally(),
    }
}

impl History {
    fn new(seed: u64, defect: Option<Defect>) -> Self {
        let world = World::new(seed, defect);
        let folder = if Path::new(MEMORY_DISK).is_dir() {
            TempDir::new_in(MEMORY_DISK)
        } else {
            TempDir::new()
        }
        .unwrap();
        let file = folder.path().join("store.sqlite");
        let inner = EmbeddedStore::open(&file, EmbeddedOptions::default()).unwrap();
        let store = FaultyStore::new(&world, inner);
        let log = SimLog::new(&world);
        let mut operator = Operator::new(&world, &store, &log);
        operator.create_poll();
        if world.hits(150) {
            operator.announce_poll();
        }
        let apis = (0..APIS).map(|_| Api::start(&world, &log)).collect();
        let consumers = (0..CONSUMERS)
            .map(|_| Seat {
                clock: ProcessClock::new(&world),
                process: None,
                is_frozen: false,
                has_leapt: false,
            })
            .collect();
        Self {
            voters: Voters::new(&world),
            operator,
            apis,
            consumers,
            past_cuts: Vec::new(),
            folder,
            store,
            log,
            world,
        }
    }

    /// The store's file, for the recount.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("store.sqlite")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Every batch that was ever cut.
    pub(crate) fn cuts(&self) -> impl Iterator<Item = &EncodedBatch> {
        let present = self.apis.iter().flat_map(|api| &api.cuts);
        self.past_cuts.iter().chain(present)
    }

    fn turn(&mut self) {
        self.pass_time();
        match self.world.below(100) {
            0..20 => self.vote(),
            20..42 => self.api_turn(),
            42..90 => self.consumer_turn(),
            90..94 => self.trouble_an_api(),
            94..96 => self.trouble_a_consumer(),
            96..98 => self.trouble_log_and_store(),
            _ => self.people(),
        }
    }

    fn pass_time(&self) {
        let millis = match self.world.below(100) {
            0..83 => self.world.between(0, 30),
            83..95 => self.world.between(30, 500),
            95..98 => self.world.between(500, 8_000),
            98 => self.world.between(8_000, 200_000),
            _ => self.until_an_end(),
        };
        self.world.advance(millis);
        self.log.arrive(self.world.now());
    }

    /// Until a moment before or after some poll's end at which something is decided.
    fn until_an_end(&self) -> i64 {
        let polls = self.operator.polls();
        let end = polls[self.world.below(polls.len())].closes_at;
        let moments = [
            -SKEW_MS_MAX,
            0,
            SKEW_MS_MAX,
            DEADLINE_MS,
            DEADLINE_MS + 2 * SKEW_MS_MAX,
        ];
        let moment = self.world.pick(&moments).unwrap_or(0) - self.world.between(0, 300);
        let until = end.map_or(0, |end| end.plus(moment).since(self.world.now()));
        until.max(0)
    }

    fn vote(&mut self) {
        for _ in 0..=self.world.below(3) {
            if let Some(copy) = self.voters.turn(self.operator.polls()) {
                let api = self.world.below(self.apis.len());
                let api = &mut self.apis[api];
                let known = self.operator.polls_at(api.hears());
                api.submit(&mut self.voters, copy, known);
            }
        }
    }

    fn api_turn(&mut self) {
        let api = self.world.below(self.apis.len());
        for _ in 0..=self.world.below(24) {
            self.apis[api].turn(&mut self.voters);
        }
    }

    fn consumer_turn(&mut self) {
        let at = self.world.below(self.consumers.len());
        if self.consumers[at].is_frozen {
            return;
        }
        for _ in 0..=self.world.below(20) {
            if self.world.hits(self.world.trouble().crash) {
                self.world.saw("consumer crashed");
                self.consumers[at].process = None;
                return;
            }
            self.step_consumer(at);
        }
    }

    fn step_consumer(&mut self, at: usize) {
        let seat = &mut self.consumers[at];
        let process = seat.process.get_or_insert_with(|| {
            Consumer::start(&self.world, &self.log, &self.store, &seat.clock)
        });
        if process.step() {
            seat.process = None;
        }
        for poll in self.store.newly_final() {
            self.check_not_too_early(poll);
        }
    }

    /// A result that has just become final: every vote of it that was answered with success is
    /// in the ledger, or in a dead letter of which somebody has decided.
    fn check_not_too_early(&self, poll: PollId) {
        self.world.saw("final");
        let hours = self.poll(poll).hours();
        let whereabouts = self.log.whereabouts();
        for (copy, receipt) in self.voters.succeeded() {
            let in_hours = copy.accepted.is_some_and(|at| hours.contain(at));
            // A whole copy may still come after the barrier.
            let is_decided = self.operator.has_written_off(receipt.batch);
            let of_this = self.voters.keys[copy.key].poll == poll;
            if of_this && in_hours && !is_decided && !self.store.is_applied(receipt.batch) {
                let batch = receipt.batch;
                let place = whereabouts.get(&batch).copied().unwrap_or_default();
                let why = format!("{place:?}; {}", self.log.tell(batch.incarnation));
                return self
                    .world
                    .report(Violation::FinalTooEarly { poll, batch, why });
            }
        }
    }

    fn poll(&self, id: PollId) -> Poll {
        let polls = wait(self.store.inner().polls()).unwrap();
        polls.into_iter().find(|poll| poll.id == id).unwrap()
    }

    fn trouble_an_api(&mut self) {
        let at = self.world.below(self.apis.len());
        match self.world.below(8) {
            0 => self.kill_api(at),
            1..=3 => self.apis[at].toggle_frozen(),
            4 | 5 => self.apis[at].toggle_cut_off(),
            _ => self.apis[at].jump_clock(),
        }
    }

    fn kill_api(&mut self, at: usize) {
        self.world.saw("API crashed");
        let fresh = Api::start(&self.world, &self.log);
        let dead = std::mem::replace(&mut self.apis[at], fresh);
        self.voters.silence(dead.incarnation());
        self.past_cuts.extend(dead.cuts);
    }

    fn trouble_a_consumer(&mut self) {
        let at = self.world.below(self.consumers.len());
        let seat = &mut self.consumers[at];
        match self.world.below(4) {
            0 => seat.clock.jump(),
            1 if !seat.has_leapt && !seat.is_frozen => self.leap(at),
            _ => seat.is_frozen = !seat.is_frozen,
        }
    }

    /// Somebody sets a consumer's wall clock, sees the mistake, and sets it back: meanwhile the
    /// consumer works and hardly any time passes.
    fn leap(&mut self, at: usize) {
        self.consumers[at].has_leapt = true;
        self.consumers[at].clock.leap();
        for _ in 0..=self.world.below(40) {
            self.step_consumer(at);
        }
        self.consumers[at].clock.land();
    }

    fn trouble_log_and_store(&mut self) {
        match self.world.below(12) {
            0..=3 => self.log.fail_over(),
            4 => self.log.restart(),
            5 if self.world.trouble().body_damaged > 0 => self.log.inject_damaged_copy(),
            6 if self.world.trouble().body_damaged > 30 => self.log.inject_garbage(),
            7 if self.world.trouble().body_damaged > 0 => self.impostor(),
            _ => self.store.arrive(),
        }
    }

    /// A batch under the name of one that was applied, with another vote in it.
    fn impostor(&self) {
        let applied = self.store.applied();
        let Some(batch) = self
            .world
            .pick(&applied)
            .and_then(|id| self.cuts().find(|cut| cut.id() == id))
        else {
            return;
        };
        let mut votes: Vec<Vote> = batch.votes().map(|(_, vote)| vote).collect();
        if let Some(vote) = votes.first_mut() {
            vote.key.0[0] ^= 1;
            let voids: Vec<u64> = batch.voids().collect();
            self.log
                .inject(&EncodedBatch::encode(*batch.header(), &voids, &votes));
            self.world.saw("impostor");
        }
    }

    fn people(&mut self) {
        let has_room = self.operator.polls().len() < 3;
        match self.world.below(6) {
            0 if has_room && self.world.hits(300) => self.operator.announce_poll(),
            0 if has_room => self.operator.create_poll(),
            0 => drop(self.operator.create_announced_poll()),
            1 => self.operator.close_one(),
            2 => self.operator.extend_one(),
            _ => {
                let letters = self.operator.unresolved_letters();
                let at = self.world.below(letters.len());
                letters.get(at).iter().for_each(|l| self.operator.decide(l));
            }
        }
    }

    /// Everything heals, everybody comes back or goes in good order, and all that is under way
    /// arrives. Then nothing may be left undone.
    fn come_to_rest(&mut self) {
        self.world.heal();
        self.operator.create_announced_poll();
        for _ in 0..3 {
            if self.world.hits(700) {
                self.operator.close_one();
            }
        }
        self.stop_apis();
        self.log.arrive(UnixMillis(i64::MAX));
        for _ in 0..50 {
            self.store.arrive();
        }
        self.consumers
            .iter_mut()
            .for_each(|seat| seat.is_frozen = false);
        self.rest("the log was not consumed", |history| {
            history.log.is_settled()
        });
        // Whatever closes at all closes within twenty minutes of its creation or extension.
        self.world.advance(1_300_000);
        self.rest(
            "a closed poll did not come to its end",
            Self::have_closed_polls_ended,
        );
        self.decide_about_letters();
        self.rest(
            "a closed poll did not become final",
            Self::have_closed_polls_ended,
        );
    }

    fn stop_apis(&mut self) {
        for at in 0..self.apis.len() {
            if self.world.hits(300) {
                self.kill_api(at);
            }
            self.apis[at].heal();
            let mut moments = 0;
            while !self.apis[at].stop(&mut self.voters) && moments < 10_000 {
                self.world.advance(10);
                moments += 1;
            }
            if moments == 10_000 {
                let why = "an API could not stop".to_owned();
                self.world.report(Violation::Restless(why));
            }
        }
    }

    fn decide_about_letters(&mut self) {
        for _ in 0..10 {
            let letters = self.operator.unresolved_letters();
            if letters.is_empty() {
                return;
            }
            letters
                .iter()
                .for_each(|letter| self.operator.decide(letter));
            self.rest("what was requeued was not consumed", |h| h.log.is_settled());
        }
    }

    fn rest(&mut self, otherwise: &str, is_at_rest: impl Fn(&Self) -> bool) {
        for _ in 0..100 {
            for _ in 0..100 {
                (0..CONSUMERS).for_each(|at| self.step_consumer(at));
            }
            if is_at_rest(self) {
                return;
            }
            self.world.advance(2_000);
        }
        let why = format!("{otherwise}: {}", self.log.describe());
        self.world.report(Violation::Restless(why));
    }

    /// Every closed poll is final, or has a reason not to be that the model knows of.
    fn have_closed_polls_ended(&self) -> bool {
        let polls = wait(self.store.inner().polls()).unwrap();
        let now = self.world.now();
        let is_closed = |poll: &&Poll| poll.state(now) == PollState::Closed;
        polls
            .iter()
            .filter(is_closed)
            .all(|poll| self.keeps_from_final(poll, &polls))
    }

    /// Whether anything is unresolved that may keep the result of this poll from becoming final.
    pub(crate) fn keeps_from_final(&self, poll: &Poll, polls: &[Poll]) -> bool {
        let is_known = |id: PollId| polls.iter().any(|poll| poll.id == id);
        let letters = self.operator.unresolved_letters();
        let mut letters = letters.iter().map(|letter| letter.envelope);
        letters.any(|envelope| envelope.is_none_or(|e| e.poll == poll.id || !is_known(e.poll)))
            || self.has_lost_within(poll)
    }

    /// Whether a batch was lost whose votes may have been accepted in the hours of this poll, as
    /// far as the batches before and after it tell.
    fn has_lost_within(&self, poll: &Poll) -> bool {
        let whereabouts = self.log.whereabouts();
        let place = |id: &BatchId| whereabouts.get(id).copied().unwrap_or_default();
        self.cuts_by_incarnation().values().any(|batches| {
            let came = |batch: &&EncodedBatch| {
                let place = place(&batch.id());
                place.whole || place.damaged
            };
            let is_lost = |batch: &&EncodedBatch| place(&batch.id()).lost;
            let lost = batches.values().copied().filter(is_lost);
            lost.map(|batch| batch.id().number).any(|number| {
                let mut before = batches.range(..number).map(|(_, batch)| *batch);
                let mut after = batches.range(number..).map(|(_, batch)| *batch);
                let from = before.rfind(came).map_or(Minute(0), minute_of);
                let to = after.find(came).map_or(Minute(u32::MAX), minute_of);
                let end = Minute(to.0.saturating_add(1)).start();
                poll.opens_at.is_some_and(|opens| opens < end)
                    && poll.closes_at.is_some_and(|closes| from.start() < closes)
            })
        })
    }

    /// Adds a vote to everything that is kept beside the ledger, so that only a recount can tell.
    fn let_totals_drift(&self) {
        let file = rusqlite::Connection::open(self.file()).unwrap();
        for table in ["total", "minute_bucket", "hour_bucket", "account"] {
            let counted = if table == "account" {
                "account = 'counted'"
            } else {
                "candidate = 1"
            };
            let sql = format!(
                "UPDATE {table} SET votes = votes + 1 WHERE poll = 1 AND {counted}
                 AND (SELECT count(DISTINCT start) FROM hour_bucket WHERE poll = 1) = 1
                 AND (SELECT count(DISTINCT start) FROM minute_bucket WHERE poll = 1) >= 1"
            );
            file.execute(&sql, []).unwrap();
        }
    }

    /// Batches of one incarnation, by number.
    pub(crate) fn cuts_by_incarnation(
        &self,
    ) -> BTreeMap<Incarnation, BTreeMap<u64, &EncodedBatch>> {
        let mut all: BTreeMap<Incarnation, BTreeMap<u64, &EncodedBatch>> = BTreeMap::new();
        for batch in self.cuts() {
            let BatchId {
                incarnation,
                number,
                ..
            } = batch.id();
            all.entry(incarnation).or_default().insert(number, batch);
        }
        all
    }
}

fn minute_of(batch: &EncodedBatch) -> Minute {
    batch.header().minute
}
