//! Transactions happen whole or not at all, and once.

use std::sync::Arc;

use paredao_domain::{
    Accounts, BatchKind, LedgerPosition, Mark, MarkKind, PollId, Standing, UnixMillis,
};

use super::fixture::{CANDIDATES, NOW, Scribe, close_poll, ledger_of, open_poll, snapshot, vote};
use crate::{Application, ApplyError, Bucket, NewDeadLetter, Snapshot, Store, StoreError};

pub(super) async fn a_counted_vote_is_in_ledger_totals_buckets_and_accounts(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1), vote(7, 2), vote(7, 3)]);
    let entry = scribe.enter(&poll, &batch);
    scribe
        .apply(&scribe.application(vec![entry.clone()]))
        .await
        .unwrap();

    assert_eq!(ledger_of(&*store, batch.id().lane).await, [entry]);
    let view = &snapshot(&*store).await.polls[0];
    let bucket = |start| Bucket {
        start,
        votes: vec![1, 0, 2],
    };
    assert_eq!(view.votes, [1, 0, 2]);
    assert_eq!(view.minutes, [bucket(NOW.minute())]);
    let hour = NOW.minute().hour_start(poll.utc_offset);
    assert_eq!(view.hours, [bucket(hour)]);
    let accounts = Accounts {
        counted: 3,
        ..Accounts::default()
    };
    assert_eq!(view.accounts, accounts);
    assert_eq!(snapshot(&*store).await.books.accounts, accounts);
}

pub(super) async fn copies_and_votes_out_of_time_are_booked_apart_and_not_counted(
    store: Arc<dyn Store>,
) {
    let poll = open_poll(&*store, "um").await;
    let poll = close_poll(&*store, &poll, 1_000).await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let after_close = paredao_domain::Vote {
        offset: 1_000,
        ..vote(1, 9)
    };
    let votes = [vote(1, 1), vote(1, 1), vote(2, 1), after_close];
    scribe.submit(&poll, NOW.minute(), &votes).await;
    let view = &snapshot(&*store).await.polls[0];
    assert_eq!(view.votes, [1, 0, 0]);
    assert_eq!(
        view.accounts,
        Accounts {
            counted: 1,
            duplicate: 1,
            key_conflict: 1,
            after_close: 1,
            late: 0
        }
    );
}

pub(super) async fn an_application_that_is_refused_changes_nothing(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let first = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1)]);
    scribe.apply_batch(&poll, &first).await;
    let before = snapshot(&*store).await;

    let second = scribe.cut(poll.id, NOW.minute(), &[vote(2, 2)]);
    let entries = vec![scribe.enter(&poll, &second), scribe.enter(&poll, &first)];
    let application = Application {
        dead_letters: vec![NewDeadLetter {
            envelope: None,
            body: bytes::Bytes::from_static(b"garbage"),
            reason: "damaged".to_owned(),
            votes: 5,
        }],
        barriers: vec![poll.id],
        ..scribe.application(entries)
    };
    let refused = scribe.apply(&application).await;
    assert!(matches!(refused, Err(ApplyError::AlreadyApplied(id)) if id == first.id()));
    assert_same(&before, &snapshot(&*store).await);
    assert_eq!(ledger_of(&*store, first.id().lane).await.len(), 1);
    assert!(store.dead_letters().await.unwrap().is_empty());
}

pub(super) async fn a_batch_applied_before_is_refused_and_named(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1)]);
    scribe.apply_batch(&poll, &batch).await;
    let again = scribe.enter(&poll, &batch);
    let refused = scribe.apply(&scribe.application(vec![again])).await;
    assert!(matches!(refused, Err(ApplyError::AlreadyApplied(id)) if id == batch.id()));
    assert_eq!(snapshot(&*store).await.polls[0].votes, [1, 0, 0]);
}

pub(super) async fn a_batch_twice_in_one_application_is_refused(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1)]);
    let twice = vec![scribe.enter(&poll, &batch), scribe.enter(&poll, &batch)];
    let refused = scribe.apply(&scribe.application(twice)).await;
    assert!(matches!(refused, Err(ApplyError::AlreadyApplied(id)) if id == batch.id()));
    assert_eq!(snapshot(&*store).await.polls[0].votes, [0, 0, 0]);
}

pub(super) async fn entries_that_do_not_follow_the_last_one_are_refused(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    for position in [0, 2, u64::MAX >> 16] {
        let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, position)]);
        let mut entry = scribe.enter(&poll, &batch);
        entry.position = LedgerPosition(position);
        refuses(&scribe, &scribe.application(vec![entry])).await;
    }
    assert!(ledger_of(&*store, scribe.fence.lane).await.is_empty());
}

pub(super) async fn marks_that_cannot_be_are_refused(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let standing = Some(Standing {
        entry: LedgerPosition(1),
        position: 0,
    });
    for (position, kind, standing) in [
        (2, MarkKind::Late, None),
        (0, MarkKind::Duplicate, None),
        (0, MarkKind::KeyConflict, None),
        (0, MarkKind::AfterClose, standing),
    ] {
        let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1), vote(1, 2)]);
        let mark = Mark {
            position,
            kind,
            standing,
        };
        let entry = scribe.place(&batch, vec![mark]);
        scribe.next = LedgerPosition(1);
        refuses(&scribe, &scribe.application(vec![entry])).await;
    }
    assert!(ledger_of(&*store, scribe.fence.lane).await.is_empty());
}

pub(super) async fn votes_that_no_total_can_hold_are_refused(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let stranger = CANDIDATES.iter().max().unwrap() + 1;
    for (poll, candidate) in [(poll.id, stranger), (PollId(poll.id.0 + 1), 1)] {
        let batch = scribe.cut(poll, NOW.minute(), &[vote(candidate, 1)]);
        let entry = scribe.place(&batch, Vec::new());
        scribe.next = LedgerPosition(1);
        refuses(&scribe, &scribe.application(vec![entry])).await;
    }
}

pub(super) async fn markers_stand_in_the_ledger_and_change_no_total(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let entries: Vec<_> = [
        (BatchKind::Void, PollId::NONE),
        (BatchKind::Barrier, poll.id),
        (BatchKind::End, PollId::NONE),
    ]
    .map(|(kind, poll)| {
        let batch = scribe.cut_marker(kind, poll);
        scribe.place(&batch, Vec::new())
    })
    .into();
    scribe
        .apply(&scribe.application(entries.clone()))
        .await
        .unwrap();
    assert_eq!(ledger_of(&*store, scribe.fence.lane).await, entries);
    let view = &snapshot(&*store).await.polls[0];
    assert_eq!((view.accounts.total(), view.hours.len()), (0, 0));
}

pub(super) async fn an_empty_application_is_applied(store: Arc<dyn Store>) {
    let scribe = Scribe::claim(&store, 1).await;
    let empty = Application {
        now: UnixMillis(1),
        ..Application::default()
    };
    scribe.apply(&empty).await.unwrap();
}

async fn refuses(scribe: &Scribe, application: &Application) {
    let refused = scribe.apply(application).await;
    assert!(
        matches!(refused, Err(ApplyError::Store(StoreError::Damaged(_)))),
        "{refused:?}"
    );
}

fn assert_same(before: &Snapshot, after: &Snapshot) {
    assert_eq!(before.polls, after.polls);
    assert_eq!(before.books, after.books);
}
