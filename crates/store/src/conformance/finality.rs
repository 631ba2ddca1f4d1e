//! When a result no longer changes.

use std::sync::Arc;

use bytes::Bytes;
use paredao_domain::{Lane, Poll, PollState};

use super::dead_letters::letter;
use super::fixture::{NOW, Scribe, close_poll, open_poll, snapshot, vote};
use crate::{ApplyError, DeadLetterState, FinalityHurdle, NewDeadLetter, Store, StoreError};

async fn hurdles(store: &dyn Store, scribe: &Scribe, poll: &Poll) -> Vec<FinalityHurdle> {
    let when = NOW.plus(5_000);
    store.finalize(&scribe.fence, poll.id, when).await.unwrap()
}

async fn write_off_everything(store: &dyn Store) {
    for letter in store.dead_letters().await.unwrap() {
        let state = DeadLetterState::WrittenOff("lixo".to_owned());
        store.resolve_dead_letter(letter.id, state).await.unwrap();
    }
}

pub(super) async fn a_result_is_final_only_when_nothing_stands_in_the_way(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let lost = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1), vote(1, 2)]);
    let damaged = scribe.cut(poll.id, NOW.minute(), &[vote(1, 3)]);
    scribe.book.record(&damaged);
    scribe.submit(&poll, NOW.minute(), &[vote(1, 4)]).await;
    let letters = vec![letter(&damaged, "one"), nobodys_letter()];
    scribe.set_aside(letters).await;

    let mut expected = vec![
        FinalityHurdle::NotClosed,
        FinalityHurdle::Barrier,
        FinalityHurdle::DeadLetters(2),
        FinalityHurdle::Missing(2),
    ];
    assert_eq!(hurdles(&*store, &scribe, &poll).await, expected);
    let poll = close_poll(&*store, &poll, 3_000).await;
    expected.remove(0);
    assert_eq!(hurdles(&*store, &scribe, &poll).await, expected);
    scribe.pass_barrier(&poll).await;
    assert!(snapshot(&*store).await.polls[0].barrier_passed);
    expected.remove(0);
    assert_eq!(hurdles(&*store, &scribe, &poll).await, expected);
    write_off_everything(&*store).await;
    expected.remove(0);
    assert_eq!(hurdles(&*store, &scribe, &poll).await, expected);
    assert_eq!(store.polls().await.unwrap()[0].final_at, None);

    // The lost batch comes after all.
    scribe.apply_batch(&poll, &lost).await;
    assert_eq!(hurdles(&*store, &scribe, &poll).await, []);
    let poll = store.polls().await.unwrap().remove(0);
    assert_eq!(poll.final_at, Some(NOW.plus(5_000)));
    assert_eq!(poll.state(NOW), PollState::Final);
}

fn nobodys_letter() -> NewDeadLetter {
    NewDeadLetter {
        envelope: None,
        body: Bytes::from_static(b"whose?"),
        reason: "damaged".to_owned(),
        votes: 0,
    }
}

/// A poll that closed and whose barrier came through.
async fn ready(store: &dyn Store, scribe: &mut Scribe) -> Poll {
    let poll = open_poll(store, "um").await;
    scribe.submit(&poll, NOW.minute(), &[vote(1, 1)]).await;
    let poll = close_poll(store, &poll, 3_000).await;
    scribe.pass_barrier(&poll).await;
    poll
}

pub(super) async fn a_final_result_stays_as_it_is(store: Arc<dyn Store>) {
    let mut scribe = Scribe::claim(&store, 1).await;
    let open = ready(&*store, &mut scribe).await;
    assert_eq!(hurdles(&*store, &scribe, &open).await, []);
    // Again, and later: nothing changes.
    let again = store
        .finalize(&scribe.fence, open.id, NOW.plus(9_000))
        .await;
    assert_eq!(again.unwrap(), []);
    let poll = store.polls().await.unwrap().remove(0);
    assert_eq!(poll.final_at, Some(NOW.plus(5_000)));

    // Whoever would count on is refused; what is set aside as late is kept.
    let next = scribe.next;
    let batch = scribe.cut(open.id, NOW.minute(), &[vote(2, 2)]);
    let counted = scribe.enter(&open, &batch);
    let refused = scribe.apply(&scribe.application(vec![counted])).await;
    assert!(matches!(
        refused,
        Err(ApplyError::Store(StoreError::Damaged(_)))
    ));
    scribe.next = next;
    scribe.apply_batch(&poll, &batch).await;
    let view = &snapshot(&*store).await.polls[0];
    assert_eq!(view.votes, [1, 0, 0]);
    assert_eq!(view.accounts.late, 1);
}

pub(super) async fn dead_letters_of_other_polls_do_not_stand_in_the_way(store: Arc<dyn Store>) {
    let mut scribe = Scribe::claim(&store, 1).await;
    let poll = ready(&*store, &mut scribe).await;
    let other = open_poll(&*store, "dois").await;
    let batch = scribe.cut(other.id, NOW.minute(), &[vote(1, 5)]);
    scribe.book.record(&batch);
    scribe.set_aside(vec![letter(&batch, "one")]).await;
    assert_eq!(hurdles(&*store, &scribe, &poll).await, []);
}

