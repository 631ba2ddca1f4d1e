//! Where in the log something stands.

use paredao_domain::UnixMillis;

/// Bytes of a segment's header, and of a record's.
pub(super) const HEADER_BYTES: u32 = 64;

const NAME_END: &str = ".segment";
const NAME_DIGITS: usize = 10;

/// Number of a segment, rising from 1 over the whole life of the log; part of its file's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Sequence(pub(super) u32);

impl Sequence {
    pub(super) fn file_name(self) -> String {
        format!("{:0NAME_DIGITS$}{NAME_END}", self.0)
    }

    pub(super) fn from_file_name(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(NAME_END)?;
        let plain = digits.len() == NAME_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok().map(Self)).flatten()
    }

    /// Above every number a segment can have.
    pub(super) const END: Self = Self(u32::MAX);

    /// A number that was kept elsewhere, zero for none. One beyond all numbers is taken for the
    /// last, which no other follows.
    pub(super) fn kept(kept: u64) -> Self {
        u32::try_from(kept).map_or(Self::END, Self)
    }

    /// The number as it is told.
    pub(super) fn get(self) -> u64 {
        u64::from(self.0)
    }

    /// The number before this one; none, which is zero, before the first.
    pub(super) fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The number after this one; there are four billion.
    pub(super) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl std::fmt::Display for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A byte of the log: a segment and an offset in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) sequence: Sequence,
    pub(super) offset: u32,
}

impl Place {
    /// The start of the checksum of a header that stands here: a header that strayed from
    /// another place does not fit, whatever wrote it there.
    pub(super) fn checksum(self) -> u32 {
        let sequence = crc32c::crc32c(&self.sequence.0.to_le_bytes());
        crc32c::crc32c_append(sequence, &self.offset.to_le_bytes())
    }
}

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) sequence: Sequence,
    /// Where the segment written before this one ends: everything before was durable, everything
    /// after was confirmed to nobody.
    pub(super) previous: Option<Place>,
    /// The last segment before this one that may have held a record: those between never did. Zero
    /// if there was none.
    pub(super) before: Sequence,
    pub(super) created_at: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_read_back_from_its_file_name_and_from_no_other() {
        let name = Sequence(42).file_name();
        assert_eq!(name, "0000000042.segment");
        assert_eq!(Sequence::from_file_name(&name), Some(Sequence(42)));
        for other in [
            "42.segment",
            "0000000042.segment.bak",
            "+000000042.segment",
            "9999999999.segment",
            "000000004é.segment",
            "",
        ] {
            assert_eq!(Sequence::from_file_name(other), None, "{other}");
        }
    }

    #[test]
    fn places_differ_in_their_checksums() {
        let place = |sequence, offset| Place {
            sequence: Sequence(sequence),
            offset,
        };
        assert_ne!(place(1, 2).checksum(), place(2, 1).checksum());
    }
}
