//! A recount agrees with an honest ledger and finds every dishonest vote.

use std::sync::Arc;

use crate::ground::Ground;
use crate::ledgers::{UNLOCK, fill};
use paredao_domain::{
    Account, CandidateNumber, Lane, LedgerPosition, Mark, MarkKind, Standing, Vote,
};
use paredao_store::conformance::fixture::{
    NOW, Scribe, apply_random, candidate, open_poll, vote, whole_lane,
};
use paredao_store::generate::{GeneratePlan, generate};
use paredao_store::recount::{
    Figure, KeyFinding, KeysReport, Phase, Progress, Verdict, VoteName, keys, plain,
};
use paredao_store::{EmbeddedLedger, LedgerQuery, Store, StoreError};

async fn filled(seed: u64) -> Ground {
    let ground = Ground::new();
    fill(&ground.open(), seed).await;
    ground
}

#[tokio::test]
async fn random_ledgers_recount_to_the_vote() {
    for seed in 0..6 {
        let ground = filled(seed).await;
        let plain = ground.plain();
        assert!(plain.agrees(), "seed {seed}: {plain:?}");
        assert!(plain.votes > 1_000 && plain.entries == 64);
        let keys = ground.keys();
        assert!(keys.agrees(), "seed {seed}: {keys:?}");
        assert_eq!(keys.plain, plain);
        assert!(keys.keys > 400);
    }
}

#[tokio::test]
async fn an_empty_store_recounts_to_nothing() {
    let ground = Ground::new();
    drop(ground.open());
    assert!(ground.keys().agrees());
    assert_eq!(ground.plain().votes, 0);
}

#[tokio::test]
async fn one_poll_can_be_recounted_without_the_others() {
    let ground = filled(1).await;
    ground.tamper("UPDATE total SET votes = votes + 1 WHERE poll = 2");
    let recount = |poll| {
        let mut door = EmbeddedLedger::open(&ground.path).unwrap();
        plain(&mut door, Some(paredao_domain::PollId(poll)), &mut |_| ()).unwrap()
    };
    assert!(recount(1).agrees());
    assert_eq!(recount(2).differences.len(), 3);
    assert!(recount(1).votes + recount(2).votes == ground.plain().votes);
}

