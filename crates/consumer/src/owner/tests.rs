//! What an owner makes of deliveries, over a store of its own.

use paredao_domain::{BatchHeader, EncodedBatch, HEADER_BYTES, Mark, MarkKind, Standing};
use paredao_store::DeadLetterState;

use super::*;
use crate::sample::{LIFE_MS, OPENS, Rig, batch, damaged, delivery, header, vote};

const VOTES_AT: usize = HEADER_BYTES;

impl Rig {
    async fn owner(&self) -> LaneOwner {
        LaneOwner::claim(self.store(), self.clock(), Lane(0), OwnerId(1))
            .await
            .unwrap()
    }

    /// Prepares, applies and commits. Returns what was applied.
    async fn book(&self, owner: &mut LaneOwner, deliveries: &[Delivery]) -> Application {
        let prepared = owner.prepare(deliveries).await.unwrap();
        let application = prepared.application.clone();
        if !prepared.is_empty() {
            self.store.apply(owner.fence(), &application).await.unwrap();
        }
        owner.commit(prepared);
        application
    }

    async fn letters(&self) -> Vec<(u32, DeadLetterState)> {
        let letters = self.store.dead_letters().await.unwrap();
        letters
            .into_iter()
            .map(|letter| (letter.votes, letter.state))
            .collect()
    }
}

fn minute(after: u32) -> Minute {
    Minute(OPENS.0 + after)
}

fn duplicate_of(entry: u64, position: u16) -> Mark {
    Mark {
        position: 0,
        kind: MarkKind::Duplicate,
        standing: Some(Standing {
            entry: LedgerPosition(entry),
            position,
        }),
    }
}

#[tokio::test]
async fn what_is_only_prepared_leaves_no_trace() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let deliveries = [delivery(&batch(1, OPENS, &[vote(1, 1)]))];
    let first = owner.prepare(&deliveries).await.unwrap();
    let second = owner.prepare(&deliveries).await.unwrap();
    assert_eq!(first.application.entries, second.application.entries);
    assert!(owner.window().is_empty());
    owner.commit(second);
    assert_eq!(owner.window().len(), 1);
}

#[tokio::test]
async fn a_batch_delivered_again_changes_nothing() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let one = delivery(&batch(1, OPENS, &[vote(1, 1)]));
    let application = rig.book(&mut owner, &[one.clone(), one.clone()]).await;
    assert_eq!(application.entries.len(), 1);
    let again = owner.prepare(std::slice::from_ref(&one)).await.unwrap();
    assert!(again.is_empty());
    assert_eq!((again.good, again.bad), (1, 0));
    let mut heir = rig.owner().await;
    assert!(heir.prepare(&[one]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_new_owner_knows_the_keys_that_stand() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let deliveries = [delivery(&batch(1, OPENS, &[vote(1, 1)]))];
    rig.book(&mut owner, &deliveries).await;
    let mut heir = rig.owner().await;
    let copy = delivery(&batch(2, minute(1), &[vote(1, 1)]));
    let application = rig.book(&mut heir, &[copy]).await;
    assert_eq!(application.entries[0].marks, [duplicate_of(1, 0)]);
}

#[tokio::test]
async fn a_copy_from_before_the_window_is_found_in_the_ledger() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let far = u32::try_from(3 * LIFE_MS / 60_000).unwrap();
    rig.clock.set(minute(far).start());
    let first = delivery(&batch(1, OPENS, &[vote(1, 1)]));
    let newest = delivery(&batch(2, minute(far), &[vote(2, 1)]));
    rig.book(&mut owner, &[first, newest]).await;
    assert_eq!(owner.window().len(), 1, "the old key is forgotten");
    let straggler = delivery(&batch(3, OPENS, &[vote(1, 1)]));
    let application = rig.book(&mut owner, &[straggler]).await;
    assert_eq!(application.entries[0].marks, [duplicate_of(1, 0)]);
}

#[tokio::test]
async fn the_windows_edge_stays_behind_the_consumers_own_clock() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let first = delivery(&batch(1, OPENS, &[vote(1, 1)]));
    let from_the_future = delivery(&batch(2, minute(600), &[vote(2, 1)]));
    rig.book(&mut owner, &[first, from_the_future]).await;
    assert_eq!(owner.window().len(), 2);
}

