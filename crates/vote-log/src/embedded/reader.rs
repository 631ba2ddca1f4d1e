//! Reading a segment file: one item after the other, whatever state it is in.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use paredao_domain::Envelope;

use super::format::{RECORD_MAGIC, RecordHeader};
use super::place::{HEADER_BYTES, Place, Sequence};
use super::tail::length_without_zeros;
use crate::disk::{Disk, DiskFile};

/// Read at a time while there is more; much less than a consumer holds, much more than a record.
const CHUNK_BYTES: u32 = 256 * 1024;
/// What a drive that cannot read one of its sectors refuses at least, and from where on.
const BLOCK_BYTES: u32 = 4096;
/// Most bytes of one item that nobody can read: whoever sets them aside holds them in memory.
pub(super) const UNREADABLE_BYTES_MAX: u32 = 1024 * 1024;

/// What stands in the log between two offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A batch as it was appended.
    Batch(Envelope, Bytes),
    /// A header that is good and a body that is not its own.
    DamagedBody(Envelope, Bytes),
    /// Bytes between the last good record and the next good header, or as many of them as one
    /// item holds.
    Unreadable(Bytes),
}

impl Found {
    pub(super) fn envelope(&self) -> Option<Envelope> {
        match self {
            Self::Batch(envelope, _) | Self::DamagedBody(envelope, _) => Some(*envelope),
            Self::Unreadable(_) => None,
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Self::Batch(..))
    }
}

/// One delivery's worth of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) found: Found,
}

/// Reads one segment file.
pub(super) struct SegmentReader {
    sequence: Sequence,
    file: Box<dyn DiskFile>,
    path: String,
    chunk: Bytes,
    chunk_start: u32,
    /// Blocks that the drive could not read so far, by their number in the file.
    bad_blocks: BTreeSet<u32>,
}

impl SegmentReader {
    pub(super) fn open(disk: &dyn Disk, sequence: Sequence) -> io::Result<Self> {
        let name = sequence.file_name();
        Ok(Self {
            sequence,
            file: disk.open(&name)?,
            path: disk.path_of(&name),
            chunk: Bytes::new(),
            chunk_start: 0,
            bad_blocks: BTreeSet::new(),
        })
    }

