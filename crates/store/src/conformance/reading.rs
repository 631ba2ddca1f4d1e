//! What readers see: pages of the ledger, snapshots, what is known.

use std::sync::Arc;

use paredao_domain::{
    Accounts, BatchId, BatchKind, Conservation, Incarnation, Lane, LedgerEntry, LedgerPosition,
    Minute, PollId, UtcOffset,
};

use super::fixture::{
    CANDIDATES, NOW, Scribe, apply_random, ledger_of, open_poll, open_poll_at, snapshot, vote,
    whole_lane,
};
use crate::{Known, LedgerQuery, PollView, Snapshot, Store};

/// Everything a query finds, read in pages.
async fn pages(store: &dyn Store, mut query: LedgerQuery) -> Vec<LedgerEntry> {
    let mut all = Vec::new();
    loop {
        let page = store.ledger(&query).await.unwrap();
        let Some(last) = page.last() else {
            return all;
        };
        query.after = last.position;
        all.extend(page);
    }
}

pub(super) async fn pages_together_are_the_ledger_however_small_they_are(store: Arc<dyn Store>) {
    let polls = [
        open_poll(&*store, "um").await,
        open_poll(&*store, "dois").await,
    ];
    let mut scribe = Scribe::claim(&store, 1).await;
    apply_random(&mut scribe, &polls, 11, 60).await;
    let all = ledger_of(&*store, Lane(0)).await;
    assert_eq!(all.len(), 60);
    assert!(
        (1..)
            .map(LedgerPosition)
            .zip(&all)
            .all(|(at, entry)| entry.position == at)
    );
    for bytes_max in [0, 1, 500, 5_000] {
        let query = LedgerQuery {
            bytes_max,
            ..whole_lane(Lane(0))
        };
        let first = store.ledger(&query).await.unwrap().len();
        assert_eq!(
            first == 1,
            bytes_max <= 1,
            "{bytes_max} bytes: {first} entries"
        );
        assert_eq!(pages(&*store, query).await, all, "{bytes_max} bytes");
    }
    assert!(ledger_of(&*store, Lane(1)).await.is_empty());
}

pub(super) async fn a_page_of_some_minutes_or_of_one_poll_holds_nothing_else(
    store: Arc<dyn Store>,
) {
    let polls = [
        open_poll(&*store, "um").await,
        open_poll(&*store, "dois").await,
    ];
    let mut scribe = Scribe::claim(&store, 1).await;
    apply_random(&mut scribe, &polls, 12, 80).await;
    let all = ledger_of(&*store, Lane(0)).await;
    let now = NOW.minute().0;
    let some = Minute(now - 9)..=Minute(now - 4);
    for (minutes, poll, after) in [
        (Some(some.clone()), None, 0),
        (Some(some.clone()), Some(polls[1].id), 0),
        (Some(some), None, 40),
        (None, Some(polls[0].id), 0),
        (Some(Minute(0)..=Minute(1)), None, 0),
    ] {
        let query = LedgerQuery {
            minutes: minutes.clone(),
            poll,
            after: LedgerPosition(after),
            bytes_max: 3_000,
            ..whole_lane(Lane(0))
        };
        let order = |entry: &LedgerEntry| {
            let minute = entry.batch.header().minute;
            (minutes.as_ref().map(|_| minute), entry.position)
        };
        let last_page_ended = all
            .iter()
            .find(|entry| entry.position == LedgerPosition(after))
            .map(order);
        let is_asked_for = |entry: &&LedgerEntry| {
            let header = entry.batch.header();
            Some(order(entry)) > last_page_ended
                && minutes.as_ref().is_none_or(|m| m.contains(&header.minute))
                && poll.is_none_or(|poll| poll == header.poll)
        };
        let mut expected: Vec<_> = all.iter().filter(is_asked_for).collect();
        expected.sort_by_key(|entry| order(entry));
        assert!(pages(&*store, query).await.iter().eq(expected));
    }
}