#[tokio::test]
async fn a_vote_from_hours_ahead_neither_stays_in_memory_nor_is_counted_twice() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let ahead = |number| delivery(&batch(number, minute(600), &[vote(250, 1)]));
    rig.book(&mut owner, &[ahead(1)]).await;
    for after in 0..30_u8 {
        let now = minute(u32::from(after));
        rig.clock.set(now.at(30_000));
        let fresh = batch(u64::from(after) + 2, now, &[vote(after, 1)]);
        rig.book(&mut owner, &[delivery(&fresh)]).await;
        let keys = owner.window().len();
        assert!(keys <= 6, "{keys} keys in minute {after}");
    }
    let application = rig.book(&mut owner, &[ahead(40)]).await;
    assert_eq!(application.entries[0].marks, [duplicate_of(1, 0)]);

    let mut heir = rig.owner().await;
    assert!(heir.window().len() <= 6, "nor does a restart bring it back");
    let application = rig.book(&mut heir, &[ahead(41)]).await;
    assert_eq!(application.entries[0].marks, [duplicate_of(1, 0)]);
    let recent = delivery(&batch(42, minute(29), &[vote(28, 1)]));
    let application = rig.book(&mut heir, &[recent]).await;
    assert_eq!(application.entries[0].marks, [duplicate_of(30, 0)]);

    rig.clock.set(minute(601).start());
    let when_its_time_has_come = delivery(&batch(43, minute(601), &[vote(250, 1)]));
    let application = rig.book(&mut heir, &[when_its_time_has_come]).await;
    assert_eq!(application.entries[0].marks, [duplicate_of(1, 0)]);
}

#[tokio::test]
async fn a_clock_that_jumps_hours_ahead_and_back_does_not_make_a_copy_count() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let first = delivery(&batch(1, OPENS, &[vote(1, 1)]));
    rig.book(&mut owner, &[first]).await;
    rig.clock.set(minute(180).start());
    let meanwhile = delivery(&batch(2, minute(180), &[vote(2, 1)]));
    rig.book(&mut owner, &[meanwhile]).await;
    rig.clock.set(minute(1).start());
    let copy = delivery(&batch(3, minute(1), &[vote(1, 1)]));
    let application = rig.book(&mut owner, &[copy]).await;
    assert_eq!(application.entries[0].marks, [duplicate_of(1, 0)]);
}

#[tokio::test]
async fn an_envelope_with_a_number_that_no_batch_has_is_in_no_book() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    for number in [0, BatchId::NUMBER_MAX + 1, u64::MAX] {
        let mut bad = damaged(&batch(1, OPENS, &[vote(1, 1)]), VOTES_AT);
        bad.envelope.as_mut().unwrap().id.number = number;
        let prepared = owner.prepare(&[bad]).await.unwrap();
        assert!(prepared.application.incarnations.is_empty());
        assert_eq!(prepared.application.dead_letters[0].votes, 0);
    }
}

#[tokio::test]
async fn a_known_name_with_other_bytes_is_a_dead_letter_without_votes() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let deliveries = [delivery(&batch(1, OPENS, &[vote(1, 1)]))];
    rig.book(&mut owner, &deliveries).await;
    let impostor = delivery(&batch(1, OPENS, &[vote(1, 2)]));
    let application = rig.book(&mut owner, &[impostor]).await;
    assert!(application.entries.is_empty());
    assert_eq!(rig.letters().await, [(0, DeadLetterState::Unresolved)]);
}

