//! Batches that cannot be applied are named, set aside and decided about; they are never counted
//! by mistake and never lost in silence.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use serde_json::Value;

use crate::support::{Home, Program, eventually};

/// Headers of the segment and of its first record, then the header of the batch: inside its votes.
const FIRST_VOTE: u64 = 64 + 64 + 50;
/// Behind a batch of one vote and its checksum.
const SECOND_RECORD: u64 = FIRST_VOTE + 16 + 4;
const QUICK: &[&str] = &[
    "--demo",
    "--refresh-ms",
    "50",
    "--close-lead-ms",
    "300",
    "--append-deadline-ms",
    "200",
];

/// Takes votes that stay in the log, and dies.
fn leave_in_the_log(home: &Home, votes: usize) {
    let mut command = home.command();
    command.env("PAREDAO_FAILPOINTS", "consumer.before_apply=delay:60s");
    let program = Program::start(home, command, QUICK);
    let mut connection = program.connect();
    for _ in 0..votes {
        assert_eq!(connection.vote(1, None).unwrap().status, 200);
    }
    program.kill();
}

fn flip_a_bit_of_the_log(home: &Home, at: u64) {
    let mut segments: Vec<_> = fs::read_dir(home.data().join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    let file = File::options()
        .read(true)
        .write(true)
        .open(&segments[0])
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn letters(home: &Home) -> Vec<Value> {
    home.json(&["dead-letters", "list"])
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn a_damaged_batch_is_set_aside_named_and_written_off_before_the_result_is_final() {
    let home = Home::new();
    leave_in_the_log(&home, 3);
    flip_a_bit_of_the_log(&home, FIRST_VOTE);
    let program = home.serve(QUICK);
    let total = program.settled(3);
    assert_eq!(
        (&total["total"], &total["contas"]["mortos"]),
        (&2.into(), &1.into())
    );

    assert_eq!(home.json(&["vote-log", "status"])["damaged"], 1);
    let listed = letters(&home);
    assert_eq!(listed.len(), 1);
    let letter = &listed[0];
    assert_eq!(
        (&letter["state"], &letter["poll"]),
        (&"unresolved".into(), &"demo".into())
    );
    assert_eq!(
        (&letter["votes"], &letter["body_hex"]),
        (&1.into(), &Value::Null)
    );
    assert_eq!(letter["reason"], "damaged: the checksum does not match");
    let number = letter["number"].to_string();
    let shown = home.json(&["dead-letters", "show", &number]);
    assert_eq!(
        shown["body_hex"].as_str().unwrap().len() as u64,
        2 * shown["bytes"].as_u64().unwrap()
    );

    home.good(&["poll", "close", "demo"]);
    eventually("the dead letter keeps the result from being final", || {
        let report = home.json(&["poll", "show", "demo"]);
        report["not_final_because"]
            .to_string()
            .contains("dead letters wait")
    });
    let requeue = home.run(&["dead-letters", "requeue", &number]);
    assert_eq!(requeue.code, Some(1));
    assert!(
        requeue.stderr.contains("its bytes are no batch"),
        "{requeue:?}"
    );
    let silent = home.run(&["dead-letters", "write-off", &number, "--reason", " "]);
    assert!(silent.refusal().contains("say why"));

    home.good(&[
        "dead-letters",
        "write-off",
        &number,
        "--reason",
        "disk of 20/11",
    ]);
    eventually("the result is final", || {
        home.json(&["poll", "show", "demo"])["state"] == "final"
    });
    assert_eq!(letters(&home)[0]["written_off_because"], "disk of 20/11");
    let again = home.run(&["dead-letters", "write-off", &number, "--reason", "twice"]);
    assert_eq!(again.code, Some(1));
    program.stop();
    home.good(&["recount", "--keys"]);
}

#[test]
fn a_batch_of_a_poll_that_was_put_right_is_sent_again_and_counted_once() {
    let home = Home::new();
    leave_in_the_log(&home, 1);
    rename_poll(&home, 1, 101);
    let program = home.serve(QUICK);
    eventually("it is a dead letter", || letters(&home).len() == 1);
    let letter = &letters(&home)[0];
    assert_eq!(letter["poll"], "number 1, which does not exist");
    program.stop();
    rename_poll(&home, 101, 1);

    let program = home.serve(QUICK);
    let number = letter["number"].to_string();
    for _ in 0..2 {
        // The second time it is in the ledger already, which changes nothing.
        home.good(&["dead-letters", "requeue", &number]);
        eventually("it is counted, once", || {
            let total = program.get("/total").body;
            total["total"] == 1 && total["contas"]["mortos"] == 0
        });
    }
    assert_eq!(program.settled(1)["total"], 1);
    assert_eq!(letters(&home)[0]["state"], "requeued");
    program.stop();
    home.good(&["recount", "--keys"]);
}

fn rename_poll(home: &Home, from: u32, to: u32) {
    tamper(
        home,
        &format!("UPDATE poll SET id = {to} WHERE id = {from}"),
    );
}

/// Changes one row of the store.
fn tamper(home: &Home, sql: &str) {
    let store = rusqlite::Connection::open(home.data().join("store.sqlite")).unwrap();
    assert_eq!(store.execute(sql, []).unwrap(), 1, "{sql}");
}

/// A process whose second append is to go wrong: the first is the barrier's. Its poll is closed,
/// and everything of it came through but one vote in a dead letter, of which the cause was put
/// right. Returns the number of the letter too.
fn closed_but_for_a_letter(home: &Home, second_append: &str) -> (Program, String) {
    leave_in_the_log(home, 1);
    rename_poll(home, 1, 101);
    let mut command = home.command();
    let point = format!("log.append.before_write={second_append}@2");
    command.env("PAREDAO_FAILPOINTS", point);
    let program = Program::start(home, command, QUICK);
    eventually("it is a dead letter", || letters(home).len() == 1);
    rename_poll(home, 101, 1);
    home.good(&["poll", "close", "demo"]);
    eventually("only the letter is in the way", || {
        not_final_because(home)
            == ["1 dead letters wait for a decision: see `paredao dead-letters list`"]
    });
    (program, letters(home)[0]["number"].to_string())
}

fn not_final_because(home: &Home) -> Vec<String> {
    let report = home.json(&["poll", "show", "demo"]);
    let reasons = report["not_final_because"].as_array().unwrap();
    let text = |reason: &Value| reason.as_str().unwrap().to_owned();
    reasons.iter().map(text).collect()
}

fn assert_final_with_one_vote(home: &Home) {
    eventually("the result is final", || {
        home.json(&["poll", "show", "demo"])["state"] == "final"
    });
    let report = home.json(&["poll", "show", "demo"]);
    let accounts = &report["accounts"];
    assert_eq!(
        (&report["total"], &accounts["counted"], &accounts["late"]),
        (&1.into(), &1.into(), &0.into()),
        "{report:#}"
    );
}

#[test]
fn a_letter_requeued_after_the_end_is_counted_before_the_result_is_final() {
    let home = Home::new();
    let (program, number) = closed_but_for_a_letter(&home, "delay:2s");
    // Many looks at the poll are taken between the decision and the append.
    home.good(&["dead-letters", "requeue", &number]);
    assert_final_with_one_vote(&home);
    let said = home.good(&["dead-letters", "requeue", &number]);
    assert!(said.contains("is in the ledger already"), "{said}");
    program.stop();
    home.good(&["recount", "--keys"]);
}

#[test]
fn a_letter_that_could_not_be_sent_waits_on_and_can_be_requeued_again() {
    let home = Home::new();
    let (program, number) = closed_but_for_a_letter(&home, "error");
    let failed = home.run(&["dead-letters", "requeue", &number]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("requeue it again"), "{failed:?}");
    assert_eq!(letters(&home)[0]["state"], "unresolved");

    // As a kill between the decision and the append leaves it.
    tamper(&home, "UPDATE dead_letter SET state = 'requeued'");
    eventually("it is still in the way", || {
        not_final_because(&home)
            .iter()
            .any(|reason| reason.starts_with("1 requeued dead letters have not come through"))
    });
    home.good(&["dead-letters", "requeue", &number]);
    assert_final_with_one_vote(&home);
    program.stop();
}

#[test]
fn a_letter_of_another_batch_than_its_envelope_names_is_not_sent_again() {
    let home = Home::new();
    let (program, number) = closed_but_for_a_letter(&home, "delay:1us");
    tamper(
        &home,
        "UPDATE dead_letter SET envelope = replace(envelope, '\"number\":1}', '\"number\":2}')",
    );
    let refused = home.run(&["dead-letters", "requeue", &number]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let why = "the envelope and the batch name different batches";
    assert!(refused.stderr.contains(why), "{refused:?}");
    assert_eq!(letters(&home)[0]["state"], "unresolved");
    program.stop();
}

#[test]
fn a_batch_of_which_not_even_the_name_is_left_is_missing_until_somebody_gives_it_up() {
    let home = Home::new();
    leave_in_the_log(&home, 3);
    flip_a_bit_of_the_log(&home, SECOND_RECORD);
    let program = home.serve(QUICK);
    assert_eq!(program.settled(3)["total"], 2);
    let number = letters(&home)[0]["number"].to_string();
    home.good(&[
        "dead-letters",
        "write-off",
        &number,
        "--reason",
        "unreadable",
    ]);
    home.good(&["poll", "close", "demo"]);
    eventually("the missing vote keeps the result from being final", || {
        let reasons = not_final_because(&home);
        reasons.len() == 1 && reasons[0].starts_with("1 votes were confirmed and never came")
    });

    let missing = home.json(&["vote-log", "missing"]);
    let gap = &missing[0];
    assert_eq!(
        (&gap["first"], &gap["last"], &gap["votes"]),
        (&2.into(), &2.into(), &1.into())
    );
    let incarnation = gap["incarnation"].as_str().unwrap();
    let write_off = |incarnation, number| {
        let reason = ["--reason", "disk of 20/11"];
        home.run(&[&["vote-log", "write-off", incarnation, number], &reason[..]].concat())
    };
    assert!(
        write_off("ana", "2")
            .refusal()
            .contains("write the 16 digits")
    );
    let other = write_off(incarnation, "3");
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.stderr.contains("is not missing"), "{other:?}");
    assert_eq!(write_off(incarnation, "2").code, Some(0));
    eventually("the result is final", || {
        home.json(&["poll", "show", "demo"])["state"] == "final"
    });
    let missing = home.json(&["vote-log", "missing"]);
    assert_eq!(missing[0]["written_off_because"], "disk of 20/11");
    assert_eq!(program.settled(3)["contas"]["perdidos"], 1, "still told");
    program.stop();
    let program = home.serve(QUICK);
    program.settled(3);
    assert!(program.metric("paredao_missing_undecided_votes") < 1.0);
    assert!(program.events("votes_missing").is_empty(), "it is decided");
    program.stop();
}

#[test]
fn a_letter_that_does_not_exist_cannot_be_decided_about() {
    let home = Home::new();
    let program = home.serve(&["--demo"]);
    assert_eq!(home.good(&["dead-letters", "list"]), "no dead letters\n");
    for arguments in [
        &["show", "7"][..],
        &["requeue", "7"],
        &["write-off", "7", "--reason", "x"],
    ] {
        let done = home.run(&[&["dead-letters"], arguments].concat());
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(
            done.stderr
                .contains("no unresolved dead letter has the number 7"),
            "{done:?}"
        );
    }
    program.stop();
}

#[test]
fn what_waits_in_the_log_is_shown_with_and_without_a_process() {
    let home = Home::new();
    leave_in_the_log(&home, 2);
    let status = home.json(&["vote-log", "status"]);
    assert_eq!(
        (&status["votes"], &status["batches"]),
        (&2.into(), &2.into())
    );
    assert_eq!(status["consumed"], false);
    let program = home.serve(QUICK);
    program.settled(2);
    let text = home.good(&["vote-log", "status"]);
    assert!(
        text.contains("waiting   0 votes in 0 batches") && text.contains("consumer  at work"),
        "{text}"
    );
    program.stop();
}
