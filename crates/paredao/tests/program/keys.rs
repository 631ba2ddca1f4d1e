//! The same key is the same vote: in parallel, over every connection, and across a restart.

use std::sync::Barrier;
use std::thread;

use crate::support::{Home, Program};

/// Sends the same vote `copies` times at one instant.
fn send_together(program: &Program, candidate: u8, key: &str, copies: usize) {
    let barrier = Barrier::new(copies);
    thread::scope(|scope| {
        for _ in 0..copies {
            scope.spawn(|| {
                let mut connection = program.connect();
                barrier.wait();
                assert_eq!(connection.vote(candidate, Some(key)).unwrap().status, 200);
            });
        }
    });
}

#[test]
fn copies_of_a_vote_sent_together_are_one_vote() {
    let home = Home::new();
    let program = home.serve(&["--demo"]);
    let mut sent = 0;
    for copies in [2, 3, 10, 50] {
        send_together(&program, 1, &format!("{copies:020}"), copies);
        sent += copies as u64;
    }
    let total = program.settled(sent);
    assert_eq!(
        (&total["total"], &total["contas"]["duplicados"]),
        (&4.into(), &(sent - 4).into())
    );
    program.stop();
    home.good(&["recount", "--keys"]);
}

#[test]
fn copies_sent_before_and_after_a_restart_and_a_kill_are_one_vote() {
    let home = Home::new();
    let key = "the-key-of-one-single-vote";
    for round in 0..3 {
        let program = home.serve(&["--demo"]);
        send_together(&program, 2, key, 5);
        match round {
            0 => program.stop(),
            _ => program.kill(),
        }
    }
    let program = home.serve(&["--demo"]);
    let total = program.settled(15);
    assert_eq!(
        (&total["voto_2"], &total["contas"]["duplicados"]),
        (&1.into(), &14.into())
    );
    program.stop();
    home.good(&["recount", "--keys"]);
}

#[test]
fn a_key_used_for_another_candidate_is_a_conflict_and_the_first_copy_stands() {
    let home = Home::new();
    let program = home.serve(&["--demo"]);
    let key = "first-for-ana-then-for-bia";
    assert_eq!(program.vote(1, Some(key)).status, 200);
    program.settled(1);
    assert_eq!(program.vote(2, Some(key)).status, 200);
    let total = program.settled(2);
    assert_eq!((&total["voto_1"], &total["voto_2"]), (&1.into(), &0.into()));
    assert_eq!(total["contas"]["conflitos_de_chave"], 1);
    program.stop();
}

#[test]
fn votes_without_a_key_are_each_a_vote() {
    let home = Home::new();
    let program = home.serve(&["--demo"]);
    let mut connection = program.connect();
    for _ in 0..10 {
        assert_eq!(connection.vote(1, None).unwrap().status, 200);
    }
    assert_eq!(program.settled(10)["total"], 10);
    program.stop();
}