    pub(super) fn sequence(&self) -> Sequence {
        self.sequence
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// What stands at `from`, of a segment that ends at `end`. Where no header can be read, it is
    /// everything up to the next one that can, in items of a bounded size.
    pub(super) fn item(&mut self, from: u32, end: u32) -> io::Result<Option<Item>> {
        if from >= end {
            return Ok(None);
        }
        match self.header(from, end)? {
            Some(header) => self.record(&header, from, end).map(Some),
            None => self.unreadable(from, end).map(Some),
        }
    }

    fn record(&mut self, header: &RecordHeader, from: u32, end: u32) -> io::Result<Item> {
        let record_end = from + header.record_bytes().min(end - from);
        let body_start = (from + HEADER_BYTES).min(record_end);
        let body = self.bytes(body_start..record_end, end)?;
        let found = if header.fits(&body) {
            Found::Batch(header.envelope, body)
        } else {
            Found::DamagedBody(header.envelope, body)
        };
        Ok(Item {
            start: from,
            end: record_end,
            found,
        })
    }

    fn unreadable(&mut self, from: u32, end: u32) -> io::Result<Item> {
        let stop = from.saturating_add(UNREADABLE_BYTES_MAX).min(end);
        let next = self.next_header(from + 1..stop, end)?.unwrap_or(stop);
        let bytes = self.bytes(from..next, end)?;
        let ends_here = bytes.len() < (next - from) as usize;
        Ok(Item {
            start: from,
            // What the file lacks, however much it is, costs nobody memory.
            end: if ends_here { end } else { next },
            found: Found::Unreadable(bytes),
        })
    }

    /// The header at `at`, if one stands there.
    pub(super) fn header(&mut self, at: u32, end: u32) -> io::Result<Option<RecordHeader>> {
        let place = Place {
            sequence: self.sequence,
            offset: at,
        };
        let stop = at.saturating_add(HEADER_BYTES).min(end);
        let bytes = self.bytes(at..stop, end)?;
        Ok(RecordHeader::decode(&bytes, place))
    }

    /// Where the first good header stands that begins in `range`.
    pub(super) fn next_header(&mut self, range: Range<u32>, end: u32) -> io::Result<Option<u32>> {
        let mut at = range.start;
        while at < range.end {
            let window = self.bytes(at..at.saturating_add(CHUNK_BYTES).min(end), end)?;
            for candidate in places_of_magic(&window, at).take_while(|at| *at < range.end) {
                if self.header(candidate, end)?.is_some() {
                    return Ok(Some(candidate));
                }
            }
            // The magic may straddle two windows.
            let fresh = window.len().saturating_sub(RECORD_MAGIC.len() - 1);
            match u32::try_from(fresh) {
                Ok(fresh @ 1..) => at = at.saturating_add(fresh),
                _ => break,
            }
        }
        Ok(None)
    }

    /// Where in `range` the last byte stands that is not zero; its start, if there is none.
    pub(super) fn end_without_zeros(&mut self, range: Range<u32>) -> io::Result<u32> {
        let (mut at, mut end) = (range.start, range.start);
        while at < range.end {
            let stop = at.saturating_add(CHUNK_BYTES).min(range.end);
            let window = self.bytes(at..stop, range.end)?;
            let length = length_without_zeros(&window);
            if length > 0 {
                end = at + u32::try_from(length).unwrap_or(0);
            }
            at = stop;
        }
        Ok(end)
    }

    /// Where the last block of `range` ends that the drive could not read, if it was asked for it.
    pub(super) fn end_of_bad_blocks(&self, range: Range<u32>) -> Option<u32> {
        let blocks = range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES);
        let last = self.bad_blocks.range(blocks).next_back()?;
        let end = last.saturating_add(1).saturating_mul(BLOCK_BYTES);
        Some(end.min(range.end))
    }

    /// The bytes of `range`, fewer where the file is shorter. Reads ahead, but not beyond `end`.
    pub(super) fn bytes(&mut self, range: Range<u32>, end: u32) -> io::Result<Bytes> {
        if let Some(bytes) = self.slice_of_chunk(&range) {
            return Ok(bytes);
        }
        let wanted = range.end.saturating_sub(range.start);
        let ahead = CHUNK_BYTES.min(end.saturating_sub(range.start)).max(wanted);
        self.chunk = self.read(range.start, ahead)?.into();
        self.chunk_start = range.start;
        let there = self.chunk.len().min(wanted as usize);
        Ok(self.chunk.slice(..there))
    }

    fn slice_of_chunk(&self, range: &Range<u32>) -> Option<Bytes> {
        let start = range.start.checked_sub(self.chunk_start)? as usize;
        let end = range.end.checked_sub(self.chunk_start)? as usize;
        (start <= end && end <= self.chunk.len()).then(|| self.chunk.slice(start..end))
    }

    fn read(&mut self, from: u32, length: u32) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; length as usize];
        let filled = match self.file.read_at(&mut buffer, u64::from(from)) {
            Err(error) if is_bad_sector(&error) => self.read_around(&mut buffer, from)?,
            other => other?,
        };
        buffer.truncate(filled);
        Ok(buffer)
    }

    /// Reads block by block. One that the drive cannot read stays zeros and will not pass for a
    /// record, so that what stands around it is still delivered; and it is remembered, so that
    /// its zeros are not taken for a place where nothing was written.
    fn read_around(&mut self, buffer: &mut [u8], from: u32) -> io::Result<usize> {
        let mut filled = 0;
        let mut rest = buffer;
        let mut at = from;
        while !rest.is_empty() {
            let in_block = (BLOCK_BYTES - at % BLOCK_BYTES) as usize;
            let (block, after) = rest.split_at_mut(in_block.min(rest.len()));
            match self.file.read_at(block, u64::from(at)) {
                Ok(count) if count < block.len() => return Ok(filled + count),
                Ok(_) => {}
                Err(error) if is_bad_sector(&error) => {
                    block.fill(0);
                    self.note_bad_block(at);
                }
                Err(error) => return Err(error),
            }
            filled += block.len();
            at = at.saturating_add(u32::try_from(block.len()).unwrap_or(u32::MAX));
            rest = after;
        }
        Ok(filled)
    }

    fn note_bad_block(&mut self, offset: u32) {
        if self.bad_blocks.insert(offset / BLOCK_BYTES) {
            tracing::warn!(event = "vote_log_bad_sector", segment = %self.path, offset);
        }
    }
}

