//! The numbers of an incarnation's batches: which are drawn, which are confirmed, which were given up.

use std::collections::{BTreeMap, BTreeSet};

use paredao_domain::BatchNumber;

/// Void numbers that one batch names; more wait for the next.
pub(crate) const VOIDS_PER_BATCH_MAX: usize = 1_000;
/// Confirmed batches that name a void number. One would do, but if that one is damaged in the log,
/// nobody else says that the number was answered to nobody, and it counts as missing for ever.
const NAMINGS: u8 = 3;

/// Of one incarnation on one lane.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    last: BatchNumber,
    /// Every number up to here was confirmed, or was given up and named so in a confirmed batch.
    confirmed: BatchNumber,
    /// Numbers beyond `confirmed` of which the same holds.
    confirmed_beyond: BTreeSet<BatchNumber>,
    /// Given up, each with how many confirmed batches have named it so.
    voids: BTreeMap<BatchNumber, u8>,
}

impl Numbers {
    /// The next one; the first is 1.
    pub(crate) fn draw(&mut self) -> BatchNumber {
        self.last += 1;
        self.last
    }

    /// Up to here nothing is open.
    pub(crate) fn confirmed(&self) -> BatchNumber {
        self.confirmed
    }

    /// A batch was confirmed that named these void numbers.
    pub(crate) fn confirm(
        &mut self,
        number: BatchNumber,
        voids: impl Iterator<Item = BatchNumber>,
    ) {
        self.confirmed_beyond.insert(number);
        voids.for_each(|void| self.note_named(void));
        while self.confirmed_beyond.remove(&(self.confirmed + 1)) {
            self.confirmed += 1;
        }
    }

    fn note_named(&mut self, void: BatchNumber) {
        let Some(named) = self.voids.get_mut(&void) else {
            return;
        };
        *named += 1;
        if *named == 1 {
            self.confirmed_beyond.insert(void);
        }
        if *named >= NAMINGS {
            self.voids.remove(&void);
        }
    }

    /// Nobody was answered for this number, and nobody will be.
    pub(crate) fn give_up(&mut self, number: BatchNumber) {
        self.voids.insert(number, 0);
    }

    /// Void numbers for the next batch to name: those that were named least often come first.
    pub(crate) fn voids_to_name(&self) -> Vec<BatchNumber> {
        let mut voids: Vec<(u8, BatchNumber)> = self
            .voids
            .iter()
            .map(|(&number, &named)| (named, number))
            .collect();
        voids.sort_unstable();
        voids.truncate(VOIDS_PER_BATCH_MAX);
        voids.into_iter().map(|(_, number)| number).collect()
    }

    /// Whether numbers were given up and not yet named so in any confirmed batch.
    pub(crate) fn has_unnamed_voids(&self) -> bool {
        self.voids.values().any(|named| *named == 0)
    }
}
