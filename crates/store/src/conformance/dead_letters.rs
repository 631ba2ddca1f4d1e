//! Dead letters, from their coming to somebody's decision.

use std::sync::Arc;

use bytes::Bytes;
use paredao_domain::{EncodedBatch, Envelope};

use super::fixture::{NOW, Scribe, open_poll, snapshot, vote};
use crate::{
    Application, DeadLetter, DeadLetterId, DeadLetterState, Known, NewDeadLetter, Store, StoreError,
};

/// A letter of a batch whose body was damaged in a way of its own.
pub(super) fn letter(batch: &EncodedBatch, damage: &'static str) -> NewDeadLetter {
    NewDeadLetter {
        envelope: Some(Envelope::from(batch)),
        body: Bytes::from_static(damage.as_bytes()),
        reason: "damaged: the checksum does not match".to_owned(),
        votes: batch.vote_count(),
    }
}

async fn unresolved_and_votes(store: &dyn Store) -> (u64, u64, u64) {
    let snapshot = snapshot(store).await;
    (
        snapshot.books.dead_letters_unresolved,
        snapshot.books.dead_lettered,
        snapshot.polls[0].dead_lettered,
    )
}

pub(super) async fn a_dead_letter_is_kept_until_somebody_decides(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1), vote(1, 2)]);
    let known = letter(&batch, "one");
    let unknown = NewDeadLetter {
        envelope: None,
        body: Bytes::new(),
        reason: "damaged".to_owned(),
        votes: 0,
    };
    scribe.set_aside(vec![known.clone(), unknown.clone()]).await;
    let heads = store.dead_letters().await.unwrap();
    let mut letters = Vec::new();
    for head in &heads {
        letters.push(store.dead_letter(head.id).await.unwrap());
        assert_eq!(letters.last().map(DeadLetter::head).as_ref(), Some(head));
    }
    assert!(letters[0].id < letters[1].id);
    assert_eq!((&letters[0].letter, &letters[1].letter), (&known, &unknown));
    assert_eq!(letters[0].at, NOW);
    assert_eq!(letters[0].state, DeadLetterState::Unresolved);
    assert_eq!(unresolved_and_votes(&*store).await, (2, 2, 2));

    let given_up = DeadLetterState::WrittenOff("lixo".to_owned());
    store
        .resolve_dead_letter(letters[0].id, given_up.clone())
        .await
        .unwrap();
    assert_eq!(
        store.dead_letter(letters[0].id).await.unwrap().state,
        given_up
    );
    assert_eq!(unresolved_and_votes(&*store).await, (1, 2, 2));
}

pub(super) async fn a_batch_that_comes_again_with_the_same_body_is_kept_once(
    store: Arc<dyn Store>,
) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1)]);
    let same = letter(&batch, "same");
    let other = NewDeadLetter {
        reason: "for another reason".to_owned(),
        ..same.clone()
    };
    let again = || scribe.set_aside(vec![other.clone()]);
    scribe.set_aside(vec![same.clone(), same.clone()]).await;
    again().await;
    let letters = store.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 1);
    let id = letters[0].id;
    assert_eq!(store.dead_letter(id).await.unwrap().letter, same);
    for (decision, after) in [
        (DeadLetterState::Requeued, DeadLetterState::Unresolved),
        (
            DeadLetterState::WrittenOff("lixo".to_owned()),
            DeadLetterState::WrittenOff("lixo".to_owned()),
        ),
    ] {
        store.resolve_dead_letter(id, decision).await.unwrap();
        again().await;
        assert_eq!(store.dead_letter(id).await.unwrap().state, after);
    }
    assert_eq!(store.dead_letters().await.unwrap().len(), 1);
}

pub(super) async fn equal_bodies_of_two_batches_or_of_none_are_letters_of_their_own(
    store: Arc<dyn Store>,
) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batches = [1, 2].map(|key| scribe.cut(poll.id, NOW.minute(), &[vote(1, key)]));
    let [one, two] = batches.each_ref().map(|batch| letter(batch, "zeros"));
    let nobodys = NewDeadLetter {
        envelope: None,
        votes: 0,
        ..one.clone()
    };
    let letters = vec![one, two.clone(), nobodys.clone(), nobodys, two];
    scribe.set_aside(letters).await;
    assert_eq!(unresolved_and_votes(&*store).await, (3, 2, 2));
    let ids = batches.map(|batch| batch.id());
    let known = ids.map(|id| (id, Known::DeadLettered));
    assert_eq!(store.known(&ids).await.unwrap(), known);
}

