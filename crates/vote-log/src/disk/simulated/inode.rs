//! One file: what a program sees of it, what is durable, and what lies between.

use std::io;

use super::random::Random;
use crate::disk::SECTOR_BYTES;

/// How likely a sector that was not synced is durable all the same, in percent; drawn anew for
/// every accident, so that losing all, little and nothing are equally common.
const SURVIVAL_PERCENT: [u64; 4] = [0, 50, 90, 100];

enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

#[derive(Default)]
pub(super) struct Inode {
    visible: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    spoiled: Vec<u64>,
}

impl Inode {
    pub(super) fn holding(contents: &[u8]) -> Self {
        Self {
            visible: contents.to_vec(),
            durable: contents.to_vec(),
            ..Self::default()
        }
    }

    pub(super) fn visible(&self) -> &[u8] {
        &self.visible
    }

    pub(super) fn size(&self) -> u64 {
        self.visible.len() as u64
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset + buffer.len() as u64;
        if self.spoiled.iter().any(|at| (offset..end).contains(at)) {
            return Err(super::machine::input_output_error());
        }
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.visible.get(offset..))
            .unwrap_or_default();
        buffer
            .iter_mut()
            .zip(rest)
            .for_each(|(to, from)| *to = *from);
        Ok(buffer.len().min(rest.len()))
    }

    pub(super) fn spoil(&mut self, offset: u64) {
        self.spoiled.push(offset);
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        put(&mut self.visible, bytes, offset);
        let written = offset as u64..(offset + bytes.len()) as u64;
        self.spoiled.retain(|at| !written.contains(at));
        self.unsynced.push(Change::Write {
            offset,
            bytes: bytes.to_vec(),
        });
    }

    pub(super) fn truncate(&mut self, size: usize) {
        self.visible.resize(size, 0);
        self.unsynced.push(Change::Truncate(size));
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write { offset, bytes } => put(&mut self.durable, &bytes, offset),
                Change::Truncate(size) => self.durable.resize(size, 0),
            }
        }
    }

    /// What was not synced becomes durable in any part, or never.
    pub(super) fn settle(&mut self, random: &mut Random) {
        let at = random.below(SURVIVAL_PERCENT.len() as u64);
        let chance = usize::try_from(at)
            .ok()
            .and_then(|at| SURVIVAL_PERCENT.get(at))
            .copied()
            .unwrap_or(0);
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write { offset, bytes } => {
                    put_torn(&mut self.durable, &bytes, offset, chance, random);
                }
                Change::Truncate(size) if random.percent(chance) => self.durable.resize(size, 0),
                Change::Truncate(_) => {}
            }
        }
    }

    /// The machine comes back: what is durable is what is seen.
    pub(super) fn restart(&mut self) {
        self.visible.clone_from(&self.durable);
    }
}

fn put(file: &mut Vec<u8>, bytes: &[u8], offset: usize) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    if let Some(place) = file.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

fn put_torn(file: &mut Vec<u8>, bytes: &[u8], offset: usize, chance: u64, random: &mut Random) {
    let mut rest = bytes;
    let mut at = offset;
    while !rest.is_empty() {
        let in_sector = (SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len());
        let (sector, after) = rest.split_at(in_sector);
        if random.percent(chance) {
            put(file, sector, at);
        }
        at += in_sector;
        rest = after;
    }
    if random.percent(50) && file.len() < at {
        file.resize(at, 0);
    }
}
