//! A reader that shares no code with us, written from `docs/ledger.md`, comes to the same result.

use std::path::Path;
use std::process::Command;

use crate::ground::Ground;
use crate::ledgers::{UNLOCK, fill};
use paredao_domain::{Account, Lane};
use paredao_store::conformance::fixture::{
    CANDIDATES, NOW, Scribe, apply_random, open_poll, snapshot, vote,
};
use serde_json::Value;

/// Runs the reader; its exit status and what it printed.
fn read(path: &Path) -> (i32, Value) {
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ledger_reader.py");
    let output = Command::new("python3")
        .arg("-B")
        .arg(reader)
        .arg(path)
        .output()
        .unwrap();
    let printed = serde_json::from_slice(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(printed.is_ok(), "{errors}");
    (output.status.code().unwrap(), printed.unwrap())
}

#[tokio::test]
async fn another_reader_comes_to_the_same_totals_and_accounts() {
    let ground = Ground::new();
    let store = ground.open();
    fill(&store, 21).await;
    let mut other_lane = Scribe::claim_lane(&store, 7, Lane(3)).await;
    let polls = [store.polls().await.unwrap().remove(0)];
    apply_random(&mut other_lane, &polls, 22, 1).await;
    // The store is still open: the reader sees what is only in the journal.
    let (status, printed) = read(&ground.path);
    assert_eq!(status, 0, "{printed:#}");
    for view in &snapshot(&*store).await.polls {
        let poll = &printed["polls"][view.poll.slug.as_str()];
        for (number, votes) in CANDIDATES.iter().zip(&view.votes) {
            for way in ["by_marks", "by_keys", "kept"] {
                assert_eq!(poll[way][number.to_string()], *votes, "{way}");
            }
        }
        for account in Account::ALL {
            let votes = poll["accounts"][account.name()].as_u64().unwrap_or(0);
            assert_eq!(votes, view.accounts.get(account), "{account:?}");
        }
    }
}

#[tokio::test]
async fn another_reader_finds_what_was_tampered_with() {
    for (tampering, where_named) in [
        (
            "UPDATE total SET votes = votes + 1 WHERE candidate = 1",
            None,
        ),
        ("DELETE FROM ledger WHERE position = 9", Some("damage")),
        (
            "UPDATE ledger SET minute = minute + 1 WHERE position = 9",
            Some("damage"),
        ),
        (
            "UPDATE ledger SET body = substr(body, 2) WHERE position = 9",
            Some("damage"),
        ),
        (
            "UPDATE ledger SET marks = zeroblob(13) WHERE position = 9",
            Some("damage"),
        ),
        (
            "UPDATE poll SET closes_at = closes_at - 600000 WHERE id = 2",
            Some("findings"),
        ),
    ] {
        let ground = Ground::new();
        fill(&ground.open(), 23).await;
        ground.tamper(UNLOCK);
        ground.tamper(tampering);
        let (status, printed) = read(&ground.path);
        assert_eq!(
            (status, &printed["agrees"]),
            (1, &Value::Bool(false)),
            "{tampering}"
        );
        if let Some(named) = where_named {
            assert!(
                !printed[named].as_array().unwrap().is_empty(),
                "{tampering}"
            );
        }
        assert!(!ground.keys().agrees(), "{tampering}");
    }
}

#[tokio::test]
async fn another_reader_finds_a_vote_counted_twice() {
    let ground = Ground::new();
    let store = ground.open();
    let poll = open_poll(&*store, "um").await;
    let mut scribe = Scribe::claim(&store, 1).await;
    let batch = scribe.cut(poll.id, NOW.minute(), &[vote(1, 1), vote(1, 1)]);
    scribe.apply_with_marks(&batch, Vec::new()).await;
    let (status, printed) = read(&ground.path);
    assert_eq!(status, 1);
    assert_eq!(printed["polls"]["um"]["by_marks"]["1"], 2);
    assert_eq!(printed["polls"]["um"]["by_keys"]["1"], 1);
}
