//! Writing: one record, one sync, and what to do when either fails.
//!
//! Two rules make a failure harmless. After a failed *write* nothing is believed of the file
//! beyond the last record: it is cut back, durably, before it is written again. After a failed
//! *sync* nothing is believed of the file any more, since the kernel may have dropped what it
//! could not write and forgotten that it did (fsync(2); P. Rebello and others, "Can Applications
//! Recover from fsync Failures?", USENIX ATC 2020): it gets no more records, and the header of
//! the next segment says where its durable part ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use paredao_domain::{Clock, EncodedBatch, Envelope};
use paredao_telemetry::failpoint;

use super::EmbeddedOptions;
use super::format::RecordHeader;
use super::place::{HEADER_BYTES, Place, SegmentHeader, Sequence};
use super::recovery::Recovered;
use super::segment::Stretch;
use crate::AppendError;
use crate::disk::{Disk, DiskFile};

/// Zeros written behind a record that reaches beyond what was prepared: the appends that follow
/// overwrite them, and syncing those changes neither the file's length nor its extents, which
/// spares the file system's journal (measured by the example `append_cost`).
const PREPARED_BYTES: u32 = 256 * 1024;

/// The segment that is being written.
struct Active {
    sequence: Sequence,
    file: Box<dyn DiskFile>,
    path: String,
    /// Everything before is durable.
    end: u32,
    /// From `end` to here stand zeros.
    prepared_to: u32,
}

impl Active {
    fn end_place(&self) -> Place {
        Place {
            sequence: self.sequence,
            offset: self.end,
        }
    }

    fn is_empty(&self) -> bool {
        self.end == HEADER_BYTES
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    Failing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Write,
    Sync,
}

/// What an append made durable.
pub(super) struct Appended {
    pub(super) sequence: Sequence,
    pub(super) stretch: Stretch,
    pub(super) envelope: Envelope,
}

pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    options: EmbeddedOptions,
    active: Option<Active>,
    /// Where the last segment that has records and gets no more of them ends.
    previous: Option<Place>,
    /// The last segment that may have held a record and is not the active one.
    before: Sequence,
    next: Option<Sequence>,
    /// Segments without records. They go once there is a newer one: the newest file tells the
    /// next start with which number to go on.
    empty: Vec<Sequence>,
    health: Health,
    /// The record that is being written; kept for its memory.
    buffer: Vec<u8>,
}

