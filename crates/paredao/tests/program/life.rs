//! From an empty folder to votes, and on from there at the next start.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::http;
use crate::support::{Home, eventually, poll_file};

#[test]
fn a_demonstration_takes_votes_at_once_and_shows_their_total() {
    let home = Home::new();
    let program = home.serve(&["--demo"]);
    let answer = program.vote(2, None);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.receipt().unwrap().len(), 32);
    let total = program.settled(1);
    assert_eq!(total["poll"], "demo");
    assert_eq!((&total["voto_1"], &total["voto_2"]), (&0.into(), &1.into()));
    assert_eq!(program.events("demonstration").len(), 1, "it says so");
    let receipt = format!("/recibo/{}", answer.receipt().unwrap());
    assert_eq!(program.get(&receipt).body["estado"], "registrado");
    let metrics = http::Connection::open(program.metrics)
        .unwrap()
        .get("/metrics")
        .unwrap();
    assert_eq!(metrics.status, 200);
    program.stop();
}

#[test]
fn without_a_demonstration_an_empty_folder_stays_empty_and_it_says_what_to_do() {
    let home = Home::new();
    let mut program = home.serve(&[]);
    let hint = program.event("no_poll")["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(hint.contains("paredao poll create"), "{hint}");
    assert_eq!(program.vote(1, None).status, 404);
    assert_eq!(
        program.get("/total").status,
        403,
        "totals are not public by themselves"
    );
    assert_eq!(home.json(&["poll", "list"]), serde_json::json!([]));
    program.stop();
}

#[test]
fn whoever_debugs_sees_one_vote_in_a_thousand_and_nobodys_choice() {
    let home = Home::new();
    let program = home.serve(&["--demo", "--log-level", "paredao_api=debug"]);
    let mut connection = program.connect();
    for _ in 0..1_100 {
        assert_eq!(connection.vote(2, None).unwrap().status, 200);
    }
    program.settled(1_100);
    let votes = program.events("vote");
    assert_eq!(votes.len(), 2, "the first, and the one after a thousand");
    for vote in votes {
        assert_eq!(vote["outcome"], "accepted");
        let fields = vote.as_object().unwrap();
        let told = ["voto", "candidate", "key", "recibo", "receipt", "address"];
        assert!(
            told.iter().all(|name| !fields.contains_key(*name)),
            "{vote}"
        );
    }
    program.stop();
}

#[test]
fn a_second_start_goes_on_where_the_first_ended() {
    let home = Home::new();
    let program = home.serve(&["--demo"]);
    let receipt = program.vote(1, None).receipt().unwrap();
    program.stop();

    let program = home.serve(&["--demo"]);
    assert_eq!(program.vote(2, None).status, 200);
    let total = program.settled(2);
    assert_eq!((&total["voto_1"], &total["voto_2"]), (&1.into(), &1.into()));
    assert_eq!(
        program.get(&format!("/recibo/{receipt}")).body["estado"],
        "registrado"
    );
    assert_eq!(
        home.json(&["poll", "list"]).as_array().unwrap().len(),
        1,
        "one demonstration poll"
    );
    program.stop();
}

#[test]
fn a_demonstration_is_refused_beside_a_real_poll_which_is_served_without_it() {
    let home = Home::new();
    home.open_poll("quem-sai");
    let done = home.run(&[
        "serve",
        "--demo",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
        "--log-level",
        "off",
    ]);
    assert_eq!(
        done.refusal(),
        "paredao: demo: the data folder holds the poll quem-sai, which is no demonstration: serve \
         it without --demo, or demonstrate in another folder (--data-dir)"
    );
    let program = home.serve(&[]);
    assert_eq!(program.vote(1, None).status, 200);
    program.stop();
}

#[test]
fn no_real_poll_is_created_where_votes_are_void() {
    let home = Home::new();
    let program = home.serve(&["--demo"]);
    let file = home.write("poll.toml", &poll_file("quem-sai"));
    let done = home.run(&["poll", "create", file.to_str().unwrap()]);
    assert!(
        done.refusal()
            .contains("this process serves a demonstration"),
        "{done:?}"
    );
    program.stop();
}

#[test]
fn a_demonstration_that_is_over_is_followed_by_another_that_is_open_at_once() {
    const QUICK: &[&str] = &[
        "--demo",
        "--refresh-ms",
        "50",
        "--close-lead-ms",
        "100",
        "--append-deadline-ms",
        "100",
    ];
    let home = Home::new();
    let state = |slug: &str| home.json(&["poll", "show", slug])["state"].clone();
    let program = home.serve(QUICK);
    assert_eq!(program.vote(1, None).status, 200);
    home.good(&["poll", "close", "demo"]);
    eventually("the first is final", || state("demo") == "final");
    program.stop();

    let program = home.serve(QUICK);
    assert_eq!(program.vote(2, None).status, 200);
    let total = program.settled(2);
    assert_eq!(
        (&total["poll"], &total["total"]),
        (&"demo-2".into(), &1.into())
    );
    home.good(&["poll", "close", "demo-2"]);
    eventually("the second is closed", || state("demo-2") != "open");
    program.stop();

    let program = home.serve(QUICK);
    assert_eq!(program.vote(1, None).status, 200);
    assert_eq!(program.settled(3)["poll"], "demo-3");
    program.stop();
}

#[test]
fn readiness_rises_once_when_every_component_is_ready() {
    let home = Home::new();
    let program = home.serve(&["--demo"]);
    let components = program.get("/ready").body["components"].clone();
    let rose = program.events("component_ready");
    assert_eq!(
        rose.len(),
        components.as_array().unwrap().len(),
        "{rose:#?}"
    );
    // The door is the last: nobody was let in before all others were ready.
    assert_eq!(rose.last().unwrap()["component"], "http");
    program.stop();
}

#[test]
fn whoever_asks_during_a_start_is_refused_until_it_is_ready_and_stays_so() {
    let address = free_address();
    let home = Home::new();
    let enough = AtomicBool::new(false);
    let statuses = thread::scope(|scope| {
        let asking = scope.spawn(|| readiness_until(&enough, address));
        let program = home.serve(&["--demo", "--listen", &address.to_string()]);
        assert_eq!(program.vote(1, None).status, 200);
        program.settled(1);
        enough.store(true, Ordering::Relaxed);
        let statuses = asking.join().unwrap();
        program.stop();
        statuses
    });
    assert!(statuses.len() > 1, "it was asked more than once");
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Every answer of `/ready`, each on a connection of its own.
fn readiness_until(enough: &AtomicBool, address: SocketAddr) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        // Refused connections are what a process that starts is asked for.
        if let Ok(answer) = http::get(address, "/ready") {
            statuses.push(answer.status);
        }
    }
    statuses
}