pub(super) async fn a_requeued_letter_stands_in_the_way_until_its_batch_is_in_the_ledger(
    store: Arc<dyn Store>,
) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 5)]);
    scribe.book.record(&batch);
    scribe.set_aside(vec![letter(&batch, "one")]).await;
    let poll = close_poll(&*store, &poll, 3_000).await;
    scribe.pass_barrier(&poll).await;
    let id = store.dead_letters().await.unwrap()[0].id;
    let decide = |state| store.resolve_dead_letter(id, state);
    let waits = [FinalityHurdle::DeadLetters(1)];
    let is_on_its_way = [FinalityHurdle::Requeued(1)];
    assert_eq!(hurdles(&*store, &scribe, &poll).await, waits);
    decide(DeadLetterState::Requeued).await.unwrap();
    assert_eq!(hurdles(&*store, &scribe, &poll).await, is_on_its_way);
    // It could not be sent, and then could.
    decide(DeadLetterState::Unresolved).await.unwrap();
    assert_eq!(hurdles(&*store, &scribe, &poll).await, waits);
    decide(DeadLetterState::Requeued).await.unwrap();
    scribe.apply_batch(&poll, &batch).await;
    assert_eq!(hurdles(&*store, &scribe, &poll).await, []);
    assert_eq!(snapshot(&*store).await.polls[0].votes, [1, 0, 0]);
}

pub(super) async fn a_requeued_letter_that_never_comes_through_can_be_given_up(
    store: Arc<dyn Store>,
) {
    let mut scribe = Scribe::claim(&store, 1).await;
    let poll = ready(&*store, &mut scribe).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 5)]);
    scribe.book.record(&batch);
    scribe.set_aside(vec![letter(&batch, "one")]).await;
    let id = store.dead_letters().await.unwrap()[0].id;
    for state in [
        DeadLetterState::Requeued,
        DeadLetterState::WrittenOff("lixo".to_owned()),
    ] {
        store.resolve_dead_letter(id, state).await.unwrap();
    }
    assert_eq!(hurdles(&*store, &scribe, &poll).await, []);
}

pub(super) async fn votes_missing_outside_the_hours_do_not_stand_in_the_way(store: Arc<dyn Store>) {
    let mut scribe = Scribe::claim(&store, 1).await;
    let poll = ready(&*store, &mut scribe).await;
    let other = open_poll(&*store, "dois").await;
    // Lost after the poll's end: the gap lies between these minutes.
    let next_minutes = [2, 3, 4].map(|n| paredao_domain::Minute(NOW.minute().0 + n));
    let [before, lost, after] = next_minutes;
    scribe.submit(&other, before, &[vote(1, 5)]).await;
    scribe.cut(other.id, lost, &[vote(1, 6)]);
    scribe.submit(&other, after, &[vote(1, 7)]).await;
    assert_eq!(snapshot(&*store).await.books.missing, 1);
    assert_eq!(hurdles(&*store, &scribe, &poll).await, []);
}

pub(super) async fn the_barrier_must_come_off_every_lane(store: Arc<dyn Store>) {
    let mut scribe = Scribe::claim(&store, 1).await;
    let mut second = Scribe::claim_lane(&store, 2, Lane(1)).await;
    let poll = ready(&*store, &mut scribe).await;
    let hurdle = [FinalityHurdle::Barrier];
    assert_eq!(hurdles(&*store, &scribe, &poll).await, hurdle);
    assert!(!snapshot(&*store).await.polls[0].barrier_passed);
    second.pass_barrier(&poll).await;
    assert_eq!(hurdles(&*store, &scribe, &poll).await, []);
}

pub(super) async fn a_poll_that_is_open_again_needs_another_barrier(store: Arc<dyn Store>) {
    let mut scribe = Scribe::claim(&store, 1).await;
    let poll = ready(&*store, &mut scribe).await;
    // Whoever asks has a clock that says so: the one that sent the barrier was ahead.
    let open = store.finalize(&scribe.fence, poll.id, NOW).await.unwrap();
    assert_eq!(open, [FinalityHurdle::NotClosed, FinalityHurdle::Barrier]);
    assert!(!snapshot(&*store).await.polls[0].barrier_passed);
    let hurdle = [FinalityHurdle::Barrier];
    assert_eq!(hurdles(&*store, &scribe, &poll).await, hurdle);
    scribe.pass_barrier(&poll).await;
    assert_eq!(hurdles(&*store, &scribe, &poll).await, []);
}

pub(super) async fn a_new_owner_needs_a_barrier_of_its_own(store: Arc<dyn Store>) {
    let mut second = Scribe::claim_lane(&store, 2, Lane(1)).await;
    let mut old = Scribe::claim(&store, 1).await;
    let poll = ready(&*store, &mut old).await;
    second.pass_barrier(&poll).await;
    let mut new = Scribe::claim(&store, 3).await;
    let hurdle = [FinalityHurdle::Barrier];
    assert_eq!(hurdles(&*store, &new, &poll).await, hurdle);
    assert_eq!(hurdles(&*store, &second, &poll).await, hurdle);
    new.pass_barrier(&poll).await;
    assert_eq!(hurdles(&*store, &second, &poll).await, []);
    // What is final stays as it is.
    Scribe::claim(&store, 4).await;
    assert!(snapshot(&*store).await.polls[0].barrier_passed);
}
