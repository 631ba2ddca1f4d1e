//! The window: the live keys of a lane, and where the copy that stands is.
//!
//! A cache of the ledger, made for tens of millions of keys in at most 32 bytes each: entries of
//! 20 bytes stand in the order in which they came in blocks that are freed whole, and 256 small
//! open-addressed tables of five-byte references find them. Each table grows by itself, so no
//! vote ever waits for a large one to be rebuilt. References to entries that have gone are
//! reused, and dropped when their table is rebuilt.
//!
//! It knows for which time it is complete. What it cannot keep (keys too old, keys too far ahead of
//! the clock, more batches than it can number) shortens that time; whoever judges a vote by a copy
//! of another time asks the ledger.

mod table;

use std::collections::VecDeque;

use paredao_domain::{
    CandidateNumber, KeyHash, LedgerPosition, Minute, PollId, Position, Standing, UnixMillis, Vote,
};

use self::table::Table;

const BLOCK_ENTRIES: u32 = 1 << 14;
const TABLES: usize = 256;
/// Batch references have 24 bits.
const REFERENCES: u32 = 1 << 24;
/// Batches it holds at most: one fewer, so that no two of them share a reference.
const SOURCES_MAX: usize = REFERENCES as usize - 1;
/// Keys it holds when it takes a batch, at most: with that batch, far fewer than entry numbers.
const KEYS_MAX: usize = 1 << 31;

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

impl Entry {
    fn reference(&self) -> u32 {
        let [low, middle, high, _] = self.batch;
        u32::from_le_bytes([low, middle, high, 0])
    }

    fn offset(&self) -> u16 {
        u16::from_le_bytes(self.offset)
    }
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
    sources_max: usize,
    first_source: u32,
    tables: Vec<Table>,
    /// Of what was added, every key accepted from here…
    complete_from: UnixMillis,
    /// …to here is found.
    complete_to: UnixMillis,
    /// Keys accepted later are too far ahead of the clock to be waited for.
    horizon: UnixMillis,
    /// Whether keys had to go for want of room.
    is_crowded: bool,
}

impl Window {
    /// An empty window that is to hold the keys accepted between these instants, both included:
    /// what is accepted at other times is passed over.
    pub fn between(complete_from: UnixMillis, complete_to: UnixMillis) -> Self {
        Self {
            blocks: VecDeque::new(),
            base: 0,
            gone: 0,
            end: 0,
            sources: VecDeque::new(),
            sources_max: SOURCES_MAX,
            first_source: 0,
            tables: vec![Table::default(); TABLES],
            complete_from,
            complete_to,
            horizon: UnixMillis(i64::MAX),
            is_crowded: false,
        }
    }