#[test]
fn a_kill_loses_no_vote_that_was_answered() {
    let home = Home::new();
    let mut answered = 0;
    for _ in 0..3 {
        let program = home.serve(&["--demo"]);
        let mut connection = program.connect();
        for candidate in [1, 2, 1, 2, 1] {
            answered += u64::from(connection.vote(candidate, None).unwrap().status == 200);
        }
        program.kill();
    }
    let program = home.serve(&["--demo"]);
    assert_eq!(program.settled(answered)["total"], 15);
    program.stop();
    home.good(&["recount", "--keys"]);
}

#[test]
fn people_get_a_banner_with_every_address() {
    let home = Home::new();
    let child = home
        .command()
        .args([
            "serve",
            "--demo",
            "--log-format",
            "human",
            "--listen",
            "127.0.0.1:0",
        ])
        .args(["--metrics-listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let banner = read_banner_and_kill(child);
    for expected in [
        "  vote ",
        "/resultado\n",
        "/total\n",
        "/swagger/\n",
        "/metrics\n",
        "demonstration",
        "Ctrl-C",
    ] {
        assert!(banner.contains(expected), "{expected:?} in {banner}");
    }
}

fn read_banner_and_kill(mut child: std::process::Child) -> String {
    use std::io::BufRead as _;
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut banner = String::new();
    while !banner.ends_with("Ctrl-C ends it.\n") {
        assert!(lines.read_line(&mut banner).unwrap() > 0, "{banner}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    banner
}
