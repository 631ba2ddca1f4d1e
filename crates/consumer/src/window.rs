//! The window: the live keys of a lane, and where the copy that stands is.
//!
//! A cache of the ledger, made for tens of millions of keys in at most 32 bytes each: entries of
//! 20 bytes stand in the order of the ledger in blocks that are freed whole, and 256 small
//! open-addressed tables of four-byte references find them. Each table grows by itself, so no
//! vote ever waits for a large one to be rebuilt. References to entries that have gone are
//! reused, and dropped when their table is rebuilt.

use std::collections::VecDeque;

use paredao_domain::{
    CandidateNumber, KeyHash, LedgerPosition, Minute, OffsetMillis, PollId, Position, Standing,
    UnixMillis,
};

const BLOCK_ENTRIES: u32 = 1 << 14;
const TABLES: usize = 256;
const EMPTY: u32 = u32::MAX;
/// A table is rebuilt when more than this share of its slots is taken…
const LOAD_MAX_PERCENT: usize = 85;
/// …and has this share taken afterwards, by live entries only.
const LOAD_REBUILT_PERCENT: usize = 60;
const SLOTS_MIN: usize = 8;
/// Batch references have 24 bits.
const REFERENCES: u32 = 1 << 24;

/// A batch whose keys the window holds.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Its place in the ledger.
    pub entry: LedgerPosition,
    /// Its poll.
    pub poll: PollId,
    /// Its minute.
    pub minute: Minute,
}

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// The poll.
    pub poll: PollId,
    /// The key.
    pub key: KeyHash,
    /// When the copy at hand was accepted.
    pub accepted_at: UnixMillis,
    /// How far from it another copy may have been accepted to be the same vote.
    pub life_ms: i64,
}

/// The copy that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub standing: Standing,
    /// Whom it names.
    pub candidate: CandidateNumber,
}

/// 20 bytes: key, candidate and batch reference (8 and 24 bits), position, offset.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: [u8; KeyHash::BYTES],
    batch: [u8; 4],
    position: [u8; 2],
    offset: [u8; 2],
}

/// Live keys.
#[derive(Debug)]
pub struct Window {
    blocks: VecDeque<Vec<Entry>>,
    /// Number of the first entry of the first block; numbers wrap.
    base: u32,
    /// Entries at the front of the first block that have gone.
    gone: u32,
    /// Number of the next entry.
    end: u32,
    sources: VecDeque<Source>,
    first_source: u32,
    tables: Vec<Table>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    slots: Vec<u32>,
    taken: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            blocks: VecDeque::new(),
            base: 0,
            gone: 0,
            end: 0,
            sources: VecDeque::new(),
            first_source: 0,
            tables: vec![Table::default(); TABLES],
        }
    }
}

impl Window {
    /// An empty window.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keys it holds.
    pub fn len(&self) -> usize {
        self.end.wrapping_sub(self.first()) as usize
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        let blocks: usize = self
            .blocks
            .iter()
            .map(|b| b.capacity() * size_of::<Entry>())
            .sum();
        let slots: usize = self.tables.iter().map(|t| t.slots.capacity() * 4).sum();
        blocks + slots + self.sources.capacity() * size_of::<Source>()
    }

    /// Begins a batch: the keys inserted next are its. Batches come in the order of the ledger.
    pub fn begin(&mut self, source: Source) {
        self.sources.push_back(source);
    }

    /// Inserts a key of the batch begun last.
    pub fn insert(
        &mut self,
        key: KeyHash,
        candidate: CandidateNumber,
        position: Position,
        offset: OffsetMillis,
    ) {
        if self.end == EMPTY {
            // This number means "empty" in the tables: one entry is skipped.
            self.push(Entry {
                key: [0; KeyHash::BYTES],
                batch: [0; 4],
                position: [0; 2],
                offset: [0; 2],
            });
        }
        let reference = self.last_reference();
        let [low, middle, high, _] = reference.to_le_bytes();
        let number = self.push(Entry {
            key: key.0,
            batch: [low, middle, high, candidate.get()],
            position: position.to_le_bytes(),
            offset: offset.to_le_bytes(),
        });
        self.link(&key, number);
    }

