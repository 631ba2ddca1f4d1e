//! A disk that is full or refuses.

use std::sync::Arc;
use std::time::Duration;

use paredao_telemetry::failpoint;
use paredao_vote_log::conformance::{StoppedClock, at_once};
use paredao_vote_log::disk::simulated::{ForgettingDisk, Operation};
use paredao_vote_log::{AppendError, EmbeddedLog, EmbeddedOptions, VoteLog};

use crate::log_on_disk::{append, append_all, batch, batches, files, numbers, open, status};

/// The numbers, each once: a batch whose outcome was unknown may be there twice.
fn distinct(log: &EmbeddedLog) -> Vec<u64> {
    let mut numbers = numbers(log);
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn assert_unavailable(log: &EmbeddedLog, number: u64) {
    let answer = append(log, &batch(number));
    assert!(
        matches!(answer, Err(AppendError::Unavailable(_))),
        "{answer:?}"
    );
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    for capacity in (2_000..12_000).step_by(97) {
        let disk = ForgettingDisk::new(capacity);
        let log = open(&disk);
        disk.set_capacity(Some(capacity));
        let taken = (1..100)
            .find(|n| append(&log, &batch(*n)).is_err())
            .unwrap();
        for _ in 0..50 {
            assert_unavailable(&log, taken);
        }
        assert_eq!(numbers(&log), (1..taken).collect::<Vec<_>>());
        assert!(files(&disk).len() <= 4, "no litter: {:?}", files(&disk));
        disk.set_capacity(None);
        append_all(&log, &batches(taken..taken + 5));
        drop(log);
        disk.lose_power();
        assert_eq!(numbers(&open(&disk)), (1..taken + 5).collect::<Vec<_>>());
    }
}

#[test]
fn a_log_on_a_full_disk_opens_and_can_be_emptied() {
    let disk = ForgettingDisk::new(0);
    append_all(&open(&disk), &batches(1..=30));
    disk.set_capacity(Some(0));
    let log = open(&disk);
    assert_unavailable(&log, 31);
    assert_eq!(numbers(&log), (1..=30).collect::<Vec<_>>());
    disk.set_capacity(None);
    append(&log, &batch(31)).unwrap();
    assert_eq!(numbers(&log), (1..=31).collect::<Vec<_>>());
}

#[test]
fn after_a_failed_sync_the_file_is_not_trusted_again() {
    for seed in 0..100 {
        let disk = ForgettingDisk::new(seed);
        let log = open(&disk);
        append_all(&log, &batches(1..=2));
        disk.fail_next(Operation::Sync, 1);
        assert_unavailable(&log, 3);
        append_all(&log, &batches(3..=4));
        assert_eq!(files(&disk).len(), 2, "the retry is in a file of its own");
        assert_eq!(numbers(&log), [1, 2, 3, 4]);
        drop(log);
        disk.lose_power();
        assert_eq!(numbers(&open(&disk)), [1, 2, 3, 4]);
    }
}

#[test]
fn whatever_fails_once_the_retry_succeeds() {
    let operations = [
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::Truncate,
        Operation::Remove,
        Operation::SyncDir,
    ];
    for first in operations {
        for second in operations {
            let disk = ForgettingDisk::new(7);
            let log = open(&disk);
            let refused = (1..=40).filter(|number| {
                disk.fail_next(first, u32::from(number % 3 == 0));
                disk.fail_next(second, u32::from(number % 5 == 0));
                (0..10)
                    .filter(|_| append(&log, &batch(*number)).is_err())
                    .count()
                    == 10
            });
            assert_eq!(refused.count(), 0, "{first:?}, {second:?}");
            disk.fail_no_more();
            assert_eq!(distinct(&log), (1..=40).collect::<Vec<_>>());
            drop(log);
            disk.lose_power();
            assert_eq!(distinct(&open(&disk)), (1..=40).collect::<Vec<_>>());
        }
    }
}

#[test]
fn every_failure_point_is_passed_and_survived() {
    let points = [
        "log.append.before_write",
        "log.append.after_write",
        "log.append.before_sync",
        "log.append.after_sync",
        "log.segment.before_roll",
        "log.segment.after_roll",
    ];
    for point in points {
        let disk = ForgettingDisk::new(3);
        let log = open(&disk);
        let armed = failpoint::arm_on_this_thread(&format!("{point}=error@2")).unwrap();
        let refused: Vec<u64> = (1..=60)
            .filter(|number| append(&log, &batch(*number)).is_err())
            .collect();
        drop(armed);
        assert_eq!(refused.len(), 1, "{point}");
        append(&log, &batch(refused[0])).unwrap();
        drop(log);
        disk.lose_power();
        assert_eq!(
            distinct(&open(&disk)),
            (1..=60).collect::<Vec<_>>(),
            "{point}"
        );
    }
}

#[test]
fn a_release_that_fails_can_be_asked_for_again() {
    for point in ["log.segment.before_delete", "log.segment.after_delete"] {
        let disk = ForgettingDisk::new(3);
        let log = open(&disk);
        append_all(&log, &batches(1..=30));
        let mut subscription = crate::log_on_disk::subscribe(&log);
        let taken = crate::log_on_disk::take_all(&mut *subscription);
        let tags: Vec<_> = taken.iter().map(|delivery| delivery.tag).collect();
        at_once(subscription.ack(&tags)).unwrap().unwrap();
        let armed = failpoint::arm_on_this_thread(&format!("{point}=error@1")).unwrap();
        assert!(at_once(subscription.release()).unwrap().is_err(), "{point}");
        drop(armed);
        at_once(subscription.release()).unwrap().unwrap();
        assert_eq!(files(&disk).len(), 1, "only the active one is left");
    }
}

#[test]
fn an_append_can_be_slowed_down_for_rehearsals() {
    let delay = Duration::from_millis(20);
    let options = EmbeddedOptions {
        append_delay: delay,
        ..EmbeddedOptions::default()
    };
    let disk = Arc::new(ForgettingDisk::new(0));
    let log = EmbeddedLog::open(disk, Arc::new(StoppedClock), options).unwrap();
    let begun = std::time::Instant::now();
    append_all(&log, &batches(1..=3));
    assert!(begun.elapsed() >= delay * 3);
}

#[test]
fn other_lanes_are_refused() {
    let log = open(&ForgettingDisk::new(0));
    let lane = paredao_domain::Lane(1);
    assert!(at_once(log.subscribe(lane)).unwrap().is_err());
    assert!(at_once(log.status(lane)).unwrap().is_err());
    assert_eq!(status(&log).batches, 0);
}
