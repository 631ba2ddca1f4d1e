//! Opening: what a log of an earlier life holds, and where it ends.
//!
//! Where a segment ends stands in the header of the one written after it. Of the last segment
//! nobody has said so: there, what cannot be read and has nothing good behind it is judged by
//! its bytes (see `tail`), and cut off or delivered.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::format::{FORMAT, RECORD_BYTES_MAX, SegmentStart};
use super::place::{HEADER_BYTES, Place, SegmentHeader, Sequence};
use super::reader::{Found, Item, SegmentReader};
use super::segment::{Segment, Stretch};
use super::tail::Tail;
use crate::LogError;
use crate::disk::Disk;

/// What an earlier life left.
pub(super) struct Recovered {
    /// The segments that hold something.
    pub(super) segments: BTreeMap<Sequence, Segment>,
    /// Those that hold nothing.
    pub(super) empty: Vec<Sequence>,
    /// Where the newest that holds something ends.
    pub(super) last: Option<Place>,
    /// Those that were begun for good, each with the last one before it that may have held a
    /// record. Of one without a readable header and without records nobody knows whether it was.
    pub(super) there: BTreeMap<Sequence, Sequence>,
    /// The highest number there is, zero if there is none.
    pub(super) newest: Sequence,
}

impl Recovered {
    /// The highest number of those that were begun for good.
    pub(super) fn newest_begun(&self) -> Option<Sequence> {
        self.there.last_key_value().map(|(sequence, _)| *sequence)
    }
}

/// Reads all segments and cuts off what was being written when the machine stopped.
pub(super) fn recover(disk: &Arc<dyn Disk>) -> Result<Recovered, LogError> {
    let sequences = sequences(&**disk)?;
    let Headers { ends, before } = headers(&**disk, &sequences)?;
    let mut segments = BTreeMap::new();
    let mut empty = Vec::new();
    for &sequence in &sequences {
        let segment = in_segment(&**disk, sequence, || {
            read_segment(&**disk, sequence, ends.get(&sequence).copied())
        })?;
        if segment.is_empty() {
            empty.push(sequence);
        } else {
            segments.insert(sequence, segment);
        }
    }
    // Where the header cannot be read, nobody says that the segment before never held anything.
    let unsaid = |sequence| {
        segments
            .contains_key(&sequence)
            .then(|| Sequence::previous(sequence))
    };
    let there = before
        .into_iter()
        .filter_map(|(sequence, before)| Some((sequence, before.or_else(|| unsaid(sequence))?)))
        .collect();
    Ok(Recovered {
        last: segments.last_key_value().map(|(&sequence, segment)| Place {
            sequence,
            offset: segment.end(),
        }),
        there,
        newest: sequences.last().copied().unwrap_or_default(),
        segments,
        empty,
    })
}

fn in_segment<T>(
    disk: &dyn Disk,
    sequence: Sequence,
    read: impl FnOnce() -> io::Result<T>,
) -> Result<T, LogError> {
    read().map_err(|source| LogError::Io {
        context: format!("cannot read {}", disk.path_of(&sequence.file_name())),
        source,
    })
}

/// The segments there are, in order. Other files are none of the log's business.
///
/// The folder is synced first: a file whose removal is forgotten later would come back beside a
/// new one, and say things about another that has taken an old number.
fn sequences(disk: &dyn Disk) -> Result<Vec<Sequence>, LogError> {
    let listed = disk.sync_dir().and_then(|()| disk.list());
    let names = listed.map_err(|source| LogError::Io {
        context: format!("cannot list {}", disk.path_of("")),
        source,
    })?;
    let mut sequences = Vec::with_capacity(names.len());
    for name in names {
        match Sequence::from_file_name(&name) {
            Some(sequence) => sequences.push(sequence),
            None => {
                tracing::warn!(event = "vote_log_foreign_file", file = %disk.path_of(&name));
            }
        }
    }
    sequences.sort_unstable();
    Ok(sequences)
}

/// What the headers of the segments say of those written before them.
#[derive(Default)]
struct Headers {
    /// Where they end.
    ends: BTreeMap<Sequence, u32>,
    /// Of each segment that is there, the last one before it that may have held a record; nothing
    /// where the header cannot be read.
    before: BTreeMap<Sequence, Option<Sequence>>,
}

fn headers(disk: &dyn Disk, sequences: &[Sequence]) -> Result<Headers, LogError> {
    let mut headers = Headers::default();
    for &sequence in sequences {
        let path = disk.path_of(&sequence.file_name());
        match in_segment(disk, sequence, || read_start(disk, sequence))? {
            SegmentStart::Header(header) => {
                let previous = header.previous;
                let end = previous.map(|place| (place.sequence, place.offset));
                headers.ends.extend(end);
                headers.before.insert(sequence, Some(header.before));
            }
            SegmentStart::Newer(found) => {
                return Err(LogError::Newer {
                    path,
                    found,
                    supported: FORMAT,
                });
            }
            SegmentStart::Damaged => {
                tracing::warn!(event = "vote_log_segment_header_damaged", segment = %path);
                headers.before.insert(sequence, None);
            }
        }
    }
    Ok(headers)
}

