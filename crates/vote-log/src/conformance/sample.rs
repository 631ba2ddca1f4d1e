//! What the suite puts into a log.

use paredao_domain::{
    BatchHeader, BatchId, BatchKind, BatchNumber, BootMillis, CandidateNumber, Clock, EncodedBatch,
    Incarnation, KeyHash, KeySource, Lane, Minute, Mode, PollId, UnixMillis, VOTES_MAX, Vote,
};

/// A batch of so many votes (a void marker if there are none). Equal arguments give equal bytes,
/// different numbers different ones.
pub fn sample_batch(incarnation: Incarnation, number: BatchNumber, votes: u16) -> EncodedBatch {
    let header = BatchHeader {
        kind: if votes > 0 {
            BatchKind::Votes
        } else {
            BatchKind::Void
        },
        mode: Mode::Torcida,
        poll: if votes > 0 { PollId(1) } else { PollId::NONE },
        id: BatchId {
            incarnation,
            lane: Lane(0),
            number,
        },
        minute: Minute(29_000_000 + u32::try_from(number / 10).unwrap_or(0)),
        cumulative: number * VOTES_MAX as u64,
        confirmed: number - 1,
    };
    let votes: Vec<Vote> = (0..votes).map(|at| sample_vote(number, at)).collect();
    EncodedBatch::encode(header, &[], &votes)
}

/// A barrier of a closing poll.
pub fn sample_barrier(incarnation: Incarnation, number: BatchNumber) -> EncodedBatch {
    let header = BatchHeader {
        kind: BatchKind::Barrier,
        poll: PollId(1),
        cumulative: 0,
        ..*sample_batch(incarnation, number, 0).header()
    };
    EncodedBatch::encode(header, &[], &[])
}

fn sample_vote(number: BatchNumber, at: u16) -> Vote {
    let mut key = [0x5a; 12];
    key.iter_mut()
        .zip(number.to_le_bytes().into_iter().chain(at.to_le_bytes()))
        .for_each(|(to, from)| *to ^= from);
    Vote {
        candidate: CandidateNumber::try_from(u64::from(at % 2) + 1)
            .unwrap_or_else(|_| unreachable!("one and two are candidates")),
        source: KeySource::Client,
        offset: at,
        key: KeyHash(key),
    }
}

/// A clock that always shows the same, for logs under test.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(1_700_000_000_000)
    }

    fn boot(&self) -> BootMillis {
        BootMillis(0)
    }
}
