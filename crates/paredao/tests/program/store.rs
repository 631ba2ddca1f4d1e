//! A store that loses a part of itself or of the log: noticed, named, never glossed over.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Home, Program, eventually, poll_file};

const QUICK: &[&str] = &[
    "--demo",
    "--refresh-ms",
    "50",
    "--close-lead-ms",
    "300",
    "--append-deadline-ms",
    "200",
];

#[test]
fn a_store_whose_thread_died_ends_the_process_and_the_next_one_goes_on() {
    let home = Home::new();
    let mut command = home.command();
    command.env("PAREDAO_FAILPOINTS", "store.apply.before_begin=panic@2");
    let mut program = Program::start(&home, command, QUICK);
    assert_eq!(program.vote(1, None).status, 200);
    program.settled(1);
    assert_eq!(
        program.vote(2, None).status,
        200,
        "it is durable in the log"
    );
    assert_eq!(program.wait().code(), Some(1));
    let died = program.events("component_died");
    assert!(
        died.iter().any(|event| event["component"] == "store"),
        "{died:?}"
    );

    let program = home.serve(QUICK);
    assert_eq!(program.settled(2)["total"], 2);
    program.stop();
    home.good(&["recount", "--keys"]);
}

/// Damages the journal from its first frame on.
fn flip_a_byte_of_the_journal(data: &Path) {
    let journal = data.join("store.sqlite-wal");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[32 + 24 + 100] ^= 1;
    fs::write(&journal, bytes).unwrap();
}

#[test]
fn a_damaged_journal_takes_no_poll_back_and_no_vote() {
    let home = Home::new();
    let program = home.serve(QUICK);
    home.good(&["poll", "extend", "demo", "--until", "2099-01-01T00:00:00Z"]);
    for candidate in [1, 2, 2] {
        assert_eq!(program.vote(candidate, None).status, 200);
    }
    program.settled(3);
    let before = home.json(&["poll", "show", "demo"]);
    program.kill();
    flip_a_byte_of_the_journal(&home.data());

    let program = home.serve(QUICK);
    assert_eq!(program.events("store_journal_cut").len(), 1);
    program.settled(3);
    let after = home.json(&["poll", "show", "demo"]);
    for what in ["state", "opens_at", "closes_at", "total", "candidates"] {
        assert_eq!(after[what], before[what], "{what}");
    }
    program.stop();
    home.good(&["recount", "--keys"]);
}

