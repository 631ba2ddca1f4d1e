//! Polls, from a file to the final result.

use serde_json::Value;

use crate::support::{Home, eventually, poll_file};

/// Settings under which an end comes soon, and a final result soon after it.
const QUICK: &[&str] = &[
    "--public-total",
    "--refresh-ms",
    "50",
    "--close-lead-ms",
    "300",
    "--append-deadline-ms",
    "100",
    "--linger-us-max",
    "500",
];

fn show(home: &Home, slug: &str) -> Value {
    home.json(&["poll", "show", slug])
}

#[test]
fn a_poll_lives_from_its_file_to_its_final_result() {
    let home = Home::new();
    let program = home.serve(QUICK);
    let file = home.write("poll.toml", &poll_file("final"));
    let created = home.good(&["poll", "create", file.to_str().unwrap()]);
    let vote_page = format!("http://{}/p/final/", program.listen);
    assert!(created.contains(&vote_page), "{created}");
    assert!(created.contains("paredao poll open final"), "{created}");
    assert_eq!(program.vote(1, None).status, 409, "not open yet");

    home.good(&["poll", "open", "final"]);
    for candidate in [1, 2, 2] {
        assert_eq!(program.vote(candidate, None).status, 200);
    }
    let closed = home.good(&["poll", "close", "final"]);
    assert!(
        closed.contains("closes at") && closed.contains("in about 1 s"),
        "{closed}"
    );
    assert!(closed.contains("its result is partial"), "{closed}");

    eventually("it is closed", || {
        program.vote(1, None).problem() == "poll-not-open"
    });
    let before = show(&home, "final");
    if before["state"] == "closed" {
        assert_ne!(before["not_final_because"], serde_json::json!([]));
    }
    eventually("it is final", || show(&home, "final")["state"] == "final");
    let report = show(&home, "final");
    assert_eq!(
        report["total"].as_u64(),
        report["accounts"]["counted"].as_u64()
    );
    assert!(report["total"].as_u64() >= Some(3));
    assert_eq!(report["candidates"][1]["votes"], 2);
    assert_eq!(report["not_final_because"], serde_json::json!([]));
    let text = home.good(&["poll", "show", "final"]);
    assert!(text.contains("the result is final since"), "{text}");
    program.stop();
    assert_eq!(
        show(&home, "final")["state"],
        "final",
        "also without a process"
    );
    home.good(&["recount", "--keys", "--poll", "final"]);
}

#[test]
fn an_end_can_be_moved_to_a_later_time_only() {
    let home = Home::new();
    home.open_poll("longo");
    let wrong = home.run(&["poll", "extend", "longo", "--by", "10m"]);
    assert!(
        wrong
            .refusal()
            .ends_with("this poll has no end yet: say --until")
    );
    home.good(&[
        "poll",
        "extend",
        "longo",
        "--until",
        "2126-03-31T22:30:00-03:00",
    ]);
    let text = home.good(&["poll", "extend", "longo", "--by", "1h30m"]);
    assert_eq!(
        text,
        "poll longo now closes at 2126-04-01T00:00:00.000-03:00\n"
    );
    let earlier = home.run(&[
        "poll",
        "extend",
        "longo",
        "--until",
        "2126-03-31T22:30:00-03:00",
    ]);
    assert!(
        earlier
            .refusal()
            .contains("must be later than the present one")
    );
}

#[test]
fn polls_are_listed_and_shown_with_and_without_a_process() {
    let home = Home::new();
    home.open_poll("um");
    let program = home.serve(&["--public-total"]);
    home.open_poll("dois");
    assert_eq!(
        program
            .connect()
            .post("/p/um/votar/1", None)
            .unwrap()
            .status,
        200
    );
    program.settled(1);
    let live = home.good(&["poll", "list"]);
    program.stop();
    assert_eq!(home.good(&["poll", "list"]), live);
    let slugs: Vec<&str> = live
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(slugs, ["slug", "um", "dois"]);
    assert_eq!(show(&home, "um")["total"], 1);
}

#[test]
fn what_a_poll_cannot_be_is_refused_in_one_line() {
    let home = Home::new();
    home.open_poll("um");
    let refuse = |text: &str| {
        let file = home.write("wrong.toml", text);
        let done = home.run(&["poll", "create", file.to_str().unwrap()]);
        done.refusal()
            .rsplit("paredao: ")
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        refuse("slug = \"so\"\ntitle = \"x\"\ncandidates = [{ number = 1, name = \"A\" }]"),
        "candidates: 2 to 20, not 1"
    );
    assert!(refuse("slug = \"Não\"").contains("line 1: a poll's slug is 1 to 40 characters"));
    let twice = home.run(&["poll", "create", "poll.toml"]);
    assert_eq!(
        (twice.code, twice.stderr.as_str()),
        (Some(1), "paredao: a poll called um exists already\n")
    );
    let unknown = home.run(&["poll", "show", "nada"]);
    assert_eq!(
        (unknown.code, unknown.stderr.as_str()),
        (Some(1), "paredao: no poll is called nada\n")
    );
    let again = home.run(&["poll", "open", "um"]);
    assert_eq!(
        again.refusal(),
        "paredao: this poll has been opened already"
    );
    assert!(
        home.run(&["poll", "create", "nowhere.toml"])
            .refusal()
            .contains("nowhere.toml: ")
    );
}

#[test]
fn the_sample_poll_file_makes_a_poll() {
    let home = Home::new();
    home.write("sample.toml", &home.good(&["poll", "create", "--example"]));
    home.good(&["poll", "create", "sample.toml"]);
    assert_eq!(home.json(&["poll", "list"])[0]["slug"], "paredao-1");
}
