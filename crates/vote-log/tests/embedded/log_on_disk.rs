//! A log on a simulated disk, and what these tests do with it.

use std::sync::Arc;

use paredao_domain::{EncodedBatch, Envelope, Incarnation, Lane};
use paredao_vote_log::conformance::{StoppedClock, at_once, sample_batch};
use paredao_vote_log::disk::Disk;
use paredao_vote_log::disk::simulated::ForgettingDisk;
use paredao_vote_log::{
    AppendError, Delivery, EmbeddedLog, EmbeddedOptions, LogError, LogStatus, SegmentBytes,
    Subscription, VoteLog,
};

pub(crate) const LANE: Lane = Lane(0);
pub(crate) const WHO: Incarnation = Incarnation(0xabc);

/// Small segments, so that there are many.
pub(crate) fn options() -> EmbeddedOptions {
    EmbeddedOptions {
        segment_bytes: SegmentBytes::new(SegmentBytes::MIN).unwrap(),
        ..EmbeddedOptions::default()
    }
}

pub(crate) fn open_on(disk: Arc<dyn Disk>) -> Result<EmbeddedLog, LogError> {
    EmbeddedLog::open(disk, Arc::new(StoppedClock), options())
}

pub(crate) fn open(disk: &ForgettingDisk) -> EmbeddedLog {
    open_on(Arc::new(disk.clone())).unwrap()
}

/// Batch `number`, of so many votes that its size differs from its neighbours'.
pub(crate) fn batch(number: u64) -> EncodedBatch {
    sample_batch(WHO, number, u16::try_from(5 + number % 7 * 9).unwrap())
}

pub(crate) fn batches(numbers: impl IntoIterator<Item = u64>) -> Vec<EncodedBatch> {
    numbers.into_iter().map(batch).collect()
}

pub(crate) fn append(log: &EmbeddedLog, batch: &EncodedBatch) -> Result<(), AppendError> {
    at_once(log.append(batch)).expect("an append of the embedded log never waits")
}

pub(crate) fn append_all(log: &EmbeddedLog, batches: &[EncodedBatch]) {
    batches
        .iter()
        .for_each(|batch| append(log, batch).expect("the log takes a batch"));
}

pub(crate) fn subscribe(log: &EmbeddedLog) -> Box<dyn Subscription> {
    at_once(log.subscribe(LANE)).unwrap().unwrap()
}

/// Everything that can be delivered now.
pub(crate) fn take_all(subscription: &mut dyn Subscription) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while let Some(deliveries) = at_once(subscription.next(1_000)) {
        taken.extend(deliveries.expect("the lane is held"));
    }
    taken
}

pub(crate) fn deliveries(log: &EmbeddedLog) -> Vec<Delivery> {
    take_all(&mut *subscribe(log))
}

pub(crate) fn status(log: &EmbeddedLog) -> LogStatus {
    at_once(log.status(LANE)).unwrap().unwrap()
}

/// The numbers of those that are whole; the others.
pub(crate) fn sort(deliveries: Vec<Delivery>) -> (Vec<u64>, Vec<Delivery>) {
    let (mut whole, mut damaged) = (Vec::new(), Vec::new());
    for delivery in deliveries {
        match EncodedBatch::decode(delivery.body.clone()) {
            Ok(batch) => {
                assert_eq!(delivery.envelope, Some(Envelope::from(&batch)));
                assert_eq!(batch, self::batch(batch.id().number), "as it was appended");
                whole.push(batch.id().number);
            }
            Err(_) => damaged.push(delivery),
        }
    }
    (whole, damaged)
}

/// What the log delivers, all of it whole.
pub(crate) fn numbers(log: &EmbeddedLog) -> Vec<u64> {
    let (whole, damaged) = sort(deliveries(log));
    assert!(damaged.is_empty(), "{damaged:?}");
    whole
}

pub(crate) fn files(disk: &ForgettingDisk) -> Vec<String> {
    disk.list().unwrap()
}