#[tokio::test]
async fn progress_ends_where_it_said_it_would() {
    let ground = filled(1).await;
    let mut door = EmbeddedLedger::open(&ground.path).unwrap();
    let options = paredao_store::recount::KeysOptions {
        folder: ground.folder.path().to_owned(),
        memory_bytes: 1 << 20,
    };
    let mut heard: Vec<Progress> = Vec::new();
    keys(&mut door, None, &options, &mut |progress| {
        heard.push(progress);
    })
    .unwrap();
    for phase in [Phase::Reading, Phase::Judging] {
        let last = heard
            .iter()
            .rfind(|progress| progress.phase == phase)
            .unwrap();
        assert!(last.votes_total > 0);
        assert_eq!(last.votes_done, last.votes_total);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_can_be_recounted_while_it_grows() {
    let ground = Ground::new();
    let store = ground.open();
    let polls = [open_poll(&*store, "um").await];
    let mut scribe = Scribe::claim(&store, 1).await;
    let writer = tokio::spawn(async move { apply_random(&mut scribe, &polls, 5, 300).await });
    let mut recounts = 0;
    while !writer.is_finished() {
        let report = ground.plain();
        assert!(report.agrees(), "{report:?}");
        recounts += 1;
    }
    writer.await.unwrap();
    assert!(recounts > 1 && ground.keys().agrees());
}

#[tokio::test]
async fn every_kept_figure_that_was_changed_is_named() {
    let ground = filled(2).await;
    ground.tamper(
        "UPDATE total SET votes = votes + 1 WHERE poll = 1 AND candidate = 1;
         UPDATE account SET votes = votes - 1 WHERE poll = 2 AND account = 'late';
         DELETE FROM minute_bucket WHERE poll = 1 AND candidate = 7
             AND start = (SELECT min(start) FROM minute_bucket WHERE poll = 1);
         INSERT INTO hour_bucket VALUES (1, 0, 2, 0, 5);",
    );
    let report = ground.plain();
    assert!(report.damage.is_empty());
    let named: Vec<_> = report
        .differences
        .iter()
        .map(|d| (d.poll.0, d.figure))
        .collect();
    let [
        (1, Figure::Total(one)),
        (1, Figure::Hour(start, two)),
        (1, Figure::Minute(_, seven)),
        (2, Figure::Account(Account::Late)),
    ] = named[..]
    else {
        panic!("{named:?}")
    };
    assert_eq!([one, two, seven].map(CandidateNumber::get), [1, 2, 7]);
    assert_eq!(start.0, 0);
    let total = report.differences.first().unwrap();
    assert_eq!(total.kept, total.recounted + 1);
    assert!(!ground.keys().agrees());
}

#[tokio::test]
async fn an_entry_that_was_taken_out_is_missed() {
    let ground = filled(3).await;
    ground.tamper(UNLOCK);
    ground.tamper("DELETE FROM ledger WHERE position IN (10, 11, 30, 64)");
    let report = ground.plain();
    let positions: Vec<_> = report
        .damage
        .listed()
        .iter()
        .map(|d| d.position.0)
        .collect();
    assert_eq!(positions, [10, 30, 64]);
    assert!(report.damage.listed()[0].what.contains("up to position 11"));
    assert!(!report.differences.is_empty());
}

#[tokio::test]
async fn every_entry_that_was_changed_is_named_and_the_rest_is_counted() {
    let ground = filled(4).await;
    let whole = ground.plain();
    ground.tamper(UNLOCK);
    for (position, change) in [
        (
            5,
            "body = CAST(substr(body, 1, 60) || x'ff' || substr(body, 62) AS BLOB)",
        ),
        (6, "body = substr(body, 1, length(body) - 1)"),
        (7, "body = zeroblob(0)"),
        (8, "minute = minute + 1"),
        (9, "poll = 3 - poll"),
        (10, "poll = 77"),
        (11, "votes = votes + 1"),
        (12, "checksum = 1"),
        (13, "number = 1000000"),
        (14, "marks = zeroblob(13)"),
        (15, "seal = 0"),
        (16, "body = (SELECT body FROM ledger WHERE position = 17)"),
    ] {
        ground.tamper(&format!(
            "UPDATE ledger SET {change} WHERE position = {position}"
        ));
    }
    let report = ground.plain();
    let positions: Vec<_> = report
        .damage
        .listed()
        .iter()
        .map(|d| d.position.0)
        .collect();
    assert_eq!(positions, (5..=16).collect::<Vec<_>>());
    assert_eq!(report.entries, whole.entries - 12);
    assert!(!ground.keys().agrees());

    let store = ground.open();
    let query = LedgerQuery {
        after: LedgerPosition(4),
        bytes_max: 1,
        ..whole_lane(Lane(0))
    };
    let refused = store.ledger(&query).await;
    assert!(
        matches!(&refused, Err(StoreError::Damaged(what)) if what.contains("position 5 of lane 0")),
        "{refused:?}"
    );
}

/// What the keys say about one batch with the marks a dishonest consumer gave it.
async fn judged(votes: &[Vote], marks: Vec<Mark>) -> KeysReport {
    let ground = Ground::new();
    let store = ground.open();
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), votes);
    scribe.apply_with_marks(&batch, marks).await;
    drop((store, scribe));
    let plain = ground.plain();
    assert!(
        plain.agrees(),
        "the books were cooked consistently: {plain:?}"
    );
    ground.keys()
}

fn name(position: u16) -> VoteName {
    VoteName {
        lane: Lane(0),
        entry: LedgerPosition(1),
        position,
    }
}

fn mark(position: u16, kind: MarkKind, standing: Option<u16>) -> Mark {
    Mark {
        position,
        kind,
        standing: standing.map(|position| Standing {
            entry: LedgerPosition(1),
            position,
        }),
    }
}