#[tokio::test]
async fn damaged_copies_of_one_batch_hold_its_votes_once_and_a_good_copy_takes_them_back() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let good = batch(1, OPENS, &[vote(1, 1), vote(2, 1)]);
    let (one, other) = (damaged(&good, VOTES_AT), damaged(&good, VOTES_AT + 9));
    let application = rig.book(&mut owner, &[one.clone(), other.clone()]).await;
    let votes = |a: &Application| a.dead_letters.iter().map(|l| l.votes).collect::<Vec<_>>();
    assert_eq!(votes(&application), [2, 0]);
    assert_eq!(application.incarnations[0].missing_votes(), 0);
    let third = damaged(&good, VOTES_AT + 20);
    let application = rig.book(&mut owner, &[third]).await;
    assert_eq!(votes(&application), [0], "also in another transaction");

    let application = rig.book(&mut owner, &[delivery(&good)]).await;
    assert_eq!(application.recovered, [good.id()]);
    assert_eq!(application.entries.len(), 1);
    let letters = rig.letters().await;
    assert!(
        letters
            .iter()
            .all(|(_, state)| *state == DeadLetterState::Requeued)
    );
    let after = owner.prepare(&[one, other]).await.unwrap();
    assert!(after.is_empty(), "its votes stand: nobody has to decide");
}

#[tokio::test]
async fn a_bad_delivery_that_comes_again_is_not_one_more_bad_delivery() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let bad = damaged(&batch(1, OPENS, &[vote(1, 1)]), VOTES_AT);
    let prepared = owner.prepare(std::slice::from_ref(&bad)).await.unwrap();
    assert_eq!((prepared.good, prepared.bad), (0, 1));
    rig.book(&mut owner, std::slice::from_ref(&bad)).await;
    let prepared = owner.prepare(&[bad]).await.unwrap();
    assert_eq!((prepared.good, prepared.bad), (1, 0));
}

#[tokio::test]
async fn what_nothing_can_be_read_of_is_a_dead_letter_of_no_batch() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let garbage = Delivery {
        envelope: None,
        ..damaged(&batch(1, OPENS, &[vote(1, 1)]), 0)
    };
    let application = rig.book(&mut owner, &[garbage]).await;
    assert_eq!(application.dead_letters[0].envelope, None);
    assert!(application.incarnations.is_empty());
}

#[tokio::test]
async fn an_envelope_around_another_batch_is_bad() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let (one, two) = (
        batch(1, OPENS, &[vote(1, 1)]),
        batch(2, OPENS, &[vote(2, 1)]),
    );
    let mixed = Delivery {
        body: two.bytes().clone(),
        ..delivery(&one)
    };
    let prepared = owner.prepare(&[mixed]).await.unwrap();
    assert_eq!((prepared.good, prepared.bad), (0, 1));
    assert!(prepared.application.entries.is_empty());
}

#[tokio::test]
async fn a_batch_of_another_lane_is_bad_and_in_no_book_of_this_one() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let mut elsewhere = header(1, OPENS, 1);
    elsewhere.id.lane = Lane(5);
    let stray = EncodedBatch::encode(elsewhere, &[], &[vote(1, 1)]);
    let application = rig.book(&mut owner, &[delivery(&stray)]).await;
    assert!(application.entries.is_empty() && application.incarnations.is_empty());
    assert_eq!(rig.letters().await, [(0, DeadLetterState::Unresolved)]);
}

#[tokio::test]
async fn a_batch_of_a_newer_release_stops_the_owner() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let good = batch(1, OPENS, &[vote(1, 1)]);
    let mut body = good.bytes().to_vec();
    body.truncate(body.len() - 4);
    body[0] = paredao_domain::VERSION + 1;
    body.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    let newer = Delivery {
        body: body.into(),
        ..delivery(&good)
    };
    let stopped = owner.prepare(&[newer]).await.unwrap_err();
    assert!(
        stopped.to_string().contains("upgrade consumers first"),
        "{stopped}"
    );
}

#[tokio::test]
async fn a_hole_below_a_confirmed_number_is_missing_in_the_same_transaction() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let later = delivery(&batch(3, OPENS, &[vote(1, 1)]));
    let application = rig.book(&mut owner, &[later]).await;
    assert_eq!(application.incarnations[0].missing_votes(), 2);
}

#[tokio::test]
async fn a_barrier_is_named_with_the_transaction_that_brings_it() {
    let rig = Rig::new().await;
    let mut owner = rig.owner().await;
    let barrier = BatchHeader {
        kind: BatchKind::Barrier,
        ..header(1, OPENS, 0)
    };
    let barrier = EncodedBatch::encode(barrier, &[], &[]);
    let application = rig.book(&mut owner, &[delivery(&barrier)]).await;
    assert_eq!(application.barriers, [crate::sample::POLL]);
}