fn remove_the_log(home: &Home) {
    for entry in fs::read_dir(home.data().join("log")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

#[test]
fn a_log_that_is_gone_is_noticed_and_no_result_is_final_until_somebody_gives_it_up() {
    let home = Home::new();
    let program = home.serve(QUICK);
    assert_eq!(program.vote(1, None).status, 200);
    program.settled(1);
    assert_eq!(home.good(&["vote-log", "missing"]), "nothing is missing\n");
    program.kill();
    remove_the_log(&home);

    let program = home.serve(QUICK);
    assert_eq!(lost_files(&home), [(1, 1)]);
    let status = home.good(&["vote-log", "status"]);
    assert!(status.contains("1 losses wait for a decision"), "{status}");
    home.good(&["poll", "close", "demo"]);
    eventually("the lost file keeps the result from being final", || {
        let report = home.json(&["poll", "show", "demo"]);
        let reasons = report["not_final_because"].to_string();
        reasons.contains("1 files of the vote log are lost")
    });
    let silent = home.run(&["vote-log", "write-off-segments", "1", "--reason", " "]);
    assert!(silent.refusal().contains("say why"));
    let because = ["--reason", "disk of 20/11"];
    let give_up = [&["vote-log", "write-off-segments", "1"], &because[..]].concat();
    home.good(&give_up);
    eventually("the result is final", || {
        home.json(&["poll", "show", "demo"])["state"] == "final"
    });
    assert_eq!(home.run(&give_up).code, Some(1));
    eventually("no alarm is left", || {
        program.metric("paredao_log_segments_lost") < 1.0
    });
    program.stop();
    let program = home.serve(QUICK);
    assert!(program.events("vote_log_segments_lost").is_empty());
    program.stop();
    let lost = home.json(&["vote-log", "missing"]);
    assert_eq!(lost[0]["written_off_because"], "disk of 20/11");
}

fn lost_files(home: &Home) -> Vec<(u64, u64)> {
    let lost = home.json(&["vote-log", "missing"]);
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let ranges = lost.as_array().unwrap().iter();
    ranges
        .map(|loss| (number(&loss["first"]), number(&loss["last"])))
        .collect()
}

fn segments(home: &Home) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.data().join("log")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Votes once, in a life of its own; the receipt.
fn vote_in_a_life(home: &Home, votes: u64) -> String {
    let program = home.serve(QUICK);
    let receipt = program.vote(1, None).receipt().unwrap();
    program.settled(votes);
    program.stop();
    receipt
}

fn fate(program: &Program, receipt: &str) -> serde_json::Value {
    program.get(&format!("/recibo/{receipt}")).body["estado"].take()
}

#[test]
fn votes_between_an_older_copy_of_the_store_and_the_log_show_as_missing() {
    let home = Home::new();
    let kept = vote_in_a_life(&home, 1);
    let (store, copy) = (home.data().join("store.sqlite"), home.path().join("copy"));
    fs::copy(&store, &copy).unwrap();
    let gone = vote_in_a_life(&home, 2);
    for votes in 3..=4 {
        vote_in_a_life(&home, votes);
    }
    fs::copy(&copy, &store).unwrap();
    let program = home.serve(QUICK);
    let lost = lost_files(&home);
    assert!(!lost.is_empty());
    assert_eq!(program.events("vote_log_segments_lost").len(), 1);
    assert!(program.metric("paredao_log_segments_lost") >= 1.0);
    assert_eq!(fate(&program, &kept), "registrado");
    assert_eq!(fate(&program, &gone), "desconhecido");
    assert_eq!(program.events("receipt_of_nobody").len(), 1);
    assert!(program.metric("paredao_receipts_of_nobody_total") >= 1.0);
    home.good(&["poll", "close", "demo"]);
    eventually("what went keeps the result from being final", || {
        let report = home.json(&["poll", "show", "demo"]);
        let reasons = report["not_final_because"].to_string();
        reasons.contains("files of the vote log are lost")
    });
    program.stop();
}

#[test]
fn a_poll_that_an_older_copy_had_not_opened_is_not_final_without_its_lost_votes() {
    let home = Home::new();
    let quick = &QUICK[1..];
    let program = home.serve(quick);
    home.good(&[
        "poll",
        "create",
        home.write("p.toml", &poll_file("p")).to_str().unwrap(),
    ]);
    program.stop();
    let (store, copy) = (home.data().join("store.sqlite"), home.path().join("copy"));
    fs::copy(&store, &copy).unwrap();
    let program = home.serve(quick);
    home.good(&["poll", "open", "p"]);
    eventually("the vote is taken", || program.vote(1, None).status == 200);
    program.stop();
    for _ in 0..2 {
        home.serve(quick).stop();
    }
    fs::copy(&copy, &store).unwrap();
    let program = home.serve(quick);
    assert!(!lost_files(&home).is_empty());
    home.good(&["poll", "open", "p"]);
    home.good(&["poll", "close", "p"]);
    eventually("what went keeps the result from being final", || {
        let report = home.json(&["poll", "show", "p"]);
        let reasons = report["not_final_because"].to_string();
        reasons.contains("files of the vote log are lost") && !reasons.contains("barrier")
    });
    program.stop();
}

#[test]
fn a_log_that_was_only_away_is_not_missed_when_it_is_back() {
    let home = Home::new();
    for votes in 1..=3 {
        vote_in_a_life(&home, votes);
    }
    let (log, aside) = (home.data().join("log"), home.path().join("aside"));
    fs::rename(&log, &aside).unwrap();
    assert!(!lost_files(&home).is_empty());
    fs::remove_dir_all(&log).unwrap();
    fs::rename(&aside, &log).unwrap();
    assert_eq!(lost_files(&home), []);
    let program = home.serve(QUICK);
    program.settled(3);
    home.good(&["poll", "close", "demo"]);
    eventually("the result is final", || {
        home.json(&["poll", "show", "demo"])["state"] == "final"
    });
    program.stop();
}

#[test]
fn a_file_of_the_log_between_others_is_missed_until_it_is_put_back() {
    let home = Home::new();
    let program = home.serve(QUICK);
    assert_eq!(program.vote(1, None).status, 200);
    program.kill();
    let file = segments(&home).remove(0);
    let aside = home.path().join("aside");
    let program = home.serve(QUICK);
    program.settled(1);
    program.kill();
    fs::rename(&file, &aside).unwrap();
    assert_eq!(lost_files(&home), [(1, 1)]);
    assert_eq!(
        segments(&home).len(),
        1,
        "who only looks leaves nothing behind"
    );
    for votes in 2..=4 {
        vote_in_a_life(&home, votes);
    }
    assert_eq!(
        lost_files(&home),
        [(1, 1)],
        "though later ones went in good order"
    );
    fs::rename(&aside, &file).unwrap();
    assert_eq!(lost_files(&home), []);
}

/// Damages the store's file in one place, on the disk alone.
fn flip_a_byte_of_the_store(store: &Path, sound: &[u8], at: usize) {
    for suffix in ["-wal", "-shm"] {
        let beside = store.with_file_name(format!("store.sqlite{suffix}"));
        let _gone = fs::remove_file(beside);
    }
    let mut bytes = sound.to_vec();
    bytes[at] ^= 0x55;
    fs::write(store, bytes).unwrap();
}

#[test]
fn a_flipped_byte_anywhere_in_the_store_changes_no_number_in_silence() {
    const PLACES: usize = 60;
    let home = Home::new();
    vote_in_a_life(&home, 1);
    let numbers = || {
        let recount = home.run(&["recount", "--keys"]);
        let shown = home.run(&["poll", "show", "demo", "--json"]);
        for done in [&recount, &shown] {
            assert!(!done.stderr.contains("panicked"), "{done:?}");
        }
        let told: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap_or_default();
        (recount.code.max(shown.code), told["total"].clone())
    };
    assert_eq!(numbers(), (Some(0), 1.into()));
    let store = home.data().join("store.sqlite");
    let sound = fs::read(&store).unwrap();
    let mut named = 0;
    for place in 0..PLACES {
        let at = sound.len() * place / PLACES + 37 * place % 4_096 % (sound.len() / PLACES);
        flip_a_byte_of_the_store(&store, &sound, at);
        match numbers() {
            (Some(0), total) => assert_eq!(total, 1, "byte {at}"),
            (Some(1 | 2), _) => named += 1,
            (code, _) => panic!("byte {at}: {code:?}"),
        }
    }
    assert!(named > 0, "some of them must have hit something");
    flip_a_byte_of_the_store(&store, &sound, 0);
    let refused = home.run(&["serve"]);
    assert!(
        refused.code == Some(1) || refused.code == Some(2),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("store.sqlite"), "{refused:?}");
}
