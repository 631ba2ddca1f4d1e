use std::fs;

use super::super::show;
use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Environment(variables.iter().map(owned).collect())
}

fn flags(given: &[(&str, &str)]) -> Vec<Flag> {
    let flag = |(name, text): &(&str, &str)| Flag {
        key: key(name).unwrap(),
        text: (*text).to_owned(),
    };
    given.iter().map(flag).collect()
}

/// Layers under test; the file is absent unless there is one.
fn layered(
    file: Option<&str>,
    variables: &[(&str, &str)],
    given: &[(&str, &str)],
) -> Result<InForce, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.toml");
    fs::write(&path, file.unwrap_or_default()).unwrap();
    let read = read(Some(&path), &environment(variables), &flags(given));
    read.map_err(|misuse| {
        misuse
            .to_string()
            .replace(&path.display().to_string(), "FILE")
    })
}

fn refusal(file: &str) -> String {
    layered(Some(file), &[], &[]).unwrap_err()
}

fn variable_refusal(name: &str, value: &str) -> String {
    layered(None, &[(name, value)], &[]).unwrap_err()
}

#[test]
fn defaults_are_complete_and_fit_together() {
    let config = layered(None, &[], &[]).unwrap().config;
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(
        config.control_socket,
        Path::new("./paredao-data/control.sock")
    );
    assert!(config.workers >= 1);
}

#[test]
fn flags_come_over_the_environment_and_that_over_the_file() {
    let file = "drain_ms = 1\nstop_timeout_ms = 8001\nrefresh_ms = 501\n";
    let variables = [
        ("PAREDAO_DRAIN_MS", "2"),
        ("PAREDAO_STOP_TIMEOUT_MS", "8002"),
    ];
    let in_force = layered(Some(file), &variables, &[("drain_ms", "3")]).unwrap();
    let config = &in_force.config;
    let millis = [config.drain, config.stop_timeout, config.refresh].map(|d| d.as_millis());
    assert_eq!(millis, [3, 8002, 501]);
    let origin = |name| in_force.settings[name].origin.to_string();
    assert_eq!(origin("drain_ms"), "--drain-ms");
    assert_eq!(origin("stop_timeout_ms"), "PAREDAO_STOP_TIMEOUT_MS");
    assert!(origin("refresh_ms").ends_with("test.toml"));
    assert_eq!(origin("listen"), "default");
    assert_eq!(origin("workers"), "default: one for each core");
}

#[test]
fn unknown_keys_are_refused_wherever_they_stand() {
    assert_eq!(refusal("drain = 3"), "FILE: drain: no such key");
    assert_eq!(refusal("[server]\nlisten = 1"), "FILE: server: no such key");
    assert_eq!(
        variable_refusal("PAREDAO_DRIAN_MS", "3"),
        "PAREDAO_DRIAN_MS: no such key"
    );
    layered(
        None,
        &[("PAREDAO_FAILPOINTS", ""), ("PAREDAO_CONFIG", "x")],
        &[],
    )
    .unwrap();
}

#[test]
fn impossible_values_are_refused_with_what_they_must_be() {
    assert_eq!(
        refusal("listen = \"localhost\""),
        "FILE: listen: must be an IP address and a port such as 127.0.0.1:8080, not \"localhost\""
    );
    assert_eq!(
        refusal("drain_ms = \"3000\""),
        "FILE: drain_ms: must be 0 to 3600000 milliseconds, not \"3000\""
    );
    assert_eq!(
        variable_refusal("PAREDAO_WORKERS", "0"),
        "PAREDAO_WORKERS: must be 1 to 256 threads, not 0"
    );
    assert_eq!(
        variable_refusal("PAREDAO_LOG_FORMAT", "xml"),
        "PAREDAO_LOG_FORMAT: must be one of auto, json, human, not \"xml\""
    );
    assert_eq!(
        layered(None, &[], &[("demo", "perhaps")]).unwrap_err(),
        "--demo: must be true or false, not \"perhaps\""
    );
    assert!(refusal("data_dir = \"\"").starts_with("FILE: data_dir: must be a path"));
    assert!(refusal("log_level = \"loud\"").starts_with("log_level: "));
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    let refusal = refusal("demo = true\nlisten =\n");
    assert!(refusal.starts_with("FILE line 2: "), "{refusal}");
    assert!(!refusal.contains('\n'));
}

#[test]
fn a_file_that_was_named_must_exist_and_one_that_was_not_need_not() {
    let missing = Path::new("/nowhere/paredao.toml");
    let refusal = read(Some(missing), &environment(&[]), &[])
        .unwrap_err()
        .to_string();
    assert!(
        refusal.starts_with("config: /nowhere/paredao.toml: "),
        "{refusal}"
    );
    let variable = environment(&[("PAREDAO_CONFIG", "/nowhere/paredao.toml")]);
    assert!(read(None, &variable, &[]).is_err());
    read(None, &environment(&[]), &[]).unwrap();
}

