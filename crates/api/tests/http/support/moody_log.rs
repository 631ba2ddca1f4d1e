//! A vote log whose status cannot be read when a test says so, in front of the real one.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use paredao_domain::{EncodedBatch, Lane};
use paredao_vote_log::{AppendError, EmbeddedLog, LogError, LogStatus, Subscription, VoteLog};

/// The real log, as every room sees it.
pub(crate) struct MoodyLog {
    log: EmbeddedLog,
    is_silent: AtomicBool,
}

impl MoodyLog {
    pub(crate) fn new(log: EmbeddedLog) -> Self {
        Self {
            log,
            is_silent: AtomicBool::new(false),
        }
    }

    /// Takes votes and hands them out, but says nothing of itself.
    pub(crate) fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }

    pub(crate) fn speak_again(&self) {
        self.is_silent.store(false, Ordering::Relaxed);
    }
}

#[async_trait]
impl VoteLog for MoodyLog {
    async fn append(&self, batch: &EncodedBatch) -> Result<(), AppendError> {
        self.log.append(batch).await
    }

    async fn subscribe(&self, lane: Lane) -> Result<Box<dyn Subscription>, LogError> {
        self.log.subscribe(lane).await
    }

    async fn status(&self, lane: Lane) -> Result<LogStatus, LogError> {
        if self.is_silent.load(Ordering::Relaxed) {
            return Err(LogError::Io {
                context: "the test says so".to_owned(),
                source: io::ErrorKind::TimedOut.into(),
            });
        }
        self.log.status(lane).await
    }
}
