use paredao_domain::{CandidateNumber, IncarnationBook, KeyHash, KeySource, VotingHours};

use super::*;
use crate::Ballot;
use crate::numbers::VOIDS_PER_BATCH_MAX;

const WHO: Incarnation = Incarnation(0xabc);
const DEADLINE_MS: u64 = 5_000;
const BOOT: BootMillis = BootMillis(100);
const LATE: BootMillis = BootMillis(100 + DEADLINE_MS + 1);

fn desk() -> Desk<u32> {
    Desk::new(WHO, Lane(0), 4, DEADLINE_MS)
}

/// Votes of one poll each, accepted at the given instants; the waiter is the index.
fn taken(votes: &[(u32, i64)]) -> Taken<u32> {
    let waiting = |(waiter, &(poll, at)): (u32, &(u32, i64))| Waiting {
        ballot: Ballot {
            poll: PollId(poll),
            hours: VotingHours {
                opens_at: None,
                closes_at: None,
            },
            candidate: CandidateNumber::try_from(1).unwrap(),
            source: KeySource::Drawn,
            key: KeyHash([0; 12]),
        },
        accepted_at: UnixMillis(at),
        waiter,
    };
    Taken {
        votes: (0..).zip(votes).map(waiting).collect(),
        oldest: BOOT,
    }
}

fn cut(desk: &mut Desk<u32>, votes: &[(u32, i64)]) -> Vec<EncodedBatch> {
    desk.cut(&mut taken(votes))
}

fn confirm(
    desk: &mut Desk<u32>,
    number: BatchNumber,
    boot: BootMillis,
) -> Vec<(u32, Result<Position, NotTaken>)> {
    let mut answers = Vec::new();
    desk.confirm(number, boot, |who, answer| {
        answers.push((who, answer.map(|r| r.position)));
    });
    answers
}

#[test]
fn a_batch_belongs_to_one_poll_and_one_minute_and_is_not_too_large() {
    let mut desk = desk();
    let mut votes = vec![(1, 59_999), (2, 59_999), (1, 60_000)];
    votes.extend([(1, 60_001); 5]);
    let batches = cut(&mut desk, &votes);
    assert!(batches.iter().all(|b| b.vote_count() <= 4));
    assert_eq!(batches.iter().map(EncodedBatch::vote_count).sum::<u32>(), 8);
    assert_eq!(batches.len(), 4);
}

#[test]
fn numbers_follow_minutes_however_many_polls_there_are() {
    for full in 1..=5 {
        let mut votes: Vec<(u32, i64)> = (1..=5).map(|poll| (poll, 59_999)).collect();
        votes.extend([(full, 60_000); 4]);
        votes.extend((1..=5).map(|poll| (poll, 60_001)));
        votes.push((full, 120_000));
        let batches = cut(&mut desk(), &votes);
        let numbers: Vec<_> = batches.iter().map(|b| b.id().number).collect();
        assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
        let minutes: Vec<_> = batches.iter().map(|b| b.header().minute.0).collect();
        assert_eq!(minutes, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2]);
    }
}

#[test]
fn a_void_marker_is_no_later_than_the_votes_that_may_follow_it() {
    let mut desk = desk();
    cut(&mut desk, &[(1, 59_999)]);
    let void = desk.marker(BatchKind::Void, UnixMillis(60_000), BOOT);
    let votes = cut(&mut desk, &[(1, 59_999)]).remove(0);
    let end = desk.marker(BatchKind::End, UnixMillis(60_000), BOOT);
    let minutes = [&void, &votes, &end].map(|batch| batch.header().minute.0);
    assert_eq!(minutes, [0, 0, 1]);
    let back = desk.marker(BatchKind::End, UnixMillis(0), BOOT);
    assert_eq!(back.header().minute.0, 1, "whatever the clock does");
}

#[test]
fn batches_are_numbered_without_holes_and_count_up() {
    let mut desk = desk();
    let first = cut(&mut desk, &[(1, 0), (1, 0)]);
    let second = cut(&mut desk, &[(1, 0)]);
    let header = |b: &[EncodedBatch]| (b[0].id().number, b[0].header().cumulative);
    assert_eq!((header(&first), header(&second)), ((1, 2), (2, 3)));
}

