//! An open-addressed table of entry numbers, found by the hash of a key.
//!
//! One byte of the key, its tag, stands apart from the numbers. A probe walks over the tags and
//! looks at an entry only where the tag is that of its key: one cache line for a key that is not
//! there, where every foreign entry on the way would otherwise cost another.

use std::hint::black_box;

use paredao_domain::KeyHash;

/// A table is rebuilt when more than this share of its slots is taken…
const LOAD_MAX_PERCENT: usize = 85;
/// …and has this share taken afterwards, by live entries only.
const LOAD_REBUILT_PERCENT: usize = 60;
const SLOTS_MIN: usize = 8;
/// The tag of a slot that has never been taken; no key has it.
const EMPTY: u8 = 0;

/// Slots, each a tag and the number of an entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    tags: Vec<u8>,
    numbers: Vec<u32>,
    taken: usize,
}

impl Table {
    /// A table that has room for these entries and as many again as its load allows.
    pub(super) fn for_entries(live: usize) -> Self {
        let slots = ((live + 1) * 100 / LOAD_REBUILT_PERCENT).max(SLOTS_MIN);
        Self {
            tags: vec![EMPTY; slots],
            numbers: vec![0; slots],
            taken: 0,
        }
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.tags.capacity() + self.numbers.capacity() * size_of::<u32>()
    }

    /// Whether it must be rebuilt before it takes another entry.
    pub(super) fn is_full(&self) -> bool {
        (self.taken + 1) * 100 > self.tags.len() * LOAD_MAX_PERCENT
    }

    /// Every number it holds.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        let slots = self.tags.iter().zip(&self.numbers);
        slots
            .filter(|(tag, _)| **tag != EMPTY)
            .map(|(_, number)| *number)
    }

    /// Reads the slot at which a key's probe begins, so that it is in the cache when it is probed.
    pub(super) fn touch(&self, key: &KeyHash) {
        black_box(self.tags.get(self.home(key)).copied());
    }

    /// Numbers of entries that may be the key's, from its home to the first slot never taken.
    pub(super) fn probe(&self, key: &KeyHash) -> impl Iterator<Item = u32> {
        let tag = tag_of(key);
        let home = self.home(key);
        let (before, after) = self.tags.split_at(home);
        let sequence = after.iter().zip(home..).chain(before.iter().zip(0..));
        sequence
            .take_while(|(found, _)| **found != EMPTY)
            .filter(move |(found, _)| **found == tag)
            .filter_map(|(_, at)| self.numbers.get(at).copied())
    }

    /// Puts a number into the first slot that was never taken or that `is_gone` frees. There is
    /// one: a table is rebuilt before it is full.
    pub(super) fn insert(&mut self, key: &KeyHash, number: u32, is_gone: impl Fn(u32) -> bool) {
        let home = self.home(key);
        let (tags_before, tags_after) = self.tags.split_at_mut(home);
        let (numbers_before, numbers_after) = self.numbers.split_at_mut(home);
        let after = tags_after.iter_mut().zip(numbers_after);
        let before = tags_before.iter_mut().zip(numbers_before);
        let slot = after
            .chain(before)
            .find(|(tag, number)| **tag == EMPTY || is_gone(**number));
        if let Some((tag, place)) = slot {
            self.taken += usize::from(*tag == EMPTY);
            *tag = tag_of(key);
            *place = number;
        }
    }

    /// The slot at which a key's probe sequence begins: the four bytes of the key after the first,
    /// scaled.
    fn home(&self, key: &KeyHash) -> usize {
        let [_, a, b, c, d, ..] = key.0;
        let spread = u64::from(u32::from_le_bytes([a, b, c, d]));
        usize::try_from((spread * self.tags.len() as u64) >> 32).unwrap_or(0)
    }
}

/// The last byte of a key, which no other choice here depends on.
fn tag_of(key: &KeyHash) -> u8 {
    let [.., last] = key.0;
    if last == EMPTY { 1 } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key whose probe begins at this share (of 256) of a table, with this tag.
    fn key(home: u8, tag: u8) -> KeyHash {
        KeyHash([0, 0, 0, 0, home, 0, 0, 0, 0, 0, 0, tag])
    }

    fn probe(table: &Table, key: KeyHash) -> Vec<u32> {
        table.probe(&key).collect()
    }

    fn never(_: u32) -> bool {
        false
    }

    #[test]
    fn a_probe_names_entries_with_the_keys_tag_alone() {
        let mut table = Table::for_entries(10);
        for number in 0..10 {
            let tag = u8::try_from(number % 5 + 1).unwrap();
            table.insert(&key(9, tag), number, never);
        }
        assert_eq!(probe(&table, key(9, 2)), [1, 6]);
        assert_eq!(probe(&table, key(9, 6)), [0; 0]);
        assert!(table.numbers().eq(0..10));
    }

    #[test]
    fn a_key_that_ends_in_zero_is_found_and_takes_a_slot() {
        let mut table = Table::for_entries(1);
        table.insert(&key(0, 0), 7, never);
        assert_eq!(probe(&table, key(0, 0)), [7]);
        assert_eq!((table.taken, table.numbers().count()), (1, 1));
    }

    #[test]
    fn a_probe_goes_on_at_the_front_of_the_table() {
        let mut table = Table::for_entries(4);
        for number in 0..4 {
            table.insert(&key(255, 3), number, never);
        }
        assert_eq!(probe(&table, key(255, 3)), [0, 1, 2, 3]);
        let (first, last) = (table.tags.first(), table.tags.last());
        assert_eq!((first, last), (Some(&3), Some(&3)), "it has wrapped");
    }

    #[test]
    fn the_slot_of_an_entry_that_has_gone_is_taken_again() {
        let mut table = Table::for_entries(4);
        for number in 0..4 {
            table.insert(&key(0, 3), number, never);
        }
        table.insert(&key(0, 5), 9, |number| number == 2);
        assert_eq!(table.taken, 4);
        assert_eq!(probe(&table, key(0, 3)), [0, 1, 3]);
        assert_eq!(probe(&table, key(0, 5)), [9]);
    }

    #[test]
    fn a_table_is_full_before_its_last_slot_is_taken_so_that_every_probe_ends() {
        assert!(Table::default().is_full());
        for live in 0..500 {
            let mut table = Table::for_entries(live);
            let mut number = 0;
            while !table.is_full() {
                table.insert(&key(1, 1), number, never);
                number += 1;
            }
            assert!(table.taken > live, "room for the entry it was built for");
            assert!(table.tags.contains(&EMPTY));
        }
    }

    #[test]
    fn an_empty_table_holds_nothing_and_may_be_touched() {
        let table = Table::default();
        table.touch(&key(200, 1));
        assert_eq!(probe(&table, key(200, 1)), [0; 0]);
        assert_eq!(table.bytes(), 0);
    }
}
