//! The embedded log: append-only segment files of our own.
//!
//! One file after the other takes records (a batch in a frame with checksums, see `format`),
//! each synced before it is confirmed; a subscription reads them back from the files, never
//! further than what was synced. Acknowledgements are kept in memory: at the next start
//! everything that is retained is delivered again. Files go when all their records are
//! acknowledged and the consumer released them.
//!
//! What a message to the operator names: `vote_log_damaged` a record that could not be read and
//! was delivered as found, `vote_log_torn_tail_cut` the end of a write that was never confirmed,
//! `vote_log_release_not_noted` files that stay because their release could not be kept elsewhere.

mod format;
mod index;
mod place;
mod reader;
mod recovery;
mod register;
mod segment;
mod subscription;
mod tail;
mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use paredao_domain::{Clock, EncodedBatch, Lane};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::disk::Disk;
use crate::{AppendError, LogError, LogStatus, Subscription, VoteLog};
use index::Index;
use place::Sequence;
use recovery::recover;
use register::lost_segments;
pub use register::{FoundSegments, KnownSegments, SegmentRegister};
use subscription::EmbeddedSubscription;
use writer::Writer;

/// The one lane of this backend.
const LANE: Lane = Lane(0);

/// How large a segment file may become, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentBytes(u32);

impl SegmentBytes {
    /// Smallest there may be: below it the headers would outweigh the votes.
    pub const MIN: u64 = 4 * 1024;
    /// Largest there may be: a segment goes only as a whole.
    pub const MAX: u64 = 1024 * 1024 * 1024;

    /// A size from [`Self::MIN`] to [`Self::MAX`]; nothing for others. A batch that is larger
    /// gets a segment of its own.
    pub fn new(bytes: u64) -> Option<Self> {
        let bytes = Some(bytes).filter(|bytes| (Self::MIN..=Self::MAX).contains(bytes))?;
        u32::try_from(bytes).ok().map(Self)
    }

    /// The size.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for SegmentBytes {
    fn default() -> Self {
        Self(64 * 1024 * 1024)
    }
}

/// What can be chosen about an embedded log.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbeddedOptions {
    /// When the next segment file is begun.
    pub segment_bytes: SegmentBytes,
    /// Waited before every sync, to rehearse what a slow disk does; normally zero.
    pub append_delay: Duration,
    /// When the first segment of this life is begun.
    pub first_segment: FirstSegment,
}

/// When the first segment of an open log is begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstSegment {
    /// As it is opened: a folder that cannot be written shows then.
    #[default]
    AtOnce,
    /// With the first append: who only looks leaves nothing behind.
    WhenAppended,
}

/// What the log shares with its subscriptions.
struct Shared {
    disk: Arc<dyn Disk>,
    index: Mutex<Index>,
    /// Told whenever a waiting subscription should look again.
    changes: watch::Sender<()>,
    register: Option<Arc<dyn SegmentRegister>>,
}

impl Shared {
    fn wake(&self) {
        self.changes.send_replace(());
    }

    fn close(&self) {
        self.index.lock().close();
        self.wake();
    }
}

enum State {
    Open(Writer),
    Closed,
}

/// A vote log in the files of one folder, which nobody else may open at the same time.
pub struct EmbeddedLog {
    found: FoundSegments,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

impl EmbeddedLog {
    /// Opens the log that `disk` holds, or begins it. Reads everything that is retained, which
    /// takes about a second per gigabyte, and cuts off the end of a write that was not
    /// confirmed. A full disk does not keep it from opening.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: EmbeddedOptions,
    ) -> Result<Self, LogError> {
        Self::open_known(disk, clock, options, None)
    }

    /// Opens a log whose segments are known elsewhere too, so that it notices which are gone:
    /// [`Self::found`].
    pub fn open_registered(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: EmbeddedOptions,
        register: Arc<dyn SegmentRegister>,
    ) -> Result<Self, LogError> {
        Self::open_known(disk, clock, options, Some(register))
    }

