//! An API and a consumer in one, for tests: cuts batches, judges them by the rules, applies them.
//!
//! Its judgement is the plainest reading of the rules (it looks at every copy that stands), so
//! that it can serve as a reference for faster ones.

use std::collections::HashMap;
use std::sync::Arc;

use paredao_domain::{
    BatchHeader, BatchId, BatchKind, BatchNumber, Candidate, CandidateNumber, EncodedBatch,
    Incarnation, IncarnationBook, KeyHash, KeySource, Lane, LedgerEntry, LedgerPosition, Mark,
    MarkKind, Minute, Mode, PartialsPolicy, Poll, PollDraft, PollId, Position, Standing,
    UnixMillis, UtcOffset, Vote,
};

pub use crate::dice::Dice;
use crate::{
    Application, ApplyError, Fence, LedgerQuery, NewDeadLetter, OwnerId, PollChange, Snapshot,
    Store,
};

/// When tests vote: 2026-03-31T22:30:00-03:00.
pub const NOW: UnixMillis = UnixMillis(1_775_007_000_000);
/// The candidates of polls made here.
pub const CANDIDATES: [u64; 3] = [1, 2, 7];

/// A poll as somebody wishes it.
pub fn draft(slug: &str, utc_offset: UtcOffset) -> PollDraft {
    PollDraft {
        slug: slug.parse().unwrap(),
        title: "Quem sai?".to_owned(),
        candidates: CANDIDATES
            .map(|n| Candidate {
                number: candidate(n),
                name: format!("Candidata {n}"),
            })
            .into(),
        utc_offset,
        opens_at: None,
        closes_at: None,
        key_life_s: 180,
        partials_policy: PartialsPolicy::Always,
        principal: false,
    }
}

/// A poll of Brasília that has been open for two days.
pub async fn open_poll(store: &dyn Store, slug: &str) -> Poll {
    open_poll_at(store, slug, UtcOffset::BRASILIA).await
}

/// A poll that has been open for two days.
pub async fn open_poll_at(store: &dyn Store, slug: &str, utc_offset: UtcOffset) -> Poll {
    let since = NOW.plus(-48 * 3_600_000);
    let draft = draft(slug, utc_offset);
    let slug = draft.slug.clone();
    store.create_poll(draft, since).await.unwrap();
    store
        .change_poll(&slug, PollChange::Open, since)
        .await
        .unwrap()
}

/// Closes a poll at [`NOW`] plus `lead_ms`.
pub async fn close_poll(store: &dyn Store, poll: &Poll, lead_ms: i64) -> Poll {
    store
        .change_poll(&poll.slug, PollChange::Close { lead_ms }, NOW)
        .await
        .unwrap()
}

/// The candidate of a number.
pub fn candidate(number: u64) -> CandidateNumber {
    CandidateNumber::try_from(number).unwrap()
}

/// A vote under a client's key, in the first millisecond of its minute.
pub fn vote(number: u64, key: u64) -> Vote {
    let mut hash = [0; KeyHash::BYTES];
    hash[..8].copy_from_slice(&key.to_le_bytes());
    Vote {
        candidate: candidate(number),
        source: KeySource::Client,
        offset: 0,
        key: KeyHash(hash),
    }
}

/// A copy that stands.
#[derive(Clone, Copy, Debug)]
struct Copy {
    candidate: CandidateNumber,
    accepted: UnixMillis,
    standing: Standing,
}

/// The owner of a lane and the only API that sends on it.
pub struct Scribe {
    store: Arc<dyn Store>,
    /// Its right to write.
    pub fence: Fence,
    /// Where its next entry goes.
    pub next: LedgerPosition,
    /// The book of its incarnation.
    pub book: IncarnationBook,
    number: BatchNumber,
    cumulative: u64,
    copies: HashMap<(PollId, KeyHash), Vec<Copy>>,
}

