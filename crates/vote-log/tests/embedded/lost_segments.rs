//! Files that were there once and are gone.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use paredao_domain::Ranges;
use paredao_vote_log::conformance::{StoppedClock, at_once};
use paredao_vote_log::disk::Disk as _;
use paredao_vote_log::disk::simulated::{ForgettingDisk, Operation};
use paredao_vote_log::{
    EmbeddedLog, EmbeddedOptions, FirstSegment, KnownSegments, SegmentRegister,
};
use parking_lot::Mutex;

use crate::log_on_disk::{
    append, append_all, batch, batches, files, numbers, options, subscribe, take_all,
};

/// Keeps what is known of the segments, or fails to.
#[derive(Default)]
struct Register {
    known: Mutex<KnownSegments>,
    is_full: Mutex<bool>,
}

#[async_trait]
impl SegmentRegister for Register {
    fn known(&self) -> KnownSegments {
        *self.known.lock()
    }

    async fn note_released(&self, up_to: u64) -> io::Result<()> {
        if *self.is_full.lock() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut known = self.known.lock();
        known.released = known.released.max(up_to);
        Ok(())
    }
}

/// A disk, and elsewhere what is known of it.
struct Ground {
    disk: ForgettingDisk,
    register: Arc<Register>,
}

impl Ground {
    fn new() -> Self {
        Self {
            disk: ForgettingDisk::new(0),
            register: Arc::default(),
        }
    }

    fn open_with(&self, options: EmbeddedOptions) -> EmbeddedLog {
        let disk = Arc::new(self.disk.clone());
        let register = Arc::clone(&self.register) as Arc<dyn SegmentRegister>;
        EmbeddedLog::open_registered(disk, Arc::new(StoppedClock), options, register).unwrap()
    }

    /// Opens the log, and notes its newest segment as whoever owns both does.
    fn open(&self) -> EmbeddedLog {
        let log = self.open_with(options());
        self.note_newest(&log);
        log
    }

    fn note_newest(&self, log: &EmbeddedLog) {
        let mut known = self.register.known.lock();
        known.newest = known.newest.max(log.newest_segment().unwrap_or(0));
    }

    /// What a start misses, without leaving anything behind.
    fn lost(&self) -> Vec<RangeInclusive<u64>> {
        let first_segment = FirstSegment::WhenAppended;
        let before = files(&self.disk);
        let log = self.open_with(EmbeddedOptions {
            first_segment,
            ..options()
        });
        let lost = log.found().lost.clone();
        drop(log);
        assert_eq!(
            files(&self.disk),
            before,
            "who only looks leaves nothing behind"
        );
        lost
    }

    /// A log of several segments; the number of the newest.
    fn with_segments() -> (Self, u64) {
        let ground = Self::new();
        let newest = ground.fill(1..=60);
        assert!(newest > 4);
        (ground, newest)
    }

    /// Appends in a life of its own; the number of the newest segment.
    fn fill(&self, numbers: RangeInclusive<u64>) -> u64 {
        let log = self.open();
        append_all(&log, &batches(numbers));
        self.note_newest(&log);
        newest(&log)
    }

    fn remove(&self, sequence: u64) {
        self.disk.remove(&name(sequence)).unwrap();
    }
}

fn name(sequence: u64) -> String {
    format!("{sequence:010}.segment")
}

fn newest(log: &EmbeddedLog) -> u64 {
    log.newest_segment().unwrap()
}

/// Takes, acknowledges and releases everything.
fn empty(log: &EmbeddedLog) {
    let mut subscription = subscribe(log);
    let tags: Vec<_> = take_all(&mut *subscription).iter().map(|d| d.tag).collect();
    at_once(subscription.ack(&tags)).unwrap().unwrap();
    at_once(subscription.release()).unwrap().unwrap();
}

#[test]
fn the_newest_segments_that_are_gone_are_named_at_every_start() {
    let (ground, expected) = Ground::with_segments();
    ground.remove(expected - 1);
    ground.remove(expected);
    let lost = [expected - 1..=expected];
    assert_eq!(ground.lost(), lost);
    let log = ground.open();
    assert_eq!(log.found().lost, lost);
    append(&log, &batch(99)).unwrap();
    assert_eq!(newest(&log), expected + 1, "no number is used twice");
    assert_eq!(numbers(&log).last(), Some(&99));
    drop(log);
    assert_eq!(ground.lost(), lost, "also when it has gone on");
}

