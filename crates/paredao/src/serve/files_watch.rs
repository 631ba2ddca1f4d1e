//! Watches over the files while they are served.

use std::sync::Arc;
use std::time::Duration;

use paredao_store::EmbeddedStore;
use paredao_telemetry::health::{Component, Health};
use paredao_vote_log::EmbeddedLog;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::files::Files;

/// How long the store may not know that the log has begun another file: if the file went within
/// that time, or while the store is away, it would not be missed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Tells the process when the store has died, and the store which files the log has.
pub(super) struct FilesWatch {
    store: Arc<EmbeddedStore>,
    log: Arc<EmbeddedLog>,
    component: Component,
    /// The newest file that the store knows of.
    noted: u64,
    /// Whether the last note failed: only the change is worth a line.
    is_failing: bool,
}

impl FilesWatch {
    /// Registers the store as a part of the process.
    pub(super) fn new(files: &Files, health: &Health) -> Self {
        let component = health.register("store");
        component.ready();
        Self {
            store: Arc::clone(&files.store),
            log: Arc::clone(&files.log),
            component,
            noted: 0,
            is_failing: false,
        }
    }

    /// Watches until `stop`, or until the store is dead: then its component is dropped, which ends
    /// the process.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let store = Arc::clone(&self.store);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = store.died() => break,
                _ = ticks.tick() => self.note_newest_segment().await,
            }
        }
        drop(self.component);
    }

    async fn note_newest_segment(&mut self) {
        let newest = self.log.newest_segment().unwrap_or(0);
        if newest <= self.noted {
            return;
        }
        match self.store.note_newest_segment(newest).await {
            Ok(()) => {
                self.noted = newest;
                self.is_failing = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(event = "log_segment_not_noted", newest, %error);
                }
            }
        }
    }
}
