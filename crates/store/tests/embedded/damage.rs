//! Full disks, damaged files, files of others: said clearly, survived, never a panic.

use std::path::Path;
use std::sync::Arc;

use crate::ground::{Ground, journal, open};
use crate::ledgers::fill;
use paredao_domain::{Lane, LedgerEntry, LedgerPosition, Minute, Poll, UtcOffset, Vote};
use paredao_store::conformance::fixture::{
    Dice, NOW, Scribe, apply_random, draft, ledger_of, open_poll, snapshot, vote, whole_lane,
};
use paredao_store::recount::{KeysOptions, keys};
use paredao_store::{
    ApplyError, EmbeddedLedger, EmbeddedOptions, EmbeddedStore, LedgerQuery, PollChange, Store,
    StoreError,
};

fn open_error(path: &Path) -> StoreError {
    EmbeddedStore::open(path, EmbeddedOptions::default())
        .map(drop)
        .unwrap_err()
}

#[tokio::test]
async fn a_reopened_store_goes_on_where_it_ended() {
    let ground = Ground::new();
    let secret = {
        let store = ground.open();
        fill(&store, 1).await;
        store.receipt_secret().await.unwrap()
    };
    let before = snapshot(&*ground.open()).await;
    let store = ground.open();
    assert_eq!(store.receipt_secret().await.unwrap(), secret);
    let scribe = Scribe::claim(&store, 9).await;
    assert_eq!(scribe.next, LedgerPosition(65));
    assert_eq!(snapshot(&*store).await.polls, before.polls);
}

#[tokio::test]
async fn a_closed_store_leaves_no_journal() {
    let ground = Ground::new();
    fill(&ground.open(), 1).await;
    assert!(!journal(&ground.path).exists());
}

#[test]
fn what_cannot_be_opened_is_said_in_one_line_with_its_path() {
    let ground = Ground::new();
    let nowhere = ground.folder.path().join("nowhere/store.sqlite");
    for path in [nowhere.as_path(), ground.folder.path()] {
        let error = open_error(path);
        let text = error.to_string();
        assert!(matches!(error, StoreError::Unavailable(_)), "{text}");
        assert!(text.contains(path.to_str().unwrap()) && !text.contains('\n'));
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let ground = Ground::new();
    let text = "votos: 17\n".repeat(2_000);
    std::fs::write(&ground.path, &text).unwrap();
    let error = open_error(&ground.path);
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    assert!(error.to_string().contains(ground.path.to_str().unwrap()));
    assert_eq!(std::fs::read_to_string(&ground.path).unwrap(), text);
    assert!(EmbeddedLedger::open(&ground.path).is_err());
}

#[test]
fn a_file_that_lost_its_bytes_is_refused_and_not_begun_anew() {
    let ground = Ground::new();
    drop(ground.open());
    std::fs::write(&ground.path, []).unwrap();
    let error = open_error(&ground.path);
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains(ground.path.to_str().unwrap()) && text.contains("put back a copy"));
    assert_eq!(std::fs::metadata(&ground.path).unwrap().len(), 0);
    assert!(EmbeddedLedger::open(&ground.path).is_err());
}

#[tokio::test]
async fn a_file_that_is_gone_is_missed_while_its_journal_is_there() {
    let killed = killed().await;
    let ground = lay_out(&killed.file, &killed.journal);
    std::fs::remove_file(&ground.path).unwrap();
    let error = open_error(&ground.path);
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    assert!(error.to_string().contains("put the file back"));
    assert!(!ground.path.exists());
    let journal = std::fs::read(journal(&ground.path)).unwrap();
    assert_eq!(journal, killed.journal);
}

#[tokio::test]
async fn a_file_is_made_whole_or_not_at_all() {
    // What a kill leaves while the file is made: half of a draft and its journal.
    let ground = Ground::new();
    let draft = ground.path.with_extension("sqlite.new");
    let drafts_journal = ground.path.with_extension("sqlite.new-journal");
    for half in [&draft, &drafts_journal] {
        std::fs::write(half, "SQLite format 3").unwrap();
    }
    let store = ground.open();
    open_poll(&*store, "um").await;
    assert!(!draft.exists() && !drafts_journal.exists());
    drop(store);
    assert_eq!(ground.open().polls().await.unwrap().len(), 1);
}

