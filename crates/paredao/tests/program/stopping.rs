//! SIGTERM and Ctrl-C: readiness falls first, whoever is connected is still served, and nothing
//! that was accepted is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::http::{Connection, is_kept};
use crate::support::{Home, Program, eventually};

/// Longer than any of these tests waits.
const LONG_DRAIN: &[&str] = &[
    "--demo",
    "--drain-ms",
    "60000",
    "--stop-timeout-ms",
    "66000",
];

/// What one voter who keeps a connection alive went through.
#[derive(Default)]
struct Tour {
    accepted: u64,
    failures: Vec<String>,
}

/// Voters who vote without a pause until they are told to stop, or the server says `close`.
struct Crowd {
    enough: Arc<AtomicBool>,
    voters: Vec<JoinHandle<Tour>>,
}

impl Crowd {
    fn gather(program: &Program, size: usize) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let listen = program.listen;
        let voter = |_| {
            let enough = Arc::clone(&enough);
            thread::spawn(move || vote_until(&enough, &mut Connection::open(listen).unwrap()))
        };
        Self {
            voters: (0..size).map(voter).collect(),
            enough,
        }
    }

    fn go_home(self) -> Tour {
        self.enough.store(true, Ordering::Relaxed);
        let mut all = Tour::default();
        for voter in self.voters {
            let tour = voter.join().unwrap();
            all.accepted += tour.accepted;
            all.failures.extend(tour.failures);
        }
        all
    }
}

fn vote_until(enough: &AtomicBool, connection: &mut Connection) -> Tour {
    let mut tour = Tour::default();
    while !enough.load(Ordering::Relaxed) {
        match connection.vote(1, None) {
            Ok(answer) if answer.status == 200 => {
                tour.accepted += 1;
                if !is_kept(&answer) {
                    break;
                }
            }
            Ok(answer) => tour
                .failures
                .push(format!("{} {}", answer.status, answer.body)),
            Err(error) => {
                tour.failures.push(error.to_string());
                break;
            }
        }
    }
    tour
}

#[test]
fn sigterm_under_load_fails_no_request_while_it_drains_and_loses_no_vote() {
    const DRAIN: Duration = Duration::from_secs(5);
    let home = Home::new();
    let mut program = home.serve(&["--demo", "--drain-ms", &DRAIN.as_millis().to_string()]);
    let crowd = Crowd::gather(&program, 16);
    let accepted = |program: &Program| program.get("/total").body["contas"]["aceitos"].as_u64();
    eventually("votes come in", || accepted(&program) > Some(100));

    let asked = Instant::now();
    program.signal(Signal::TERM);
    eventually("readiness falls", || program.get("/ready").status == 503);
    let before = accepted(&program);
    eventually("votes are still taken", || accepted(&program) > before);
    assert_eq!(home.run(&["health"]).stdout, "stopping\n");
    let tour = crowd.go_home();
    assert!(
        asked.elapsed() < DRAIN,
        "it took longer than the drain, so this shows nothing"
    );
    assert_eq!(tour.failures, Vec::<String>::new());
    assert_eq!(program.wait().code(), Some(0));

    let program = home.serve(&["--demo"]);
    let total = program.settled(tour.accepted);
    assert_eq!(total["total"], tour.accepted);
    assert_eq!(
        total["contas"]["sem_resposta"], 0,
        "a clean stop leaves nothing in doubt"
    );
    program.stop();
    home.good(&["recount", "--keys"]);
}

#[test]
fn votes_under_way_when_the_door_closes_are_answered_and_kept() {
    let home = Home::new();
    let mut program = home.serve(&["--demo", "--append-delay-us", "400000"]);
    let listen = program.listen;
    let voters: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                Connection::open(listen)
                    .unwrap()
                    .vote(2, None)
                    .unwrap()
                    .status
            })
        })
        .collect();
    eventually("votes are under way", || {
        program.metric("paredao_batches_in_flight") > 0.0
    });
    program.signal(Signal::INT);
    let statuses: Vec<u16> = voters
        .into_iter()
        .map(|voter| voter.join().unwrap())
        .collect();
    assert!(
        statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    let accepted = statuses.iter().filter(|status| **status == 200).count() as u64;
    assert!(accepted > 0);
    assert_eq!(program.wait().code(), Some(0));

    let program = home.serve(&["--demo"]);
    assert_eq!(program.settled(accepted)["voto_2"], accepted);
    program.stop();
}

