//! What goes wrong behind the door is said, and said once.

use paredao_domain::{
    BatchHeader, BatchId, BatchKind, CandidateNumber, Clock as _, EncodedBatch, Incarnation,
    KeyHash, KeySource, Lane, Mode, PollId, Vote,
};
use paredao_vote_log::VoteLog as _;
use paredao_vote_log::disk::simulated::ForgettingDisk;
use serde_json::Value;

use crate::support::{House, Plan, eventually, heard};

/// Votes of the batch that got lost: a number that no other alarm has.
const LOST: u64 = 4_711;

/// The second batch of an API whose first one was confirmed and is nowhere.
fn second_batch(house: &House) -> EncodedBatch {
    let header = BatchHeader {
        kind: BatchKind::Votes,
        mode: Mode::Torcida,
        poll: PollId(1),
        id: BatchId {
            incarnation: Incarnation(99),
            lane: Lane(0),
            number: 2,
        },
        minute: house.clock.now().minute(),
        cumulative: LOST + 1,
        confirmed: 1,
    };
    let vote = Vote {
        candidate: CandidateNumber::try_from(1).unwrap(),
        source: KeySource::Drawn,
        offset: 59_999,
        key: KeyHash([7; KeyHash::BYTES]),
    };
    EncodedBatch::encode(header, &[], &[vote])
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_that_got_lost_raise_one_alarm_however_often_the_books_are_read() {
    heard::listen();
    House::visit(Plan::default(), async |house| {
        house.log.append(&second_batch(house)).await.unwrap();
        let lost = |total: &Value| total["contas"]["perdidos"] == LOST;
        house.until("/total", lost).await;
        for _ in 0..5 {
            house.api.refresh().await.unwrap();
        }
        let alarms = heard::alarms("votes_missing");
        let of_this_loss = alarms
            .iter()
            .filter(|alarm| alarm.field("newly") == Some("4711"));
        assert_eq!(of_this_loss.count(), 1, "{alarms:?}");
        let missing = "paredao_conservation_votes{term=\"missing\"}";
        eventually("the metric tells", async || {
            house.metric(missing).await >= 4_711.0
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_region_of_the_log_is_counted_where_operators_look() {
    let disk = ForgettingDisk::new(1);
    disk.replace("0000000001.segment", &[0xee; 3_000]);
    let plan = Plan {
        disk,
        ..Plan::default()
    };
    House::visit(plan, async |house| {
        eventually("both are counted", async || {
            house.metric("paredao_log_damaged_regions").await >= 1.0
                && house.metric("paredao_dead_letters_unresolved").await >= 1.0
        })
        .await;
        house.vote("/votar", 1, &[]).await.json();
        house.until("/total", |total| total["total"] == 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_shown_without_books_while_the_log_cannot_be_read() {
    House::visit(Plan::default(), async |house| {
        house.vote("/votar", 1, &[]).await.json();
        let booked = |votes: u64| move |total: &Value| total["contas"]["contados"] == votes;
        house.until("/total", booked(1)).await;
        house.log.fall_silent();
        house.vote("/votar", 1, &[]).await.json();
        let without_books = |total: &Value| total["total"] == 2 && total["contas"].is_null();
        house.until("/total", without_books).await;
        house.log.speak_again();
        house.until("/total", booked(2)).await;
    })
    .await;
}
