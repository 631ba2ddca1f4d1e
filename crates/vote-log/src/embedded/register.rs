//! What is known elsewhere of the log's segments, so that it is noticed when some are gone.
//!
//! A folder cannot say what is missing from it. So two numbers are kept outside: the newest
//! segment there ever was, and up to which all of them went in good order. What lies between and is
//! not there is lost, unless it never held a record, which the header of the next segment says.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;

use async_trait::async_trait;
use paredao_domain::Ranges;

use super::place::Sequence;

/// What is kept elsewhere of the segments. Both numbers only rise, also over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSegments {
    /// Every segment up to here was released, or never held anything.
    pub released: u64,
    /// The highest number there ever was.
    pub newest: u64,
}

/// What a log that is opened finds of its segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundSegments {
    /// Those that are there, with those before them of which they say that they never held
    /// anything.
    pub there: Vec<RangeInclusive<u64>>,
    /// Those that are gone although nobody had released them. What they held and the store had not
    /// applied is missing.
    pub lost: Vec<RangeInclusive<u64>>,
}

/// Where this is kept.
///
/// [`Self::note_released`] comes from the log. That there is a newer segment is for whoever owns
/// both to note, from [`crate::EmbeddedLog::newest_segment`]: a new segment waits for nobody.
#[async_trait]
pub trait SegmentRegister: Send + Sync {
    /// What was kept when the log is opened.
    fn known(&self) -> KnownSegments;

    /// Keeps, for good, that every segment up to this one is released, if it does not know that of a
    /// higher one. Comes before any of them is removed; if it fails, none is.
    async fn note_released(&self, up_to: u64) -> io::Result<()>;
}

/// The segments that were there once and are gone. `there` holds those that are there, each with
/// the last one before it that may have held a record.
pub(super) fn lost_segments(
    there: &BTreeMap<Sequence, Sequence>,
    known: KnownSegments,
) -> Vec<RangeInclusive<u64>> {
    let mut lost = Ranges::default();
    // Beyond the newest there is nobody who says which never held anything.
    let ends = [(Sequence::END, Sequence::kept(known.newest))];
    let before = there.iter().map(|(&sequence, &before)| (sequence, before));
    for (sequence, before) in before.chain(ends) {
        let lower = there.range(..sequence).next_back();
        let lower = lower.map_or(0, |(lower, _)| lower.get());
        lost.insert(lower.max(known.released) + 1..=before.get());
    }
    lost.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(there: &[(u32, u32)], released: u64, newest: u64) -> Vec<RangeInclusive<u64>> {
        let there = there
            .iter()
            .map(|&(sequence, before)| (Sequence(sequence), Sequence(before)));
        lost_segments(&there.collect(), KnownSegments { released, newest })
    }

    #[test]
    fn what_is_released_or_never_held_anything_is_not_lost() {
        let nothing: [RangeInclusive<u64>; 0] = [];
        assert_eq!(lost(&[], 0, 0), nothing);
        assert_eq!(lost(&[(1, 0), (2, 1), (3, 2)], 0, 3), nothing);
        assert_eq!(lost(&[(7, 6), (8, 7)], 6, 8), nothing, "released");
        assert_eq!(
            lost(&[(7, 6), (8, 7)], 7, 8),
            nothing,
            "about to be removed"
        );
        assert_eq!(
            lost(&[(4, 3), (9, 4)], 3, 9),
            nothing,
            "never held anything"
        );
        assert_eq!(lost(&[(4, 3), (5, 4)], 3, 4), nothing, "newer than known");
    }

    #[test]
    fn the_newest_are_missed() {
        assert_eq!(lost(&[(4, 3)], 3, 6), [5..=6]);
        assert_eq!(lost(&[], 3, 6), [4..=6]);
    }

    #[test]
    fn one_in_the_middle_is_missed() {
        assert_eq!(lost(&[(4, 3), (6, 5)], 3, 6), [5..=5]);
        assert_eq!(lost(&[(4, 3), (7, 5), (9, 8)], 2, 9), [3..=3, 5..=5, 8..=8]);
        assert_eq!(lost(&[(6, 5)], 3, 6), [4..=5], "and the oldest");
    }

    #[test]
    fn whoever_knows_less_than_the_log_misses_what_went_since() {
        assert_eq!(lost(&[(9, 8)], 4, 5), [5..=8]);
    }
}
