//! The consumer's thread over the real log and the real store, each in files of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a failed assumption in a test is a failed test"
)]

mod leaving_store;
mod looking_back;
mod newer_log;
mod rig;

use std::time::Duration;

use paredao_consumer::{ConsumerOptions, ConsumerState};
use paredao_domain::{
    BatchHeader, BatchId, BatchKind, EncodedBatch, Incarnation, Mode, PollId, PollState,
};
use paredao_store::{DeadLetterState, Fate, FinalityHurdle, Store};
use rig::{LANE, LIMIT, NOW, POLL, Rig, vote};

/// A batch that no intake cut.
fn foreign(number: u64, poll: PollId, keys: std::ops::Range<u64>) -> EncodedBatch {
    let votes: Vec<_> = keys.map(|n| vote(n, 1)).collect();
    let header = BatchHeader {
        kind: BatchKind::Votes,
        mode: Mode::Torcida,
        poll,
        id: BatchId {
            incarnation: Incarnation(0xf0e),
            lane: LANE,
            number,
        },
        minute: NOW.minute(),
        cumulative: number * votes.len() as u64,
        confirmed: number - 1,
    };
    EncodedBatch::encode(header, &[], &votes)
}

fn is_failed(state: &ConsumerState) -> bool {
    matches!(state, ConsumerState::Failed(_))
}

#[tokio::test]
async fn votes_handed_in_at_the_intake_are_counted_once_however_often_they_are_sent() {
    let rig = Rig::new().await;
    let consumer = rig.consumer();
    let intake = rig.intake();
    let sent = (0..300).chain(0..300).chain(100..200);
    rig::submit_all(&intake, sent).await;
    rig.until_counted(300).await;
    rig.until("every copy is booked", async |rig| {
        rig.accounts().await.duplicate == 400
    })
    .await;
    assert!(intake.stop(LIMIT).await && consumer.stop(LIMIT).await);
    assert_eq!(consumer.status().state, ConsumerState::Stopped);
    rig.assert_conserved(700).await;
}

#[tokio::test]
async fn what_waits_in_the_log_is_applied_before_a_stop_is_done() {
    let rig = Rig::new().await;
    let intake = rig.intake();
    rig::submit_all(&intake, 0..500).await;
    let consumer = rig.consumer();
    assert!(intake.stop(LIMIT).await && consumer.stop(LIMIT).await);
    assert_eq!(rig.accounts().await.counted, 500);
    assert_eq!(rig.log().status(LANE).await.unwrap().batches, 0);
}

#[tokio::test]
async fn files_that_could_not_be_released_go_later_though_no_vote_comes() {
    let mut rig = Rig::new().await;
    let intake = rig.intake();
    rig::submit_all(&intake, 0..5).await;
    assert!(intake.stop(LIMIT).await);
    drop(intake);
    rig.reopen_log();
    rig.refuse_releases(1);
    assert!(rig.log_files() > 1);
    let consumer = rig.consumer();
    rig.until_counted(5).await;
    rig.until("only the newest file is left", async |rig| {
        rig.log_files() == 1
    })
    .await;
    assert!(consumer.stop(LIMIT).await);
}

#[tokio::test]
async fn a_restart_in_the_middle_counts_every_vote_once() {
    let mut rig = Rig::new().await;
    for round in 0..4_u64 {
        let consumer = rig.consumer();
        let intake = rig.intake();
        // Half of the keys of each round were sent in the round before.
        rig::submit_all(&intake, round * 50..round * 50 + 100).await;
        if round % 2 == 0 {
            rig.until_counted(100 + round * 50).await;
        }
        rig.restart(intake, consumer).await;
    }
    let consumer = rig.consumer();
    rig.until_counted(250).await;
    assert!(consumer.stop(LIMIT).await);
    rig.assert_conserved(400).await;
}

#[tokio::test]
async fn deliveries_wait_while_the_store_is_away() {
    let rig = Rig::new().await;
    let consumer = rig.consumer();
    let intake = rig.intake();
    rig::submit_all(&intake, 0..10).await;
    rig.until_counted(10).await;
    rig.store.go_away();
    rig::submit_all(&intake, 10..30).await;
    rig.until("the consumer notices", async |_| {
        consumer.status().state == ConsumerState::StoreAway
    })
    .await;
    assert!(rig.log().status(LANE).await.unwrap().votes >= 20);
    rig.store.come_back();
    rig.until_counted(30).await;
    rig.until("the consumer is back at work", async |_| {
        consumer.status().state == ConsumerState::Owning
    })
    .await;
    assert_eq!(
        rig.store.claims(),
        1,
        "what it knows of the lane still holds"
    );
    assert!(intake.stop(LIMIT).await && consumer.stop(LIMIT).await);
    rig.assert_conserved(30).await;
}