pub(super) async fn buckets_follow_the_clock_of_their_poll(store: Arc<dyn Store>) {
    let half_hour: UtcOffset = "+05:30".parse().unwrap();
    let brasilia = open_poll(&*store, "um").await;
    let india = open_poll_at(&*store, "dois", half_hour).await;
    let mut scribe = Scribe::claim(&store, 1).await;
    // NOW is half past the hour in Brasília and the full hour at +05:30.
    let (before, now) = (Minute(NOW.minute().0 - 1), NOW.minute());
    for poll in [&brasilia, &india] {
        scribe.submit(poll, before, &[vote(1, 1)]).await;
        scribe.submit(poll, now, &[vote(2, 2)]).await;
    }
    let snapshot = snapshot(&*store).await;
    let hours = |view: &PollView| -> Vec<_> {
        view.hours
            .iter()
            .map(|h| (h.start, h.votes.clone()))
            .collect()
    };
    let hour = Minute(now.0 - 30);
    assert_eq!(hours(&snapshot.polls[0]), [(hour, vec![1, 1, 0])]);
    let hour_before = Minute(now.0 - 60);
    assert_eq!(
        hours(&snapshot.polls[1]),
        [(hour_before, vec![1, 0, 0]), (now, vec![0, 1, 0])]
    );
}

pub(super) async fn minutes_are_shown_for_an_hour_and_hours_for_ever(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let now = NOW.minute().0;
    for (key, back) in (0..).zip([0, 59, 60, 600]) {
        scribe
            .submit(&poll, Minute(now - back), &[vote(1, key)])
            .await;
    }
    let view = &snapshot(&*store).await.polls[0];
    let minutes: Vec<u32> = view.minutes.iter().map(|m| now - m.start.0).collect();
    assert_eq!(minutes, [59, 0]);
    let hours: u64 = view.hours.iter().map(|hour| hour.votes[0]).sum();
    assert_eq!((hours, view.votes[0]), (4, 4));
    assert!(view.hours.is_sorted_by_key(|hour| hour.start));
}

pub(super) async fn a_snapshot_is_as_large_with_many_votes_as_with_few(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let fill = |scribe: &mut Scribe, from: u64| {
        let votes: Vec<_> = (from..from + 3_000)
            .map(|key| vote(CANDIDATES[usize::try_from(key % 3).unwrap()], key))
            .collect();
        scribe.cut(poll.id, NOW.minute(), &votes)
    };
    let size = |snapshot: &Snapshot| {
        let view = &snapshot.polls[0];
        (view.hours.len(), view.minutes.len(), view.votes.len())
    };
    let first = fill(&mut scribe, 0);
    scribe.apply_batch(&poll, &first).await;
    let few = snapshot(&*store).await;
    for from in 1..20 {
        let batch = fill(&mut scribe, from * 3_000);
        scribe.apply_batch(&poll, &batch).await;
    }
    let many = snapshot(&*store).await;
    assert_eq!(size(&few), size(&many));
    assert_eq!(many.polls[0].votes, [20_000; 3]);
}

pub(super) async fn what_is_known_of_batches_is_told_and_the_rest_left_out(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, u64::MAX - 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1)]);
    scribe.apply_batch(&poll, &batch).await;
    let id = batch.id();
    let others = [
        BatchId {
            number: id.number + 1,
            ..id
        },
        BatchId {
            lane: Lane(1),
            ..id
        },
        BatchId {
            incarnation: Incarnation(1),
            ..id
        },
    ];
    let asked = [others[0], id, others[1], others[2]];
    let known = Known::Applied {
        checksum: batch.checksum(),
    };
    assert_eq!(store.known(&asked).await.unwrap(), [(id, known)]);
    assert!(store.known(&[]).await.unwrap().is_empty());
}

