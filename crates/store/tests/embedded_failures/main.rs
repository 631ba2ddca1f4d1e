//! What the store answers when a step fails or the process dies there, and what is left of it.
//!
//! Failure points are armed for the whole process, so these tests take turns.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a failed assumption is a failed test"
)]

#[path = "../ground/mod.rs"]
mod ground;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use paredao_domain::{EncodedBatch, Lane, Poll};
use paredao_store::conformance::fixture::{
    Dice, NOW, Scribe, VoteDice, close_poll, ledger_of, open_poll, snapshot, vote,
};
use paredao_store::{ApplyError, EmbeddedOptions, EmbeddedStore, Known, Store, StoreError};
use paredao_telemetry::failpoint::arm;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use ground::{Ground, journal, open};

static TURN: Mutex<()> = Mutex::const_new(());

struct Scene {
    ground: Ground,
    store: Arc<dyn Store>,
    poll: Poll,
    scribe: Scribe,
    _turn: MutexGuard<'static, ()>,
}

async fn scene() -> Scene {
    let turn = TURN.lock().await;
    let ground = Ground::new();
    let store = ground.open();
    let poll = open_poll(&*store, "um").await;
    let scribe = Scribe::claim(&store, 1).await;
    Scene {
        ground,
        store,
        poll,
        scribe,
        _turn: turn,
    }
}

impl Scene {
    fn finish(self) {
        drop((self.store, self.scribe));
        agrees(&self.ground);
    }
}

fn agrees(ground: &Ground) {
    let report = ground.keys();
    assert!(report.agrees(), "{report:?}");
}

#[tokio::test]
async fn an_error_before_the_commit_changes_nothing_and_the_next_try_succeeds() {
    for point in [
        "store.apply.before_begin=error",
        "store.apply.before_commit=error",
        "store.apply.before_commit=error:enospc",
        "store.apply.before_commit=error:eio",
    ] {
        let mut scene = scene().await;
        let scribe = &mut scene.scribe;
        let batch = scribe.cut(scene.poll.id, NOW.minute(), &[vote(1, 1)]);
        let entry = scribe.enter(&scene.poll, &batch);
        let application = scribe.application(vec![entry]);
        let armed = arm(point).unwrap();
        for _ in 0..3 {
            let refused = scribe.apply(&application).await;
            assert!(
                matches!(refused, Err(ApplyError::Store(StoreError::Unavailable(_)))),
                "{point}: {refused:?}"
            );
        }
        assert!(scene.store.known(&[batch.id()]).await.unwrap().is_empty());
        assert!(ledger_of(&*scene.store, Lane(0)).await.is_empty());
        drop(armed);
        scribe.apply(&application).await.unwrap();
        assert_eq!(snapshot(&*scene.store).await.polls[0].votes, [1, 0, 0]);
        scene.finish();
    }
}

#[tokio::test]
async fn an_error_after_the_commit_is_unknown_and_asking_tells_what_happened() {
    let mut scene = scene().await;
    let batch = scene.scribe.cut(scene.poll.id, NOW.minute(), &[vote(1, 1)]);
    let entry = scene.scribe.enter(&scene.poll, &batch);
    let application = scene.scribe.application(vec![entry]);
    let armed = arm("store.apply.after_commit=error@1").unwrap();
    let answer = scene.scribe.apply(&application).await;
    assert!(matches!(answer, Err(ApplyError::Unknown(_))), "{answer:?}");
    let known = Known::Applied {
        checksum: batch.checksum(),
    };
    let found = scene.store.known(&[batch.id()]).await.unwrap();
    assert_eq!(found, [(batch.id(), known)]);
    let again = scene.scribe.apply(&application).await;
    assert!(again.is_err(), "applied twice");
    assert_eq!(snapshot(&*scene.store).await.polls[0].votes, [1, 0, 0]);
    drop(armed);
    scene.finish();
}

#[tokio::test]
async fn a_checkpoint_that_fails_says_so_and_the_next_one_succeeds() {
    let mut scene = scene().await;
    let votes = [vote(1, 1)];
    scene.scribe.submit(&scene.poll, NOW.minute(), &votes).await;
    for point in [
        "store.checkpoint.before=error",
        "store.checkpoint.after=error",
    ] {
        let armed = arm(point).unwrap();
        let failed = scene.store.checkpoint().await;
        assert!(
            matches!(failed, Err(StoreError::Unavailable(_))),
            "{failed:?}"
        );
        drop(armed);
        scene.store.checkpoint().await.unwrap();
    }
    scene.finish();
}

