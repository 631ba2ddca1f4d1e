//! The bytes of a segment file, format 1.
//!
//! All integers are little-endian. A segment is a header, then records without space between
//! them, then zeros (room that was prepared) or the end of the file.
//!
//! Header of a segment, 64 bytes. Every format keeps the first two fields, the last one and the
//! size, so that a newer file is told from a damaged one.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `paredao` and a line feed |
//! | 4 | format: 1 |
//! | 4 | sequence number of this segment |
//! | 4 | sequence number of the segment written before it; 0 for none |
//! | 4 | where that one ends |
//! | 8 | when this one was made, ms since 1970 |
//! | 4 | highest sequence number before this one whose segment may have held a record; 0 for none |
//! | 24 | zeros |
//! | 4 | CRC-32C of sequence (from the file's name), offset 0 and everything before |
//!
//! Header of a record, 64 bytes, followed by the body (the batch's own bytes).
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `vote` |
//! | 4 | bytes of the body |
//! | 1 | format: 1 |
//! | 1 | lane |
//! | 1 | version of the body's encoding |
//! | 1 | zero |
//! | 4 | poll |
//! | 8 | incarnation |
//! | 8 | number |
//! | 4 | UTC minute |
//! | 4 | votes |
//! | 8 | cumulative votes of the incarnation |
//! | 8 | when it was appended, ms since 1970 |
//! | 4 | checksum of the body |
//! | 4 | CRC-32C of sequence, offset and everything before |
//!
//! The checksum of the body is the one that every version of the body ends with: CRC-32C of the
//! body without its last four bytes. (A CRC over a body that ends with its own CRC is the same
//! number for every body.)

use paredao_domain::{
    BatchId, EncodedBatch, Envelope, Incarnation, Lane, Minute, PollId, UnixMillis,
};

use super::place::{HEADER_BYTES, Place, SegmentHeader, Sequence};

/// The format this release writes, and the newest it reads.
pub(super) const FORMAT: u32 = 1;
/// No body is longer: the largest batch holds half a mebibyte of votes.
pub(super) const BODY_BYTES_MAX: u32 = 1024 * 1024;
/// No record is longer.
pub(super) const RECORD_BYTES_MAX: u32 = HEADER_BYTES + BODY_BYTES_MAX;
/// What every record begins with.
pub(super) const RECORD_MAGIC: [u8; 4] = *b"vote";

const SEGMENT_MAGIC: [u8; 8] = *b"paredao\n";
const RECORD_FORMAT: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// What the first bytes of a segment file are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SegmentStart {
    /// A header.
    Header(SegmentHeader),
    /// A header of this newer format.
    Newer(u32),
    /// Nothing that can be read.
    Damaged,
}

/// What the header of a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) body_bytes: u32,
    pub(super) envelope: Envelope,
    pub(super) appended_at: UnixMillis,
    pub(super) body_checksum: u32,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let previous = self.previous.unwrap_or_default();
        let mut out = Vec::with_capacity(HEADER_BYTES as usize);
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.sequence.0.to_le_bytes());
        out.extend_from_slice(&previous.sequence.0.to_le_bytes());
        out.extend_from_slice(&previous.offset.to_le_bytes());
        out.extend_from_slice(&self.created_at.0.to_le_bytes());
        out.extend_from_slice(&self.before.0.to_le_bytes());
        out.resize(HEADER_BYTES as usize - CHECKSUM_BYTES, 0);
        let checksum = crc32c::crc32c_append(start_of(self.sequence).checksum(), &out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads what a file of this sequence number begins with.
    pub(super) fn decode(bytes: &[u8], sequence: Sequence) -> SegmentStart {
        let Some(mut fields) = checked(bytes, start_of(sequence)) else {
            return SegmentStart::Damaged;
        };
        let magic = fields.take();
        match (magic == SEGMENT_MAGIC, fields.u32()) {
            (false, _) | (true, 0) => SegmentStart::Damaged,
            (true, newer) if newer > FORMAT => SegmentStart::Newer(newer),
            (true, _) => Self::fields(fields),
        }
    }

    fn fields(mut fields: Fields<'_>) -> SegmentStart {
        let sequence = Sequence(fields.u32());
        let previous = Place {
            sequence: Sequence(fields.u32()),
            offset: fields.u32(),
        };
        SegmentStart::Header(Self {
            sequence,
            previous: (previous.sequence != Sequence(0)).then_some(previous),
            created_at: UnixMillis(fields.i64()),
            before: Sequence(fields.u32()),
        })
    }
}

