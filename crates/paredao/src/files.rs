//! The files of the embedded backends, opened together under the lock of their folder.

use std::path::PathBuf;
use std::sync::Arc;

use paredao_domain::{Clock, UnixMillis};
use paredao_store::{EmbeddedOptions as StoreOptions, EmbeddedStore, StoreError};
use paredao_vote_log::disk::RealDisk;
use paredao_vote_log::{
    EmbeddedLog, EmbeddedOptions as LogOptions, LogError, SegmentBytes, VoteLog as _,
};

use rustix::fs::Mode;
use rustix::process::umask;

use crate::config::Config;
use crate::data_folder::{Absent, DataFolder};
use crate::failure::Misuse;
use crate::office::LANE;

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
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        // Whatever is made from here on is its owner's alone.
        umask(Mode::RWXG | Mode::RWXO);
        let folder = DataFolder::open(&config.data_dir, absent)?;
        let store =
            EmbeddedStore::open(&folder.store(), StoreOptions::default()).map_err(store_failure)?;
        folder.mark_as_made()?;
        let disk = RealDisk::open(folder.log()).map_err(log_failure)?;
        let options = LogOptions {
            segment_bytes: SegmentBytes::new(config.segment_bytes).unwrap_or_default(),
            append_delay: config.append_delay,
            expected_sequence: store.log_segment(),
        };
        let log = EmbeddedLog::open(Arc::new(disk), clock, options).map_err(log_failure)?;
        Ok(Self {
            log: Arc::new(log),
            store: Arc::new(store),
            folder,
        })
    }

    /// Tells the store which files the log has and which are lost. Comes first after opening:
    /// the next time the log is opened, it no longer misses them.
    pub(crate) async fn note_segments(&self, now: UnixMillis) -> anyhow::Result<()> {
        let status = self.log.status(LANE).await.map_err(log_failure)?;
        let newest = status.segments.map_or(0, |segments| *segments.end());
        let is_complete = status.lost_segments.is_none();
        let noted = self
            .store
            .note_log_segment(newest, status.lost_segments, now);
        match noted.await {
            // A full disk, perhaps: it is noted when there is room again.
            Err(error) if is_complete && error.may_pass() => {
                tracing::warn!(event = "log_segment_not_noted", %error);
                Ok(())
            }
            noted => noted.map_err(store_failure),
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