#[test]
fn a_log_that_is_gone_as_a_whole_is_not_taken_for_a_new_one() {
    let (mut ground, expected) = Ground::with_segments();
    ground.disk = ForgettingDisk::new(1);
    assert_eq!(ground.lost(), [1..=expected]);
    let log = ground.open();
    append(&log, &batch(99)).unwrap();
    assert_eq!(files(&ground.disk), [name(expected + 1)]);
    drop(log);
    assert_eq!(ground.lost(), [1..=expected], "until somebody has kept it");
}

/// The last one of a life has no later batch of that life behind it that would tell.
#[test]
fn a_segment_between_others_is_missed_though_a_later_life_went_on() {
    let (ground, first) = Ground::with_segments();
    let second = ground.fill(61..=70);
    let third = ground.fill(71..=80);
    assert!(first < second && second < third);
    ground.remove(first);
    assert_eq!(ground.lost(), [first..=first]);
    ground.remove(third);
    assert_eq!(ground.lost(), [first..=first, third..=third]);
}

#[test]
fn what_is_put_back_is_not_missed_any_more() {
    let (ground, newest) = Ground::with_segments();
    let kept = ground.disk.open(&name(newest)).unwrap();
    let mut bytes = vec![0; usize::try_from(kept.size().unwrap()).unwrap()];
    kept.read_at(&mut bytes, 0).unwrap();
    ground.remove(newest);
    assert_eq!(ground.lost(), [newest..=newest]);
    let file = ground.disk.create(&name(newest)).unwrap();
    file.write_at(&bytes, 0).unwrap();
    file.sync_data().unwrap();
    ground.disk.sync_dir().unwrap();
    assert_eq!(ground.lost(), []);
}

/// A crash may leave a file that was created and not begun.
#[test]
fn a_file_that_was_never_begun_hides_no_loss_and_is_none() {
    for junk in [&b""[..], &[0; 64], b"paredao"] {
        let (ground, newest) = Ground::with_segments();
        ground.disk.replace(&name(newest + 1), junk);
        assert_eq!(ground.lost(), [], "it was never known");
        ground.remove(newest);
        ground.remove(newest - 2);
        let lost = [newest - 2..=newest - 2, newest..=newest];
        assert_eq!(ground.lost(), lost);
        drop(ground.open());
        assert_eq!(ground.lost(), lost, "also when it has gone on");
    }
}

#[test]
fn a_file_that_was_never_begun_is_not_the_newest_where_none_can_be_begun() {
    let (ground, newest) = Ground::with_segments();
    ground.disk.replace(&name(newest + 1), b"");
    ground.disk.set_capacity(Some(0));
    drop(ground.open());
    ground.disk.set_capacity(None);
    assert_eq!(ground.lost(), []);
}

#[test]
fn what_is_there_covers_the_numbers_that_never_held_anything() {
    let ground = Ground::new();
    ground.fill(1..=1);
    // Each ends with a file that holds nothing, which goes when there is a newer one.
    for _ in 0..3 {
        let log = ground.open();
        append(&log, &batch(9)).unwrap();
        log.close();
    }
    let log = ground.open();
    let mut covered = Ranges::default();
    for range in &log.found().there {
        covered.insert(range.clone());
    }
    assert!(covered.covers(&(1..=newest(&log) - 1)), "{covered:?}");
}

#[test]
fn a_file_that_was_begun_and_holds_nothing_any_more_is_lost_and_kept() {
    let (ground, newest) = Ground::with_segments();
    ground.disk.replace(&name(newest), b"");
    assert_eq!(ground.lost(), [newest..=newest]);
    drop(ground.open());
    assert_eq!(ground.lost(), [newest..=newest]);
    assert!(files(&ground.disk).contains(&name(newest)), "as evidence");
}