#[test]
fn a_confirm_answers_everybody_with_the_place_of_their_own_vote() {
    let mut desk = desk();
    cut(&mut desk, &[(1, 0), (1, 0), (1, 0)]);
    assert_eq!(
        confirm(&mut desk, 1, BOOT),
        [(0, Ok(0)), (1, Ok(1)), (2, Ok(2))]
    );
    assert_eq!(confirm(&mut desk, 1, BOOT), [], "and nobody twice");
}

#[test]
fn a_confirm_after_the_deadline_is_no_success() {
    let mut desk = desk();
    cut(&mut desk, &[(1, 0)]);
    assert_eq!(
        confirm(&mut desk, 1, LATE),
        [(0, Err(NotTaken::OutcomeUnknown))]
    );
}

#[test]
fn a_failed_batch_is_sent_again_with_the_same_bytes_until_its_deadline() {
    let mut desk = desk();
    let batch = cut(&mut desk, &[(1, 0)]).remove(0);
    let again = desk.retry(1, BOOT, |_, _| panic!("nobody is answered yet"));
    assert_eq!(
        again.map(|b| b.bytes().clone()),
        Some(batch.bytes().clone())
    );
    let mut answered = Vec::new();
    assert_eq!(
        desk.retry(1, LATE, |who, why| answered.push((who, why))),
        None
    );
    assert_eq!(answered, [(0, NotTaken::OutcomeUnknown)]);
}

#[test]
fn whoever_waits_past_the_deadline_is_told_so_while_the_batch_stays_out() {
    let mut desk = desk();
    cut(&mut desk, &[(1, 0)]);
    let mut answered = Vec::new();
    desk.answer_overdue(BOOT, |who, _| answered.push(who));
    assert!(answered.is_empty());
    desk.answer_overdue(LATE, |who, _| answered.push(who));
    assert_eq!((answered, desk.out()), (vec![0], 1));
}

#[test]
fn a_number_given_up_is_named_void_until_a_confirm_and_is_then_not_missing() {
    let mut desk = desk();
    let mut book = IncarnationBook::new(WHO, Lane(0));
    cut(&mut desk, &[(1, 0)]);
    assert_eq!(desk.retry(1, LATE, |_, _| ()), None);
    assert!(desk.has_voids());

    let naming = desk.marker(BatchKind::Void, UnixMillis(0), LATE);
    assert_eq!(naming.voids().collect::<Vec<_>>(), [1]);
    confirm(&mut desk, naming.id().number, LATE);
    assert!(!desk.has_voids());
    let later = cut(&mut desk, &[(1, 0)]).remove(0);
    assert_eq!(later.header().confirmed, 2);

    book.record(&naming);
    book.record(&later);
    assert_eq!((book.missing_votes(), book.unanswered_votes()), (0, 1));
}

/// A desk that gave number 1 up and named it so in the void marker 2, which was confirmed.
fn desk_with_a_void() -> (Desk<u32>, EncodedBatch) {
    let mut desk = desk();
    cut(&mut desk, &[(1, 0)]);
    assert_eq!(desk.retry(1, LATE, |_, _| ()), None);
    let naming = desk.marker(BatchKind::Void, UnixMillis(0), LATE);
    confirm(&mut desk, 2, LATE);
    (desk, naming)
}

fn voids(batch: &EncodedBatch) -> Vec<BatchNumber> {
    batch.voids().collect()
}

#[test]
fn a_void_number_is_named_until_three_confirmed_batches_have() {
    let (mut desk, _) = desk_with_a_void();
    let unconfirmed = cut(&mut desk, &[(1, 0)]).remove(0);
    let second = cut(&mut desk, &[(1, 0)]).remove(0);
    confirm(&mut desk, second.id().number, LATE);
    let third = cut(&mut desk, &[(1, 0)]).remove(0);
    confirm(&mut desk, third.id().number, LATE);
    let named = [&unconfirmed, &second, &third].map(voids);
    assert_eq!(named, [[1], [1], [1]]);
    let fourth = cut(&mut desk, &[(1, 0)]).remove(0);
    assert!(voids(&fourth).is_empty());
}