#[tokio::test]
async fn a_transaction_that_was_refused_is_tried_again_without_claiming_the_lane_again() {
    let rig = Rig::new().await;
    let consumer = rig.consumer();
    rig.log().append(&foreign(1, POLL, 0..3)).await.unwrap();
    rig.until_counted(3).await;
    rig.store.take_nothing();
    rig.log().append(&foreign(2, POLL, 3..6)).await.unwrap();
    rig.until("the consumer notices", async |_| {
        consumer.status().state == ConsumerState::StoreAway
    })
    .await;
    rig.store.come_back();
    rig.until_counted(6).await;
    assert_eq!((rig.store.claims(), rig.store.ledger_reads()), (1, 2));
    assert!(consumer.stop(LIMIT).await);
}

#[tokio::test]
async fn a_stop_while_the_store_is_away_leaves_the_deliveries_in_the_log_and_says_so() {
    let rig = Rig::new().await;
    let consumer = rig.consumer();
    rig.store.go_away();
    rig.log().append(&foreign(1, POLL, 0..5)).await.unwrap();
    rig.until("the consumer notices", async |_| {
        consumer.status().state == ConsumerState::StoreAway
    })
    .await;
    assert!(!consumer.stop(LIMIT).await);
    assert!(
        !consumer.stop(LIMIT).await,
        "whoever asks again hears the same"
    );
    assert_eq!(consumer.status().state, ConsumerState::Stopped);
    assert_eq!(rig.log().status(LANE).await.unwrap().votes, 5);
}

#[tokio::test]
async fn a_batch_for_a_poll_that_is_not_there_yet_is_counted_when_it_is_requeued() {
    let rig = Rig::new().await;
    let consumer = rig.consumer();
    let second = PollId(2);
    rig.log().append(&foreign(1, second, 0..7)).await.unwrap();
    rig.until("a dead letter", async |rig| {
        rig.snapshot().await.books.dead_lettered == 7
    })
    .await;
    assert_eq!(rig.create_open_poll("segundo").await.id, second);

    let letter = rig.real().dead_letters().await.unwrap().remove(0);
    assert!(letter.reason.contains("does not exist"), "{letter:?}");
    let requeued = DeadLetterState::Requeued;
    rig.real()
        .resolve_dead_letter(letter.id, requeued)
        .await
        .unwrap();
    let letter = rig.real().dead_letter(letter.id).await.unwrap();
    let batch = EncodedBatch::decode(letter.letter.body).unwrap();
    rig.log().append(&batch).await.unwrap();
    rig.until_counted(7).await;
    assert!(consumer.stop(LIMIT).await);
    rig.assert_conserved(7).await;
}

#[tokio::test]
async fn a_batch_damaged_on_the_disk_becomes_a_dead_letter_and_the_others_count() {
    let mut rig = Rig::new().await;
    for number in 1..=3 {
        let keys = number * 10..number * 10 + 4;
        rig.log()
            .append(&foreign(number, POLL, keys))
            .await
            .unwrap();
    }
    rig.damage_on_disk(&foreign(2, POLL, 20..24));
    let consumer = rig.consumer();
    rig.until_counted(8).await;
    assert!(consumer.stop(LIMIT).await);
    assert_eq!(rig.snapshot().await.books.dead_lettered, 4);
    let damaged = foreign(2, POLL, 20..24).id();
    assert_eq!(
        rig.real().fate(damaged, 0).await.unwrap(),
        Fate::DeadLettered
    );
    rig.assert_conserved(12).await;
}

#[tokio::test]
async fn many_bad_batches_in_a_row_stop_the_consumer_and_a_restart_goes_on_behind_them() {
    let mut rig = Rig::new().await;
    let options = ConsumerOptions {
        bad_batches_max: 5,
        votes_max: 1,
        ..Rig::options()
    };
    for number in 1..=9 {
        let unknown = PollId(77);
        rig.log()
            .append(&foreign(number, unknown, 0..1))
            .await
            .unwrap();
    }
    rig.log().append(&foreign(10, POLL, 0..1)).await.unwrap();
    let consumer = rig.consumer_with(options);
    consumer.ended().await;
    let ConsumerState::Failed(why) = consumer.status().state else {
        panic!("{:?}", consumer.status());
    };
    assert!(why.contains("6 bad batches in a row"), "{why}");
    assert_eq!(rig.accounts().await.counted, 0);
    assert!(!consumer.stop(LIMIT).await);

    // Everything is delivered again; what is a dead letter already is no new trouble.
    rig.reopen_log();
    let consumer = rig.consumer_with(options);
    rig.until_counted(1).await;
    assert!(consumer.stop(LIMIT).await);
    assert_eq!(rig.snapshot().await.books.dead_lettered, 9);
    rig.assert_conserved(10).await;
}

#[tokio::test]
async fn a_batch_of_a_newer_release_stops_the_consumer_and_stays_in_the_log() {
    let mut rig = Rig::new().await;
    rig.log().append(&foreign(1, POLL, 0..3)).await.unwrap();
    rig.deliver_as_newer_release();
    let consumer = rig.consumer();
    consumer.ended().await;
    let state = consumer.status().state;
    assert!(is_failed(&state), "{state:?}");
    assert!(
        format!("{state:?}").contains("upgrade consumers first"),
        "{state:?}"
    );
    assert_eq!(rig.log().status(LANE).await.unwrap().votes, 3);
    assert_eq!(rig.accounts().await.counted, 0);
}

