//! A store that loses a part of itself or of the log: noticed, named, never glossed over.

use std::fs;
use std::path::Path;

use crate::support::{Home, Program, eventually};

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
    let lost = home.json(&["vote-log", "missing"]);
    assert_eq!(lost.as_array().unwrap().len(), 1, "{lost:#}");
    assert_eq!(
        (&lost[0]["first"], &lost[0]["last"]),
        (&1.into(), &1.into())
    );
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
    program.stop();
    let lost = home.json(&["vote-log", "missing"]);
    assert_eq!(lost[0]["written_off_because"], "disk of 20/11");
}