/// An old copy of the store was put back: what the log has released since is in neither.
#[test]
fn what_went_in_good_order_is_missed_by_whoever_has_forgotten_it() {
    let (ground, _) = Ground::with_segments();
    empty(&ground.open());
    let older = ground.register.known();
    for numbers in [61..=90, 91..=120] {
        ground.fill(numbers);
        empty(&ground.open());
    }
    assert_eq!(ground.lost(), []);
    let released = ground.register.known().released;
    assert!(released > older.released + 2);
    *ground.register.known.lock() = older;
    assert_eq!(ground.lost(), [older.released + 1..=released]);
}

#[test]
fn a_segment_stays_while_its_release_cannot_be_kept() {
    let (ground, _) = Ground::with_segments();
    let log = ground.open();
    *ground.register.is_full.lock() = true;
    empty(&log);
    assert!(files(&ground.disk).len() > 4);
    *ground.register.is_full.lock() = false;
    empty(&log);
    assert_eq!(files(&ground.disk), [name(newest(&log))]);
    drop(log);
    assert_eq!(ground.lost(), []);
}

/// So one number tells which have gone.
#[test]
fn a_segment_goes_only_after_those_before_it() {
    let (ground, _) = Ground::with_segments();
    let log = ground.open();
    let before = files(&ground.disk);
    let mut subscription = subscribe(&log);
    let deliveries = take_all(&mut *subscription);
    let later: Vec<_> = deliveries[1..].iter().map(|d| d.tag).collect();
    at_once(subscription.ack(&later)).unwrap().unwrap();
    at_once(subscription.release()).unwrap().unwrap();
    assert_eq!(files(&ground.disk), before);
    at_once(subscription.ack(&[deliveries[0].tag]))
        .unwrap()
        .unwrap();
    at_once(subscription.release()).unwrap().unwrap();
    assert_eq!(files(&ground.disk), [name(newest(&log))]);
}

#[test]
fn a_log_that_was_emptied_in_good_order_has_lost_nothing() {
    let (ground, mut expected) = Ground::with_segments();
    for _ in 0..3 {
        assert_eq!(ground.lost(), []);
        let log = ground.open();
        empty(&log);
        expected = expected.max(newest(&log));
        assert_eq!(files(&ground.disk), [name(expected)]);
        log.close();
        drop(log);
        ground.disk.lose_power();
    }
}

/// On a full disk no new segment can be begun, and the newest old one keeps the number.
#[test]
fn a_log_that_is_emptied_on_a_full_disk_keeps_its_newest_number() {
    let (ground, expected) = Ground::with_segments();
    ground.disk.set_capacity(Some(0));
    let log = ground.open();
    empty(&log);
    assert_eq!(files(&ground.disk), [name(expected)]);
    assert_eq!(newest(&log), expected);
    drop(log);
    ground.disk.set_capacity(None);
    assert_eq!(ground.lost(), []);
    let log = ground.open();
    empty(&log);
    assert_eq!(files(&ground.disk), [name(expected + 1)]);
}

/// A segment whose first record could not be synced is not used again, but its number is not
/// forgotten either.
#[test]
fn an_abandoned_segment_without_records_keeps_the_newest_number() {
    let ground = Ground::new();
    let log = ground.open();
    ground.disk.fail_next(Operation::Sync, 1);
    append(&log, &batch(1)).unwrap_err();
    append(&log, &batch(1)).unwrap();
    ground.note_newest(&log);
    drop(log);
    assert_eq!(ground.lost(), []);
    drop(ground.open());
    assert_eq!(ground.lost(), [], "and goes when there is a newer one");
}

#[test]
fn the_last_number_there_is_leaves_none_to_go_on_with() {
    for newest in [u64::from(u32::MAX), u64::MAX] {
        let ground = Ground::new();
        ground.register.known.lock().newest = newest;
        ground.disk.set_capacity(Some(0));
        assert_eq!(ground.lost(), [1..=u64::from(u32::MAX)]);
        ground.disk.set_capacity(None);
        let log = ground.open_with(EmbeddedOptions {
            first_segment: FirstSegment::WhenAppended,
            ..options()
        });
        append(&log, &batch(1)).unwrap_err();
    }
}
