use proptest::prelude::*;

use super::*;

fn header(kind: BatchKind, votes: u64) -> BatchHeader {
    BatchHeader {
        kind,
        mode: Mode::Torcida,
        poll: if kind.is_of_no_poll() {
            PollId::NONE
        } else {
            PollId(7)
        },
        id: BatchId {
            incarnation: Incarnation(0xfeed),
            lane: Lane(0),
            number: 9,
        },
        minute: Minute(28_000_000),
        cumulative: votes + 5,
        confirmed: 6,
    }
}

fn vote(n: u16) -> Vote {
    Vote {
        candidate: CandidateNumber::try_from(u64::from(n % 99) + 1).unwrap(),
        source: KeySource::from_bits(n.to_le_bytes()[0]),
        offset: n % 60_000,
        key: KeyHash([n.to_le_bytes()[0]; 12]),
    }
}

fn sample(votes: u16) -> EncodedBatch {
    let votes: Vec<Vote> = (0..votes).map(vote).collect();
    EncodedBatch::encode(
        header(BatchKind::Votes, votes.len() as u64),
        &[3, 8],
        &votes,
    )
}

/// Bytes with one rule broken and the checksum made to fit again.
fn tampered(at: usize, value: u8) -> Result<EncodedBatch, BatchError> {
    let mut bytes = sample(3).bytes().to_vec();
    bytes[at] = value;
    let end = bytes.len() - CHECKSUM_BYTES;
    let checksum = crc32c::crc32c(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&checksum);
    EncodedBatch::decode(bytes.into())
}

#[test]
fn a_batch_reads_back_as_it_was_written() {
    let batch = sample(300);
    let read = EncodedBatch::decode(batch.bytes().clone()).unwrap();
    assert_eq!(read, batch);
    assert_eq!(read.voids().collect::<Vec<_>>(), [3, 8]);
    assert_eq!(
        read.votes().map(|(_, v)| v).collect::<Vec<_>>(),
        (0..300).map(vote).collect::<Vec<_>>()
    );
}

#[test]
fn a_hundred_votes_take_at_most_twenty_bytes_each() {
    let bytes = sample(100).bytes().len();
    assert!(bytes <= 2_000, "{bytes} bytes");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = sample(4).bytes().to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            EncodedBatch::decode(damaged.into()),
            Err(BatchError::Checksum),
            "bit {bit}"
        );
    }
}

#[test]
fn every_shorter_or_longer_copy_is_noticed() {
    let bytes = sample(4).bytes().to_vec();
    for length in 0..bytes.len() {
        assert!(
            EncodedBatch::decode(bytes[..length].to_vec().into()).is_err(),
            "{length}"
        );
    }
    assert!(EncodedBatch::decode([&bytes[..], &[0]].concat().into()).is_err());
}

#[test]
fn a_newer_version_is_told_from_damage() {
    assert_eq!(
        tampered(0, VERSION + 1),
        Err(BatchError::NewerVersion(VERSION + 1))
    );
}

#[test]
fn broken_rules_are_named_even_under_a_fitting_checksum() {
    let first_vote = HEADER_BYTES + 2 * 8;
    for (at, value, why) in [
        (0, 0, "unknown version"),
        (1, 2, "unknown kind"),
        (1, 4, "votes and only votes come in batches of votes"),
        (2, 1, "unknown mode"),
        (16, 0, "number out of range"),
        (40, 9, "confirms itself"),
        (first_vote, 0, "candidate number out of range"),
        (first_vote, 100, "candidate number out of range"),
        (first_vote + 1, 4, "unknown flags"),
        (first_vote + 3, 0xff, "a vote beyond its minute"),
        (HEADER_BYTES, 9, "void number out of range"),
    ] {
        assert_eq!(
            tampered(at, value),
            Err(BatchError::Invalid(why)),
            "byte {at}"
        );
    }
    assert!(matches!(tampered(28, 200), Err(BatchError::Length { .. })));
}

#[test]
fn markers_carry_no_votes() {
    for kind in [BatchKind::End, BatchKind::Barrier, BatchKind::Void] {
        let marker = EncodedBatch::encode(header(kind, 0), &[], &[]);
        assert_eq!(
            EncodedBatch::decode(marker.bytes().clone())
                .unwrap()
                .votes()
                .count(),
            0
        );
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut fitting = bytes.clone();
        fitting.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let _ = EncodedBatch::decode(bytes.into());
        let _ = EncodedBatch::decode(fitting.into());
    }
}
