//! A vote under its key in a fixed number of bytes, for sorting.

use paredao_domain::{
    CandidateNumber, KeyHash, Lane, LedgerPosition, Mark, MarkKind, PollId, Standing, UnixMillis,
};

use super::judge::{Case, VoteName};

/// Bytes of a record in a run.
pub(super) const RECORD_BYTES: usize = 46;

/// Bits of an entry's position; the lane stands above them.
const POSITION_BITS: u32 = 48;
/// Bits of a key; the poll stands above them.
const KEY_BITS: usize = KeyHash::BYTES * 8;

/// A vote of a poll, packed. Ordered by poll, key and place in the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    poll_and_key: u128,
    lane_and_entry: u64,
    position: u16,
    candidate: u8,
    mark: u8,
    accepted: i64,
    standing_entry: u64,
    standing_position: u16,
}

impl Record {
    pub(super) fn pack(poll: PollId, case: &Case) -> Self {
        let standing = case.mark.and_then(|mark| mark.standing);
        Self {
            poll_and_key: (u128::from(poll.0) << KEY_BITS) | key_number(case.key),
            lane_and_entry: (u64::from(case.name.lane.0) << POSITION_BITS) | case.name.entry.0,
            position: case.name.position,
            candidate: case.candidate.get(),
            mark: mark_byte(case.mark.map(|mark| mark.kind)),
            accepted: case.accepted.0,
            standing_entry: standing.map_or(0, |standing| standing.entry.0),
            standing_position: standing.map_or(0, |standing| standing.position),
        }
    }

    pub(super) fn poll(&self) -> PollId {
        PollId(u32::try_from(self.poll_and_key >> KEY_BITS).unwrap_or(u32::MAX))
    }

    /// Whether both are votes under one key of one poll.
    pub(super) fn has_key_of(&self, other: &Self) -> bool {
        self.poll_and_key == other.poll_and_key
    }

    /// The vote; `None` if the record was damaged in its file.
    pub(super) fn unpack(&self) -> Option<Case> {
        let entry = LedgerPosition(self.standing_entry);
        let standing = (entry.0 > 0).then_some(Standing {
            entry,
            position: self.standing_position,
        });
        let kind = match self.mark {
            UNMARKED => None,
            byte => Some(mark_kind(byte)?),
        };
        let mark = kind.map(|kind| Mark {
            position: self.position,
            kind,
            standing,
        });
        let entry = self.lane_and_entry & ((1 << POSITION_BITS) - 1);
        Some(Case {
            name: VoteName {
                lane: Lane(u8::try_from(self.lane_and_entry >> POSITION_BITS).ok()?),
                entry: LedgerPosition(entry),
                position: self.position,
            },
            key: key_of(self.poll_and_key),
            candidate: CandidateNumber::try_from(u64::from(self.candidate)).ok()?,
            accepted: UnixMillis(self.accepted),
            mark,
        })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.poll_and_key.to_le_bytes());
        out.extend_from_slice(&self.lane_and_entry.to_le_bytes());
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&[self.candidate, self.mark]);
        out.extend_from_slice(&self.accepted.to_le_bytes());
        out.extend_from_slice(&self.standing_entry.to_le_bytes());
        out.extend_from_slice(&self.standing_position.to_le_bytes());
    }

    pub(super) fn read(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let mut rest = &bytes[..];
        Some(Self {
            poll_and_key: u128::from_le_bytes(take(&mut rest)?),
            lane_and_entry: u64::from_le_bytes(take(&mut rest)?),
            position: u16::from_le_bytes(take(&mut rest)?),
            candidate: u8::from_le_bytes(take(&mut rest)?),
            mark: u8::from_le_bytes(take(&mut rest)?),
            accepted: i64::from_le_bytes(take(&mut rest)?),
            standing_entry: u64::from_le_bytes(take(&mut rest)?),
            standing_position: u16::from_le_bytes(take(&mut rest)?),
        })
    }

    fn order(&self) -> (u128, u64, u16) {
        (self.poll_and_key, self.lane_and_entry, self.position)
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Record {}

impl PartialOrd for Record {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Record {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn key_number(key: KeyHash) -> u128 {
    key.0
        .iter()
        .fold(0, |number, &byte| (number << 8) | u128::from(byte))
}

fn key_of(poll_and_key: u128) -> KeyHash {
    let mut key = [0; KeyHash::BYTES];
    let bytes = poll_and_key.to_be_bytes();
    key.iter_mut()
        .rev()
        .zip(bytes.iter().rev())
        .for_each(|(to, from)| *to = *from);
    KeyHash(key)
}

/// In the place of a mark's kind.
const UNMARKED: u8 = 0;

fn mark_byte(kind: Option<MarkKind>) -> u8 {
    match kind {
        None => UNMARKED,
        Some(MarkKind::Duplicate) => 1,
        Some(MarkKind::KeyConflict) => 2,
        Some(MarkKind::AfterClose) => 3,
        Some(MarkKind::Late) => 4,
    }
}

fn mark_kind(byte: u8) -> Option<MarkKind> {
    match byte {
        1 => Some(MarkKind::Duplicate),
        2 => Some(MarkKind::KeyConflict),
        3 => Some(MarkKind::AfterClose),
        4 => Some(MarkKind::Late),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(mark: Option<Mark>) -> Case {
        Case {
            name: VoteName {
                lane: Lane(255),
                entry: LedgerPosition((1 << POSITION_BITS) - 1),
                position: 7,
            },
            key: KeyHash([250, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 251]),
            candidate: CandidateNumber::try_from(99).unwrap(),
            accepted: UnixMillis(1_700_000_000_123),
            mark,
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let mark = Mark {
            position: 7,
            kind: MarkKind::KeyConflict,
            standing: Some(Standing {
                entry: LedgerPosition(3),
                position: u16::MAX,
            }),
        };
        for mark in [None, Some(mark)] {
            let record = Record::pack(PollId(u32::MAX), &case(mark));
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            let read = Record::read(bytes.as_slice().try_into().unwrap()).unwrap();
            assert_eq!(read.poll(), PollId(u32::MAX));
            assert_eq!(read.unpack().unwrap(), case(mark));
        }
    }

    #[test]
    fn records_are_ordered_by_poll_then_key_then_place() {
        let with = |poll, key: u8, entry, position| {
            let mut case = case(None);
            case.key = KeyHash([key; KeyHash::BYTES]);
            case.name.lane = Lane(0);
            case.name.entry = LedgerPosition(entry);
            case.name.position = position;
            Record::pack(PollId(poll), &case)
        };
        let ordered = [
            with(1, 200, 9, 9),
            with(2, 1, 9, 9),
            with(2, 2, 1, 5),
            with(2, 2, 2, 0),
            with(2, 2, 2, 1),
        ];
        assert!(ordered.is_sorted());
        assert!(ordered[2].has_key_of(&ordered[4]) && !ordered[1].has_key_of(&ordered[2]));
    }
}