#[test]
fn an_end_marker_names_what_was_not_named_often_enough() {
    let (mut desk, _) = desk_with_a_void();
    let end = desk.marker(BatchKind::End, UnixMillis(0), LATE);
    assert_eq!(voids(&end), [1]);
}

#[test]
fn a_void_number_is_not_missing_though_a_batch_that_names_it_is_damaged() {
    let (mut desk, naming) = desk_with_a_void();
    let mut book = IncarnationBook::new(WHO, Lane(0));
    let damaged = naming.header();
    book.record_damaged(2, 0, damaged.cumulative, damaged.minute);
    for _ in 0..5 {
        let batch = cut(&mut desk, &[(1, 0)]).remove(0);
        book.record(&batch);
        assert!(batch.header().confirmed >= 2, "it passes the void number");
        assert_eq!((book.missing_votes(), book.unanswered_votes()), (0, 1));
        confirm(&mut desk, batch.id().number, LATE);
    }
}

#[test]
fn void_numbers_beyond_what_one_batch_names_come_first_in_the_next() {
    let mut desk = desk();
    let count = VOIDS_PER_BATCH_MAX as u64 + 1;
    for number in 1..=count {
        cut(&mut desk, &[(1, 0)]);
        assert_eq!(desk.retry(number, LATE, |_, _| ()), None);
    }
    let first = desk.marker(BatchKind::Void, UnixMillis(0), LATE);
    assert_eq!(voids(&first), (1..count).collect::<Vec<_>>());
    confirm(&mut desk, first.id().number, LATE);
    assert!(desk.has_voids(), "one was never named");
    let second = desk.marker(BatchKind::Void, UnixMillis(0), LATE);
    assert_eq!(voids(&second)[..2], [count, 1]);
    confirm(&mut desk, second.id().number, LATE);
    assert!(!desk.has_voids());
}

#[test]
fn a_batch_is_overdue_whether_somebody_waits_for_it_or_not() {
    let mut desk = desk();
    cut(&mut desk, &[(1, 0), (2, 0)]);
    assert!(!desk.is_overdue(BOOT));
    desk.answer_overdue(LATE, |_, _| ());
    confirm(&mut desk, 1, LATE);
    assert!(desk.is_overdue(LATE), "number 2 is still out");
    confirm(&mut desk, 2, LATE);
    assert!(!desk.is_overdue(LATE));
}

#[test]
fn the_next_incarnation_counts_from_the_beginning() {
    let mut desk = desk();
    cut(&mut desk, &[(1, 60_000), (2, 60_000)]);
    confirm(&mut desk, 1, BOOT);
    desk.begin_incarnation(Incarnation(0xdef));
    let first = cut(&mut desk, &[(1, 0)]).remove(0);
    let (id, header) = (first.id(), first.header());
    assert_eq!((id.incarnation, id.number), (Incarnation(0xdef), 1));
    assert_eq!((header.cumulative, header.confirmed), (1, 0));
    assert_eq!((header.minute.0, desk.out()), (0, 1));
}

#[test]
fn markers_are_retried_for_ever() {
    let mut desk = desk();
    let marker = desk.marker(BatchKind::End, UnixMillis(0), BOOT);
    assert!(desk.retry(marker.id().number, LATE, |_, _| ()).is_some());
}

#[test]
fn the_confirmed_number_waits_for_holes() {
    let mut desk = desk();
    for _ in 0..3 {
        cut(&mut desk, &[(1, 0)]);
    }
    confirm(&mut desk, 2, BOOT);
    confirm(&mut desk, 3, BOOT);
    assert_eq!(cut(&mut desk, &[(1, 0)])[0].header().confirmed, 0);
    confirm(&mut desk, 1, BOOT);
    assert_eq!(cut(&mut desk, &[(1, 0)])[0].header().confirmed, 3);
}
