//! Bytes that changed, went missing or cannot be read.

use std::ops::Range;
use std::sync::Arc;

use paredao_vote_log::Delivery;
use paredao_vote_log::disk::simulated::{ForgettingDisk, Operation};
use proptest::prelude::*;

use crate::log_on_disk::{
    append, batch, batches, deliveries, numbers, open, open_on, sort, status,
};

const SEGMENT: &str = "0000000001.segment";
const HEADER: usize = 64;
const COUNT: u64 = 5;

/// How the log that is damaged was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Closed in good order: the next segment says where this one ends.
    Closed,
    /// By a process that was killed: nothing says where it ends.
    Killed,
}

/// A log of a few records in one segment.
struct Sample {
    files: Vec<(String, Vec<u8>)>,
    segment: Vec<u8>,
    /// Where each record stands.
    records: Vec<Range<usize>>,
}

impl Sample {
    fn new(left: Left) -> Self {
        let disk = ForgettingDisk::new(0);
        let log = open(&disk);
        crate::log_on_disk::append_all(&log, &batches(1..=COUNT));
        if left == Left::Closed {
            log.close();
        }
        drop(log);
        let names = crate::log_on_disk::files(&disk);
        let mut at = HEADER;
        let records = (1..=COUNT).map(|number| {
            let start = at;
            at += HEADER + batch(number).bytes().len();
            start..at
        });
        Self {
            records: records.collect(),
            segment: disk.contents(SEGMENT).unwrap(),
            files: names
                .into_iter()
                .map(|name| (name.clone(), disk.contents(&name).unwrap()))
                .collect(),
        }
    }

    /// What is delivered when the segment holds these bytes instead.
    fn deliveries_with(&self, segment: &[u8]) -> (Vec<u64>, Vec<Delivery>) {
        let disk = ForgettingDisk::new(0);
        for (name, contents) in &self.files {
            disk.replace(name, contents);
        }
        disk.replace(SEGMENT, segment);
        let log = open(&disk);
        let damaged_at_open = status(&log).damaged;
        let found = deliveries(&log);
        assert_eq!(status(&log).batches, found.len() as u64);
        append(&log, &batch(99)).expect("the log goes on");
        let (whole, damaged) = sort(deliveries(&log));
        assert_eq!(whole.last(), Some(&99));
        assert_eq!(whole.len() + damaged.len(), found.len() + 1);
        let each_once = damaged.len() as u64;
        assert_eq!(
            (damaged_at_open, status(&log).damaged),
            (each_once, each_once),
            "counted when the log is opened, and not again by who reads"
        );
        sort(found)
    }

    fn end(&self) -> usize {
        self.records.last().unwrap().end
    }
}

#[test]
fn a_flipped_byte_costs_the_record_it_is_in_and_no_other() {
    for left in [Left::Closed, Left::Killed] {
        let sample = Sample::new(left);
        for at in 0..sample.end() + 200 {
            for flip in [0x01, 0x80, 0xff] {
                let mut segment = sample.segment.clone();
                segment[at] ^= flip;
                let (whole, damaged) = sample.deliveries_with(&segment);
                let hit = sample.records.iter().position(|r| r.contains(&at));
                let others = (1..=COUNT).filter(|n| hit.is_none_or(|hit| *n != hit as u64 + 1));
                assert_eq!(whole, others.collect::<Vec<_>>(), "{left:?}, byte {at}");
                assert_eq!(damaged.len(), usize::from(hit.is_some()), "byte {at}");
                if let Some(hit) = hit {
                    check_set_aside(&damaged[0], &segment, &sample.records[hit], at);
                }
            }
        }
    }
}

/// A damaged body comes with its envelope, a damaged header with everything as it was found.
fn check_set_aside(delivery: &Delivery, segment: &[u8], record: &Range<usize>, at: usize) {
    let in_header = at < record.start + HEADER;
    assert_eq!(delivery.envelope.is_none(), in_header, "byte {at}");
    let start = if in_header {
        record.start
    } else {
        record.start + HEADER
    };
    assert_eq!(delivery.body[..], segment[start..record.end], "byte {at}");
}