impl RecordHeader {
    /// The header of `batch`, or nothing if its body is longer than any may be.
    pub(super) fn of(batch: &EncodedBatch, appended_at: UnixMillis) -> Option<Self> {
        let body_bytes = u32::try_from(batch.bytes().len()).ok()?;
        (body_bytes <= BODY_BYTES_MAX).then(|| Self {
            body_bytes,
            envelope: Envelope::from(batch),
            appended_at,
            body_checksum: batch.checksum(),
        })
    }

    /// Bytes of the whole record.
    pub(super) fn record_bytes(&self) -> u32 {
        HEADER_BYTES + self.body_bytes
    }

    /// Adds the header to `out`, as it stands at `place`.
    pub(super) fn encode_into(&self, out: &mut Vec<u8>, place: Place) {
        let start = out.len();
        let envelope = &self.envelope;
        out.extend_from_slice(&RECORD_MAGIC);
        out.extend_from_slice(&self.body_bytes.to_le_bytes());
        out.extend_from_slice(&[RECORD_FORMAT, envelope.id.lane.0, envelope.version, 0]);
        out.extend_from_slice(&envelope.poll.0.to_le_bytes());
        out.extend_from_slice(&envelope.id.incarnation.0.to_le_bytes());
        out.extend_from_slice(&envelope.id.number.to_le_bytes());
        out.extend_from_slice(&envelope.minute.0.to_le_bytes());
        out.extend_from_slice(&envelope.votes.to_le_bytes());
        out.extend_from_slice(&envelope.cumulative.to_le_bytes());
        out.extend_from_slice(&self.appended_at.0.to_le_bytes());
        out.extend_from_slice(&self.body_checksum.to_le_bytes());
        let header = out.get(start..).unwrap_or_default();
        let checksum = crc32c::crc32c_append(place.checksum(), header);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Reads the header that stands at `place`; nothing if none does.
    pub(super) fn decode(bytes: &[u8], place: Place) -> Option<Self> {
        if !bytes.starts_with(&RECORD_MAGIC) {
            return None;
        }
        let mut fields = checked(bytes, place)?;
        let [..] = fields.take::<4>();
        let body_bytes = fields.u32();
        let [format, lane, version, _] = fields.take();
        if body_bytes > BODY_BYTES_MAX || format != RECORD_FORMAT {
            return None;
        }
        let poll = PollId(fields.u32());
        let id = BatchId {
            incarnation: Incarnation(fields.u64()),
            lane: Lane(lane),
            number: fields.u64(),
        };
        let envelope = Envelope {
            version,
            poll,
            id,
            minute: Minute(fields.u32()),
            votes: fields.u32(),
            cumulative: fields.u64(),
        };
        Some(Self {
            body_bytes,
            envelope,
            appended_at: UnixMillis(fields.i64()),
            body_checksum: fields.u32(),
        })
    }

    /// Whether `body` is the one this header was written for.
    pub(super) fn fits(&self, body: &[u8]) -> bool {
        body.len() == self.body_bytes as usize
            && body
                .split_last_chunk::<CHECKSUM_BYTES>()
                .is_some_and(|(content, last)| {
                    u32::from_le_bytes(*last) == self.body_checksum
                        && crc32c::crc32c(content) == self.body_checksum
                })
    }
}

fn start_of(sequence: Sequence) -> Place {
    Place {
        sequence,
        offset: 0,
    }
}

/// The fields of a header whose checksum fits its place.
fn checked(bytes: &[u8], place: Place) -> Option<Fields<'_>> {
    let header = bytes.get(..HEADER_BYTES as usize)?;
    let (fields, checksum) = header.split_last_chunk::<CHECKSUM_BYTES>()?;
    let expected = crc32c::crc32c_append(place.checksum(), fields);
    (u32::from_le_bytes(*checksum) == expected).then_some(Fields(fields))
}

