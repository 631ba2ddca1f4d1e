//! Polls, votes and batches for the unit tests of this room.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use paredao_domain::{
    BatchHeader, BatchId, BatchKind, BatchNumber, BootMillis, Candidate, CandidateNumber, Clock,
    EncodedBatch, Envelope, Incarnation, KeyHash, KeySource, Lane, Minute, Mode, PartialsPolicy,
    Poll, PollDraft, PollId, PollSecret, UnixMillis, UtcOffset, Vote,
};
use paredao_store::{EmbeddedOptions, EmbeddedStore, PollChange, Store};
use paredao_vote_log::{Delivery, DeliveryTag};
use tempfile::TempDir;

/// The poll of most votes.
pub(crate) const POLL: PollId = PollId(1);
/// The minute in which it opens.
pub(crate) const OPENS: Minute = Minute(29_000_000);
pub(crate) const LIFE_MS: i64 = 180_000;
const WHO: Incarnation = Incarnation(0xace);

pub(crate) fn candidate(number: u64) -> CandidateNumber {
    CandidateNumber::try_from(number).unwrap()
}

pub(crate) fn key(n: u8) -> KeyHash {
    KeyHash([n; KeyHash::BYTES])
}

/// A vote whose key a voter chose, at the start of its minute.
pub(crate) fn vote(key_of: u8, for_whom: u64) -> Vote {
    Vote {
        candidate: candidate(for_whom),
        source: KeySource::Client,
        offset: 0,
        key: key(key_of),
    }
}

pub(crate) fn header(number: BatchNumber, minute: Minute, cumulative: u64) -> BatchHeader {
    BatchHeader {
        kind: BatchKind::Votes,
        mode: Mode::Torcida,
        poll: POLL,
        id: BatchId {
            incarnation: WHO,
            lane: Lane(0),
            number,
        },
        minute,
        cumulative,
        confirmed: number - 1,
    }
}

/// A batch of the one incarnation there is, all of whose batches hold as many votes as this one.
pub(crate) fn batch(number: BatchNumber, minute: Minute, votes: &[Vote]) -> EncodedBatch {
    let cumulative = number * votes.len() as u64;
    EncodedBatch::encode(header(number, minute, cumulative), &[], votes)
}

pub(crate) fn delivery(batch: &EncodedBatch) -> Delivery {
    Delivery {
        tag: DeliveryTag(batch.id().number),
        envelope: Some(Envelope::from(batch)),
        body: batch.bytes().clone(),
    }
}

/// The same delivery with one byte of its body changed.
pub(crate) fn damaged(batch: &EncodedBatch, at: usize) -> Delivery {
    let mut body = batch.bytes().to_vec();
    body[at] ^= 0x40;
    Delivery {
        body: body.into(),
        ..delivery(batch)
    }
}

pub(crate) fn draft(slug: &str) -> PollDraft {
    PollDraft {
        slug: slug.parse().unwrap(),
        title: "Quem sai?".to_owned(),
        candidates: [(1, "Ana"), (2, "Bia")]
            .map(|(number, name)| Candidate {
                number: candidate(number),
                name: name.to_owned(),
            })
            .into(),
        utc_offset: UtcOffset::BRASILIA,
        opens_at: None,
        closes_at: None,
        key_life_s: u32::try_from(LIFE_MS / 1_000).unwrap(),
        partials_policy: PartialsPolicy::Always,
        principal: false,
    }
}

/// An open poll that no store keeps.
pub(crate) fn open_poll(id: PollId) -> Poll {
    let secret = PollSecret::new([0; 32]);
    let mut poll = draft("teste").into_poll(id, secret, OPENS.start()).unwrap();
    poll.open(OPENS.start()).unwrap();
    poll
}

/// A clock that stands until it is moved.
pub(crate) struct SetClock {
    wall: AtomicI64,
    boot: AtomicI64,
}

impl SetClock {
    pub(crate) fn at(now: UnixMillis) -> Arc<Self> {
        Arc::new(Self {
            wall: AtomicI64::new(now.0),
            boot: AtomicI64::new(now.0),
        })
    }

    /// Time passes.
    pub(crate) fn set(&self, now: UnixMillis) {
        self.step(now);
        self.boot.store(now.0, Ordering::Relaxed);
    }

    /// Somebody sets the wall clock; no time passes.
    pub(crate) fn step(&self, now: UnixMillis) {
        self.wall.store(now.0, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.wall.load(Ordering::Relaxed))
    }

    fn boot(&self) -> BootMillis {
        BootMillis(self.boot.load(Ordering::Relaxed).cast_unsigned())
    }
}

/// A store of its own with one open poll, [`POLL`].
pub(crate) struct Rig {
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) clock: Arc<SetClock>,
    _folder: TempDir,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("store.sqlite");
        let store = Arc::new(EmbeddedStore::open(&file, EmbeddedOptions::default()).unwrap());
        let poll = store
            .create_poll(draft("paredao"), OPENS.start())
            .await
            .unwrap();
        assert_eq!(poll.id, POLL);
        store
            .change_poll(&poll.slug, PollChange::Open, OPENS.start())
            .await
            .unwrap();
        Self {
            store,
            clock: SetClock::at(OPENS.at(30_000)),
            _folder: folder,
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<dyn Clock>
    }
}