impl Writer {
    /// Goes on after the segments `recovered`, and after `gone`: the last one known that is not
    /// there any more. Of those without records it removes the ones that `may_go`.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: EmbeddedOptions,
        recovered: &Recovered,
        gone: Sequence,
        may_go: impl Fn(&Sequence) -> bool,
    ) -> Self {
        let previous = recovered.last;
        Self {
            disk,
            clock,
            options,
            active: None,
            previous,
            before: previous.map_or(gone, |place| place.sequence.max(gone)),
            next: recovered.newest.max(gone).next(),
            empty: recovered.empty.iter().copied().filter(may_go).collect(),
            health: Health::Good,
            buffer: Vec::new(),
        }
    }

    /// The segment that is being written, if there is one.
    pub(super) fn active(&self) -> Option<Sequence> {
        self.active.as_ref().map(|active| active.sequence)
    }

    /// Makes a batch durable.
    pub(super) fn append(&mut self, batch: &EncodedBatch) -> Result<Appended, AppendError> {
        let outcome = self.try_append(batch);
        self.note_health(outcome.as_ref().err());
        outcome
    }

    fn try_append(&mut self, batch: &EncodedBatch) -> Result<Appended, AppendError> {
        let header = RecordHeader::of(batch, self.clock.now())
            .ok_or_else(|| unavailable("a batch", &"it is larger than any may be"))?;
        if self.needs_new_segment(&header) {
            self.roll()
                .map_err(|error| unavailable("a new segment", &error))?;
        }
        let Some(active) = self.active.as_mut() else {
            return Err(unavailable("a new segment", &"there is none"));
        };
        fill(&mut self.buffer, active, &header, batch, self.options);
        match write(active, &self.buffer, self.options.append_delay) {
            Ok(()) => Ok(advance(active, &header, self.buffer.len())),
            Err((step, error)) => {
                let failed = unavailable(&active.path, &error);
                match step {
                    Step::Write => self.cut_back(),
                    Step::Sync => self.abandon(),
                }
                Err(failed)
            }
        }
    }

    fn needs_new_segment(&self, header: &RecordHeader) -> bool {
        self.active.as_ref().is_none_or(|active| {
            let end = active.end.saturating_add(header.record_bytes());
            !active.is_empty() && end > self.options.segment_bytes.get()
        })
    }

    /// Begins a new segment. If that fails, the old one gets no more records either.
    pub(super) fn roll(&mut self) -> io::Result<()> {
        failpoint::hit("log.segment.before_roll")?;
        if let Some(active) = self.active.take() {
            self.finish(&active);
        }
        let sequence = self.next.ok_or_else(|| {
            io::Error::other("no segment number is left after the last one known")
        })?;
        self.next = sequence.next();
        let name = sequence.file_name();
        let file = self.disk.create(&name)?;
        if let Err(error) = self.begin(&*file, sequence) {
            self.remove_quietly(&name);
            return Err(error);
        }
        self.active = Some(Active {
            sequence,
            file,
            path: self.disk.path_of(&name),
            end: HEADER_BYTES,
            prepared_to: HEADER_BYTES,
        });
        for empty in std::mem::take(&mut self.empty) {
            self.remove_quietly(&empty.file_name());
        }
        Ok(())
    }

    /// A segment with records gets no more of them.
    fn finish(&mut self, active: &Active) {
        self.previous = Some(active.end_place());
        self.before = active.sequence;
    }

    fn begin(&self, file: &dyn DiskFile, sequence: Sequence) -> io::Result<()> {
        let header = SegmentHeader {
            sequence,
            previous: self.previous,
            before: self.before,
            created_at: self.clock.now(),
        };
        file.write_at(&header.encode(), 0)?;
        file.sync_data()?;
        self.disk.sync_dir()?;
        failpoint::hit("log.segment.after_roll")
    }

    /// Writes for good where this segment ends, so that the next start takes nothing missing
    /// from it for a torn write.
    pub(super) fn seal(&mut self) {
        let has_records = self.active.as_ref().is_some_and(|a| !a.is_empty());
        if has_records && let Err(error) = self.roll() {
            tracing::warn!(event = "vote_log_not_sealed", %error);
        }
        self.active = None;
    }

    /// After a failed write: forgets what may have been written of it.
    fn cut_back(&mut self) {
        let Some(active) = self.active.as_mut() else {
            return;
        };
        active.prepared_to = active.end;
        let cut = active
            .file
            .truncate(u64::from(active.end))
            .and_then(|()| active.file.sync_data());
        if cut.is_err() {
            self.abandon();
        }
    }

    /// After a failed sync: writes nothing more to this segment. Cutting it is a courtesy to
    /// whoever looks at it; the next segment's header says where it ends.
    fn abandon(&mut self) {
        let Some(active) = self.active.take() else {
            return;
        };
        tracing::warn!(event = "vote_log_segment_abandoned", segment = %active.path, end = active.end);
        if active.is_empty() {
            self.empty.push(active.sequence);
        } else {
            self.finish(&active);
        }
        if let Err(error) = active.file.truncate(u64::from(active.end)) {
            tracing::warn!(event = "vote_log_segment_not_cut", segment = %active.path, %error);
        }
    }

    /// Removes a segment without records. If that fails, the next start does it.
    fn remove_quietly(&self, name: &str) {
        if let Err(error) = self.disk.remove(name) {
            let segment = self.disk.path_of(name);
            tracing::warn!(event = "vote_log_segment_not_removed", %segment, %error);
        }
    }

    /// Says once that appends fail and once that they work again, not at every one.
    fn note_health(&mut self, error: Option<&AppendError>) {
        match (self.health, error) {
            (Health::Good, Some(error)) => {
                self.health = Health::Failing;
                tracing::error!(event = "vote_log_append_failed", %error);
            }
            (Health::Failing, None) => {
                self.health = Health::Good;
                tracing::info!(event = "vote_log_append_recovered");
            }
            (Health::Good, None) | (Health::Failing, Some(_)) => {}
        }
    }
}

fn unavailable(what: &str, why: &dyn std::fmt::Display) -> AppendError {
    AppendError::Unavailable(format!("{what}: {why}"))
}

/// Puts the record, and zeros behind it where none are prepared, into `buffer`.
fn fill(
    buffer: &mut Vec<u8>,
    active: &Active,
    header: &RecordHeader,
    batch: &EncodedBatch,
    options: EmbeddedOptions,
) {
    buffer.clear();
    header.encode_into(buffer, active.end_place());
    buffer.extend_from_slice(batch.bytes());
    let end = active.end.saturating_add(header.record_bytes());
    if end > active.prepared_to {
        let room = options.segment_bytes.get().saturating_sub(end);
        let zeros = room.min(PREPARED_BYTES) as usize;
        buffer.resize(buffer.len() + zeros, 0);
    }
}

fn write(active: &Active, bytes: &[u8], delay: Duration) -> Result<(), (Step, io::Error)> {
    let writing = |error| (Step::Write, error);
    let syncing = |error| (Step::Sync, error);
    failpoint::hit("log.append.before_write").map_err(writing)?;
    let offset = u64::from(active.end);
    active.file.write_at(bytes, offset).map_err(writing)?;
    failpoint::hit("log.append.after_write").map_err(writing)?;
    wait(delay);
    failpoint::hit("log.append.before_sync").map_err(syncing)?;
    active.file.sync_data().map_err(syncing)?;
    failpoint::hit("log.append.after_sync").map_err(syncing)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a slow disk keeps its thread waiting too, and the log's contract is that whoever appends has one to spare"
)]
fn wait(delay: Duration) {
    if !delay.is_zero() {
        std::thread::sleep(delay);
    }
}

/// Moves the durable end behind a record that was synced.
fn advance(active: &mut Active, header: &RecordHeader, written: usize) -> Appended {
    let start = active.end;
    let written_to = u32::try_from(written).map_or(start, |written| start.saturating_add(written));
    active.end = start.saturating_add(header.record_bytes());
    active.prepared_to = active.prepared_to.max(written_to);
    Appended {
        sequence: active.sequence,
        stretch: Stretch::new(start, active.end, Some(&header.envelope)),
        envelope: header.envelope,
    }
}
