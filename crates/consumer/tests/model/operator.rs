//! The people in production: they create, close and extend polls, and decide about dead letters.

use std::sync::Arc;

use paredao_domain::{
    Candidate, CandidateNumber, EncodedBatch, PartialsPolicy, Poll, PollDraft, PollState,
    UnixMillis, UtcOffset,
};
use paredao_store::{DeadLetter, DeadLetterState, PollChange, Store};

use crate::log::SimLog;
use crate::steps::wait;
use crate::store::FaultyStore;
use crate::world::{LEAD_MS, World};

pub(crate) struct Operator {
    world: Arc<World>,
    store: Arc<FaultyStore>,
    log: Arc<SimLog>,
    /// All polls as they were from each of these instants on.
    versions: Vec<(UnixMillis, Vec<Poll>)>,
}

impl Operator {
    pub(crate) fn new(world: &Arc<World>, store: &Arc<FaultyStore>, log: &Arc<SimLog>) -> Self {
        Self {
            world: Arc::clone(world),
            store: Arc::clone(store),
            log: Arc::clone(log),
            versions: Vec::new(),
        }
    }

    /// The polls as they are.
    pub(crate) fn polls(&self) -> &[Poll] {
        self.versions.last().map_or(&[], |(_, polls)| polls)
    }

    /// The polls as somebody knows them who last asked at `instant`.
    pub(crate) fn polls_at(&self, instant: UnixMillis) -> &[Poll] {
        let known = self
            .versions
            .iter()
            .rev()
            .find(|(from, _)| *from <= instant);
        known.map_or(&[], |(_, polls)| polls)
    }

    fn publish(&mut self) {
        let polls = wait(self.store.inner().polls()).unwrap();
        self.versions.push((self.world.now(), polls));
    }

    pub(crate) fn create_poll(&mut self) {
        let number = self.polls().len() + 1;
        let now = self.world.now();
        let closes = now.plus(self.world.between(60_000, 1_200_000));
        let candidates = 1..=u64::try_from(2 + self.world.below(2)).unwrap();
        let draft = PollDraft {
            slug: format!("paredao-{number}").parse().unwrap(),
            title: format!("Quem sai? ({number})"),
            candidates: candidates
                .map(|number| Candidate {
                    number: CandidateNumber::try_from(number).unwrap(),
                    name: format!("Candidata {number}"),
                })
                .collect(),
            utc_offset: UtcOffset::BRASILIA,
            opens_at: None,
            closes_at: self
                .world
                .hits(500)
                .then(|| closes.rfc3339(UtcOffset::BRASILIA)),
            key_life_s: self.world.pick(&[130, 180, 300]).unwrap(),
            partials_policy: PartialsPolicy::Always,
            principal: false,
        };
        let poll = wait(self.store.inner().create_poll(draft, now)).unwrap();
        self.change(&poll, PollChange::Open);
        // Old enough that every API knows it.
        if let Some((from, _)) = self.versions.last_mut()
            && number == 1
        {
            *from = UnixMillis(0);
        }
    }

    fn change(&mut self, poll: &Poll, change: PollChange) {
        let now = self.world.now();
        // Refused when it comes too late or too early; that is another room's test.
        let _ = wait(self.store.inner().change_poll(&poll.slug, change, now));
        self.publish();
    }

    /// Closes some open poll, not as scheduled.
    pub(crate) fn close_one(&mut self) {
        let now = self.world.now();
        let open: Vec<Poll> = self
            .polls()
            .iter()
            .filter(|poll| poll.state(now) == PollState::Open)
            .cloned()
            .collect();
        if let Some(poll) = open.get(self.world.below(open.len())) {
            self.world.saw("unscheduled close");
            self.change(poll, PollChange::Close { lead_ms: LEAD_MS });
        }
    }

    /// Moves the end of some poll.
    pub(crate) fn extend_one(&mut self) {
        let closes_at = self.world.now().plus(self.world.between(5_000, 600_000));
        let at = self.world.below(self.polls().len());
        if let Some(poll) = self.polls().get(at).cloned() {
            let lead_ms = LEAD_MS;
            self.change(&poll, PollChange::Extend { closes_at, lead_ms });
        }
    }

    pub(crate) fn unresolved_letters(&self) -> Vec<DeadLetter> {
        let letters = wait(self.store.inner().dead_letters()).unwrap();
        letters
            .into_iter()
            .filter(|letter| letter.state == DeadLetterState::Unresolved)
            .collect()
    }

    /// Decides about a dead letter: sends it again if it can be read, or gives it up.
    pub(crate) fn decide(&self, letter: &DeadLetter) {
        let resolve = |state| wait(self.store.inner().resolve_dead_letter(letter.id, state));
        let batch = EncodedBatch::decode(letter.letter.body.clone());
        match batch {
            Ok(batch) if self.world.hits(500) => {
                self.world.saw("requeued");
                resolve(DeadLetterState::Requeued).unwrap();
                self.log.inject(&batch);
            }
            _ => {
                self.world.saw("written off");
                resolve(DeadLetterState::WrittenOff("nobody can read it".to_owned())).unwrap();
            }
        }
    }
}