    fn last_reference(&self) -> u32 {
        let count = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        debug_assert!(
            (1..REFERENCES).contains(&count),
            "a batch was begun, and not too many are"
        );
        self.first_source.wrapping_add(count.saturating_sub(1)) % REFERENCES
    }

    fn push(&mut self, entry: Entry) -> u32 {
        let full = |block: &Vec<Entry>| block.len() == BLOCK_ENTRIES as usize;
        if self.blocks.back().is_none_or(full) {
            self.blocks
                .push_back(Vec::with_capacity(BLOCK_ENTRIES as usize));
        }
        if let Some(block) = self.blocks.back_mut() {
            block.push(entry);
        }
        let number = self.end;
        self.end = self.end.wrapping_add(1);
        number
    }

    /// The first copy of a key that stands within its life; the first in the order of the ledger.
    pub fn find(&self, probe: &Probe) -> Option<Found> {
        let table = self.tables.get(table_of(&probe.key))?;
        let matching = table.probe(&probe.key).filter_map(|number| {
            let entry = self.live(number)?;
            self.matches(entry, probe)
                .then_some((number.wrapping_sub(self.base), entry))
        });
        let (_, entry) = matching.min_by_key(|(order, _)| *order)?;
        self.found(entry)
    }

    fn matches(&self, entry: &Entry, probe: &Probe) -> bool {
        entry.key == probe.key.0
            && self.source(entry).is_some_and(|source| {
                let accepted_at = source.minute.at(u16::from_le_bytes(entry.offset));
                source.poll == probe.poll
                    && accepted_at.since(probe.accepted_at).abs() <= probe.life_ms
            })
    }

    fn found(&self, entry: &Entry) -> Option<Found> {
        let [.., candidate] = entry.batch;
        let position = u16::from_le_bytes(entry.position);
        Some(Found {
            standing: Standing {
                entry: self.source(entry)?.entry,
                position,
            },
            candidate: CandidateNumber::try_from(u64::from(candidate)).ok()?,
        })
    }

    fn source(&self, entry: &Entry) -> Option<&Source> {
        let [low, middle, high, _] = entry.batch;
        let reference = u32::from_le_bytes([low, middle, high, 0]);
        let at = reference.wrapping_sub(self.first_source) % REFERENCES;
        self.sources.get(at as usize)
    }

    /// Forgets keys accepted before `edge`, as far as no later one stands before them.
    pub fn forget_before(&mut self, edge: UnixMillis) {
        while let Some(entry) = self.front()
            && self
                .source(entry)
                .is_none_or(|s| s.minute.at(u16::from_le_bytes(entry.offset)) < edge)
        {
            self.pop();
        }
        self.forget_sources(edge);
    }

    fn forget_sources(&mut self, edge: UnixMillis) {
        let keep = match self.front() {
            Some(entry) => {
                let [low, middle, high, _] = entry.batch;
                u32::from_le_bytes([low, middle, high, 0])
            }
            None => {
                self.first_source
                    .wrapping_add(u32::try_from(self.sources.len()).unwrap_or(0))
                    % REFERENCES
            }
        };
        while self.first_source != keep
            && self
                .sources
                .front()
                .is_some_and(|s| s.minute.start() < edge)
        {
            self.sources.pop_front();
            self.first_source = (self.first_source + 1) % REFERENCES;
        }
    }

    fn first(&self) -> u32 {
        self.base.wrapping_add(self.gone)
    }

    fn front(&self) -> Option<&Entry> {
        self.blocks.front()?.get(self.gone as usize)
    }

    fn pop(&mut self) {
        self.gone += 1;
        if self.gone == BLOCK_ENTRIES {
            self.blocks.pop_front();
            self.base = self.base.wrapping_add(BLOCK_ENTRIES);
            self.gone = 0;
        }
    }

    fn live(&self, number: u32) -> Option<&Entry> {
        if number.wrapping_sub(self.first()) >= self.end.wrapping_sub(self.first()) {
            return None;
        }
        let at = number.wrapping_sub(self.base);
        self.blocks
            .get((at / BLOCK_ENTRIES) as usize)?
            .get((at % BLOCK_ENTRIES) as usize)
    }

