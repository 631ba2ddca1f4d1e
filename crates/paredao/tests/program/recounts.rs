//! A recount agrees with the totals, and finds what was planted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Home, Program};

fn with_votes(home: &Home) -> Program {
    let program = home.serve(&["--demo"]);
    let mut connection = program.connect();
    for (candidate, key) in [(1, "a"), (2, "b"), (2, "b"), (1, "b")] {
        let key = key.repeat(20);
        assert_eq!(connection.vote(candidate, Some(&key)).unwrap().status, 200);
    }
    program.settled(4);
    program
}

fn change_store(home: &Home, sql: &str) {
    let store = rusqlite::Connection::open(home.data().join("store.sqlite")).unwrap();
    assert!(store.execute(sql, []).unwrap() > 0, "{sql} changed nothing");
}

#[test]
fn ledger_and_totals_agree_while_the_program_runs_and_after() {
    let home = Home::new();
    let program = with_votes(&home);
    for arguments in [
        &["recount"][..],
        &["recount", "--keys"],
        &["recount", "--keys", "--poll", "demo"],
    ] {
        let report = home.json(arguments);
        assert_eq!(
            (&report["votes"], &report["counted"]),
            (&4.into(), &2.into()),
            "{arguments:?}"
        );
    }
    program.stop();
    let text = home.good(&["recount", "--keys"]);
    assert!(
        text.ends_with("ledger and totals agree to the vote: 2 counted\n"),
        "{text}"
    );
}

#[test]
fn a_planted_vote_in_the_totals_is_found_by_the_running_program_and_in_the_files() {
    let home = Home::new();
    let program = with_votes(&home);
    change_store(
        &home,
        "UPDATE total SET votes = votes + 1 WHERE candidate = 2",
    );
    let assert_found = |arguments: &[&str]| {
        let done = home.run(arguments);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(
            done.stdout
                .contains("total of candidate 2: kept 2, recounted 1"),
            "{done:?}"
        );
    };
    assert_found(&["recount"]);
    program.stop_whatever_its_books_say();
    assert_found(&["recount"]);
    assert_found(&["recount", "--keys"]);
}

#[test]
fn a_store_that_contradicts_itself_is_not_served_until_it_is_set_right_as_the_line_says() {
    let home = Home::new();
    with_votes(&home).stop();
    let plant = "UPDATE total SET votes = votes + 1 WHERE candidate = 2";
    change_store(&home, plant);
    let done = home.run(&[
        "serve",
        "--demo",
        "--log-level",
        "off",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(
        (done.code, done.stderr.lines().count()),
        (Some(1), 1),
        "{done:?}"
    );
    for expected in [
        "opening the API: the store is damaged: demo: ",
        "`paredao recount` names every figure",
        "a copy of ./paredao-data/store.sqlite",
        "docs/ledger.md",
    ] {
        assert!(done.stderr.contains(expected), "{expected:?} in {done:?}");
    }
    let found = home.run(&["recount"]);
    let named = "total of candidate 2: kept 2, recounted 1";
    assert!(found.stdout.contains(named), "{found:?}");
    change_store(&home, &documented_repair());
    home.good(&["recount", "--keys"]);
    home.serve(&["--demo"]).stop();
}

/// The statement that `docs/ledger.md` gives for the difference above.
fn documented_repair() -> String {
    let text = fs::read_to_string(docs().join("ledger.md")).unwrap();
    let (_, statement) = text
        .split_once("sqlite3 paredao-data/store.sqlite \"UPDATE")
        .unwrap();
    let (statement, _) = statement.split_once('"').unwrap();
    format!("UPDATE{statement}")
}

fn docs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))
}

#[test]
fn the_documented_line_counts_the_ledger_of_a_running_and_of_a_stopped_program() {
    let home = Home::new();
    // The line is for whoever stands in the project's folder.
    symlink(docs(), home.path().join("docs")).unwrap();
    let program = with_votes(&home);
    let assert_agrees = || {
        for line in documented_lines() {
            let output = Command::new("sh")
                .args(["-c", &line])
                .current_dir(home.path())
                .output()
                .unwrap();
            let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            assert_eq!(report["agrees"], true, "{line}: {output:?}");
            let expected = serde_json::json!({ "1": 1, "2": 1 });
            assert_eq!(report["polls"]["demo"]["by_keys"], expected);
        }
    };
    assert_agrees();
    program.stop();
    assert_agrees();
}

/// How README, `docs/ledger.md` and the reader itself say that it is called.
fn documented_lines() -> Vec<String> {
    let texts = ["../README.md", "ledger.md", "ledger_reader.py"];
    let line = |name: &&str| {
        let text = fs::read_to_string(docs().join(name)).unwrap();
        let (_, line) = text.split_once("python3 docs/").unwrap();
        let (line, _) = line.split_once(['`', '\n']).unwrap();
        format!("python3 docs/{line}")
    };
    texts.iter().map(line).collect()
}

#[test]
fn the_second_reader_stays_small_enough_to_be_read() {
    let reader = fs::read_to_string(docs().join("ledger_reader.py")).unwrap();
    assert!(reader.lines().count() < 150);
}

#[test]
fn a_vote_that_was_moved_between_candidates_is_found_although_the_sum_is_right() {
    let home = Home::new();
    with_votes(&home).stop();
    change_store(
        &home,
        "UPDATE total SET votes = CASE candidate WHEN 1 THEN 0 ELSE 2 END",
    );
    let report = home.run(&["recount", "--json"]);
    assert_eq!(report.code, Some(1));
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(
        report["differences"].as_array().unwrap().len(),
        2,
        "{report}"
    );
}

#[test]
fn marks_that_were_removed_from_the_ledger_are_found() {
    let home = Home::new();
    with_votes(&home).stop();
    remove_marks(&home);
    let done = home.run(&["recount", "--keys"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stdout.contains("its seal does not match"), "{done:?}");
}

/// The store lets nobody change its ledger, as long as its trigger stands.
fn remove_marks(home: &Home) {
    let store = rusqlite::Connection::open(home.data().join("store.sqlite")).unwrap();
    let sql = "UPDATE ledger SET marks = x'' WHERE length(marks) > 0";
    let refused = store.execute(sql, []).unwrap_err().to_string();
    assert!(refused.contains("the ledger only grows"), "{refused}");
    store
        .execute("DROP TRIGGER ledger_entries_never_change", [])
        .unwrap();
    assert_eq!(store.execute(sql, []).unwrap(), 2);
}

#[test]
fn a_poll_that_does_not_exist_cannot_be_recounted() {
    let home = Home::new();
    home.open_poll("um");
    let done = home.run(&["recount", "--poll", "nada"]);
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (Some(1), "paredao: no poll is called nada\n")
    );
}
