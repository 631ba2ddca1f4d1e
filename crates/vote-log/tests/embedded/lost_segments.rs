//! Files that were there once and are gone.

use std::ops::RangeInclusive;
use std::sync::Arc;

use paredao_vote_log::EmbeddedLog;
use paredao_vote_log::conformance::at_once;
use paredao_vote_log::disk::Disk as _;
use paredao_vote_log::disk::simulated::{ForgettingDisk, Operation};

use crate::log_on_disk::{
    append, append_all, batch, batches, files, numbers, open, open_expecting, status, subscribe,
    take_all,
};

fn open_after(disk: &ForgettingDisk, expected_sequence: u64) -> EmbeddedLog {
    open_expecting(Arc::new(disk.clone()), Some(expected_sequence)).unwrap()
}

fn segments(log: &EmbeddedLog) -> RangeInclusive<u64> {
    status(log).segments.unwrap()
}

fn newest(log: &EmbeddedLog) -> u64 {
    *segments(log).end()
}

/// A log of several segments, and the number of the newest.
fn with_segments(disk: &ForgettingDisk) -> u64 {
    let log = open(disk);
    append_all(&log, &batches(1..=60));
    let newest = newest(&log);
    assert_eq!(segments(&log), 1..=newest);
    assert!(newest > 4);
    newest
}

/// Takes, acknowledges and releases everything.
fn empty(log: &EmbeddedLog) {
    let mut subscription = subscribe(log);
    let tags: Vec<_> = take_all(&mut *subscription).iter().map(|d| d.tag).collect();
    at_once(subscription.ack(&tags)).unwrap().unwrap();
    at_once(subscription.release()).unwrap().unwrap();
}

#[test]
fn the_newest_segments_that_are_gone_are_named() {
    let disk = ForgettingDisk::new(0);
    let expected = with_segments(&disk);
    for sequence in [expected - 1, expected] {
        disk.remove(&format!("{sequence:010}.segment")).unwrap();
    }
    for start in 1..=3 {
        let lost = status(&open_after(&disk, expected)).lost_segments;
        assert_eq!(lost, Some(expected - 1..=expected), "at start {start}");
    }
    let log = open_after(&disk, expected);
    append(&log, &batch(99)).unwrap();
    assert_eq!(newest(&log), expected + 1, "no number is used twice");
    assert_eq!(numbers(&log).last(), Some(&99));
    drop(log);
    let log = open_after(&disk, expected);
    assert_eq!(status(&log).lost_segments, None, "it went on");
}

#[test]
fn a_log_that_is_gone_as_a_whole_is_not_taken_for_a_new_one() {
    let expected = with_segments(&ForgettingDisk::new(0));
    let log = open_after(&ForgettingDisk::new(1), expected);
    assert_eq!(status(&log).lost_segments, Some(1..=expected));
    assert_eq!(status(&log).segments, None);
    append(&log, &batch(99)).unwrap();
    assert_eq!(segments(&log), expected + 1..=expected + 1);
}

#[test]
fn a_log_that_was_emptied_in_good_order_has_lost_nothing() {
    let disk = ForgettingDisk::new(0);
    let mut expected = with_segments(&disk);
    for _ in 0..3 {
        let log = open_after(&disk, expected);
        assert_eq!(status(&log).lost_segments, None);
        empty(&log);
        expected = newest(&log);
        assert_eq!(segments(&log), expected..=expected);
        log.close();
        drop(log);
        disk.lose_power();
    }
}

/// On a full disk no new segment can be begun, and the newest old one keeps the number.
#[test]
fn a_log_that_is_emptied_on_a_full_disk_keeps_its_newest_number() {
    let disk = ForgettingDisk::new(0);
    let expected = with_segments(&disk);
    disk.set_capacity(Some(0));
    let log = open_after(&disk, expected);
    empty(&log);
    assert_eq!(files(&disk), [format!("{expected:010}.segment")]);
    assert_eq!(segments(&log), expected..=expected);
    drop(log);
    disk.set_capacity(None);
    let log = open_after(&disk, expected);
    assert_eq!(status(&log).lost_segments, None);
    empty(&log);
    assert_eq!(segments(&log), expected + 1..=expected + 1);
}

/// A segment whose first record could not be synced is not used again, but its number is not
/// forgotten either.
#[test]
fn an_abandoned_segment_without_records_keeps_the_newest_number() {
    let disk = ForgettingDisk::new(0);
    let log = open(&disk);
    let expected = newest(&log);
    disk.fail_next(Operation::Sync, 1);
    append(&log, &batch(1)).unwrap_err();
    drop(log);
    assert_eq!(status(&open_after(&disk, expected)).lost_segments, None);
    assert_eq!(files(&disk).len(), 1, "and goes when there is a newer one");
}

#[test]
fn the_last_number_there_is_leaves_none_to_go_on_with() {
    let disk = Arc::new(ForgettingDisk::new(0));
    for expected in [u64::from(u32::MAX), u64::MAX] {
        let log = open_expecting(disk.clone(), Some(expected)).unwrap();
        assert_eq!(status(&log).lost_segments, Some(1..=u64::from(u32::MAX)));
        append(&log, &batch(1)).unwrap_err();
    }
}
