//! A lane has one owner at a time.

use std::sync::Arc;

use paredao_domain::{Lane, LedgerPosition};

use super::fixture::{NOW, Scribe, close_poll, ledger_of, open_poll, snapshot, vote};
use crate::{Application, ApplyError, Fence, OwnerId, Store};

pub(super) async fn an_owner_who_lost_the_lane_changes_nothing_any_more(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let poll = close_poll(&*store, &poll, 1).await;
    let mut old = Scribe::claim(&store, 1).await;
    let batch = old.cut(poll.id, NOW.minute(), &[vote(1, 1)]);
    let entry = old.enter(&poll, &batch);
    let new = Scribe::claim(&store, 2).await;

    let refused = old.apply(&old.application(vec![entry])).await;
    assert!(matches!(refused, Err(ApplyError::Fenced)), "{refused:?}");
    let refused = store.finalize(&old.fence, poll.id, NOW.plus(10)).await;
    assert!(matches!(refused, Err(ApplyError::Fenced)), "{refused:?}");
    assert!(ledger_of(&*store, Lane(0)).await.is_empty());
    new.apply(&Application::default()).await.unwrap();
}

pub(super) async fn an_earlier_claim_of_the_same_owner_is_fenced_too(store: Arc<dyn Store>) {
    let earlier = Scribe::claim(&store, 1).await;
    let later = Scribe::claim(&store, 1).await;
    assert_ne!(earlier.fence, later.fence);
    let refused = earlier.apply(&Application::default()).await;
    assert!(matches!(refused, Err(ApplyError::Fenced)), "{refused:?}");
    later.apply(&Application::default()).await.unwrap();
}

pub(super) async fn a_lane_nobody_claimed_takes_nothing(store: Arc<dyn Store>) {
    let fence = Fence {
        lane: Lane(0),
        owner: OwnerId(1),
        epoch: 1,
    };
    let refused = store.apply(&fence, &Application::default()).await;
    assert!(matches!(refused, Err(ApplyError::Fenced)), "{refused:?}");
}

pub(super) async fn a_new_owner_finds_everything_the_last_one_left(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let claim = store.claim_lane(Lane(0), OwnerId(9)).await.unwrap();
    assert_eq!(claim.next_position, LedgerPosition(1));
    assert!(claim.incarnations.is_empty() && claim.newest_minute.is_none());

    let mut old = Scribe::claim(&store, u64::MAX).await;
    old.submit(&poll, NOW.minute(), &[vote(1, 1)]).await;
    let earlier = NOW.plus(-300_000).minute();
    old.submit(&poll, earlier, &[vote(1, 2)]).await;
    let claim = store.claim_lane(Lane(0), OwnerId(2)).await.unwrap();
    assert_eq!(claim.next_position, LedgerPosition(3));
    assert_eq!(claim.incarnations, [old.book.clone()]);
    assert_eq!(claim.newest_minute, Some(NOW.minute()));
}

pub(super) async fn lanes_are_owned_apart_and_summed_on_reading(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut zero = Scribe::claim_lane(&store, 1, Lane(0)).await;
    let mut last = Scribe::claim_lane(&store, 2, Lane(255)).await;
    zero.submit(&poll, NOW.minute(), &[vote(1, 1)]).await;
    last.submit(&poll, NOW.minute(), &[vote(1, 2), vote(2, 3)])
        .await;
    zero.submit(&poll, NOW.minute(), &[vote(7, 4)]).await;
    let view = &snapshot(&*store).await.polls[0];
    assert_eq!(view.votes, [2, 1, 1]);
    assert_eq!(view.minutes[0].votes, [2, 1, 1]);
    assert_eq!(view.accounts.counted, 4);
    assert_eq!(ledger_of(&*store, Lane(0)).await.len(), 2);
    assert_eq!(ledger_of(&*store, Lane(255)).await.len(), 1);
}