#[tokio::test]
async fn honest_marks_are_agreed_with() {
    let votes = [vote(1, 1), vote(1, 1), vote(2, 1)];
    let marks = vec![
        mark(1, MarkKind::Duplicate, Some(0)),
        mark(2, MarkKind::KeyConflict, Some(0)),
    ];
    let report = judged(&votes, marks).await;
    assert!(report.agrees(), "{report:?}");
}

#[tokio::test]
async fn a_key_counted_twice_is_found_although_the_totals_agree() {
    let report = judged(&[vote(1, 1), vote(1, 2), vote(1, 1)], Vec::new()).await;
    assert_eq!(
        report.findings.listed(),
        [KeyFinding::CountedTwice {
            poll: paredao_domain::PollId(1),
            key: vote(1, 1).key,
            standing: name(0),
            vote: name(2),
        }]
    );
    let difference = report.differences.first().unwrap();
    assert_eq!(difference.figure, Figure::Total(candidate(1)));
    assert_eq!((difference.kept, difference.recounted), (3, 2));
}

#[tokio::test]
async fn a_key_that_was_never_counted_is_found() {
    for (votes, mark) in [
        (
            vec![vote(1, 1), vote(1, 2)],
            mark(1, MarkKind::Duplicate, Some(0)),
        ),
        (
            vec![vote(1, 1), vote(1, 1)],
            mark(0, MarkKind::Duplicate, Some(1)),
        ),
        (vec![vote(1, 1)], mark(0, MarkKind::AfterClose, None)),
        (vec![vote(1, 1)], mark(0, MarkKind::Late, None)),
    ] {
        let report = judged(&votes, vec![mark]).await;
        let first = report.findings.listed().first();
        assert!(
            matches!(first, Some(KeyFinding::NeverCounted { mark: found, .. }) if *found == mark),
            "{report:?}"
        );
    }
}

#[tokio::test]
async fn a_mark_with_another_reason_or_another_copy_is_found() {
    let votes = [vote(1, 1), vote(1, 2), vote(1, 1), vote(2, 1)];
    let honest = [
        mark(2, MarkKind::Duplicate, Some(0)),
        mark(3, MarkKind::KeyConflict, Some(0)),
    ];
    for (at, wrong) in [
        (0, mark(2, MarkKind::KeyConflict, Some(0))),
        (0, mark(2, MarkKind::Duplicate, Some(1))),
        (0, mark(2, MarkKind::Duplicate, Some(9))),
        (0, mark(2, MarkKind::AfterClose, None)),
        (0, mark(2, MarkKind::Late, None)),
        (1, mark(3, MarkKind::Duplicate, Some(0))),
        (1, mark(3, MarkKind::KeyConflict, Some(2))),
    ] {
        let mut marks = honest.to_vec();
        *marks.get_mut(at).unwrap() = wrong;
        let report = judged(&votes, marks).await;
        assert!(
            matches!(report.findings.listed(), [KeyFinding::WrongMark { mark, .. }] if *mark == wrong),
            "{wrong:?}: {report:?}"
        );
        assert!(report.differences.is_empty());
    }
}

#[tokio::test]
async fn a_drawn_key_that_looks_like_another_is_no_copy() {
    let drawn = Vote {
        source: paredao_domain::KeySource::Drawn,
        ..vote(1, 1)
    };
    assert!(
        judged(&[drawn, drawn, vote(1, 1)], Vec::new())
            .await
            .agrees()
    );
    let wrong = vec![mark(1, MarkKind::Duplicate, Some(0))];
    let report = judged(&[drawn, drawn], wrong).await;
    assert!(matches!(
        report.findings.listed(),
        [KeyFinding::NeverCounted { .. }]
    ));
}