#[test]
fn another_programs_database_is_refused_and_left_as_it_is() {
    let ground = Ground::new();
    ground.tamper("CREATE TABLE theirs (x); PRAGMA user_version = 1");
    let before = std::fs::read(&ground.path).unwrap();
    let error = open_error(&ground.path);
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    assert_eq!(std::fs::read(&ground.path).unwrap(), before);
}

#[test]
fn a_file_of_a_newer_release_is_refused_and_left_as_it_is() {
    let ground = Ground::new();
    drop(ground.open());
    ground.tamper("PRAGMA user_version = 2");
    let before = std::fs::read(&ground.path).unwrap();
    let error = open_error(&ground.path);
    assert!(
        matches!(&error, StoreError::Newer { path, found: 2, supported: 1 } if *path == ground.path.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(std::fs::read(&ground.path).unwrap(), before);
}

/// Applies batches of a thousand votes until the store says it has no room.
async fn fill_up(scribe: &mut Scribe, poll: &Poll) -> (u64, paredao_store::Application) {
    let mut applied = 0;
    loop {
        let votes: Vec<Vote> = (0..1_000).map(|key| vote(1, applied + key)).collect();
        let batch = scribe.cut(poll.id, NOW.minute(), &votes);
        let entry = scribe.enter(poll, &batch);
        let application = scribe.application(vec![entry]);
        match scribe.apply(&application).await {
            Ok(()) => applied += 1_000,
            Err(ApplyError::Store(StoreError::Unavailable(why))) => {
                assert!(why.contains("full"), "{why}");
                return (applied, application);
            }
            Err(error) => unreachable!("{error}"),
        }
        assert!(applied < 1_000_000, "it never fills up");
    }
}

#[tokio::test]
async fn a_full_file_refuses_whole_transactions_and_takes_them_when_there_is_room() {
    let ground = Ground::new();
    let small = EmbeddedOptions {
        file_bytes_max: Some(600_000),
        ..EmbeddedOptions::default()
    };
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&ground.path, small).unwrap());
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let (applied, refused) = fill_up(&mut scribe, &poll).await;
    assert!(applied > 0);
    assert!(scribe.apply(&refused).await.is_err());
    assert_eq!(snapshot(&*store).await.polls[0].votes, [applied, 0, 0]);
    store.checkpoint().await.unwrap();
    drop((store, scribe));
    assert!(ground.keys().agrees());

    let store = ground.open();
    let scribe = Scribe::claim(&store, 1).await;
    scribe.apply(&refused).await.unwrap();
    assert_eq!(
        snapshot(&*store).await.polls[0].votes,
        [applied + 1_000, 0, 0]
    );
}

/// A store as a kill leaves it: some entries in the file, the rest in the journal.
struct Killed {
    file: Vec<u8>,
    journal: Vec<u8>,
    in_file: usize,
    ledger: Vec<LedgerEntry>,
}

async fn killed() -> Killed {
    let ground = Ground::new();
    let store = ground.open();
    let polls = [
        open_poll(&*store, "um").await,
        open_poll(&*store, "dois").await,
    ];
    let mut scribe = Scribe::claim(&store, 1).await;
    apply_random(&mut scribe, &polls, 31, 20).await;
    store.checkpoint().await.unwrap();
    apply_random(&mut scribe, &polls, 32, 40).await;
    Killed {
        file: std::fs::read(&ground.path).unwrap(),
        journal: std::fs::read(journal(&ground.path)).unwrap(),
        in_file: 20,
        ledger: ledger_of(&*store, Lane(0)).await,
    }
}

fn lay_out(file: &[u8], journal_bytes: &[u8]) -> Ground {
    let ground = Ground::new();
    std::fs::write(&ground.path, file).unwrap();
    std::fs::write(journal(&ground.path), journal_bytes).unwrap();
    ground
}

/// The store reads on, its books close, and its ledger is the first part of what was applied.
async fn is_a_beginning(killed: &Killed, ground: &Ground) -> usize {
    let store = ground.open();
    let ledger = ledger_of(&*store, Lane(0)).await;
    assert!(killed.ledger.starts_with(&ledger), "not a beginning");
    assert!(ledger.len() >= killed.in_file, "the file lost entries");
    snapshot(&*store).await;
    let claim = Scribe::claim(&store, 5).await;
    assert_eq!(claim.next.0, ledger.len() as u64 + 1);
    drop((store, claim));
    let report = ground.keys();
    assert!(report.agrees(), "{report:?}");
    ledger.len()
}

