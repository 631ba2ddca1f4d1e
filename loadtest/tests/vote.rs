//! `paredao-loadtest vote`, from its command line to its verdict, against a ballot box that
//! misbehaves.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed assumption in a test is a failed test"
)]

mod ballot_box;

use ballot_box::{BallotBox, Books, Manners};
use clap::Parser;
use paredao_loadtest::verdict::Report;
use paredao_loadtest::vote::command::VoteOptions;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    vote: VoteOptions,
}

async fn vote(ballot_box: &BallotBox, flags: &str) -> Report {
    let command = command(ballot_box, flags);
    command.vote.run(CancellationToken::new()).await.unwrap()
}

fn command(ballot_box: &BallotBox, flags: &str) -> Command {
    let address = ballot_box.address;
    let line = format!("vote --address {address} --seconds 0.3 --seed 42 {flags}");
    Command::parse_from(line.split_whitespace())
}

#[tokio::test]
async fn an_honest_server_passes() {
    let honest = BallotBox::start(Books::Honest, &[Manners::Answers]).await;
    let flags = "--rate 2000 --candidates 1,2,3 --resend 0.1 --conflict 0.1 --verify";
    let report = vote(&honest, flags).await;
    assert!(report.passed, "{report:?}");
    assert_eq!((report.sent, report.accepted), (600, 600));
    assert!(
        report.resent_accepted > 20 && report.conflicts_accepted > 20,
        "{report:?}"
    );
    let verified = report.verified.unwrap();
    assert_eq!(verified.counted, 600);
    assert_eq!(verified.duplicates, report.resent_accepted);
    assert_eq!(verified.key_conflicts, report.conflicts_accepted);
}

#[tokio::test]
async fn every_vote_gets_through_a_wire_that_breaks_in_every_way() {
    let manners = &[
        Manners::Answers,
        Manners::HangsUpAtOnce,
        Manners::Answers,
        Manners::StoresThenHangsUp,
        Manners::Answers,
        Manners::RefusesOverloaded,
        Manners::Answers,
        Manners::StoresThenSaysUnknown,
    ];
    let rough = BallotBox::start(Books::Honest, manners).await;
    let report = vote(&rough, "--rate 1000 --verify").await;
    assert!(report.passed, "{report:?}");
    assert_eq!((report.accepted, report.unknown), (300, 0));
    assert_eq!(rough.keys(), 300, "retries keep their key");
    assert!(report.retried > 100, "{report:?}");
    for reason in ["503 overloaded", "503 outcome-unknown"] {
        let seen = report
            .setbacks
            .iter()
            .any(|(r, &n)| r.0 == reason && n > 20);
        assert!(seen, "{reason}: {report:?}");
    }
}

#[tokio::test]
async fn a_server_that_stores_and_never_answers_leaves_the_outcome_unknown() {
    let mute = BallotBox::start(Books::Honest, &[Manners::StoresAndSaysNothing]).await;
    let flags = "--rate 100 --timeout 0.02 --attempts 2 --verify";
    let report = vote(&mute, flags).await;
    assert_eq!((report.sent, report.unknown, report.accepted), (30, 30, 0));
    assert_eq!(report.violations, ["not one vote was accepted"]);
}

#[tokio::test]
async fn an_overload_that_is_not_retried_is_a_refusal_and_stored_nothing() {
    let manners = &[Manners::RefusesOverloaded, Manners::Answers];
    let busy = BallotBox::start(Books::Honest, manners).await;
    let report = vote(&busy, "--rate 1000 --attempts 1 --verify").await;
    assert!(report.passed, "{report:?}");
    assert_eq!((report.accepted, report.unknown), (150, 0));
    assert_eq!(report.refused.values().sum::<u64>(), 150);
    assert_eq!(report.refusal_latency_us.count, 150);
}

#[tokio::test]
async fn a_planted_double_count_fails_the_verdict() {
    let crooked = BallotBox::start(Books::CountsCopies, &[Manners::Answers]).await;
    let report = vote(&crooked, "--rate 1000 --resend 0.05 --verify").await;
    assert!(!report.passed);
    assert!(
        report.violations.iter().any(|v| v.contains("TWICE")),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_planted_loss_fails_the_verdict() {
    let crooked = BallotBox::start(Books::LosesSome, &[Manners::Answers]).await;
    let report = vote(&crooked, "--rate 1000 --verify").await;
    assert!(!report.passed);
    assert!(
        report.violations.iter().any(|v| v.contains("LOST")),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_copy_that_overwrites_the_vote_that_stands_fails_the_verdict() {
    let crooked = BallotBox::start(Books::LastCopyWins, &[Manners::Answers]).await;
    let report = vote(
        &crooked,
        "--rate 1000 --candidates 1,3 --conflict 0.2 --verify",
    )
    .await;
    assert!(!report.passed, "{report:?}");
}

#[tokio::test]
async fn the_same_seed_again_is_the_same_votes() {
    let honest = BallotBox::start(Books::Honest, &[Manners::Answers]).await;
    vote(&honest, "--rate 1000").await;
    let again = vote(&honest, "--rate 1000").await;
    assert_eq!(again.accepted, 300);
    assert_eq!((honest.votes_requested(), honest.keys()), (600, 300));
}

#[tokio::test]
async fn a_closed_loop_connects_anew_for_every_vote_when_asked() {
    let honest = BallotBox::start(Books::Honest, &[Manners::Answers]).await;
    let report = vote(
        &honest,
        "--closed --connections 4 --connect-per-vote --verify",
    )
    .await;
    assert!(report.passed && report.accepted > 50, "{report:?}");
    assert!(report.setbacks.is_empty(), "{report:?}");
}

#[tokio::test]
async fn the_receipts_of_all_votes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("receipts.jsonl");
    let honest = BallotBox::start(Books::Honest, &[Manners::Answers]).await;
    let report = vote(
        &honest,
        &format!("--rate 1000 --receipts {}", path.display()),
    )
    .await;
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(u64::try_from(lines.len()).unwrap(), report.sent);
    assert!(
        lines
            .iter()
            .all(|line| line["receipt"].as_str().unwrap().starts_with("receipt-"))
    );
}

#[tokio::test]
async fn a_run_that_is_stopped_stays_with_every_vote_it_began() {
    let manners = &[Manners::StoresThenHangsUp, Manners::Answers];
    let rough = BallotBox::start(Books::Honest, manners).await;
    let stop = CancellationToken::new();
    let running = command(&rough, "--closed --connections 32");
    let stopping = async {
        while rough.votes_requested() < 200 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (report, ()) = tokio::join!(running.vote.run(stop.clone()), stopping);
    let report = report.unwrap();
    assert_eq!(
        (report.accepted, report.unknown),
        (report.sent, 0),
        "{report:?}"
    );
    assert_eq!(u64::try_from(rough.keys()).unwrap(), report.accepted);
}
