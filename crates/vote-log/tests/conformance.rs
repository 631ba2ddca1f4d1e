//! The embedded log passes the suite, on a real disk and on the simulated one.

#![expect(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

use std::sync::Arc;

use async_trait::async_trait;
use paredao_vote_log::conformance::{self, Backend, StoppedClock};
use paredao_vote_log::disk::simulated::ForgettingDisk;
use paredao_vote_log::disk::{Disk, RealDisk};
use paredao_vote_log::{EmbeddedLog, EmbeddedOptions, SegmentBytes, VoteLog};

/// Segments so small that every test fills several.
fn options() -> EmbeddedOptions {
    EmbeddedOptions {
        segment_bytes: SegmentBytes::new(SegmentBytes::MIN).unwrap(),
        ..EmbeddedOptions::default()
    }
}

fn open(disk: Arc<dyn Disk>) -> Arc<dyn VoteLog> {
    Arc::new(EmbeddedLog::open(disk, Arc::new(StoppedClock), options()).unwrap())
}

struct OnRealDisk(tempfile::TempDir);

#[async_trait]
impl Backend for OnRealDisk {
    async fn open(&self) -> Arc<dyn VoteLog> {
        open(Arc::new(RealDisk::open(self.0.path().join("log")).unwrap()))
    }

    async fn restart(&self, log: Arc<dyn VoteLog>) -> Arc<dyn VoteLog> {
        drop(log);
        self.open().await
    }
}

struct OnSimulatedDisk(ForgettingDisk);

#[async_trait]
impl Backend for OnSimulatedDisk {
    async fn open(&self) -> Arc<dyn VoteLog> {
        open(Arc::new(self.0.clone()))
    }

    /// Here the whole machine restarts.
    async fn restart(&self, log: Arc<dyn VoteLog>) -> Arc<dyn VoteLog> {
        drop(log);
        self.0.lose_power();
        self.open().await
    }
}

macro_rules! suite {
    ($($test:ident,)*) => {
        mod on_a_real_disk {
            use super::*;
            $(#[tokio::test]
            async fn $test() {
                conformance::$test(&OnRealDisk(tempfile::tempdir().unwrap())).await;
            })*
        }

        mod on_a_disk_that_forgets {
            use super::*;
            $(#[tokio::test]
            async fn $test() {
                for seed in 0..10 {
                    conformance::$test(&OnSimulatedDisk(ForgettingDisk::new(seed))).await;
                }
            })*
        }
    };
}

suite! {
    an_appended_batch_is_delivered_with_its_envelope,
    markers_and_the_largest_batch_are_delivered,
    a_waiting_consumer_gets_what_is_appended,
    many_may_append_at_once,
    at_most_the_votes_asked_for_come_at_once,
    cancelling_the_wait_loses_nothing,
    what_was_confirmed_before_a_barrier_comes_before_it,
    a_dropped_subscription_gives_back_what_it_held,
    only_what_was_not_acknowledged_comes_again,
    a_later_subscription_takes_the_lane_over,
    a_waiting_consumer_is_told_that_it_lost_the_lane,
    what_was_appended_survives_a_restart,
    a_release_keeps_what_was_not_acknowledged,
    a_batch_appended_twice_is_delivered,
    the_status_tells_what_waits,
}