#[test]
fn a_write_that_was_cut_off_anywhere_is_forgotten() {
    let sample = Sample::new(Left::Killed);
    for length in 0..sample.segment.len().min(sample.end() + 200) {
        let (whole, damaged) = sample.deliveries_with(&sample.segment[..length]);
        let complete = sample.records.iter().filter(|r| r.end <= length).count() as u64;
        assert_eq!(whole, (1..=complete).collect::<Vec<_>>(), "{length} bytes");
        assert!(damaged.is_empty(), "{length} bytes: {damaged:?}");
    }
}

#[test]
fn what_is_cut_off_a_closed_log_is_named() {
    let sample = Sample::new(Left::Closed);
    for length in 0..sample.end() {
        let (whole, damaged) = sample.deliveries_with(&sample.segment[..length]);
        let complete = sample.records.iter().filter(|r| r.end <= length).count() as u64;
        assert_eq!(whole, (1..=complete).collect::<Vec<_>>(), "{length} bytes");
        assert!(!damaged.is_empty(), "{length} bytes");
    }
}

/// Three records so large that each has a segment of its own, one of them with a bad sector.
fn check_that_a_bad_sector_costs_one_of_three(left: Left, spoiled: usize) {
    let disk = ForgettingDisk::new(0);
    let log = open(&disk);
    let votes = |number| {
        paredao_vote_log::conformance::sample_batch(crate::log_on_disk::WHO, number, 30_000)
    };
    let all: Vec<_> = (1..=3).map(votes).collect();
    crate::log_on_disk::append_all(&log, &all);
    if left == Left::Closed {
        log.close();
    }
    drop(log);
    let segment = format!("{:010}.segment", spoiled + 1);
    disk.spoil(&segment, 200_000).unwrap();
    // A start that dies before the next segment says where this one ends.
    disk.fail_next(Operation::Create, 1);
    assert!(open_on(Arc::new(disk.clone())).is_err());
    let mut whole = [true; 3];
    whole[spoiled] = false;
    for start in 2..=3 {
        let found = deliveries(&open(&disk));
        let bodies: Vec<bool> = found
            .iter()
            .zip(&all)
            .map(|(delivery, batch)| delivery.body == batch.bytes())
            .collect();
        assert_eq!(bodies, whole, "{left:?}, start {start}");
        assert_eq!(found[spoiled].envelope, Some((&all[spoiled]).into()));
    }
}

#[test]
fn a_sector_the_drive_cannot_read_costs_what_stands_on_it() {
    for left in [Left::Closed, Left::Killed] {
        for spoiled in 0..3 {
            check_that_a_bad_sector_costs_one_of_three(left, spoiled);
        }
    }
}

#[test]
fn records_of_which_not_even_a_header_can_be_read_are_set_aside() {
    for left in [Left::Closed, Left::Killed] {
        let sample = Sample::new(left);
        let disk = ForgettingDisk::new(0);
        for (name, contents) in &sample.files {
            disk.replace(name, contents);
        }
        disk.spoil(SEGMENT, sample.records[2].start as u64).unwrap();
        for start in 1..=2 {
            let (whole, damaged) = sort(deliveries(&open(&disk)));
            let found = (whole.len(), damaged.len());
            assert_eq!(found, (0, 1), "{left:?}, start {start}");
        }
    }
}

