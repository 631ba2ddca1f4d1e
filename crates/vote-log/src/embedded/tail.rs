//! The last bytes of a segment of which nobody has said where it ends, and which no good record
//! follows.
//!
//! Either the machine stopped while they were written: they were answered to nobody. Or they were
//! written, perhaps answered, and damaged later. A write that was torn lacks at least one whole
//! sector, and a sector that was never written is zeros, since nothing is written to a place
//! twice and the room behind the last record is prepared with zeros. So bytes without such a hole
//! are damage.

use super::place::HEADER_BYTES;
use crate::disk::SECTOR_BYTES;

/// No record is shorter: its header and a batch without votes.
const RECORD_BYTES_MIN: usize = HEADER_BYTES as usize + paredao_domain::HEADER_BYTES + 4;
/// As much of a record's header as cannot become zeros by a flipped byte.
const BEGINNING_BYTES: usize = 4;

/// What such bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing was written here.
    Nothing,
    /// The beginning, or any part, of a write that was not finished.
    Torn,
    /// What was written whole and cannot be read.
    Damaged,
}

impl Tail {
    /// Judges what was found from offset `start` on; `record_bytes` is its length according to
    /// its own header, if that is good.
    pub(super) fn judge(written: &[u8], record_bytes: Option<u32>, start: u32) -> Self {
        let nonzero = length_without_zeros(written);
        let span = record_bytes.map_or(nonzero, |bytes| bytes as usize);
        match written.get(..span) {
            Some([]) => Self::Nothing,
            Some(record) if was_begun(record) && !has_a_hole(record, start) => Self::Damaged,
            _ => Self::Torn,
        }
    }
}

pub(super) fn length_without_zeros(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1)
}

fn was_begun(record: &[u8]) -> bool {
    record.len() >= RECORD_BYTES_MIN && !record.starts_with(&[0; BEGINNING_BYTES])
}

/// Whether a whole sector's share of what was to be written from offset `start` on is zeros.
fn has_a_hole(record: &[u8], start: u32) -> bool {
    let mut rest = record;
    let mut in_sector = SECTOR_BYTES - start as usize % SECTOR_BYTES;
    while !rest.is_empty() {
        let (sector, after) = rest.split_at(in_sector.min(rest.len()));
        if sector.iter().all(|byte| *byte == 0) {
            return true;
        }
        rest = after;
        in_sector = SECTOR_BYTES;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_nothing() {
        assert_eq!(Tail::judge(&[0; 3000], None, 64), Tail::Nothing);
        assert_eq!(Tail::judge(&[], None, 64), Tail::Nothing);
    }

    #[test]
    fn bytes_without_a_hole_are_damage() {
        assert_eq!(Tail::judge(&[7; 3000], None, 64), Tail::Damaged);
        assert_eq!(Tail::judge(&[7; 3000], Some(2000), 64), Tail::Damaged);
    }

    #[test]
    fn a_hole_counts_only_if_it_is_a_whole_sectors_share() {
        let mut bytes = vec![1; 2000];
        bytes[413..924].fill(0);
        assert_eq!(Tail::judge(&bytes, None, 100), Tail::Damaged);
        bytes[412] = 0;
        assert_eq!(Tail::judge(&bytes, None, 100), Tail::Torn);
    }

    #[test]
    fn what_ends_before_its_length_is_torn() {
        assert_eq!(Tail::judge(&[1; 199], Some(200), 0), Tail::Torn);
        assert_eq!(Tail::judge(&[1; 200], Some(200), 0), Tail::Damaged);
        assert_eq!(Tail::judge(&[1; 117], None, 0), Tail::Torn);
    }

    #[test]
    fn a_stray_byte_in_prepared_room_is_no_record() {
        let mut bytes = vec![0; 3000];
        bytes[117] = 1;
        assert_eq!(Tail::judge(&bytes, None, 3000), Tail::Torn);
    }
}