#[tokio::test]
async fn a_closed_poll_becomes_final_and_what_comes_later_is_late() {
    let rig = Rig::new().await;
    let consumer = rig.consumer();
    let intake = rig.intake();
    rig::submit_all(&intake, 0..40).await;
    rig.close_poll().await;
    rig.settle(&consumer).await;
    rig.until("the poll is final", async |rig| {
        rig.snapshot().await.polls[0].poll.state(NOW) == PollState::Final
    })
    .await;
    rig.log().append(&foreign(1, POLL, 900..903)).await.unwrap();
    rig.until("the stragglers are booked", async |rig| {
        rig.accounts().await.late == 3
    })
    .await;
    assert_eq!(rig.accounts().await.counted, 40);
    assert!(intake.stop(LIMIT).await && consumer.stop(LIMIT).await);
    rig.assert_conserved(43).await;
}

/// A barrier that this consumer did not send.
fn foreign_barrier(number: u64) -> EncodedBatch {
    let header = BatchHeader {
        kind: BatchKind::Barrier,
        cumulative: 0,
        ..*foreign(number, POLL, 0..0).header()
    };
    EncodedBatch::encode(header, &[], &[])
}

#[tokio::test]
async fn a_barrier_that_was_sent_while_the_poll_was_open_does_not_make_it_final() {
    let rig = Rig::new().await;
    let consumer = rig.consumer();
    rig.log().append(&foreign_barrier(1)).await.unwrap();
    rig.log().append(&foreign(2, POLL, 0..3)).await.unwrap();
    rig.until_counted(3).await;
    assert!(!rig.snapshot().await.polls[0].barrier_passed);
    rig.close_poll().await;
    rig.settle(&consumer).await;
    rig.until("the poll is final", async |rig| {
        rig.snapshot().await.polls[0].poll.final_at.is_some()
    })
    .await;
    assert!(consumer.stop(LIMIT).await);
}

#[tokio::test]
async fn a_dead_letter_keeps_a_result_from_becoming_final_until_somebody_decides() {
    let mut rig = Rig::new().await;
    rig.log().append(&foreign(1, POLL, 0..4)).await.unwrap();
    rig.log().append(&foreign(2, POLL, 4..8)).await.unwrap();
    rig.damage_on_disk(&foreign(1, POLL, 0..4));
    let consumer = rig.consumer();
    rig.until_counted(4).await;
    rig.close_poll().await;
    rig.settle(&consumer).await;
    rig.until("the hurdle is named", async |_| {
        consumer.status().hurdles.get(&POLL) == Some(&vec![FinalityHurdle::DeadLetters(1)])
    })
    .await;
    let letter = rig.real().dead_letters().await.unwrap().remove(0);
    let written_off = DeadLetterState::WrittenOff("the disk is broken".to_owned());
    rig.real()
        .resolve_dead_letter(letter.id, written_off)
        .await
        .unwrap();
    rig.until("the poll is final", async |rig| {
        rig.snapshot().await.polls[0].poll.final_at.is_some()
    })
    .await;
    assert!(consumer.stop(LIMIT).await);
}

#[tokio::test]
async fn two_consumers_on_one_log_take_turns_and_count_every_vote_once() {
    let rig = Rig::new().await;
    let intake = rig.intake();
    let first = rig.consumer();
    rig::submit_all(&intake, 0..50).await;
    rig.until_counted(50).await;
    let second = rig.consumer();
    for round in 1..6_u64 {
        rig::submit_all(&intake, round * 30..round * 30 + 50).await;
        rig.until_counted(round * 30 + 50).await;
    }
    assert!(first.stop(LIMIT).await);
    rig::submit_all(&intake, 1_000..1_010).await;
    rig.until_counted(210).await;
    assert!(intake.stop(LIMIT).await && second.stop(LIMIT).await);
    rig.assert_conserved(310).await;
}

#[tokio::test]
async fn a_log_that_is_closed_under_a_consumer_is_away_until_the_consumer_is_stopped() {
    let rig = Rig::new().await;
    let consumer = rig.consumer();
    rig.log().append(&foreign(1, POLL, 0..3)).await.unwrap();
    rig.until_counted(3).await;
    rig.embedded().close();
    rig.until("the consumer notices", async |_| {
        consumer.status().state == ConsumerState::LogAway
    })
    .await;
    consumer.stop(LIMIT).await;
    assert_eq!(consumer.status().state, ConsumerState::Stopped);
}

#[tokio::test]
async fn the_window_is_shown_in_the_status() {
    let rig = Rig::new().await;
    let consumer = rig.consumer();
    rig.log().append(&foreign(1, POLL, 0..100)).await.unwrap();
    rig.until("the window is filled", async |_| {
        consumer.status().window_keys == 100
    })
    .await;
    assert!(consumer.status().window_bytes > 0);
    assert!(consumer.stop(Duration::from_secs(10)).await);
}