    fn link(&mut self, key: &KeyHash, number: u32) {
        let index = table_of(key);
        let Some(mut table) = self.tables.get_mut(index).map(std::mem::take) else {
            return;
        };
        if table.is_full() {
            table = self.rebuilt(&table);
        }
        table.insert(key, number, |other| self.live(other).is_none());
        if let Some(place) = self.tables.get_mut(index) {
            *place = table;
        }
    }

    fn rebuilt(&self, old: &Table) -> Table {
        let live = || old.slots.iter().filter_map(|&n| Some((n, self.live(n)?)));
        let wanted = (live().count() + 1) * 100 / LOAD_REBUILT_PERCENT;
        let mut table = Table {
            slots: vec![EMPTY; wanted.max(SLOTS_MIN)],
            taken: 0,
        };
        live().for_each(|(number, entry)| table.insert(&KeyHash(entry.key), number, |_| false));
        table
    }
}

/// The table of a key: its first byte. Keys are keyed hashes, so no voter can aim at one.
fn table_of(key: &KeyHash) -> usize {
    let [first, ..] = key.0;
    usize::from(first)
}

impl Table {
    fn is_full(&self) -> bool {
        (self.taken + 1) * 100 > self.slots.len() * LOAD_MAX_PERCENT
    }

    /// The slot at which a key's probe sequence begins: its next four bytes, scaled.
    fn home(&self, key: &KeyHash) -> usize {
        let [_, a, b, c, d, ..] = key.0;
        let spread = u64::from(u32::from_le_bytes([a, b, c, d]));
        usize::try_from((spread * self.slots.len() as u64) >> 32).unwrap_or(0)
    }

    /// Slots from a key's home to the first empty one.
    fn probe(&self, key: &KeyHash) -> impl Iterator<Item = u32> {
        let (before, after) = self.slots.split_at(self.home(key));
        after
            .iter()
            .chain(before)
            .copied()
            .take_while(|&number| number != EMPTY)
    }