#[tokio::test]
async fn a_key_lives_again_when_its_life_is_over_and_not_before() {
    let ground = Ground::new();
    let store = ground.open();
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let life_minutes = poll.key_life_s / 60;
    let at = |minutes, offset| {
        let minute = paredao_domain::Minute(NOW.minute().0 - 60 + minutes);
        (
            minute,
            Vote {
                offset,
                ..vote(1, 1)
            },
        )
    };
    // First, exactly its life later (a copy), one ms more (a new vote), one before the first.
    for (minute, vote) in [
        at(10, 0),
        at(10 + life_minutes, 0),
        at(10 + life_minutes, 1),
        at(9, 0),
    ] {
        scribe.submit(&poll, minute, &[vote]).await;
    }
    drop((store, scribe));
    let report = ground.keys();
    assert!(report.agrees(), "{report:?}");
    let ledger = ground.open();
    let view = ledger.snapshot(NOW).await.unwrap().polls.remove(0);
    assert_eq!((view.accounts.counted, view.accounts.duplicate), (2, 2));
}

#[tokio::test]
async fn a_vote_counted_out_of_time_is_found() {
    let ground = Ground::new();
    fill(&ground.open(), 7).await;
    assert!(ground.keys().agrees());
    // The poll's end and finality move back to before its last votes.
    ground.tamper(&format!(
        "UPDATE poll SET closes_at = {} WHERE id = 1;
         INSERT INTO finality VALUES (1, 0, 50);",
        NOW.0 - 5 * 60_000
    ));
    let report = ground.keys();
    let verdicts: Vec<_> = report
        .findings
        .listed()
        .iter()
        .filter_map(|finding| match finding {
            KeyFinding::CountedOutOfTime { verdict, .. } => Some(*verdict),
            _ => None,
        })
        .collect();
    assert!(verdicts.contains(&Verdict::Late) && verdicts.contains(&Verdict::AfterClose));
    assert!(!report.differences.is_empty() && report.plain.agrees());
}

#[tokio::test]
async fn findings_beyond_the_list_are_counted() {
    let votes: Vec<Vote> = (0..2_500).map(|_| vote(1, 1)).collect();
    let report = judged(&votes, Vec::new()).await;
    assert_eq!(report.findings.count(), 2_499);
    assert_eq!(
        report.findings.listed().len(),
        paredao_store::recount::FINDINGS_MAX
    );
    assert_eq!(report.keys, 1);
}

#[tokio::test]
async fn what_is_applied_to_a_reopened_store_is_judged_with_what_was_there() {
    let ground = filled(8).await;
    let store: Arc<dyn Store> = ground.open();
    let poll = store.polls().await.unwrap().remove(0);
    let mut scribe = Scribe::claim(&store, 55).await;
    // Key 90,000 stands in the ledger; this scribe does not know it and counts it again.
    scribe.submit(&poll, NOW.minute(), &[vote(1, 90_000)]).await;
    drop((store, scribe));
    let report = ground.keys();
    assert!(report.plain.agrees());
    assert!(matches!(
        report.findings.listed(),
        [KeyFinding::CountedTwice { vote, .. }] if vote.entry == LedgerPosition(65)
    ));
}

#[tokio::test]
async fn a_generated_ledger_of_many_stretches_recounts_to_the_vote() {
    let ground = Ground::new();
    let store = ground.open();
    let poll = open_poll(&*store, "um").await;
    let plan = GeneratePlan {
        votes: 1_500_000,
        batch_votes: 8_192,
        minute_votes: 400_000,
        first_minute: NOW.minute(),
        duplicate_every: 1_000,
        seed: 9,
    };
    let mut applied = 0;
    generate(&*store, &poll, &plan, &mut |votes| applied = votes)
        .await
        .unwrap();
    assert_eq!(applied, plan.votes);
    let view = store.snapshot(NOW).await.unwrap().polls.remove(0);
    assert_eq!(view.accounts.total(), plan.votes);
    assert!((1_400..=1_500).contains(&view.accounts.duplicate));
    assert!(view.votes.iter().all(|&votes| votes > 400_000));
    drop(store);
    let report = ground.keys_within(64 << 20);
    assert!(report.agrees(), "{report:?}");
    assert_eq!(report.plain.votes, plan.votes);
    assert_eq!(report.keys, view.accounts.counted);
}