impl Scribe {
    /// Claims lane 0 for an owner who has not sent anything yet.
    pub async fn claim(store: &Arc<dyn Store>, owner: u64) -> Self {
        Self::claim_lane(store, owner, Lane(0)).await
    }

    /// Claims a lane for an owner who has not sent anything yet.
    pub async fn claim_lane(store: &Arc<dyn Store>, owner: u64, lane: Lane) -> Self {
        let claim = store.claim_lane(lane, OwnerId(owner)).await.unwrap();
        Self {
            store: Arc::clone(store),
            fence: claim.fence,
            next: claim.next_position,
            book: IncarnationBook::new(Incarnation(owner), lane),
            number: 0,
            cumulative: 0,
            copies: HashMap::new(),
        }
    }

    /// Cuts the next batch of this incarnation. Every batch before it counts as confirmed.
    pub fn cut(&mut self, poll: PollId, minute: Minute, votes: &[Vote]) -> EncodedBatch {
        self.cut_kind(BatchKind::Votes, poll, minute, votes)
    }

    /// Cuts a batch without votes.
    pub fn cut_marker(&mut self, kind: BatchKind, poll: PollId) -> EncodedBatch {
        self.cut_kind(kind, poll, NOW.minute(), &[])
    }

    fn cut_kind(
        &mut self,
        kind: BatchKind,
        poll: PollId,
        minute: Minute,
        votes: &[Vote],
    ) -> EncodedBatch {
        self.number += 1;
        self.cumulative += votes.len() as u64;
        let header = BatchHeader {
            kind,
            mode: Mode::Torcida,
            poll,
            id: BatchId {
                incarnation: self.book.incarnation(),
                lane: self.fence.lane,
                number: self.number,
            },
            minute,
            cumulative: self.cumulative,
            confirmed: self.number - 1,
        };
        EncodedBatch::encode(header, &[], votes)
    }

    /// Judges a batch and gives it the next place.
    pub fn enter(&mut self, poll: &Poll, batch: &EncodedBatch) -> LedgerEntry {
        let minute = batch.header().minute;
        let marks = batch
            .votes()
            .filter_map(|(position, vote)| {
                self.judge(poll, position, &vote, minute.at(vote.offset))
            })
            .collect();
        self.place(batch, marks)
    }

    /// Gives a batch the next place, with these marks.
    pub fn place(&mut self, batch: &EncodedBatch, marks: Vec<Mark>) -> LedgerEntry {
        let entry = LedgerEntry {
            position: self.next,
            batch: batch.clone(),
            marks,
        };
        self.next = self.next.next();
        self.book.record(batch);
        entry
    }

    fn judge(
        &mut self,
        poll: &Poll,
        position: Position,
        vote: &Vote,
        accepted: UnixMillis,
    ) -> Option<Mark> {
        let out_of_time = if poll.final_at.is_some() {
            Some(MarkKind::Late)
        } else if poll.hours().contain(accepted) {
            None
        } else {
            Some(MarkKind::AfterClose)
        };
        if let Some(kind) = out_of_time {
            return Some(Mark {
                position,
                kind,
                standing: None,
            });
        }
        if !vote.source.can_repeat() {
            return None;
        }
        let life = poll.key_life_ms();
        let copies = self.copies.entry((poll.id, vote.key)).or_default();
        let stands = copies
            .iter()
            .find(|copy| copy.accepted.since(accepted).abs() <= life);
        if let Some(copy) = stands {
            let kind = if copy.candidate == vote.candidate {
                MarkKind::Duplicate
            } else {
                MarkKind::KeyConflict
            };
            return Some(Mark {
                position,
                kind,
                standing: Some(copy.standing),
            });
        }
        copies.push(Copy {
            candidate: vote.candidate,
            accepted,
            standing: Standing {
                entry: self.next,
                position,
            },
        });
        None
    }

    /// An application of these entries and the book as it is now.
    pub fn application(&self, entries: Vec<LedgerEntry>) -> Application {
        Application {
            entries,
            incarnations: vec![self.book.clone()],
            now: NOW,
            ..Application::default()
        }
    }

