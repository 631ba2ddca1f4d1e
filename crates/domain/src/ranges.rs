//! Sets of numbers kept as ranges: many neighbours take no more room than one.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// A set of numbers, by the first and last of its ranges, which neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds the numbers of a range.
    pub fn insert(&mut self, range: RangeInclusive<u64>) {
        let (mut first, mut last) = range.into_inner();
        if first > last {
            return;
        }
        while let Some((low, high)) = self.last_from(last.saturating_add(1))
            && high.saturating_add(1) >= first
        {
            self.0.remove(&low);
            first = first.min(low);
            last = last.max(high);
        }
        self.0.insert(first, last);
    }

    /// Takes a number out.
    pub fn remove(&mut self, number: u64) {
        self.remove_all(number..=number);
    }

    /// Takes the numbers of a range out.
    pub fn remove_all(&mut self, range: RangeInclusive<u64>) {
        let (first, last) = range.into_inner();
        if first > last {
            return;
        }
        while let Some((low, high)) = self.last_from(last)
            && high >= first
        {
            self.0.remove(&low);
            if low < first {
                self.0.insert(low, first - 1);
            }
            if last < high {
                self.0.insert(last + 1, high);
            }
        }
    }

    /// Whether every number of a range is in it.
    pub fn covers(&self, range: &RangeInclusive<u64>) -> bool {
        range.is_empty()
            || self
                .last_from(*range.start())
                .is_some_and(|(_, high)| *range.end() <= high)
    }

    /// Its ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.0.iter().map(|(&first, &last)| first..=last)
    }

    /// The last range that begins at `number` or before.
    fn last_from(&self, number: u64) -> Option<(u64, u64)> {
        let (&first, &last) = self.0.range(..=number).next_back()?;
        Some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_that_overlap_or_touch_are_one() {
        let mut ranges = Ranges::default();
        for range in [10..=12, 1..=3, 14..=14, 4..=4, 13..=13] {
            ranges.insert(range);
        }
        assert!(ranges.iter().eq([1..=4, 10..=14]));
        ranges.insert(2..=11);
        assert!(ranges.iter().eq([1..=14]));
    }

    #[test]
    fn the_ends_of_all_numbers_are_numbers_too() {
        let mut ranges = Ranges::default();
        ranges.insert(u64::MAX..=u64::MAX);
        ranges.insert(0..=0);
        ranges.insert(u64::MAX - 1..=u64::MAX);
        assert!(ranges.iter().eq([0..=0, u64::MAX - 1..=u64::MAX]));
        ranges.remove(u64::MAX);
        ranges.remove(0);
        assert!(ranges.iter().eq([u64::MAX - 1..=u64::MAX - 1]));
        ranges.remove_all(0..=u64::MAX);
        assert!(ranges.iter().eq([]));
    }

    proptest! {
        #[test]
        fn it_is_the_set_of_its_numbers(
            changes in prop::collection::vec((any::<bool>(), 0_u64..40, 0_u64..6), 0..60),
        ) {
            let (mut ranges, mut naive) = (Ranges::default(), BTreeSet::new());
            for (adds, first, more) in changes {
                if adds {
                    ranges.insert(first..=first + more);
                    naive.extend(first..=first + more);
                } else {
                    ranges.remove_all(first..=first + more);
                    naive.retain(|number| !(first..=first + more).contains(number));
                }
            }
            prop_assert!(ranges.iter().flatten().eq(naive.iter().copied()));
            let neighbours = ranges.iter().zip(ranges.iter().skip(1));
            for (left, right) in neighbours {
                prop_assert!(left.end() + 1 < *right.start());
            }
            for first in 0..46 {
                for last in first..46 {
                    let all = (first..=last).all(|number| naive.contains(&number));
                    prop_assert_eq!(ranges.covers(&(first..=last)), all);
                }
            }
        }
    }
}