#[test]
fn a_foreign_file_in_the_place_of_a_segment_is_set_aside_in_bounded_pieces() {
    let mut foreign = vec![0xee; 3_500_000];
    // A hole, such as a write leaves that was not finished; but no write is so long.
    foreign[2_000_000..2_100_000].fill(0);
    let disk = ForgettingDisk::new(0);
    disk.replace(SEGMENT, &foreign);
    let log = open(&disk);
    let (whole, damaged) = sort(deliveries(&log));
    assert!(whole.is_empty());
    assert!(damaged.iter().all(|d| d.envelope.is_none()));
    assert!(damaged.iter().all(|d| d.body.len() <= 1024 * 1024));
    let set_aside: Vec<u8> = damaged.iter().flat_map(|d| d.body.clone()).collect();
    assert!(set_aside == foreign[HEADER..], "all of it");
    let status = status(&log);
    assert_eq!((status.batches, status.damaged), (4, 4));
}

#[test]
fn damage_that_comes_while_the_log_is_open_is_set_aside() {
    let disk = ForgettingDisk::new(0);
    let log = open(&disk);
    crate::log_on_disk::append_all(&log, &batches(1..=COUNT));
    let mut segment = disk.contents(SEGMENT).unwrap();
    segment[HEADER + 10] ^= 1;
    disk.replace(SEGMENT, &segment);
    assert_eq!(status(&log).damaged, 0);
    assert_eq!(deliveries(&log).len() as u64, COUNT);
    let mut subscription = crate::log_on_disk::subscribe(&log);
    let found = crate::log_on_disk::take_all(&mut *subscription);
    assert_eq!(status(&log).damaged, 1, "however often it is read");
    let tags: Vec<_> = found.iter().map(|delivery| delivery.tag).collect();
    let (whole, damaged) = sort(found);
    assert_eq!(whole, (2..=COUNT).collect::<Vec<_>>());
    assert_eq!(damaged.len(), 1);
    paredao_vote_log::conformance::at_once(subscription.ack(&tags))
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            status(&log).batches,
            status(&log).votes,
            status(&log).oldest
        ),
        (0, 0, None)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever was done to a segment: no panic, and what passes for whole was appended so.
    #[test]
    fn no_damage_makes_a_batch_up(
        left in prop_oneof![Just(Left::Closed), Just(Left::Killed)],
        edits in prop::collection::vec((0_usize..3_000, prop::collection::vec(any::<u8>(), 1..80)), 1..6),
        cut in 0_usize..6_000,
        moved in prop::option::of((0_usize..2_500, 1_usize..700)),
    ) {
        let sample = Sample::new(left);
        let mut segment = sample.segment.clone();
        if let Some((from, by)) = moved {
            let piece = segment[from..].to_vec();
            segment.truncate(from);
            segment.extend(std::iter::repeat_n(0x76, by));
            segment.extend(piece);
        }
        for (at, bytes) in edits {
            let end = (at + bytes.len()).min(segment.len());
            let at = at.min(end);
            segment[at..end].copy_from_slice(&bytes[..end - at]);
        }
        segment.truncate(segment.len().saturating_sub(cut));
        let (whole, _) = sample.deliveries_with(&segment);
        prop_assert!(whole.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", whole);
    }
}

#[test]
fn a_damaged_segment_goes_when_it_was_dealt_with() {
    let disk = ForgettingDisk::new(0);
    disk.replace(SEGMENT, &[0xee; 3000]);
    let log = open(&disk);
    let mut subscription = crate::log_on_disk::subscribe(&log);
    let found = crate::log_on_disk::take_all(&mut *subscription);
    assert_eq!(found.len(), 1);
    paredao_vote_log::conformance::at_once(subscription.ack(&[found[0].tag]))
        .unwrap()
        .unwrap();
    paredao_vote_log::conformance::at_once(subscription.release())
        .unwrap()
        .unwrap();
    assert_eq!(
        status(&log).damaged,
        1,
        "it is not forgotten with its segment"
    );
    drop((subscription, log));
    assert_eq!(numbers(&open(&disk)), Vec::<u64>::new());
    assert!(!crate::log_on_disk::files(&disk).contains(&SEGMENT.to_owned()));
}