    /// Applies.
    pub async fn apply(&self, application: &Application) -> Result<(), ApplyError> {
        self.store.apply(&self.fence, application).await
    }

    /// Judges and applies one batch.
    pub async fn apply_batch(&mut self, poll: &Poll, batch: &EncodedBatch) {
        let entry = self.enter(poll, batch);
        self.apply(&self.application(vec![entry])).await.unwrap();
    }

    /// Applies one batch with these marks, right or wrong.
    pub async fn apply_with_marks(&mut self, batch: &EncodedBatch, marks: Vec<Mark>) {
        let entry = self.place(batch, marks);
        self.apply(&self.application(vec![entry])).await.unwrap();
    }

    /// Cuts, judges and applies one batch.
    pub async fn submit(&mut self, poll: &Poll, minute: Minute, votes: &[Vote]) -> BatchId {
        let batch = self.cut(poll.id, minute, votes);
        self.apply_batch(poll, &batch).await;
        batch.id()
    }

    /// Keeps dead letters, and nothing else.
    pub async fn set_aside(&self, letters: Vec<NewDeadLetter>) {
        let application = Application {
            dead_letters: letters,
            now: NOW,
            ..Application::default()
        };
        self.apply(&application).await.unwrap();
    }

    /// Sends a poll's barrier through the lane.
    pub async fn pass_barrier(&mut self, poll: &Poll) {
        let batch = self.cut_marker(BatchKind::Barrier, poll.id);
        let entry = self.place(&batch, Vec::new());
        let mut application = self.application(vec![entry]);
        application.barriers = vec![poll.id];
        self.apply(&application).await.unwrap();
    }
}

/// What only tests draw.
pub trait VoteDice {
    /// A vote whose key comes again now and then, sometimes for another candidate.
    fn vote(&mut self) -> Vote;
}

impl VoteDice for Dice {
    fn vote(&mut self) -> Vote {
        let index = usize::try_from(self.below(3)).unwrap();
        let key = self.below(400);
        Vote {
            source: KeySource::from_bits(u8::try_from(self.below(4)).unwrap()),
            offset: u16::try_from(self.below(60_000)).unwrap(),
            ..vote(CANDIDATES[index], key)
        }
    }
}

/// Applies `batches` batches of random votes of random polls in the quarter of an hour before
/// [`NOW`].
pub async fn apply_random(scribe: &mut Scribe, polls: &[Poll], seed: u64, batches: u64) {
    let mut dice = Dice(seed);
    let mut left = batches;
    while left > 0 {
        let together = (1 + dice.below(5)).min(left);
        left -= together;
        let entries = (0..together)
            .map(|_| {
                let index = dice.below(polls.len() as u64);
                let poll = &polls[usize::try_from(index).unwrap()];
                let minute = Minute(NOW.minute().0 - 1 - u32::try_from(dice.below(15)).unwrap());
                let votes: Vec<Vote> = (0..=dice.below(60)).map(|_| dice.vote()).collect();
                let batch = scribe.cut(poll.id, minute, &votes);
                scribe.enter(poll, &batch)
            })
            .collect();
        let application = scribe.application(entries);
        scribe.apply(&application).await.unwrap();
    }
}

/// Asks for everything in a lane.
pub fn whole_lane(lane: Lane) -> LedgerQuery {
    LedgerQuery {
        lane,
        after: LedgerPosition(0),
        minutes: None,
        poll: None,
        bytes_max: usize::MAX,
    }
}

/// The whole ledger of a lane.
pub async fn ledger_of(store: &dyn Store, lane: Lane) -> Vec<LedgerEntry> {
    store.ledger(&whole_lane(lane)).await.unwrap()
}

/// The snapshot of [`NOW`].
pub async fn snapshot(store: &dyn Store) -> Snapshot {
    store.snapshot(NOW).await.unwrap()
}