#[tokio::test]
async fn a_damaged_journal_takes_back_its_end_and_nothing_else() {
    let killed = killed().await;
    let whole = lay_out(&killed.file, &killed.journal);
    assert_eq!(is_a_beginning(&killed, &whole).await, 60);
    let mut dice = Dice(33);
    let mut lost_something = 0;
    for _ in 0..60 {
        let mut journal = killed.journal.clone();
        let at = usize::try_from(dice.below(journal.len() as u64)).unwrap();
        journal[at] ^= 1 << dice.below(8);
        let ground = lay_out(&killed.file, &journal);
        lost_something += usize::from(is_a_beginning(&killed, &ground).await < 60);
    }
    assert!(lost_something > 20, "the flips hit nothing");
}

#[tokio::test]
async fn a_journal_cut_off_anywhere_takes_back_its_end_and_nothing_else() {
    let killed = killed().await;
    let mut dice = Dice(34);
    for _ in 0..40 {
        let length = usize::try_from(dice.below(killed.journal.len() as u64)).unwrap();
        let ground = lay_out(&killed.file, &killed.journal[..length]);
        is_a_beginning(&killed, &ground).await;
    }
    let ground = lay_out(&killed.file, &[]);
    assert_eq!(is_a_beginning(&killed, &ground).await, killed.in_file);
}

#[tokio::test]
async fn after_a_checkpoint_a_destroyed_journal_loses_nothing() {
    let ground = Ground::new();
    let store = ground.open();
    fill(&store, 35).await;
    store.checkpoint().await.unwrap();
    assert_eq!(std::fs::metadata(journal(&ground.path)).unwrap().len(), 0);
    let copy = Ground::new();
    std::fs::copy(&ground.path, &copy.path).unwrap();
    std::fs::write(journal(&copy.path), vec![0xff; 50_000]).unwrap();
    let left = snapshot(&*copy.open()).await;
    assert_eq!(left.polls, snapshot(&*store).await.polls);
    assert!(copy.keys().agrees());
}

/// A store of the file alone: what is left when the journal cannot be read.
async fn polls_without_journal(ground: &Ground) -> Vec<Poll> {
    let copy = lay_out(&std::fs::read(&ground.path).unwrap(), &[]);
    copy.open().polls().await.unwrap()
}

#[tokio::test]
async fn polls_and_final_results_do_not_depend_on_the_journal() {
    let ground = Ground::new();
    let store = ground.open();
    let draft = draft("um", UtcOffset::BRASILIA);
    let slug = draft.slug.clone();
    store.create_poll(draft, NOW.plus(-60_000)).await.unwrap();
    let mut scribe = Scribe::claim(&store, 1).await;
    let closes_at = NOW.plus(60_000);
    for change in [
        None,
        Some(PollChange::Open),
        Some(PollChange::Extend {
            closes_at,
            lead_ms: 1,
        }),
        Some(PollChange::Close { lead_ms: 1 }),
    ] {
        if let Some(change) = change {
            store.change_poll(&slug, change, NOW).await.unwrap();
        }
        let polls = store.polls().await.unwrap();
        assert_eq!(polls_without_journal(&ground).await, polls, "{change:?}");
    }
    let poll = store.polls().await.unwrap().remove(0);
    scribe.pass_barrier(&poll).await;
    let finalize = store.finalize(&scribe.fence, poll.id, NOW.plus(1));
    assert_eq!(finalize.await.unwrap(), []);
    let left = polls_without_journal(&ground).await;
    assert_eq!(left[0].final_at, Some(NOW.plus(1)));
}

#[tokio::test]
async fn what_a_kill_left_in_the_journal_is_in_the_file_after_the_next_start() {
    let killed = killed().await;
    let ground = lay_out(&killed.file, &killed.journal);
    let store = ground.open();
    assert_eq!(std::fs::metadata(journal(&ground.path)).unwrap().len(), 0);
    assert_eq!(ledger_of(&*store, Lane(0)).await, killed.ledger);
}

