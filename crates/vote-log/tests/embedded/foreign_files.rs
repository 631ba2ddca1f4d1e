//! Files that are not what the log expects, and folders it cannot use.

use std::sync::Arc;

use paredao_vote_log::LogError;
use paredao_vote_log::disk::simulated::{ForgettingDisk, Operation};
use paredao_vote_log::disk::{Disk, RealDisk};
use proptest::prelude::*;

use crate::log_on_disk::{append_all, batches, deliveries, files, numbers, open, open_on, sort};

fn with_three_batches() -> ForgettingDisk {
    let disk = ForgettingDisk::new(0);
    append_all(&open(&disk), &batches(1..=3));
    disk
}

fn error_of(disk: Arc<dyn Disk>) -> LogError {
    open_on(disk).err().expect("the log does not open")
}

/// A segment header as a later format would have it; the layout stands in `format.rs`.
fn newer_header(sequence: u32, format: u32) -> Vec<u8> {
    let mut header = b"paredao\n".to_vec();
    header.extend_from_slice(&format.to_le_bytes());
    header.resize(60, 0x17);
    let place = [sequence.to_le_bytes(), [0; 4]].concat();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&place), &header);
    header.extend_from_slice(&checksum.to_le_bytes());
    header
}

#[test]
fn files_of_other_names_are_left_alone() {
    let disk = with_three_batches();
    for name in ["notes.txt", "1.segment", "0000000001.segment.bak", ""] {
        disk.replace(name, b"vote vote vote");
    }
    assert_eq!(numbers(&open(&disk)), [1, 2, 3]);
    assert_eq!(disk.contents("notes.txt").unwrap(), b"vote vote vote");
}

#[test]
fn an_empty_segment_file_is_tidied_away() {
    let disk = with_three_batches();
    disk.replace("0000000009.segment", b"");
    assert_eq!(numbers(&open(&disk)), [1, 2, 3]);
    assert!(!files(&disk).contains(&"0000000009.segment".to_owned()));
    assert!(files(&disk).contains(&"0000000010.segment".to_owned()));
}

#[test]
fn a_segment_that_strayed_to_another_number_passes_for_nothing() {
    let disk = with_three_batches();
    let stray = disk.contents("0000000001.segment").unwrap();
    disk.replace("0000000007.segment", &stray);
    let (whole, damaged) = sort(deliveries(&open(&disk)));
    assert_eq!(whole, [1, 2, 3]);
    assert_eq!(damaged.len(), 1, "it is set aside as one");
}

#[test]
fn the_last_segment_number_cannot_be_followed() {
    let disk = with_three_batches();
    disk.replace("4294967295.segment", b"");
    let message = error_of(Arc::new(disk)).to_string();
    assert!(message.contains("cannot write to simulated:"), "{message}");
}

#[test]
fn a_newer_format_is_refused_by_name_and_left_as_it_is() {
    let disk = with_three_batches();
    let header = newer_header(8, 2);
    disk.replace("0000000008.segment", &header);
    let error = error_of(Arc::new(disk.clone()));
    assert_eq!(
        error.to_string(),
        "simulated:0000000008.segment was written by a newer release (format 2, this one reads 1)"
    );
    assert_eq!(disk.contents("0000000008.segment").unwrap(), header);
    assert_eq!(files(&disk).len(), 2, "nothing was added");
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_by_its_path() {
    let disk = ForgettingDisk::new(0);
    disk.fail_next(Operation::Create, 1);
    let message = error_of(Arc::new(disk)).to_string();
    assert!(
        message.starts_with("cannot write to simulated:"),
        "{message}"
    );
    let message = RealDisk::open("/proc/paredao").err().unwrap().to_string();
    assert!(message.contains("/proc/paredao"), "{message}");
}

#[test]
fn a_folder_in_the_place_of_a_segment_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("0000000001.segment")).unwrap();
    let disk = || Arc::new(RealDisk::open(folder.path()).unwrap());
    let refused = open_on(disk())
        .err()
        .expect("the name is taken")
        .to_string();
    assert!(
        refused.contains(folder.path().to_str().unwrap()),
        "{refused}"
    );
}

proptest! {
    #[test]
    fn no_garbage_in_a_segment_file_harms_the_log(
        mut garbage in prop::collection::vec(any::<u8>(), 0..3_000),
        begins_well in any::<bool>(),
        sequence in 1_u32..20,
    ) {
        if begins_well {
            garbage.splice(0..0, newer_header(sequence, 1));
        }
        let disk = ForgettingDisk::new(0);
        disk.replace(&format!("{sequence:010}.segment"), &garbage);
        let log = open(&disk);
        let (whole, damaged) = sort(deliveries(&log));
        prop_assert!(whole.is_empty());
        prop_assert!(damaged.len() <= 1);
        append_all(&log, &batches(1..=20));
        drop(log);
        disk.lose_power();
        let (whole, _) = sort(deliveries(&open(&disk)));
        prop_assert_eq!(whole, (1..=20).collect::<Vec<_>>());
    }
}