#[tokio::test]
async fn a_reader_who_stays_does_not_hold_up_every_transaction() {
    let turn = TURN.lock().await;
    let ground = Ground::new();
    let options = EmbeddedOptions {
        journal_bytes_max: 200_000,
        ..EmbeddedOptions::default()
    };
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&ground.path, options).unwrap());
    let poll = open_poll(&*store, "um").await;
    let reader = rusqlite::Connection::open(&ground.path).unwrap();
    let held = "BEGIN; SELECT count(*) FROM poll";
    reader.execute_batch(held).unwrap();
    let mut scribe = Scribe::claim(&store, 1).await;
    // Armed for a hit that never comes: it counts.
    let armed = arm("store.checkpoint.before=error@1000000").unwrap();
    let mut key = 0..;
    let mut submit_hundred = async || {
        for _ in 0..100 {
            let votes = [vote(1, key.next().unwrap())];
            scribe.submit(&poll, NOW.minute(), &votes).await;
        }
    };
    submit_hundred().await;
    let tries = armed.hits("store.checkpoint.before");
    assert!(
        (1..=8).contains(&tries),
        "{tries} tries for 100 transactions"
    );
    drop(reader);
    submit_hundred().await;
    submit_hundred().await;
    let length = std::fs::metadata(journal(&ground.path)).unwrap().len();
    assert!(length < 400_000, "{length} bytes");
    drop((armed, turn));
}

#[tokio::test]
async fn a_store_whose_thread_died_says_so_once_and_for_all() {
    let turn = TURN.lock().await;
    let ground = Ground::new();
    let embedded = EmbeddedStore::open(&ground.path, EmbeddedOptions::default());
    let embedded = Arc::new(embedded.unwrap());
    let store: Arc<dyn Store> = Arc::clone(&embedded) as Arc<dyn Store>;
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let is_dead = |answer: &Result<(), ApplyError>| matches!(answer, Err(ApplyError::Store(error @ StoreError::Dead(_))) if !error.may_pass());
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1)]);
    let entry = scribe.enter(&poll, &batch);
    let application = scribe.application(vec![entry]);
    {
        let died = embedded.died();
        let mut died = std::pin::pin!(died);
        let lives = timeout(Duration::ZERO, &mut died).await.is_err();
        let armed = arm("store.apply.before_begin=panic@1").unwrap();
        let answer = scribe.apply(&application).await;
        drop(armed);
        assert!(lives && is_dead(&answer), "{answer:?}");
        timeout(Duration::from_secs(10), died).await.unwrap();
    }
    let answer = scribe.apply(&application).await;
    assert!(is_dead(&answer), "{answer:?}");
    drop((store, embedded, scribe));

    // Another process begins where this one ended.
    let store = ground.open();
    let mut scribe = Scribe::claim(&store, 2).await;
    scribe.apply_batch(&poll, &batch).await;
    drop((store, scribe, turn));
    agrees(&ground);
}

#[tokio::test]
async fn a_result_whose_declaration_failed_is_final_or_not_but_never_half() {
    for (point, is_final) in [
        ("store.final.before_commit=error", false),
        ("store.final.after_commit=error", true),
    ] {
        let mut scene = scene().await;
        let votes = [vote(1, 1)];
        scene.scribe.submit(&scene.poll, NOW.minute(), &votes).await;
        let poll = close_poll(&*scene.store, &scene.poll, 1).await;
        scene.scribe.pass_barrier(&poll).await;
        let finalize = || {
            scene
                .store
                .finalize(&scene.scribe.fence, poll.id, NOW.plus(1))
        };
        let armed = arm(point).unwrap();
        let failed = finalize().await.unwrap_err();
        assert_eq!(
            matches!(failed, ApplyError::Unknown(_)),
            is_final,
            "{failed:?}"
        );
        let found = scene.store.polls().await.unwrap().remove(0);
        assert_eq!(found.final_at.is_some(), is_final);
        drop(armed);
        assert_eq!(finalize().await.unwrap(), []);
        let found = scene.store.polls().await.unwrap().remove(0);
        assert_eq!(found.final_at, Some(NOW.plus(1)));
        scene.finish();
    }
}

