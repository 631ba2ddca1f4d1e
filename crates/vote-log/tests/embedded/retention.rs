//! What is kept, for how long, and what the status says of it.

use paredao_domain::{EncodedBatch, Incarnation, Minute};
use paredao_vote_log::conformance::{at_once, sample_batch};
use paredao_vote_log::disk::simulated::ForgettingDisk;
use paredao_vote_log::{AppendError, Delivery, DeliveryTag, LogError, Subscription, VoteLog};

use crate::log_on_disk::{
    LANE, WHO, append, append_all, batch, batches, deliveries, files, numbers, open, status,
    subscribe, take_all,
};

fn tags_of(deliveries: &[Delivery], wanted: impl Fn(u64) -> bool) -> Vec<DeliveryTag> {
    deliveries
        .iter()
        .filter(|delivery| wanted(delivery.envelope.unwrap().id.number))
        .map(|delivery| delivery.tag)
        .collect()
}

fn ack(subscription: &mut dyn Subscription, tags: &[DeliveryTag]) {
    at_once(subscription.ack(tags)).unwrap().unwrap();
}

fn release(subscription: &mut dyn Subscription) {
    at_once(subscription.release()).unwrap().unwrap();
}

#[test]
fn a_segment_goes_when_all_of_it_is_acknowledged_and_released() {
    let disk = ForgettingDisk::new(0);
    let log = open(&disk);
    append_all(&log, &batches(1..=60));
    let segments = files(&disk);
    assert!(segments.len() > 4, "{segments:?}");
    let mut subscription = subscribe(&log);
    let taken = take_all(&mut *subscription);
    ack(&mut *subscription, &tags_of(&taken, |number| number != 1));
    assert_eq!(files(&disk), segments, "acknowledged is not released");
    release(&mut *subscription);
    assert_eq!(files(&disk), segments, "they go in their order");
    ack(&mut *subscription, &tags_of(&taken, |number| number == 1));
    release(&mut *subscription);
    assert_eq!(files(&disk), [segments.last().unwrap().clone()]);
    assert_eq!(status(&log).batches, 0);
}

#[test]
fn what_was_not_released_is_delivered_again_after_a_restart() {
    let disk = ForgettingDisk::new(0);
    let log = open(&disk);
    append_all(&log, &batches(1..=10));
    let mut subscription = subscribe(&log);
    let taken = take_all(&mut *subscription);
    ack(&mut *subscription, &tags_of(&taken, |_| true));
    drop((subscription, log));
    assert_eq!(numbers(&open(&disk)), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_released_segment_does_not_come_back_after_a_power_loss() {
    for seed in 0..50 {
        let disk = ForgettingDisk::new(seed);
        append_all(&open(&disk), &batches(1..=10));
        let log = open(&disk);
        let mut subscription = subscribe(&log);
        let taken = take_all(&mut *subscription);
        ack(&mut *subscription, &tags_of(&taken, |_| true));
        release(&mut *subscription);
        drop((subscription, log));
        disk.lose_power();
        assert_eq!(deliveries(&open(&disk)).len(), 0, "seed {seed}");
    }
}

#[test]
fn restarts_leave_no_empty_segments_behind() {
    let disk = ForgettingDisk::new(0);
    for _ in 0..10 {
        drop(open(&disk));
        open(&disk).close();
    }
    assert_eq!(files(&disk).len(), 1, "{:?}", files(&disk));
}

#[test]
fn the_status_names_what_waits_and_what_is_kept() {
    let disk = ForgettingDisk::new(0);
    let log = open(&disk);
    let other = Incarnation(0x123);
    append_all(&log, &batches(18..=21));
    append(&log, &sample_batch(other, 3, 0)).unwrap();
    let votes: u32 = batches(18..=21).iter().map(EncodedBatch::vote_count).sum();
    let before = status(&log);
    assert_eq!((before.batches, before.votes), (5, u64::from(votes)));
    assert_eq!(before.oldest, Some(Minute(29_000_000).start()));
    assert_eq!(before.cut, [(other, 3 * 32_768), (WHO, 21 * 32_768)]);
    assert!(before.bytes > 1_000);

    let mut subscription = subscribe(&log);
    let taken = take_all(&mut *subscription);
    ack(&mut *subscription, &tags_of(&taken, |number| number < 20));
    let after = status(&log);
    assert_eq!(after.batches, 2);
    assert_eq!(after.oldest, Some(Minute(29_000_002).start()));
    assert_eq!((after.bytes, &after.cut), (before.bytes, &before.cut));
    assert!(after.consumed && !before.consumed);

    drop((subscription, log));
    let again = status(&open(&disk));
    assert_eq!(again, before, "at the next start everything waits again");
}

#[test]
fn a_closed_log_says_so_to_everyone() {
    let disk = ForgettingDisk::new(0);
    let log = open(&disk);
    let mut subscription = subscribe(&log);
    append(&log, &batch(1)).unwrap();
    log.close();
    assert_eq!(append(&log, &batch(2)), Err(AppendError::Closed));
    let next = at_once(subscription.next(1));
    assert!(matches!(next, Some(Err(LogError::Closed))), "{next:?}");
    let subscribing = at_once(log.subscribe(LANE)).unwrap();
    assert!(matches!(subscribing, Err(LogError::Closed)));
    drop((subscription, log));
    assert_eq!(numbers(&open(&disk)), [1]);
}
