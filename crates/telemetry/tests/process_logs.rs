//! The logs of a real process: where lines go, what is left of them at its end, what a panic says.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed assumption in a test is a failed test, and a child speaks on stderr"
)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use paredao_telemetry::logs::{self, Flush, LogFormat, LogOptions};
use paredao_telemetry::metrics::metrics;
use serde_json::Value;

/// Tells a copy of this test program what to do.
const ROLE: &str = "PAREDAO_LOGS_CHILD";

/// More lines than a pipe and the queue hold together.
const FLOOD_LINES: u64 = 50_000;

fn options(format: LogFormat) -> LogOptions {
    LogOptions {
        format,
        levels: "info,process_logs=info".parse().unwrap(),
        service: "paredao".to_owned(),
        instance: "child".to_owned(),
        version: "1.2.3".to_owned(),
    }
}

/// Does nothing unless a test below runs it in a process of its own, with a role.
#[test]
fn child() {
    match std::env::var(ROLE).as_deref() {
        Ok("json") => speak(LogFormat::Json),
        Ok("auto") => speak(LogFormat::Auto),
        Ok("human") => speak(LogFormat::Human),
        Ok("flood") => flood(),
        _ => {}
    }
}

fn speak(format: LogFormat) {
    let control = logs::init(options(format)).unwrap();
    assert!(logs::init(options(format)).is_err(), "set up twice");
    (0..1_000).for_each(|number| tracing::info!(event = "line", number));
    let panicked = std::thread::Builder::new()
        .name("doomed".to_owned())
        .spawn(|| panic!("the sky falls"))
        .unwrap();
    assert!(panicked.join().is_err());
    assert_eq!(control.flush(Duration::from_secs(10)), Flush::Done);
}

/// Says on stderr how long logging and the last flush took while nobody read stdout.
fn flood() {
    let control = logs::init(options(LogFormat::Json)).unwrap();
    let started = Instant::now();
    (0..FLOOD_LINES).for_each(|number| tracing::info!(event = "line", number));
    let took_ms = started.elapsed().as_millis();
    let dropped = metrics().log_lines_dropped.get();
    let flush = control.flush(Duration::from_millis(50));
    eprintln!("flooded {took_ms} {dropped} {flush:?}");
}

fn child_command(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["child", "--exact", "--nocapture"])
        .env(ROLE, role);
    command
}

fn run_child(role: &str) -> Output {
    let output = child_command(role).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

/// The test harness itself prints on stdout; its lines are no objects.
fn json_lines(stdout: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stdout).unwrap();
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn json_goes_to_stdout_whole_and_in_order_and_a_panic_is_an_event() {
    let output = run_child("json");
    let mut lines = json_lines(&output.stdout);
    let panic = lines.pop().unwrap();
    let numbers: Vec<u64> = lines
        .iter()
        .map(|line| line["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
    assert_eq!(
        (&panic["event"], &panic["level"]),
        (&"panic".into(), &"error".into())
    );
    assert_eq!(
        (&panic["reason"], &panic["thread"]),
        (&"the sky falls".into(), &"doomed".into())
    );
    assert!(
        panic["location"]
            .as_str()
            .unwrap()
            .contains("process_logs.rs:")
    );
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn without_a_terminal_auto_means_json() {
    assert_eq!(json_lines(&run_child("auto").stdout).len(), 1_001);
}

#[test]
fn text_for_people_goes_to_stderr_and_leaves_stdout_alone() {
    let output = run_child("human");
    assert_eq!(json_lines(&output.stdout).len(), 0);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        text.lines()
            .filter(|line| line.contains(" info  line number="))
            .count(),
        1_000
    );
    assert!(
        text.contains(" error panic reason=\"the sky falls\""),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "colours without a terminal");
}

#[test]
fn a_pipe_that_nobody_reads_stops_neither_the_process_nor_its_end() {
    let mut child = child_command("flood")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The child ends its flood while its stdout is full: only then is stdout read.
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut report = String::new();
    stderr.read_line(&mut report).unwrap();
    let mut stdout = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut stdout)
        .unwrap();
    child.wait().unwrap();

    let words: Vec<&str> = report.split_whitespace().collect();
    let ["flooded", took_ms, dropped, "TimedOut"] = words[..] else {
        unreachable!("{report}");
    };
    let took = Duration::from_millis(took_ms.parse().unwrap());
    assert!(
        took < Duration::from_secs(5),
        "{FLOOD_LINES} lines took {took:?}"
    );
    assert!(
        dropped.parse::<u64>().unwrap() > FLOOD_LINES / 2,
        "{dropped} dropped"
    );
}