#[test]
fn limits_that_contradict_each_other_are_refused_by_name() {
    let contradictions = [
        (
            "batch_votes_max = 100\nvotes_waiting_max = 99",
            "batch_votes_max: must not be larger than votes_waiting_max",
        ),
        (
            "linger_us_max = 100000\nappend_deadline_ms = 100",
            "linger_us_max: must be shorter than append_deadline_ms",
        ),
        (
            "append_delay_us = 5000000",
            "append_delay_us: must be shorter than append_deadline_ms",
        ),
        (
            "drain_ms = 9001",
            "stop_timeout_ms: must be at least drain_ms + append_deadline_ms + 1000",
        ),
        (
            "append_deadline_ms = 9999\nstop_timeout_ms = 13998",
            "stop_timeout_ms: must be at least drain_ms + append_deadline_ms + 1000",
        ),
        (
            "close_lead_ms = 1000",
            "close_lead_ms: must be longer than refresh_ms",
        ),
        (
            "connections_max = 100\nstreams_max = 100",
            "streams_max: must be less than connections_max",
        ),
        (
            "segment_bytes = 131072",
            "segment_bytes: must hold at least one batch",
        ),
        (
            "metrics_listen = \"127.0.0.1:8080\"",
            "metrics_listen: must not be the address of listen",
        ),
    ];
    for (file, expected) in contradictions {
        let refusal = refusal(file);
        assert!(refusal.starts_with(expected), "{file}: {refusal}");
    }
    let long = format!("control_socket = \"/{}\"", "x".repeat(107));
    assert!(refusal(&long).starts_with("control_socket: must be a path of at most 107 bytes"));
    let one_connection = layered(Some("connections_max = 1"), &[], &[]);
    assert_eq!(one_connection.unwrap().config.streams_max, 0);
    let free_ports = "listen = \"127.0.0.1:0\"\nmetrics_listen = \"127.0.0.1:0\"";
    layered(Some(free_ports), &[], &[]).unwrap();
    layered(Some("drain_ms = 9000"), &[], &[]).unwrap();
}

#[test]
fn no_vote_is_answered_later_than_the_page_listens() {
    let page = include_str!("../../../../../frontend/static/retry.js");
    let constant = "export const ATTEMPT_MS = ";
    let line = page.lines().find_map(|line| line.strip_prefix(constant));
    let listens_ms = line.unwrap().trim_end_matches(';').replace('_', "");
    let refusal = refusal(&format!("append_deadline_ms = {listens_ms}"));
    let expected = "FILE: append_deadline_ms: must be 100 to 9999 milliseconds, not 10000";
    assert_eq!(refusal, expected);
}

#[test]
fn what_is_shown_can_be_read_again_and_names_the_origins() {
    let variables = [("PAREDAO_WORKERS", "3")];
    let shown = show::as_toml(&layered(Some("demo = true"), &variables, &[]).unwrap());
    assert!(
        shown
            .lines()
            .any(|line| line.starts_with("workers = 3 ") && line.ends_with("# PAREDAO_WORKERS"))
    );
    let again = layered(Some(&shown), &[], &[]).unwrap().config;
    assert!(again.demo && again.workers == 3);
}

#[test]
fn secrets_are_redacted_by_their_names() {
    let mut in_force = layered(None, &[], &[]).unwrap();
    let value = Value::String("hunter2".to_owned());
    in_force.settings.insert(
        "admin_password",
        Setting {
            value,
            origin: Origin::Default,
        },
    );
    let json = show::as_json(&in_force);
    assert_eq!(json["admin_password"]["value"], "[redacted]");
    assert_eq!(json["listen"]["value"], "127.0.0.1:8080");
    let shown = show::shown("admin_password", &Value::String("hunter2".to_owned()));
    assert_eq!(shown, "\"[redacted]\"");
}

#[test]
fn the_sample_file_is_complete_sets_the_defaults_and_stands_in_the_documentation() {
    let sample = show::sample();
    let in_file: Table = sample.parse().unwrap();
    for key in KEYS {
        let is_derived = matches!(key.default, Default::Derived { .. });
        assert_eq!(in_file.contains_key(key.name), !is_derived, "{}", key.name);
        assert!(sample.contains(&format!("{} = ", key.name)), "{}", key.name);
    }
    let of_sample = as_table(&layered(Some(&sample), &[], &[]).unwrap().settings);
    assert_eq!(
        of_sample,
        as_table(&layered(None, &[], &[]).unwrap().settings)
    );
    let documented = include_str!("../../../../../docs/paredao.example.toml");
    assert_eq!(
        documented, sample,
        "write it anew: paredao config --example > docs/paredao.example.toml"
    );
}

#[test]
fn every_key_stands_in_the_documentation_with_its_default_and_its_bounds() {
    let documentation = include_str!("../../../../../docs/configuration.md");
    for key in KEYS {
        let default = match key.default {
            Default::Fixed(text) => format!("`{text}`"),
            Default::Derived { words, .. } => words.to_owned(),
        };
        let row = format!(
            "| `{}` | {default} | {} | {} |",
            key.name,
            key.kind.description(),
            key.help
        );
        assert!(
            documentation.contains(&row),
            "docs/configuration.md lacks the row\n{row}"
        );
    }
    let rows = documentation
        .lines()
        .filter(|line| line.starts_with("| `") && line.matches('|').count() == 5);
    assert_eq!(
        rows.count(),
        KEYS.len(),
        "docs/configuration.md has a row for no key"
    );
}
