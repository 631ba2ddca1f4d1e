//! The people in production: they create, close and extend polls, and decide about dead letters.

use std::collections::BTreeSet;
use std::sync::Arc;

use paredao_domain::{
    BatchId, Candidate, CandidateNumber, EncodedBatch, PartialsPolicy, Poll, PollDraft, PollId,
    PollSecret, PollState, UnixMillis, UtcOffset,
};
use paredao_store::{DeadLetterHead, DeadLetterState, PollChange, Store};

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
    /// A poll that APIs and voters know of and the store does not yet.
    announced: Option<(PollDraft, Poll)>,
    created_late: BTreeSet<PollId>,
    written_off: BTreeSet<BatchId>,
}

impl Operator {
    pub(crate) fn new(world: &Arc<World>, store: &Arc<FaultyStore>, log: &Arc<SimLog>) -> Self {
        Self {
            world: Arc::clone(world),
            store: Arc::clone(store),
            log: Arc::clone(log),
            versions: Vec::new(),
            announced: None,
            created_late: BTreeSet::new(),
            written_off: BTreeSet::new(),
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

    /// Whether batches of this poll may have come to a store that did not know it.
    pub(crate) fn was_created_late(&self, poll: PollId) -> bool {
        self.created_late.contains(&poll)
    }

    /// Whether somebody gave up a letter of this batch.
    pub(crate) fn has_written_off(&self, batch: BatchId) -> bool {
        self.written_off.contains(&batch)
    }

    fn publish(&mut self) {
        let mut polls = wait(self.store.inner().polls()).unwrap();
        polls.extend(self.announced.iter().map(|(_, poll)| poll.clone()));
        self.versions.push((self.world.now(), polls));
    }

    fn draft(&self) -> PollDraft {
        let number = self.polls().len() + 1;
        let closes = self.world.now().plus(self.world.between(60_000, 1_200_000));
        let candidates = 1..=u64::try_from(2 + self.world.below(2)).unwrap();
        PollDraft {
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
        }
    }

    /// Creates the poll that was announced, or another.
    pub(crate) fn create_poll(&mut self) {
        if self.create_announced_poll() {
            return;
        }
        let is_first = self.polls().is_empty();
        let draft = self.draft();
        let poll = wait(self.store.inner().create_poll(draft, self.world.now())).unwrap();
        self.change(&poll, PollChange::Open);
        // Old enough that every API knows it.
        if let Some((from, _)) = self.versions.last_mut()
            && is_first
        {
            *from = UnixMillis(0);
        }
    }

    /// APIs take votes for a poll that the store will know later: where an old copy of the store
    /// was put back, for instance.
    pub(crate) fn announce_poll(&mut self) {
        if self.announced.is_some() {
            return;
        }
        let now = self.world.now();
        let draft = PollDraft {
            opens_at: Some(now.rfc3339(UtcOffset::BRASILIA)),
            ..self.draft()
        };
        let id = PollId(u32::try_from(self.polls().len() + 1).unwrap());
        let secret = PollSecret::new([0; 32]);
        let poll = draft.clone().into_poll(id, secret, now).unwrap();
        self.world.saw("poll announced");
        self.created_late.insert(id);
        self.announced = Some((draft, poll));
        self.publish();
    }

    /// Returns whether there was one.
    pub(crate) fn create_announced_poll(&mut self) -> bool {
        let Some((draft, announced)) = self.announced.take() else {
            return false;
        };
        let poll = wait(self.store.inner().create_poll(draft, self.world.now())).unwrap();
        assert_eq!((poll.id, poll.hours()), (announced.id, announced.hours()));
        self.publish();
        true
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
        let announced = self.announced.as_ref().map(|(_, poll)| poll.id);
        let open: Vec<Poll> = self
            .polls()
            .iter()
            .filter(|poll| poll.state(now) == PollState::Open && Some(poll.id) != announced)
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

    pub(crate) fn unresolved_letters(&self) -> Vec<DeadLetterHead> {
        let letters = wait(self.store.inner().dead_letters()).unwrap();
        letters
            .into_iter()
            .filter(|letter| letter.state == DeadLetterState::Unresolved)
            .collect()
    }

    /// Decides about a dead letter: sends it again if it can be read, or gives it up.
    pub(crate) fn decide(&mut self, letter: &DeadLetterHead) {
        let body = wait(self.store.inner().dead_letter(letter.id)).unwrap();
        match EncodedBatch::decode(body.letter.body) {
            Ok(batch) if self.world.hits(500) => self.requeue(letter, &batch),
            _ => self.write_off(letter),
        }
    }

    fn requeue(&self, letter: &DeadLetterHead, batch: &EncodedBatch) {
        self.world.saw("requeued");
        let exists = wait(self.store.inner().polls()).unwrap();
        let exists = exists.iter().any(|poll| poll.id == batch.header().poll);
        if letter.votes > 0 && exists {
            self.world.saw("votes requeued");
        }
        self.resolve(letter, DeadLetterState::Requeued);
        self.log.inject(batch);
    }

    fn write_off(&mut self, letter: &DeadLetterHead) {
        self.world.saw("written off");
        let why = "nobody can read it".to_owned();
        self.resolve(letter, DeadLetterState::WrittenOff(why));
        self.written_off
            .extend(letter.envelope.map(|envelope| envelope.id));
    }

    fn resolve(&self, letter: &DeadLetterHead, state: DeadLetterState) {
        wait(self.store.inner().resolve_dead_letter(letter.id, state)).unwrap();
    }
}