#[tokio::test]
async fn a_journal_that_a_reader_holds_is_not_said_to_be_moved() {
    let ground = Ground::new();
    let store = ground.open();
    let poll = open_poll(&*store, "um").await;
    let reader = rusqlite::Connection::open(&ground.path).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM poll")
        .unwrap();
    let mut scribe = Scribe::claim(&store, 1).await;
    scribe.submit(&poll, NOW.minute(), &[vote(1, 1)]).await;
    let busy = store.checkpoint().await;
    assert!(matches!(busy, Err(StoreError::Unavailable(_))), "{busy:?}");
    drop(reader);
    store.checkpoint().await.unwrap();
}

#[tokio::test]
async fn a_long_journal_is_moved_without_being_asked() {
    let ground = Ground::new();
    let options = EmbeddedOptions {
        journal_bytes_max: 1_000_000,
        ..EmbeddedOptions::default()
    };
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&ground.path, options).unwrap());
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    for round in 0..40 {
        let votes: Vec<Vote> = (0..8_000).map(|key| vote(1, round * 8_000 + key)).collect();
        scribe.submit(&poll, NOW.minute(), &votes).await;
        let length = std::fs::metadata(journal(&ground.path)).unwrap().len();
        assert!(length <= 1_000_000, "{length} bytes");
    }
    assert_eq!(snapshot(&*store).await.polls[0].votes, [320_000, 0, 0]);
}

/// Asks the store everything; errors are answers, panics are not.
async fn ask_everything(store: &Arc<dyn Store>) -> Option<Vec<Vec<u64>>> {
    let query = LedgerQuery {
        minutes: Some(Minute(0)..=Minute(u32::MAX)),
        ..whole_lane(Lane(0))
    };
    let entries = store.ledger(&query).await.unwrap_or_default();
    let ids: Vec<_> = entries.iter().map(|entry| entry.batch.id()).collect();
    let _ = store.known(&ids).await;
    for id in ids {
        let _ = store.fate(id, 0).await;
    }
    let _ = (store.polls().await, store.dead_letters().await);
    let _ = store.losses().await;
    let _ = store.checkpoint().await;
    let snapshot = store.snapshot(NOW).await.ok()?;
    let _ = store.claim_lane(Lane(0), paredao_store::OwnerId(3)).await;
    Some(snapshot.polls.into_iter().map(|view| view.votes).collect())
}

fn recount_agrees(ground: &Ground) -> bool {
    let Ok(mut door) = EmbeddedLedger::open(&ground.path) else {
        return false;
    };
    let options = KeysOptions {
        folder: ground.folder.path().to_owned(),
        memory_bytes: 1 << 20,
    };
    keys(&mut door, None, &options, &mut |_| ()).is_ok_and(|report| report.agrees())
}

#[tokio::test]
async fn a_flipped_byte_in_the_file_is_named_or_changes_no_result() {
    let ground = Ground::new();
    fill(&ground.open(), 41).await;
    let file = std::fs::read(&ground.path).unwrap();
    // Most of so small a file is empty pages: bytes that say something are flipped.
    let used: Vec<usize> = (0..file.len()).filter(|&at| file[at] != 0).collect();
    let truth = ask_everything(&open(&ground.path)).await.unwrap();
    let mut dice = Dice(42);
    let mut named = 0;
    for round in 0..400 {
        let mut damaged = file.clone();
        let at = used[usize::try_from(dice.below(used.len() as u64)).unwrap()];
        damaged[at] ^= u8::try_from(1 + dice.below(255)).unwrap();
        let copy = Ground::new();
        std::fs::write(&copy.path, &damaged).unwrap();
        let agrees = recount_agrees(&copy);
        let Ok(store) = EmbeddedStore::open(&copy.path, EmbeddedOptions::default()) else {
            named += 1;
            continue;
        };
        let shown = ask_everything(&(Arc::new(store) as Arc<dyn Store>)).await;
        if let Some(shown) = shown
            && agrees
        {
            assert_eq!(shown, truth, "round {round}, byte {at}");
        } else {
            named += 1;
        }
    }
    assert!(named > 200, "only {named} of 400 flips were noticed");
}
