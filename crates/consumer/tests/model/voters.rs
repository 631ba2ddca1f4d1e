//! The voters: what they sent, under which keys, and what they were told.

use std::sync::Arc;

use paredao_domain::{
    CandidateNumber, Incarnation, KeyHash, KeySource, Poll, PollId, Receipt, UnixMillis,
};
use paredao_intake::NotTaken;

use crate::world::World;

/// A voter resends within the life of the key, less this, and uses the key anew after its life,
/// plus this: more than clocks are apart.
const MARGIN_MS: i64 = 10_000;
/// Keys that are still used.
const KEYS_IN_HAND: usize = 24;

/// One request to vote.
pub(crate) type CopyId = usize;

/// What a voter was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Success(Receipt),
    Refused(NotTaken),
    /// The API died with the request.
    Silence,
}

/// One request, and everything that is known of it outside the store.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub(crate) key: usize,
    pub(crate) candidate: CandidateNumber,
    pub(crate) sent: UnixMillis,
    pub(crate) api: Option<Incarnation>,
    pub(crate) accepted: Option<UnixMillis>,
    pub(crate) place: Option<Receipt>,
    pub(crate) answer: Option<Answer>,
}

/// A key, and the copies of each of its lives.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) poll: PollId,
    pub(crate) hash: KeyHash,
    pub(crate) source: KeySource,
    pub(crate) lives: Vec<Vec<CopyId>>,
    wish: CandidateNumber,
}

pub(crate) struct Voters {
    world: Arc<World>,
    pub(crate) keys: Vec<Key>,
    pub(crate) copies: Vec<Copy>,
}

/// What a voter does with a key.
enum Turn {
    Nothing,
    Send(CandidateNumber),
    SendAnew(CandidateNumber),
}

impl Voters {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            keys: Vec::new(),
            copies: Vec::new(),
        }
    }

    /// Some voter's turn: a request to send, perhaps.
    pub(crate) fn turn(&mut self, polls: &[Poll]) -> Option<CopyId> {
        if self.keys.is_empty() || self.world.hits(450) {
            let key = self.new_key(polls)?;
            return Some(self.send(key, self.keys[key].wish));
        }
        let oldest = self.keys.len().saturating_sub(KEYS_IN_HAND);
        let key = oldest + self.world.below(self.keys.len() - oldest);
        let poll = polls.iter().find(|poll| poll.id == self.keys[key].poll)?;
        match self.decide(key, poll) {
            Turn::Nothing => None,
            Turn::Send(candidate) => Some(self.send(key, candidate)),
            Turn::SendAnew(candidate) => {
                self.world.saw("key used anew");
                self.keys[key].lives.push(Vec::new());
                Some(self.send(key, candidate))
            }
        }
    }

    fn new_key(&mut self, polls: &[Poll]) -> Option<usize> {
        let poll = polls.get(self.world.below(polls.len()))?;
        let (low, high) = (self.world.next(), self.world.next());
        let mut hash = [0; KeyHash::BYTES];
        let random = low.to_le_bytes().into_iter().chain(high.to_le_bytes());
        hash.iter_mut()
            .zip(random)
            .for_each(|(to, from)| *to = from);
        let mut hash = KeyHash(hash);
        let source = if self.world.hits(150) {
            KeySource::Drawn
        } else {
            KeySource::Client
        };
        // The same hash in another poll is another vote.
        if let Some(other) = self.keys.last().map(|key| key.hash)
            && self.world.hits(100)
            && !self
                .keys
                .iter()
                .any(|k| (k.poll, k.hash) == (poll.id, other))
        {
            hash = other;
        }
        self.keys.push(Key {
            poll: poll.id,
            hash,
            source,
            lives: vec![Vec::new()],
            wish: self.candidate(poll),
        });
        Some(self.keys.len() - 1)
    }

    fn candidate(&self, poll: &Poll) -> CandidateNumber {
        poll.candidates[self.world.below(poll.candidates.len())].number
    }

    fn decide(&self, key: usize, poll: &Poll) -> Turn {
        let Key {
            source,
            lives,
            wish,
            ..
        } = &self.keys[key];
        if !source.can_repeat() {
            return Turn::Nothing;
        }
        let now = self.world.now();
        let sent = |copy: &CopyId| self.copies[*copy].sent;
        let life = lives.last().map_or(&[][..], Vec::as_slice);
        let (Some(first), Some(last)) = (life.first().map(sent), life.last().map(sent)) else {
            return Turn::Send(*wish);
        };
        if now.since(last) > poll.key_life_ms() + MARGIN_MS {
            return Turn::SendAnew(self.candidate(poll));
        }
        if now.since(first) > poll.key_life_ms() - MARGIN_MS {
            return Turn::Nothing;
        }
        let succeeded = life
            .iter()
            .any(|copy| matches!(self.copies[*copy].answer, Some(Answer::Success(_))));
        let waits = life.iter().any(|copy| self.copies[*copy].answer.is_none());
        let sends_again = match (succeeded, waits) {
            (true, _) => 150,
            (false, true) => 300,
            (false, false) => 900,
        };
        if self.world.hits(60) {
            self.world.saw("other candidate under one key");
            Turn::Send(self.candidate(poll))
        } else if self.world.hits(sends_again) {
            Turn::Send(*wish)
        } else {
            Turn::Nothing
        }
    }

    fn send(&mut self, key: usize, candidate: CandidateNumber) -> CopyId {
        let id = self.copies.len();
        self.copies.push(Copy {
            key,
            candidate,
            sent: self.world.now(),
            api: None,
            accepted: None,
            place: None,
            answer: None,
        });
        self.keys[key].lives.last_mut().unwrap().push(id);
        id
    }

    pub(crate) fn answer(&mut self, copy: CopyId, answer: Answer) {
        let copy = &mut self.copies[copy];
        assert_eq!(copy.answer, None, "nobody is answered twice");
        if let Answer::Success(receipt) = answer {
            assert_eq!(
                copy.place,
                Some(receipt),
                "a receipt names the vote's own place"
            );
            self.world.saw("success");
        }
        copy.answer = Some(answer);
    }

    /// An API died: whoever still waits for it hears nothing.
    pub(crate) fn silence(&mut self, api: Incarnation) {
        let waiting = self
            .copies
            .iter_mut()
            .filter(|copy| copy.api == Some(api) && copy.answer.is_none());
        waiting.for_each(|copy| copy.answer = Some(Answer::Silence));
    }

    /// Votes of which somebody was told that they succeeded.
    pub(crate) fn succeeded(&self) -> impl Iterator<Item = (&Copy, Receipt)> {
        self.copies.iter().filter_map(|copy| match copy.answer {
            Some(Answer::Success(receipt)) => Some((copy, receipt)),
            _ => None,
        })
    }
}