#[test]
fn ctrl_c_drains_at_once() {
    let home = Home::new();
    let mut program = home.serve(LONG_DRAIN);
    assert_eq!(program.vote(1, None).status, 200);
    let pressed = Instant::now();
    program.signal(Signal::INT);
    assert_eq!(program.wait().code(), Some(0));
    assert!(
        pressed.elapsed() < Duration::from_secs(7),
        "{:?}",
        pressed.elapsed()
    );
    assert_eq!(program.events("stop_cut_short").len(), 0);
    assert!(!home.socket().exists());
}

#[test]
fn a_second_ctrl_c_ends_it_at_once_with_130_and_loses_nothing() {
    let home = Home::new();
    let mut program = home.serve(LONG_DRAIN);
    assert_eq!(program.vote(1, None).status, 200);
    program.signal(Signal::TERM);
    program.event("stopping");
    program.signal(Signal::INT);
    assert_eq!(program.wait().code(), Some(130));
    let program = home.serve(&["--demo"]);
    assert_eq!(program.settled(1)["total"], 1);
    program.stop();
}

#[test]
fn a_stop_that_would_take_too_long_is_cut_short_says_so_and_loses_nothing() {
    let home = Home::new();
    let mut command = home.command();
    command.env("PAREDAO_FAILPOINTS", "log.append.before_sync=delay:60s");
    let arguments = [
        "--demo",
        "--append-deadline-ms",
        "1000",
        "--stop-timeout-ms",
        "2000",
        "--drain-ms",
        "0",
    ];
    let mut program = Program::start(&home, command, &arguments);
    let listen = program.listen;
    let voter = thread::spawn(move || {
        Connection::open(listen)
            .unwrap()
            .vote(1, None)
            .map(|a| a.status)
    });
    eventually("a vote is under way", || {
        program.metric("paredao_batches_in_flight") > 0.0
    });
    let asked = Instant::now();
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(1));
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(program.events("stop_cut_short").len(), 1);
    let answered = u64::from(voter.join().unwrap().is_ok_and(|status| status == 200));

    let program = home.serve(&["--demo"]);
    let mut kept = 0;
    eventually("what is in the log is booked", || {
        let books = program.get("/total").body["contas"].clone();
        kept = books["contados"].as_u64().unwrap();
        books["em_voo"] == 0
    });
    assert!(kept >= answered, "{kept} kept, {answered} answered");
    program.stop();
}

#[test]
fn a_stop_while_the_store_takes_nothing_says_what_is_left_and_the_next_start_applies_it() {
    let home = Home::new();
    let mut command = home.command();
    command.env(
        "PAREDAO_FAILPOINTS",
        "store.apply.before_begin=error:enospc",
    );
    let mut program = Program::start(&home, command, &["--demo", "--drain-ms", "0"]);
    assert_eq!(program.vote(1, None).status, 200);
    program.event("store_away");
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(1));
    let told = program.events("stop_cut_short");
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["what"], &told[0]["votes_left"]),
        (&"consumer".into(), &1.into())
    );

    let program = home.serve(&["--demo"]);
    assert_eq!(program.settled(1)["total"], 1);
    program.stop();
}

#[test]
fn a_store_that_hangs_does_not_hold_up_the_stop() {
    let home = Home::new();
    let mut command = home.command();
    command.env(
        "PAREDAO_FAILPOINTS",
        "store.apply.before_commit=delay:30s@2",
    );
    let limits = ["--stop-timeout-ms", "2000", "--append-deadline-ms", "500"];
    let flags = [&["--demo", "--drain-ms", "0"], &limits[..]].concat();
    let mut program = Program::start(&home, command, &flags);
    assert_eq!(program.vote(1, None).status, 200);
    program.settled(1);
    assert_eq!(program.vote(2, None).status, 200);
    let started = Instant::now();
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(1));
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");

    let program = home.serve(&["--demo"]);
    assert_eq!(program.settled(2)["total"], 2);
    program.stop();
}

#[test]
fn a_component_that_dies_brings_an_orderly_end_with_status_1() {
    let home = Home::new();
    let mut command = home.command();
    command.env("PAREDAO_FAILPOINTS", "consumer.before_apply=panic");
    let mut program = Program::start(&home, command, &["--demo"]);
    assert_eq!(program.vote(1, None).status, 200);
    assert_eq!(program.wait().code(), Some(1));
    assert_eq!(program.events("component_died")[0]["component"], "consumer");
    // By this name the chaos campaign finds panics.
    assert_eq!(program.events("panic")[0]["level"], "error");
    let program = home.serve(&["--demo"]);
    assert_eq!(program.settled(1)["total"], 1);
    program.stop();
}
