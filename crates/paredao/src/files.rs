//! The files of the embedded backends, opened together under the lock of their folder.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use paredao_domain::{Clock, UnixMillis};
use paredao_store::{EmbeddedOptions as StoreOptions, EmbeddedStore, StoreError};
use paredao_vote_log::disk::RealDisk;
use paredao_vote_log::{
    EmbeddedLog, EmbeddedOptions as LogOptions, FirstSegment, FoundSegments, KnownSegments,
    LogError, SegmentBytes, SegmentRegister,
};
use rustix::fs::Mode;
use rustix::process::umask;

use crate::config::Config;
use crate::data_folder::{Absent, DataFolder};
use crate::failure::Misuse;

/// Log and store, open.
pub(crate) struct Files {
    // Dropped in this order: the lock goes when nothing is open any more.
    /// The vote log.
    pub(crate) log: Arc<EmbeddedLog>,
    /// The store.
    pub(crate) store: Arc<EmbeddedStore>,
    folder: DataFolder,
}

impl Files {
    /// Takes the data folder and opens what is in it. Blocks while the disk works.
    pub(crate) fn open(
        config: &Config,
        absent: Absent,
        first_segment: FirstSegment,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        // Whatever is made from here on is its owner's alone.
        umask(Mode::RWXG | Mode::RWXO);
        let folder = DataFolder::open(&config.data_dir, absent)?;
        let store =
            EmbeddedStore::open(&folder.store(), StoreOptions::default()).map_err(store_failure)?;
        let store = Arc::new(store);
        folder.mark_as_made()?;
        let disk = RealDisk::open(folder.log()).map_err(log_failure)?;
        let options = LogOptions {
            segment_bytes: SegmentBytes::new(config.segment_bytes).unwrap_or_default(),
            append_delay: config.append_delay,
            first_segment,
        };
        let register = Arc::new(Register(Arc::clone(&store)));
        let log = EmbeddedLog::open_registered(Arc::new(disk), clock, options, register);
        Ok(Self {
            log: Arc::new(log.map_err(log_failure)?),
            store,
            folder,
        })
    }

    /// Tells the store which files the log misses, and which are there again. Comes before
    /// anything is served.
    pub(crate) async fn note_lost_segments(&self, now: UnixMillis) -> anyhow::Result<()> {
        let FoundSegments { there, lost } = self.log.found().clone();
        let is_complete = lost.is_empty();
        let noted = self.store.note_lost_segments(lost, there, now);
        match noted.await {
            // A full disk, perhaps. What is there again is noted at the next start.
            Err(error) if is_complete && error.may_pass() => {
                tracing::warn!(event = "log_segments_not_noted", %error);
                Ok(())
            }
            noted => noted.map_err(store_failure),
        }
    }

    /// Tells the store of the log's newest file: if it went before, it would not be missed.
    pub(crate) async fn note_newest_segment(&self) -> Result<(), StoreError> {
        match self.log.newest_segment() {
            Some(newest) => self.store.note_newest_segment(newest).await,
            None => Ok(()),
        }
    }

    /// The store's file, for recounts.
    pub(crate) fn store_file(&self) -> PathBuf {
        self.folder.store()
    }

    /// Where a recount may put what does not fit in memory.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.scratch()
    }

    /// Closes everything in good order. Blocks while the disk works.
    pub(crate) fn close(self) {
        self.log.close();
    }
}

/// The store keeps what is known of the log's files.
struct Register(Arc<EmbeddedStore>);

#[async_trait]
impl SegmentRegister for Register {
    fn known(&self) -> KnownSegments {
        let known = self.0.log_segments();
        KnownSegments {
            released: known.released,
            newest: known.newest,
        }
    }

    async fn note_released(&self, up_to: u64) -> io::Result<()> {
        let noted = self.0.note_released_segments(up_to).await;
        noted.map_err(io::Error::other)
    }
}

fn store_failure(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::Newer { .. } => Misuse::of("data_dir", error).into(),
        other => anyhow::Error::new(other).context("opening the store"),
    }
}

fn log_failure(error: LogError) -> anyhow::Error {
    match error {
        LogError::Newer { .. } => Misuse::of("data_dir", error).into(),
        other => anyhow::Error::new(other).context("opening the vote log"),
    }
}
