//! No answer leaves before the `fdatasync` that covers its vote: seen from outside, by strace.

mod trace;

use std::fs;
use std::process::Command;
use std::thread;

use rustix::process::Signal;

use crate::http::Connection;
use crate::support::{Home, Program, eventually};
use trace::Findings;

const TRACED: &str = "trace=pwrite64,pwritev,fdatasync,fsync,write,writev,sendto,sendmsg";
const VOTERS: usize = 6;
const VOTES: usize = 15;

/// Votes under strace, alone and together, and returns what strace wrote.
fn traced_votes(home: &Home) -> String {
    let file = home.path().join("trace");
    let mut strace = Command::new("strace");
    // Detached, so that the child is the program itself and not strace.
    strace
        .args(["-D", "-f", "-xx", "-s", "2048", "-e", TRACED, "-o"])
        .arg(&file);
    strace.arg(env!("CARGO_BIN_EXE_paredao"));
    let mut program = Program::start(home, home.prepared(strace), &["--demo"]);
    let listen = program.listen;
    let vote = move || {
        let mut connection = Connection::open(listen).unwrap();
        for _ in 0..VOTES {
            assert_eq!(connection.vote(1, None).unwrap().status, 200);
        }
    };
    vote();
    let voters: Vec<_> = (0..VOTERS).map(|_| thread::spawn(vote)).collect();
    voters.into_iter().for_each(|voter| voter.join().unwrap());
    program.signal(Signal::INT);
    assert_eq!(program.wait().code(), Some(0));
    // strace pads short process ids with blanks.
    let pid = program.pid().to_string();
    let is_last = |line: &str| {
        line.strip_suffix("+++ exited with 0 +++")
            .is_some_and(|start| start.trim() == pid)
    };
    eventually(
        "strace has written everything (Debian package strace)",
        || fs::read_to_string(&file).is_ok_and(|text| text.lines().any(is_last)),
    );
    fs::read_to_string(&file).unwrap()
}

#[test]
fn no_answer_leaves_before_the_sync_that_covers_its_vote() {
    let home = Home::new();
    let text = traced_votes(&home);
    let found = Findings::of(&text);
    assert_eq!(found.answers, (VOTERS + 1) * VOTES, "every answer was seen");
    assert_eq!(found.early, Vec::<String>::new());

    let without_syncs: String = text
        .lines()
        .filter(|line| !line.contains("fdatasync"))
        .map(with_end)
        .collect();
    let found = Findings::of(&without_syncs);
    assert_eq!(
        found.early.len(),
        found.answers,
        "without the syncs every answer is early"
    );

    let failed_syncs: String = text
        .lines()
        .map(failed_sync)
        .map(|line| with_end(&line))
        .collect();
    let found = Findings::of(&failed_syncs);
    assert_eq!(
        found.early.len(),
        found.answers,
        "a sync that failed covers nothing"
    );
}

fn with_end(line: &str) -> String {
    format!("{line}\n")
}

fn failed_sync(line: &str) -> String {
    if line.contains("fdatasync") && line.ends_with("= 0") {
        line.replace("= 0", "= -1 EIO (Input/output error)")
    } else {
        line.to_owned()
    }
}