    fn open_known(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: EmbeddedOptions,
        register: Option<Arc<dyn SegmentRegister>>,
    ) -> Result<Self, LogError> {
        let recovered = recover(&disk)?;
        let known = register.as_ref().map(|register| register.known());
        let lost = known.map_or_else(Vec::new, |known| lost_segments(&recovered.there, known));
        let gone = Sequence::kept(known.map_or(0, |known| {
            let last_lost = lost.last().map_or(0, |range| *range.end());
            known.released.max(last_lost)
        }));
        // What holds nothing and had a header once is evidence, not rubbish.
        let is_lost =
            |sequence: &Sequence| lost.iter().any(|range| range.contains(&sequence.get()));
        let mut writer = Writer::new(
            Arc::clone(&disk),
            clock,
            options,
            &recovered,
            gone,
            |sequence| !is_lost(sequence),
        );
        if options.first_segment == FirstSegment::AtOnce {
            begin_first_segment(&mut writer, &*disk)?;
        }
        let newest = writer.active().or(recovered.newest_begun());
        let there = recovered.there.iter();
        let there = there.map(|(sequence, before)| before.get() + 1..=sequence.get());
        Ok(Self {
            found: FoundSegments {
                there: there.collect(),
                lost,
            },
            shared: Arc::new(Shared {
                disk,
                index: Mutex::new(Index::new(recovered.segments, newest)),
                changes: watch::Sender::new(()),
                register,
            }),
            state: Mutex::new(State::Open(writer)),
        })
    }

    /// Which segments were there when it was opened, and which were gone.
    pub fn found(&self) -> &FoundSegments {
        &self.found
    }

    /// The highest number of a segment, if there is one. It only rises, also over restarts.
    pub fn newest_segment(&self) -> Option<u64> {
        self.shared.index.lock().newest()
    }

    /// Closes it in good order: appends and subscriptions get `Closed` from now on. A log that is
    /// only dropped loses nothing either, but cannot tell a file that was cut off later from a
    /// write that was never finished.
    pub fn close(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Closed);
        if let State::Open(mut writer) = state {
            writer.seal();
        }
        self.shared.close();
    }
}

/// Where a folder that cannot be written shows.
fn begin_first_segment(writer: &mut Writer, disk: &dyn Disk) -> Result<(), LogError> {
    match writer.roll() {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            tracing::error!(event = "vote_log_disk_full", folder = %disk.path_of(""));
            Ok(())
        }
        Err(source) => Err(LogError::Io {
            context: format!("cannot write to {}", disk.path_of("")),
            source,
        }),
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.shared.close();
    }
}

fn check_lane(lane: Lane) -> Result<(), LogError> {
    if lane == LANE {
        return Ok(());
    }
    Err(LogError::Io {
        context: format!("the embedded vote log has no lane {lane}"),
        source: io::ErrorKind::NotFound.into(),
    })
}

#[async_trait]
impl VoteLog for EmbeddedLog {
    async fn append(&self, batch: &EncodedBatch) -> Result<(), AppendError> {
        check_lane(batch.id().lane).map_err(|e| AppendError::Unavailable(e.to_string()))?;
        let mut state = self.state.lock();
        let State::Open(writer) = &mut *state else {
            return Err(AppendError::Closed);
        };
        let appended = writer.append(batch)?;
        self.shared
            .index
            .lock()
            .appended(appended.sequence, &appended.stretch, &appended.envelope);
        drop(state);
        self.shared.wake();
        Ok(())
    }

    async fn subscribe(&self, lane: Lane) -> Result<Box<dyn Subscription>, LogError> {
        check_lane(lane)?;
        let subscription = EmbeddedSubscription::new(Arc::clone(&self.shared))?;
        Ok(Box::new(subscription))
    }

    async fn status(&self, lane: Lane) -> Result<LogStatus, LogError> {
        check_lane(lane)?;
        Ok(self.shared.index.lock().status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_has_a_sensible_size() {
        assert_eq!(SegmentBytes::default().get(), 67_108_864);
        for (bytes, fits) in [
            (0, false),
            (4095, false),
            (4096, true),
            (1 << 30, true),
            ((1 << 30) + 1, false),
            (u64::MAX, false),
        ] {
            assert_eq!(SegmentBytes::new(bytes).is_some(), fits, "{bytes}");
        }
    }
}