/// Applies a batch as a consumer does: again after "unavailable", and after "unknown" only if
/// the batch is not known.
async fn insist(scene: &Scene, batch: &EncodedBatch, application: &paredao_store::Application) {
    for _ in 0..1_000 {
        match scene.scribe.apply(application).await {
            Ok(()) => return,
            Err(ApplyError::Store(StoreError::Unavailable(_))) => {}
            Err(ApplyError::Unknown(_)) => {
                if !scene.store.known(&[batch.id()]).await.unwrap().is_empty() {
                    return;
                }
            }
            Err(error) => unreachable!("{error}"),
        }
    }
    unreachable!("it never succeeded");
}

#[tokio::test]
async fn a_store_that_fails_at_random_loses_and_doubles_nothing() {
    for seed in 0..10 {
        let mut scene = scene().await;
        let mut dice = Dice(seed);
        let mut sent = 0;
        for _ in 0..40 {
            let votes: Vec<_> = (0..=dice.below(30)).map(|_| dice.vote()).collect();
            sent += votes.len() as u64;
            let earlier = paredao_domain::Minute(NOW.minute().0 - 1);
            let batch = scene.scribe.cut(scene.poll.id, earlier, &votes);
            let entry = scene.scribe.enter(&scene.poll, &batch);
            let application = scene.scribe.application(vec![entry]);
            let points = ["before_begin", "before_commit", "after_commit"]
                .map(|step| format!("store.apply.{step}=error@1..{}", 1 + dice.below(3)));
            let armed = arm(&points.join(",").replace("@1..1", "@9999")).unwrap();
            insist(&scene, &batch, &application).await;
            drop(armed);
            if dice.below(8) == 0 {
                scene.store.checkpoint().await.unwrap();
            }
        }
        let booked = snapshot(&*scene.store).await.books.accounts.total();
        assert_eq!(booked, sent, "seed {seed}");
        scene.finish();
    }
}

const CHILD_PATH: &str = "PAREDAO_TEST_CHILD_PATH";

/// Not a test of its own: what the next test runs as a process that dies. Says the number of
/// every batch that was answered.
#[tokio::test]
async fn applies_batches_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    let store = open(path.as_ref());
    let poll = store.polls().await.unwrap().remove(0);
    let mut scribe = Scribe::claim(&store, 77).await;
    for number in 1..=60 {
        let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, number), vote(2, number)]);
        scribe.apply_batch(&poll, &batch).await;
        println!("applied {number}");
        if number % 5 == 0 {
            store.checkpoint().await.unwrap();
            println!("moved {number}");
        }
    }
}

/// The highest number after `word` that a child said.
fn said(output: &str, word: &str) -> usize {
    output
        .lines()
        .filter_map(|line| line.split_once(word)?.1.trim().parse().ok())
        .max()
        .unwrap_or(0)
}

#[tokio::test]
async fn a_process_killed_at_any_step_leaves_everything_it_answered_and_nothing_half() {
    for point in [
        "store.apply.before_begin=kill@23",
        "store.apply.before_commit=kill@23",
        "store.apply.after_commit=kill@23",
        "store.apply.before_commit=kill@1",
        "store.checkpoint.before=kill@3",
        "store.checkpoint.after=kill@3",
    ] {
        let scene = scene().await;
        let path = scene.ground.path.clone();
        let Scene {
            ground,
            store,
            scribe,
            ..
        } = scene;
        drop((store, scribe));
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "applies_batches_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD_PATH, &path)
            .env("PAREDAO_FAILPOINTS", point)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .output()
            .unwrap();
        assert!(!child.status.success(), "{point} killed nobody");
        let output = String::from_utf8(child.stdout).unwrap();
        let answered = said(&output, "applied");
        let entries = ledger_of(&*ground.open(), Lane(0)).await.len();
        assert!(
            entries == answered || entries == answered + 1,
            "{point}: {answered} answered, {entries} there"
        );
        assert!(point.ends_with("@1") || answered >= 10, "{point}: {output}");
        agrees(&ground);
    }
}
