//! What a voter can be told.

use std::sync::Arc;

use paredao_domain::{Account, BatchId, Vote};

use super::dead_letters::letter;
use super::fixture::{NOW, Scribe, close_poll, open_poll, vote};
use crate::{DeadLetterState, Fate, Store};

pub(super) async fn every_account_of_a_vote_is_its_fate(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let poll = close_poll(&*store, &poll, 1_000).await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let after_close = Vote {
        offset: 1_000,
        ..vote(1, 9)
    };
    let votes = [vote(1, 1), vote(1, 1), vote(2, 1), after_close];
    let batch = scribe.submit(&poll, NOW.minute(), &votes).await;
    scribe.pass_barrier(&poll).await;
    let late = NOW.plus(1_000);
    let hurdles = store.finalize(&scribe.fence, poll.id, late).await.unwrap();
    assert_eq!(hurdles, []);
    let poll = store.polls().await.unwrap().remove(0);
    let late = scribe.submit(&poll, NOW.minute(), &[vote(1, 4)]).await;

    let accounts = [
        Account::Counted,
        Account::Duplicate,
        Account::KeyConflict,
        Account::AfterClose,
    ];
    for (position, account) in (0..).zip(accounts) {
        let fate = store.fate(batch, position).await.unwrap();
        assert_eq!(fate, recorded(&poll, account), "position {position}");
    }
    assert_eq!(store.fate(batch, 4).await.unwrap(), Fate::NoSuchVote);
    let fate = store.fate(late, 0).await.unwrap();
    assert_eq!(fate, recorded(&poll, Account::Late));
}

fn recorded(poll: &paredao_domain::Poll, account: Account) -> Fate {
    Fate::Recorded {
        poll: poll.id,
        account,
    }
}

pub(super) async fn a_batch_that_did_not_come_is_missing_only_if_it_was_confirmed(
    store: Arc<dyn Store>,
) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let lost = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1)]).id();
    let later = BatchId {
        number: lost.number + 7,
        ..lost
    };
    assert_eq!(store.fate(lost, 0).await.unwrap(), Fate::NotSeen);
    // The next batch says that the first was confirmed.
    scribe.submit(&poll, NOW.minute(), &[vote(1, 2)]).await;
    assert_eq!(store.fate(lost, 0).await.unwrap(), Fate::Missing);
    assert_eq!(store.fate(later, 0).await.unwrap(), Fate::NotSeen);
}

pub(super) async fn a_batch_in_the_dead_letters_waits_or_is_given_up(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1)]);
    scribe.set_aside(vec![letter(&batch, "one")]).await;
    let id = store.dead_letters().await.unwrap()[0].id;
    for (state, fate) in [
        (None, Fate::DeadLettered),
        (Some(DeadLetterState::Requeued), Fate::DeadLettered),
        (Some(DeadLetterState::Unresolved), Fate::DeadLettered),
        (
            Some(DeadLetterState::WrittenOff(String::new())),
            Fate::Missing,
        ),
    ] {
        if let Some(state) = state {
            store.resolve_dead_letter(id, state).await.unwrap();
        }
        assert_eq!(store.fate(batch.id(), 0).await.unwrap(), fate);
    }
}