fn read_start(disk: &dyn Disk, sequence: Sequence) -> io::Result<SegmentStart> {
    let mut reader = SegmentReader::open(disk, sequence)?;
    let bytes = reader.bytes(0..HEADER_BYTES, HEADER_BYTES)?;
    Ok(SegmentHeader::decode(&bytes, sequence))
}

fn read_segment(
    disk: &dyn Disk,
    sequence: Sequence,
    declared_end: Option<u32>,
) -> io::Result<Segment> {
    let mut reader = SegmentReader::open(disk, sequence)?;
    let mut reading = Reading::default();
    match declared_end {
        Some(end) => reading.read_to(&mut reader, end)?,
        None => find_end(&mut reader, &mut reading)?,
    }
    // What a process that was killed had not synced is read like everything else; from here on
    // it must not get lost.
    reader.file().sync_data()?;
    Ok(reading.segment)
}

/// A segment as far as it was read.
struct Reading {
    segment: Segment,
    /// Where the last of its items begins.
    last: u32,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            segment: Segment::default(),
            last: HEADER_BYTES,
        }
    }
}

impl Reading {
    fn end(&self) -> u32 {
        self.segment.end()
    }

    fn read_to(&mut self, reader: &mut SegmentReader, end: u32) -> io::Result<()> {
        while let Some(item) = reader.item(self.end(), end)? {
            self.take_in(&item);
        }
        Ok(())
    }

    fn take_in(&mut self, item: &Item) {
        let envelope = item.found.envelope();
        let stretch = Stretch::new(item.start, item.end, envelope.as_ref());
        self.segment.extend(&stretch, envelope.as_ref());
        if !item.found.is_whole() {
            self.segment.note_damage(item.start);
        }
        self.last = item.start;
    }
}

/// Reads a segment of which nobody has said where it ends, and cuts it there.
fn find_end(reader: &mut SegmentReader, reading: &mut Reading) -> io::Result<()> {
    let size = reader.file().size()?;
    // A segment of this program is far below four gigabytes; of a stranger's file the rest is
    // not looked at.
    let limit = u32::try_from(size).unwrap_or(u32::MAX - HEADER_BYTES);
    while let Some(item) = reader.item(reading.end(), limit)? {
        if item.found.is_whole() {
            reading.take_in(&item);
            continue;
        }
        let behind = reader.next_header(item.end..limit, limit)?;
        let damaged_to = match behind {
            Some(next) => Some(next),
            None => judge(reader, &item, limit)?,
        };
        match damaged_to {
            Some(end) => reading.read_to(reader, end)?,
            None => break,
        }
    }
    let end = reading.end();
    if reader.end_of_bad_blocks(reading.last..end).is_some() {
        // It is left alone: what could be written are the zeros in the place of what the drive
        // cannot read, and the next start would take them for a write that was never finished.
        return Ok(());
    }
    if size > u64::from(end) {
        reader.file().truncate(u64::from(end))?;
    }
    write_again(reader, reading.last, end)
}

/// Writes the last record of a segment over itself. Its sync may have failed in an earlier life;
/// the kernel then shows it and believes it written, and only a new write makes the sync that
/// follows mean something. Those before it were synced before it was begun.
fn write_again(reader: &mut SegmentReader, start: u32, end: u32) -> io::Result<()> {
    let bytes = reader.bytes(start..end, end)?;
    reader.file().write_at(&bytes, u64::from(start))
}

/// Up to where there is damage, if `item` cannot be read and no good header stands behind it;
/// nothing if the segment ends before it.
fn judge(reader: &mut SegmentReader, item: &Item, limit: u32) -> io::Result<Option<u32>> {
    let (end, looked_at) = match item.found {
        Found::Batch(..) | Found::DamagedBody(..) => (item.end, item.end),
        // It may go on in further items.
        Found::Unreadable(_) => (reader.end_without_zeros(item.start..limit)?, limit),
    };
    if let Some(bad) = reader.end_of_bad_blocks(item.start..looked_at) {
        return Ok(Some(end.max(bad)));
    }
    if end - item.start > RECORD_BYTES_MAX {
        // More than what was being written when the machine stopped.
        return Ok(Some(end));
    }
    let written = reader.bytes(item.start..end, limit)?;
    let declared = reader.header(item.start, limit)?;
    let record_bytes = declared.map(|header| header.record_bytes());
    match Tail::judge(&written, record_bytes, item.start) {
        Tail::Nothing => Ok(None),
        Tail::Torn => {
            tracing::warn!(
                event = "vote_log_torn_tail_cut",
                segment = %reader.path(),
                from = item.start,
                batch = declared.map(|header| header.envelope.id.to_string()),
            );
            Ok(None)
        }
        Tail::Damaged => Ok(Some(end)),
    }
}