pub(super) async fn a_requeued_letter_weighs_until_its_batch_is_applied(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1)]);
    scribe.set_aside(vec![letter(&batch, "one")]).await;
    let known = store.known(&[batch.id()]).await.unwrap();
    assert_eq!(known, [(batch.id(), Known::DeadLettered)]);
    let id = store.dead_letters().await.unwrap()[0].id;
    store
        .resolve_dead_letter(id, DeadLetterState::Requeued)
        .await
        .unwrap();
    let known = store.known(&[batch.id()]).await.unwrap();
    assert_eq!(known, [(batch.id(), Known::DeadLettered)]);
    assert_eq!(unresolved_and_votes(&*store).await, (0, 1, 1));

    scribe.apply_batch(&poll, &batch).await;
    assert_eq!(unresolved_and_votes(&*store).await, (0, 0, 0));
    let checksum = batch.checksum();
    let known = store.known(&[batch.id()]).await.unwrap();
    assert_eq!(known, [(batch.id(), Known::Applied { checksum })]);
    assert_eq!(snapshot(&*store).await.polls[0].votes, [1, 0, 0]);
}

pub(super) async fn a_letter_whose_batch_comes_whole_after_all_no_longer_weighs(
    store: Arc<dyn Store>,
) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let [earlier, together, other] =
        [1, 2, 3].map(|key| scribe.cut(poll.id, NOW.minute(), &[vote(1, key)]));
    let letters = vec![letter(&earlier, "one"), letter(&other, "three")];
    scribe.set_aside(letters).await;
    // One damaged copy was here already, the other comes with the good one.
    let entries = vec![
        scribe.enter(&poll, &earlier),
        scribe.enter(&poll, &together),
    ];
    let application = Application {
        recovered: vec![earlier.id(), together.id()],
        dead_letters: vec![letter(&together, "two")],
        ..scribe.application(entries)
    };
    scribe.apply(&application).await.unwrap();
    let states: Vec<_> = store.dead_letters().await.unwrap();
    let states: Vec<_> = states.into_iter().map(|letter| letter.state).collect();
    let requeued = DeadLetterState::Requeued;
    assert_eq!(
        states,
        [requeued.clone(), DeadLetterState::Unresolved, requeued]
    );
    assert_eq!(unresolved_and_votes(&*store).await, (1, 1, 1));
    assert_eq!(snapshot(&*store).await.polls[0].votes, [2, 0, 0]);
}

pub(super) async fn a_requeued_letter_can_be_put_back_until_its_batch_is_applied(
    store: Arc<dyn Store>,
) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1)]);
    scribe.set_aside(vec![letter(&batch, "one")]).await;
    let id = store.dead_letters().await.unwrap()[0].id;
    let decide = |state| store.resolve_dead_letter(id, state);
    decide(DeadLetterState::Requeued).await.unwrap();
    decide(DeadLetterState::Unresolved).await.unwrap();
    assert_eq!(unresolved_and_votes(&*store).await, (1, 1, 1));

    decide(DeadLetterState::Requeued).await.unwrap();
    scribe.apply_batch(&poll, &batch).await;
    decide(DeadLetterState::Unresolved).await.unwrap();
    assert_eq!(unresolved_and_votes(&*store).await, (0, 0, 0));
    let given_up = decide(DeadLetterState::WrittenOff("lixo".to_owned())).await;
    assert!(matches!(given_up, Err(StoreError::UnknownDeadLetter(_))));
}

pub(super) async fn what_is_resolved_cannot_be_resolved_again(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1)]);
    scribe.set_aside(vec![letter(&batch, "one")]).await;
    let id = store.dead_letters().await.unwrap()[0].id;
    let lost = DeadLetterState::WrittenOff("lixo".to_owned());
    store.resolve_dead_letter(id, lost.clone()).await.unwrap();
    for (id, state) in [
        (id, DeadLetterState::Requeued),
        (id, lost),
        (DeadLetterId(99), DeadLetterState::Requeued),
    ] {
        let refused = store.resolve_dead_letter(id, state).await;
        assert!(matches!(refused, Err(StoreError::UnknownDeadLetter(named)) if named == id));
    }
    let refused = store.dead_letter(DeadLetterId(99)).await;
    assert!(matches!(refused, Err(StoreError::UnknownDeadLetter(_))));
}
