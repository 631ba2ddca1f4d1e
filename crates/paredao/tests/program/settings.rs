//! Configuration, as the command line shows it. (What each layer refuses is tested beside the
//! code that reads it.)

use crate::support::Home;

#[test]
fn flags_come_over_the_environment_and_that_over_the_file_in_the_working_folder() {
    let home = Home::new();
    home.write(
        "paredao.toml",
        "workers = 1\ndrain_ms = 1\nrefresh_ms = 501\n",
    );
    let mut command = home.command();
    command
        .env("PAREDAO_WORKERS", "2")
        .env("PAREDAO_DRAIN_MS", "2");
    let output = command.args(["config", "--workers", "3"]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let line = |key: &str| {
        let line = shown
            .lines()
            .find(|line| line.starts_with(&format!("{key} = ")))
            .unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("workers"), "workers = 3 # --workers");
    assert_eq!(line("drain_ms"), "drain_ms = 2 # PAREDAO_DRAIN_MS");
    assert_eq!(line("refresh_ms"), "refresh_ms = 501 # ./paredao.toml");
    assert_eq!(line("listen"), "listen = \"127.0.0.1:8080\" # default");
}

#[test]
fn wrong_configuration_is_one_line_that_names_the_key_and_status_2() {
    let home = Home::new();
    let refusal = |arguments: &[&str]| home.run(arguments).refusal().to_owned();
    assert_eq!(
        refusal(&["serve", "--listen", "nowhere"]),
        "paredao: --listen: must be an IP address and a port such as 127.0.0.1:8080, not \"nowhere\""
    );
    assert_eq!(
        refusal(&["serve", "--drain-ms", "15000"]),
        "paredao: stop_timeout_ms: must be at least drain_ms + append_deadline_ms + 1000, \
         or votes under way at the end get no answer"
    );
    let file = home.write("wrong.toml", "listen_on = 1\n");
    let refused = refusal(&["poll", "list", "--config", file.to_str().unwrap()]);
    assert!(
        refused.ends_with("wrong.toml: listen_on: no such key"),
        "{refused}"
    );
    let output = home
        .command()
        .env("PAREDAO_LISTENS", "x")
        .arg("config")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_address_in_use_is_named_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["listen", "metrics_listen"] {
        let home = Home::new();
        let flag = format!("--{}", key.replace('_', "-"));
        let other = if key == "listen" {
            "--metrics-listen"
        } else {
            "--listen"
        };
        let done = home.run(&[
            "serve",
            &flag,
            &address,
            other,
            "127.0.0.1:0",
            "--log-level",
            "off",
        ]);
        let expected = format!("paredao: {key}: cannot listen on {address}: ");
        assert!(done.refusal().starts_with(&expected), "{done:?}");
        assert!(!home.data().exists(), "nothing was made");
    }
}

#[test]
fn what_config_prints_is_a_configuration_file() {
    let home = Home::new();
    let shown = home.good(&["config", "--demo", "--workers", "7"]);
    let file = home.write("again.toml", &shown);
    let again = home.json(&["config", "--config", file.to_str().unwrap()]);
    assert_eq!(again["workers"]["value"], 7);
    assert_eq!(again["demo"]["value"], true);
}

#[test]
fn the_sample_file_serves_as_it_is() {
    let home = Home::new();
    home.write("paredao.toml", &home.good(&["config", "--example"]));
    home.serve(&[]).stop();
}

#[test]
fn a_rehearsal_of_a_slow_disk_is_said_loudly_and_slows_every_vote() {
    let home = Home::new();
    let mut program = home.serve(&["--demo", "--append-delay-us", "300000"]);
    assert_eq!(program.event("append_delay_set")["level"], "warn");
    let started = std::time::Instant::now();
    assert_eq!(program.vote(1, None).status, 200);
    assert!(started.elapsed().as_millis() >= 300);
    program.stop();
}