fn is_bad_sector(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

fn places_of_magic(window: &[u8], start: u32) -> impl Iterator<Item = u32> {
    (start..)
        .zip(window.windows(RECORD_MAGIC.len()))
        .filter(|(_, bytes)| *bytes == RECORD_MAGIC)
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use paredao_domain::{Incarnation, UnixMillis};

    use super::*;
    use crate::conformance::sample_batch;
    use crate::disk::simulated::ForgettingDisk;

    const SEGMENT: Sequence = Sequence(1);

    /// A segment of records of so many votes each, and where each begins.
    fn segment(votes: &[u16]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = vec![0; HEADER_BYTES as usize];
        let mut starts = Vec::new();
        for (number, &votes) in (1..).zip(votes) {
            starts.push(bytes.len());
            let batch = sample_batch(Incarnation(1), number, votes);
            let place = Place {
                sequence: SEGMENT,
                offset: u32::try_from(bytes.len()).unwrap(),
            };
            RecordHeader::of(&batch, UnixMillis(0))
                .unwrap()
                .encode_into(&mut bytes, place);
            bytes.extend_from_slice(batch.bytes());
        }
        (bytes, starts)
    }

    fn read_all(bytes: &[u8], prepare: impl FnOnce(&ForgettingDisk)) -> Vec<Item> {
        let disk = ForgettingDisk::new(0);
        disk.replace(&SEGMENT.file_name(), bytes);
        prepare(&disk);
        let mut reader = SegmentReader::open(&disk, SEGMENT).unwrap();
        let end = u32::try_from(bytes.len()).unwrap();
        let mut items: Vec<Item> = Vec::new();
        let mut at = HEADER_BYTES;
        while let Some(item) = reader.item(at, end).unwrap() {
            at = item.end;
            items.push(item);
        }
        assert_eq!(at, end, "the items cover the segment");
        items
    }

    fn numbers(items: &[Item]) -> Vec<u64> {
        let number = |item: &Item| match &item.found {
            Found::Batch(envelope, _) => Some(envelope.id.number),
            _ => None,
        };
        items.iter().filter_map(number).collect()
    }

    #[test]
    fn records_are_found_one_after_the_other_across_chunks() {
        let (bytes, _) = segment(&[1, 20_000, 3, 30_000, 32_768]);
        assert_eq!(numbers(&read_all(&bytes, |_| {})), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_damaged_body_is_named_by_its_header() {
        let (mut bytes, starts) = segment(&[5, 5, 5]);
        bytes[starts[1] + 100] ^= 1;
        let items = read_all(&bytes, |_| {});
        assert_eq!(numbers(&items), [1, 3]);
        let Found::DamagedBody(envelope, body) = &items[1].found else {
            panic!("{:?}", items[1]);
        };
        assert_eq!(envelope.id.number, 2);
        assert_eq!(body[..], bytes[starts[1] + 64..starts[2]]);
    }

    #[test]
    fn a_region_without_headers_is_one_item() {
        let (mut bytes, starts) = segment(&[5, 30_000, 5, 5]);
        bytes[starts[1] + 3] ^= 1;
        bytes[starts[2] + 40] ^= 1;
        let items = read_all(&bytes, |_| {});
        assert_eq!(numbers(&items), [1, 4]);
        let region = &bytes[starts[1]..starts[3]];
        assert_eq!(items[1].found, Found::Unreadable(region.to_vec().into()));
    }

    #[test]
    fn a_long_region_without_headers_is_cut_into_items() {
        let (mut bytes, starts) = segment(&[5, 32_768, 32_768, 32_768, 32_768, 32_768, 5]);
        for start in &starts[1..6] {
            bytes[*start] ^= 1;
        }
        let items = read_all(&bytes, |_| {});
        assert_eq!(numbers(&items), [1, 7]);
        let unreadable: Vec<&Bytes> = items
            .iter()
            .filter_map(|item| match &item.found {
                Found::Unreadable(bytes) => Some(bytes),
                _ => None,
            })
            .collect();
        let lengths: Vec<usize> = unreadable.iter().map(|bytes| bytes.len()).collect();
        let whole = UNREADABLE_BYTES_MAX as usize;
        assert_eq!(lengths, [whole, whole, starts[6] - starts[1] - 2 * whole]);
        assert_eq!(
            unreadable
                .into_iter()
                .flatten()
                .copied()
                .collect::<Vec<_>>(),
            bytes[starts[1]..starts[6]]
        );
    }

    #[test]
    fn a_header_is_found_wherever_a_long_region_ends() {
        let (record, _) = segment(&[5]);
        for lead in [-2, -1, 0, 1, 63, 64] {
            let start = HEADER_BYTES as usize + UNREADABLE_BYTES_MAX as usize;
            let start = start.checked_add_signed(lead).unwrap();
            let place = Place {
                sequence: SEGMENT,
                offset: u32::try_from(start).unwrap(),
            };
            let batch = sample_batch(Incarnation(1), 1, 5);
            let mut bytes = vec![0x76; start];
            RecordHeader::of(&batch, UnixMillis(0))
                .unwrap()
                .encode_into(&mut bytes, place);
            bytes.extend_from_slice(&record[2 * HEADER_BYTES as usize..]);
            assert_eq!(numbers(&read_all(&bytes, |_| {})), [1], "{lead}");
        }
    }

    #[test]
    fn what_a_short_file_lacks_is_one_item() {
        let disk = ForgettingDisk::new(0);
        disk.replace(&SEGMENT.file_name(), &[0; HEADER_BYTES as usize + 10]);
        let mut reader = SegmentReader::open(&disk, SEGMENT).unwrap();
        let end = 900_000_000;
        let item = reader.item(HEADER_BYTES, end).unwrap().unwrap();
        assert_eq!((item.start, item.end), (HEADER_BYTES, end));
        assert_eq!(item.found, Found::Unreadable(vec![0; 10].into()));
    }

    #[test]
    fn a_bad_block_is_remembered_from_its_start_to_its_end() {
        let (bytes, _) = segment(&[300; 10]);
        let disk = ForgettingDisk::new(0);
        disk.replace(&SEGMENT.file_name(), &bytes);
        disk.spoil(&SEGMENT.file_name(), 10_000).unwrap();
        let mut reader = SegmentReader::open(&disk, SEGMENT).unwrap();
        let end = u32::try_from(bytes.len()).unwrap();
        assert_eq!(reader.end_of_bad_blocks(0..end), None, "nothing was read");
        reader.bytes(100..end, end).unwrap();
        for (range, bad) in [
            (0..end, Some(12_288)),
            (0..8_192, None),
            (0..8_193, Some(8_193)),
            (12_287..end, Some(12_288)),
            (12_288..end, None),
        ] {
            assert_eq!(reader.end_of_bad_blocks(range.clone()), bad, "{range:?}");
        }
    }

    #[test]
    fn a_sector_the_drive_cannot_read_costs_only_the_records_on_it() {
        let (bytes, starts) = segment(&[300; 10]);
        let items = read_all(&bytes, |disk| {
            disk.spoil(&SEGMENT.file_name(), starts[4] as u64 + 200)
                .unwrap();
        });
        let found = numbers(&items);
        assert!(found.len() >= 8, "{found:?}");
        assert!(!found.contains(&5));
    }

    #[test]
    fn a_header_cut_off_by_the_end_is_unreadable() {
        let (bytes, starts) = segment(&[5, 5]);
        let items = read_all(&bytes[..starts[1] + 30], |_| {});
        assert_eq!(numbers(&items), [1]);
        assert!(matches!(&items[1].found, Found::Unreadable(b) if b.len() == 30));
    }
}