/// Takes fields off a header. There are always enough bytes: a header has one size.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::sample_batch;

    const HERE: Place = Place {
        sequence: Sequence(3),
        offset: 64,
    };

    fn record() -> (RecordHeader, Vec<u8>) {
        let batch = sample_batch(Incarnation(9), 4, 3);
        let header = RecordHeader::of(&batch, UnixMillis(1_700_000_000_000)).unwrap();
        let mut bytes = Vec::new();
        header.encode_into(&mut bytes, HERE);
        (header, bytes)
    }

    fn segment() -> SegmentHeader {
        SegmentHeader {
            sequence: Sequence(3),
            previous: Some(Place {
                sequence: Sequence(2),
                offset: 4711,
            }),
            created_at: UnixMillis(1_700_000_000_000),
            before: Sequence(2),
        }
    }

    #[test]
    fn headers_are_read_back_as_they_were_written() {
        let (header, bytes) = record();
        assert_eq!(bytes.len(), HEADER_BYTES as usize);
        assert_eq!(RecordHeader::decode(&bytes, HERE), Some(header));
        let bytes = segment().encode();
        assert_eq!(bytes.len(), HEADER_BYTES as usize);
        assert_eq!(
            SegmentHeader::decode(&bytes, Sequence(3)),
            SegmentStart::Header(segment())
        );
    }

    #[test]
    fn a_header_is_good_at_its_own_place_only() {
        let (_, bytes) = record();
        let elsewhere = Place { offset: 65, ..HERE };
        assert_eq!(RecordHeader::decode(&bytes, elsewhere), None);
        assert_eq!(
            SegmentHeader::decode(&segment().encode(), Sequence(4)),
            SegmentStart::Damaged
        );
    }

    #[test]
    fn no_flipped_bit_of_a_header_goes_unnoticed() {
        let (_, good) = record();
        let segment = segment().encode();
        for bit in 0..HEADER_BYTES as usize * 8 {
            let flipped = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            };
            assert_eq!(RecordHeader::decode(&flipped(&good), HERE), None);
            assert_eq!(
                SegmentHeader::decode(&flipped(&segment), Sequence(3)),
                SegmentStart::Damaged
            );
        }
    }

    #[test]
    fn a_body_fits_its_own_header_only() {
        let (header, _) = record();
        let own = sample_batch(Incarnation(9), 4, 3);
        let other = sample_batch(Incarnation(9), 5, 3);
        assert!(header.fits(own.bytes()));
        assert!(!header.fits(other.bytes()), "a whole batch, but another");
        assert!(!header.fits(&own.bytes()[1..]));
        assert!(!header.fits(&[]));
    }

    #[test]
    fn a_length_beyond_the_largest_batch_is_no_header() {
        let (header, _) = record();
        for body_bytes in [BODY_BYTES_MAX + 1, u32::MAX] {
            let mut bytes = Vec::new();
            let header = RecordHeader {
                body_bytes,
                ..header
            };
            header.encode_into(&mut bytes, HERE);
            assert_eq!(RecordHeader::decode(&bytes, HERE), None);
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = segment().encode();
        bytes[8] = 2;
        assert_eq!(
            SegmentHeader::decode(&bytes, Sequence(3)),
            SegmentStart::Damaged
        );
        let fields = &bytes[..60];
        let checksum = crc32c::crc32c_append(start_of(Sequence(3)).checksum(), fields);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(
            SegmentHeader::decode(&bytes, Sequence(3)),
            SegmentStart::Newer(2)
        );
    }
}
