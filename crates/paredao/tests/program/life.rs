//! From an empty folder to votes, and on from there at the next start.

use crate::http;
use crate::support::Home;

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
