//! `paredao-loadtest chaos` on the real program: that it can fail, and that it cleans up.
//!
//! Long campaigns are `make chaos`; kills at ten random instants and at each failure point run with
//! every `make test`.

#![expect(
    clippy::unwrap_used,
    reason = "a failed assumption in a test is a failed test"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_mins(2);

/// The real program, of the same profile, beside the load tester.
fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_paredao-loadtest")).with_file_name("paredao");
    assert!(program.exists(), "build it first: cargo build -p paredao");
    program
}

fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn chaos(program: &Path, scratch: &TempDir, flags: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paredao-loadtest"));
    command
        .arg("chaos")
        .args(flags.split_whitespace())
        .arg("--program")
        .arg(program)
        .arg("--scratch")
        .arg(scratch.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a campaign to its end: exit status and report.
async fn report(flags: &str) -> (Option<i32>, Value) {
    let scratch = scratch();
    let ended = timeout(LIMIT, chaos(&program(), &scratch, flags).output())
        .await
        .unwrap()
        .unwrap();
    let report = serde_json::from_slice(&ended.stdout).unwrap();
    if ended.status.success() {
        let left = std::fs::read_dir(scratch.path()).unwrap().count();
        assert_eq!(left, 0, "a campaign that passes leaves nothing behind");
    }
    (ended.status.code(), report)
}

fn finds(report: &Value, word: &str) -> bool {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .any(|finding| finding.as_str().unwrap().contains(word))
}

#[tokio::test]
async fn a_vote_that_the_book_does_not_know_is_found() {
    let (status, report) = report("--rounds 1 --seed 11 --plant double").await;
    assert_eq!(status, Some(0), "{report}");
    assert!(finds(&report, "TWICE"), "{report}");
}

#[tokio::test]
async fn a_vote_that_the_program_never_got_is_found() {
    let (status, report) = report("--rounds 1 --seed 12 --plant loss").await;
    assert_eq!(status, Some(0), "{report}");
    assert!(finds(&report, "LOST"), "{report}");
}

#[tokio::test]
async fn a_panic_in_the_programs_log_is_found() {
    let (status, report) = report("--rounds 1 --seed 14 --plant panic").await;
    assert_eq!(status, Some(0), "{report}");
    assert!(finds(&report, "the program panicked"), "{report}");
}

/// Processes whose environment names a path below `folder`: the programs of a campaign there.
fn programs_below(folder: &Path) -> usize {
    let marker = folder.to_str().unwrap().as_bytes();
    let names_it = |pid: &Path| {
        let environment = std::fs::read(pid.join("environ")).unwrap_or_default();
        environment
            .windows(marker.len())
            .any(|window| window == marker)
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| names_it(&process.path()))
        .count()
}

#[tokio::test]
async fn an_interrupted_campaign_leaves_no_process_and_no_folder() {
    let scratch = scratch();
    let mut command = chaos(&program(), &scratch, "--rounds 100 --seed 13");
    let mut campaign = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = async {
        while programs_below(scratch.path()) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, started).await.unwrap();
    let pid = Pid::from_raw(campaign.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let status = timeout(LIMIT, campaign.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(2));
    let gone = async {
        while programs_below(scratch.path()) > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, gone).await.unwrap();
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_no_verdict() {
    let scratch = scratch();
    let nowhere = Path::new("/nonexistent/paredao");
    let ended = chaos(nowhere, &scratch, "--rounds 1")
        .output()
        .await
        .unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        said.contains("/nonexistent/paredao does not exist"),
        "{said}"
    );
}