    /// Puts a reference into the first slot that is empty or that `is_gone` frees. There is one:
    /// a table is rebuilt before it is full.
    fn insert(&mut self, key: &KeyHash, number: u32, is_gone: impl Fn(u32) -> bool) {
        let home = self.home(key);
        let (before, after) = self.slots.split_at_mut(home);
        let mut slots = after.iter_mut().chain(before);
        if let Some(slot) = slots.find(|slot| **slot == EMPTY || is_gone(**slot)) {
            self.taken += usize::from(*slot == EMPTY);
            *slot = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE_MS: i64 = 180_000;
    const POLL: PollId = PollId(3);

    /// A key that spreads like a hash.
    fn key(n: u64) -> KeyHash {
        let mixed = n
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(17)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&mixed.to_le_bytes());
        bytes[8..].copy_from_slice(&u32::try_from(n).unwrap().to_le_bytes());
        KeyHash(bytes)
    }

    fn candidate(n: u64) -> CandidateNumber {
        CandidateNumber::try_from(n % 99 + 1).unwrap()
    }

    fn probe(n: u64, at: UnixMillis) -> Probe {
        Probe {
            poll: POLL,
            key: key(n),
            accepted_at: at,
            life_ms: LIFE_MS,
        }
    }

    /// Batch `entry` of minute `minute` holding the given keys at offset 0.
    fn add(window: &mut Window, entry: u64, minute: u32, keys: std::ops::Range<u64>) {
        window.begin(Source {
            entry: LedgerPosition(entry),
            poll: POLL,
            minute: Minute(minute),
        });
        for (n, position) in keys.zip(0..) {
            window.insert(key(n), candidate(n), position, 0);
        }
    }

    fn standing(window: &Window, n: u64, at: UnixMillis) -> Option<(u64, u16)> {
        window
            .find(&probe(n, at))
            .map(|f| (f.standing.entry.0, f.standing.position))
    }

    #[test]
    fn every_key_is_found_where_it_stands_and_no_other_is() {
        let mut window = Window::new();
        for batch in 0..50 {
            add(
                &mut window,
                batch + 1,
                10,
                batch * 1_000..(batch + 1) * 1_000,
            );
        }
        let now = Minute(10).at(30_000);
        for n in (0..50_000).step_by(7) {
            let found = window.find(&probe(n, now)).unwrap();
            assert_eq!(found.candidate, candidate(n));
            assert_eq!(
                (found.standing.entry.0, u64::from(found.standing.position)),
                (n / 1_000 + 1, n % 1_000)
            );
        }
        assert!((50_000..60_000).all(|n| window.find(&probe(n, now)).is_none()));
        assert!(
            window
                .find(&Probe {
                    poll: PollId(4),
                    ..probe(1, now)
                })
                .is_none()
        );
    }

    #[test]
    fn a_key_lives_exactly_its_life_in_both_directions() {
        let mut window = Window::new();
        add(&mut window, 1, 100, 0..1);
        let at = Minute(100).start();
        for (delta, found) in [
            (LIFE_MS, true),
            (-LIFE_MS, true),
            (LIFE_MS + 1, false),
            (-LIFE_MS - 1, false),
        ] {
            assert_eq!(
                standing(&window, 0, at.plus(delta)).is_some(),
                found,
                "{delta}"
            );
        }
    }

    #[test]
    fn of_several_standing_copies_the_first_in_the_ledger_is_named() {
        let mut window = Window::new();
        add(&mut window, 1, 100, 0..1);
        add(&mut window, 2, 104, 0..1);
        assert_eq!(standing(&window, 0, Minute(102).start()), Some((1, 0)));
        assert_eq!(standing(&window, 0, Minute(105).start()), Some((2, 0)));
    }

    #[test]
    fn forgetting_frees_what_is_before_the_edge_and_nothing_else() {
        let mut window = Window::new();
        for minute in 0..10_u32 {
            let from = u64::from(minute) * 5_000;
            add(
                &mut window,
                u64::from(minute) + 1,
                minute,
                from..from + 5_000,
            );
        }
        window.forget_before(Minute(4).start());
        assert_eq!(window.len(), 6 * 5_000);
        assert_eq!(standing(&window, 19_999, Minute(3).start()), None);
        assert_eq!(standing(&window, 20_000, Minute(4).start()), Some((5, 0)));
        assert_eq!(
            standing(&window, 49_999, Minute(9).start()),
            Some((10, 4_999))
        );
        window.forget_before(Minute(99).start());
        assert!(window.is_empty());
        add(&mut window, 11, 99, 0..10);
        assert_eq!(standing(&window, 9, Minute(99).start()), Some((11, 9)));
    }

    #[test]
    fn a_million_live_keys_take_at_most_32_bytes_each_and_do_not_grow_in_steady_state() {
        let mut window = Window::new();
        let (per_minute, live_minutes) = (250_000_u64, 4_u32);
        for minute in 0..14_u32 {
            for batch in 0..per_minute / 1_000 {
                let from = u64::from(minute) * per_minute + batch * 1_000;
                add(&mut window, from + 1, minute, from..from + 1_000);
            }
            window.forget_before(Minute((minute + 1).saturating_sub(live_minutes)).start());
        }
        let per_key = window.bytes() / window.len();
        assert!(
            per_key <= 32,
            "{per_key} bytes a key, {} keys",
            window.len()
        );
    }

    #[test]
    fn numbers_and_references_may_wrap() {
        let mut window = Window::new();
        window.base = u32::MAX - 2;
        window.end = window.base;
        window.first_source = REFERENCES - 1;
        add(&mut window, 1, 5, 0..100);
        add(&mut window, 2, 5, 100..200);
        let at = Minute(5).start();
        assert!((0..100).all(|n| standing(&window, n, at) == Some((1, u16::try_from(n).unwrap()))));
        assert!(
            (100..200)
                .all(|n| standing(&window, n, at) == Some((2, u16::try_from(n - 100).unwrap())))
        );
    }

    #[test]
    fn keys_that_share_a_home_are_still_told_apart() {
        let mut window = Window::new();
        window.begin(Source {
            entry: LedgerPosition(1),
            poll: POLL,
            minute: Minute(1),
        });
        let colliding = |n: u8| KeyHash([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, n]);
        for n in 0..200 {
            window.insert(colliding(n), candidate(u64::from(n)), u16::from(n), 0);
        }
        for n in 0..200 {
            let probe = Probe {
                poll: POLL,
                key: colliding(n),
                accepted_at: Minute(1).start(),
                life_ms: 0,
            };
            assert_eq!(window.find(&probe).unwrap().standing.position, u16::from(n));
        }
    }
}
