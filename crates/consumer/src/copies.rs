//! Standing copies by key, outside the window: those of the transaction in the making, and those
//! read from the ledger for batches that the window cannot judge alone.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use paredao_domain::{KeyHash, PollId, UnixMillis};

use crate::window::{Found, Probe};

/// A copy that stands, or would.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// Its poll.
    pub poll: PollId,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// Where it is, and for whom.
    pub found: Found,
}

/// Standing copies by key.
#[derive(Debug, Default)]
pub struct Copies {
    /// The copy of each key that was added first.
    first: HashMap<KeyHash, Copy, BuildHasherDefault<AlreadyHashed>>,
    /// Further ones of the same keys: more than a key life apart, so there are few.
    further: Vec<(KeyHash, Copy)>,
}

impl Copies {
    /// Makes room for so many more.
    pub fn reserve(&mut self, copies: usize) {
        self.first.reserve(copies);
    }

    /// Adds a copy.
    pub fn add(&mut self, key: KeyHash, copy: Copy) {
        if let Some(first) = self.first.insert(key, copy) {
            self.further.push((key, copy));
            self.first.insert(key, first);
        }
    }

    /// The first copy, in the order of the ledger, that stands within the probe's life.
    pub fn find(&self, probe: &Probe) -> Option<Found> {
        let first = self.first.get(&probe.key)?;
        let further = self.further.iter().filter(|(key, _)| *key == probe.key);
        let copies = std::iter::once(first).chain(further.map(|(_, copy)| copy));
        copies
            .filter(|copy| copy.poll == probe.poll)
            .filter(|copy| copy.accepted_at.since(probe.accepted_at).abs() <= probe.life_ms)
            .map(|copy| copy.found)
            .min_by_key(|found| found.standing)
    }
}

/// Takes the first eight bytes of what is hashed: a key is a keyed hash already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(bytes) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*bytes);
        }
    }

    /// The length, which is the same for all.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use paredao_domain::{CandidateNumber, LedgerPosition, Standing};

    use super::*;

    const LIFE_MS: i64 = 1_000;

    fn key(n: u8) -> KeyHash {
        KeyHash([n; KeyHash::BYTES])
    }

    fn copy(entry: u64, accepted_at: i64) -> Copy {
        let standing = Standing {
            entry: LedgerPosition(entry),
            position: 0,
        };
        let candidate = CandidateNumber::try_from(1).unwrap();
        let found = Found {
            standing,
            candidate,
        };
        Copy {
            poll: PollId(1),
            accepted_at: UnixMillis(accepted_at),
            found,
        }
    }

    fn entry(copies: &Copies, n: u8, poll: u32, at: i64) -> Option<u64> {
        let probe = Probe {
            poll: PollId(poll),
            key: key(n),
            accepted_at: UnixMillis(at),
            life_ms: LIFE_MS,
        };
        copies.find(&probe).map(|found| found.standing.entry.0)
    }

    #[test]
    fn a_copy_is_found_by_its_key_and_poll_within_its_life() {
        let mut copies = Copies::default();
        copies.add(key(1), copy(7, 5_000));
        assert_eq!(entry(&copies, 1, 1, 6_000), Some(7));
        assert_eq!(entry(&copies, 1, 1, 4_000), Some(7));
        assert_eq!(entry(&copies, 1, 1, 6_001), None);
        assert_eq!(entry(&copies, 1, 2, 5_000), None);
        assert_eq!(entry(&copies, 2, 1, 5_000), None);
    }

    #[test]
    fn of_several_copies_of_a_key_the_first_in_the_ledger_within_its_life_is_named() {
        let mut copies = Copies::default();
        copies.add(key(1), copy(1, 0));
        copies.add(key(1), copy(2, 1_500));
        copies.add(key(1), copy(3, 3_000));
        assert_eq!(entry(&copies, 1, 1, 900), Some(1));
        assert_eq!(entry(&copies, 1, 1, 1_001), Some(2));
        assert_eq!(entry(&copies, 1, 1, 3_500), Some(3));
        assert_eq!(entry(&copies, 1, 1, 4_500), None);
    }
}