pub(super) async fn books_of_incarnations_add_up(store: Arc<dyn Store>) {
    let poll = open_poll(&*store, "um").await;
    let mut first = Scribe::claim(&store, 1).await;
    first.submit(&poll, NOW.minute(), &[vote(1, 1)]).await;
    first.cut(poll.id, NOW.minute(), &[vote(1, 2), vote(1, 3)]);
    first.submit(&poll, NOW.minute(), &[vote(1, 4)]).await;
    let mut second = Scribe::claim(&store, 2).await;
    second.submit(&poll, NOW.minute(), &[vote(2, 1)]).await;
    let end = second.cut_marker(BatchKind::End, PollId::NONE);
    second.apply_with_marks(&end, Vec::new()).await;
    let books = snapshot(&*store).await.books;
    assert_eq!((books.missing, books.unanswered), (2, 0));
    assert_eq!(books.cut, [(Incarnation(1), 4), (Incarnation(2), 1)]);
    let law = Conservation {
        accepted: books.cut.iter().map(|(_, votes)| votes).sum(),
        booked: books.accounts,
        missing: books.missing,
        ..Conservation::default()
    };
    assert!(law.holds(), "{law:?}");
}

pub(super) async fn every_snapshot_taken_while_applying_closes_its_books(store: Arc<dyn Store>) {
    let polls = [
        open_poll(&*store, "um").await,
        open_poll(&*store, "dois").await,
    ];
    let writer = tokio::spawn({
        let (store, polls) = (Arc::clone(&store), polls.clone());
        async move {
            let mut scribe = Scribe::claim(&store, 1).await;
            apply_random(&mut scribe, &polls, 13, 150).await;
        }
    });
    let mut seen = 0;
    while !writer.is_finished() {
        let snapshot = snapshot(&*store).await;
        check_sums(&snapshot);
        let counted = snapshot.books.accounts.counted;
        assert!(counted >= seen, "a total went back");
        seen = counted;
        let entries = ledger_of(&*store, Lane(0)).await;
        let in_ledger: u64 = entries.iter().map(|entry| entry.accounts().counted).sum();
        assert!(in_ledger >= counted, "a total without its ledger");
    }
    writer.await.unwrap();
    check_sums(&snapshot(&*store).await);
}

/// All sums of one snapshot are of one instant.
fn check_sums(snapshot: &Snapshot) {
    let mut all = Accounts::default();
    for view in &snapshot.polls {
        let minutes: u64 = view.minutes.iter().flat_map(|minute| &minute.votes).sum();
        assert_eq!(view.votes.iter().sum::<u64>(), minutes);
        assert_eq!(minutes, view.accounts.counted);
        all += view.accounts;
    }
    assert_eq!(all, snapshot.books.accounts);
    let cut: u64 = snapshot.books.cut.iter().map(|(_, votes)| votes).sum();
    assert_eq!(all.total(), cut);
}

pub(super) async fn random_votes_add_up_to_what_the_ledger_says(store: Arc<dyn Store>) {
    for seed in 0..8 {
        let name = format!("p-{seed}");
        let polls = [open_poll(&*store, &name).await];
        let mut scribe = Scribe::claim(&store, 100 + seed).await;
        apply_random(&mut scribe, &polls, seed, 40).await;
        let query = LedgerQuery {
            poll: Some(polls[0].id),
            ..whole_lane(Lane(0))
        };
        let mut accounts = Accounts::default();
        let mut votes = [0; 100];
        for entry in store.ledger(&query).await.unwrap() {
            accounts += entry.accounts();
            votes
                .iter_mut()
                .zip(entry.counted())
                .for_each(|(sum, v)| *sum += v);
        }
        let snapshot = snapshot(&*store).await;
        let view = snapshot.polls.last().unwrap();
        assert_eq!(view.accounts, accounts, "seed {seed}");
        assert!(accounts.duplicate > 0 && accounts.key_conflict > 0);
        let expected = CANDIDATES.map(|n| votes[usize::try_from(n).unwrap()]);
        assert_eq!(view.votes, expected, "seed {seed}");
    }
}