    /// An empty window for keys of any time.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::between(UnixMillis(i64::MIN), UnixMillis(i64::MAX))
    }

    /// A window that holds nothing and of which nobody expects anything.
    pub fn closed() -> Self {
        Self::between(UnixMillis(i64::MAX), UnixMillis(i64::MIN))
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
        let tables: usize = self.tables.iter().map(Table::bytes).sum();
        blocks + tables + self.sources.capacity() * size_of::<Source>()
    }

    /// Whether keys had to go that belong to the time asked for, because it was full. Building it
    /// anew would end the same way.
    pub fn is_crowded(&self) -> bool {
        self.is_crowded
    }

    /// The last instant for which it is complete.
    pub fn complete_to(&self) -> UnixMillis {
        self.complete_to
    }

    /// The parts of a time for which it is not complete; none if it is.
    pub fn outside(
        &self,
        first: UnixMillis,
        last: UnixMillis,
    ) -> impl Iterator<Item = (UnixMillis, UnixMillis)> + use<> {
        let before = (first, last.min(self.complete_from.plus(-1)));
        let after = (first.max(self.complete_to.plus(1)), last);
        [before, after].into_iter().filter(|(from, to)| from <= to)
    }

    /// Adds keys of one batch.
    pub fn add(&mut self, source: Source, keys: impl Iterator<Item = (Position, Vote)>) {
        let mut reference = None;
        for (position, vote) in keys {
            let accepted_at = source.minute.at(vote.offset);
            if (self.complete_from..=self.complete_to).contains(&accepted_at) {
                let reference = *reference.get_or_insert_with(|| self.begin(source));
                self.insert(reference, position, &vote);
            }
        }
    }

    /// Numbers a batch.
    fn begin(&mut self, source: Source) -> u32 {
        self.make_room();
        let count = u32::try_from(self.sources.len()).unwrap_or(REFERENCES);
        self.sources.push_back(source);
        self.first_source.wrapping_add(count) % REFERENCES
    }

    /// Lets the oldest keys go until there is a number for another batch.
    fn make_room(&mut self) {
        while (self.sources.len() >= self.sources_max || self.len() >= KEYS_MAX)
            && let Some(accepted_at) = self.front_accepted_at()
        {
            self.is_crowded = true;
            self.give_up(accepted_at);
            self.pop();
            self.forget_sources();
        }
    }

    fn insert(&mut self, reference: u32, position: Position, vote: &Vote) {
        let [low, middle, high, _] = reference.to_le_bytes();
        let entry = Entry {
            key: vote.key.0,
            batch: [low, middle, high, vote.candidate.get()],
            position: position.to_le_bytes(),
            offset: vote.offset.to_le_bytes(),
        };
        let number = self.push(entry);
        self.link(&vote.key, number);
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

    /// Reads what looking for these keys will read first. Done for a whole batch before it is
    /// judged, the cache misses of its keys overlap; one by one, each waits for the one before.
    pub fn warm(&self, keys: impl Iterator<Item = KeyHash>) {
        for key in keys {
            if let Some(table) = self.tables.get(table_of(&key)) {
                table.touch(&key);
            }
        }
    }

    /// The first copy, in the order of the ledger, that stands within the probe's life.
    pub fn find(&self, probe: &Probe) -> Option<Found> {
        let table = self.tables.get(table_of(&probe.key))?;
        let copies = table.probe(&probe.key).filter_map(|number| {
            let entry = self.live(number)?;
            if self.matches(entry, probe) {
                self.found(entry)
            } else {
                None
            }
        });
        copies.min_by_key(|found| found.standing)
    }

    fn matches(&self, entry: &Entry, probe: &Probe) -> bool {
        entry.key == probe.key.0
            && self.source(entry).is_some_and(|source| {
                let accepted_at = source.minute.at(entry.offset());
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
        let at = entry.reference().wrapping_sub(self.first_source) % REFERENCES;
        self.sources.get(at as usize)
    }

    /// Forgets keys accepted before `edge`, and those accepted after `horizon` that stand before
    /// them: one clock that was wrong for a moment keeps nothing here.
    pub fn forget(&mut self, edge: UnixMillis, horizon: UnixMillis) {
        self.horizon = horizon;
        if edge >= self.complete_from {
            self.complete_from = edge;
            self.is_crowded = false;
        }
        while let Some(accepted_at) = self.front_accepted_at() {
            if accepted_at > horizon {
                self.give_up(accepted_at);
            } else if accepted_at >= self.complete_from {
                break;
            }
            self.pop();
        }
        self.forget_sources();
    }

    /// A key accepted at this instant goes although it belongs to the time asked for.
    fn give_up(&mut self, accepted_at: UnixMillis) {
        if accepted_at > self.horizon {
            self.complete_to = self.complete_to.min(accepted_at.plus(-1));
        } else {
            self.complete_from = self.complete_from.max(accepted_at.plus(1));
        }
    }

    /// Forgets batches before that of the first entry: nothing refers to them any more.
    fn forget_sources(&mut self) {
        let kept = self.front().map(Entry::reference);
        while kept != Some(self.first_source) && self.sources.pop_front().is_some() {
            self.first_source = (self.first_source + 1) % REFERENCES;
        }
    }

    fn front_accepted_at(&self) -> Option<UnixMillis> {
        let entry = self.front()?;
        let source = self.source(entry);
        Some(source.map_or(UnixMillis(i64::MIN), |s| s.minute.at(entry.offset())))
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
        let live = || old.numbers().filter_map(|n| Some((n, self.live(n)?)));
        let mut table = Table::for_entries(live().count());
        live().for_each(|(number, entry)| table.insert(&KeyHash(entry.key), number, |_| false));
        table
    }
}

/// The table of a key: its first byte. Keys are keyed hashes, so no voter can aim at one.
fn table_of(key: &KeyHash) -> usize {
    let [first, ..] = key.0;
    usize::from(first)
}

#[cfg(test)]
mod tests;
