//! Failure points of a whole process, and of a child that dies of them.
#![cfg(debug_assertions)]
#![expect(
    clippy::unwrap_used,
    reason = "a failed assumption in a test is a failed test"
)]

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use paredao_telemetry::failpoint::{self, SpecError, VARIABLE};

/// Tells a copy of this test program that a test started it.
const ROLE: &str = "PAREDAO_FAILPOINT_CHILD";

#[test]
fn without_points_nothing_happens() {
    for name in failpoint::NAMES
        .iter()
        .filter(|name| name.starts_with("store.checkpoint"))
    {
        failpoint::hit(name).unwrap();
    }
}

#[test]
fn a_point_fails_on_the_chosen_hits_only_and_says_its_name() {
    let guard = failpoint::arm_on_this_thread("log.append.before_write=error@2..4").unwrap();
    let results: Vec<_> = (0..5)
        .map(|_| failpoint::hit("log.append.before_write"))
        .collect();
    let failed: Vec<_> = results.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, true, true, false, false]);
    let error = results[1].as_ref().unwrap_err().to_string();
    assert_eq!(error, "failure point log.append.before_write");
    assert_eq!(guard.hits("log.append.before_write"), 5);
}

#[test]
fn a_full_and_a_broken_disk_have_the_kernels_errors() {
    let points = "log.append.after_write=error:enospc,log.append.before_sync=error:eio";
    let _guard = failpoint::arm_on_this_thread(points).unwrap();
    let full = failpoint::hit("log.append.after_write").unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    let broken = failpoint::hit("log.append.before_sync").unwrap_err();
    assert_eq!(broken.raw_os_error(), Some(5));
}

#[test]
fn a_delay_lasts_as_long_as_it_says() {
    let _guard = failpoint::arm_on_this_thread("log.append.after_sync=delay:20ms").unwrap();
    let started = Instant::now();
    failpoint::hit("log.append.after_sync").unwrap();
    assert!(started.elapsed() >= Duration::from_millis(20));
}

#[test]
fn dropping_a_guard_disarms_its_points_and_no_others() {
    let point = "log.segment.before_roll";
    let kept = failpoint::arm_on_this_thread("log.segment.before_roll=delay:0us").unwrap();
    let dropped = failpoint::arm_on_this_thread("log.segment.before_roll=error@2..").unwrap();
    failpoint::hit(point).unwrap();
    assert!(kept.hits(point) == 1 && dropped.hits(point) == 1);
    drop(kept);
    failpoint::hit(point).unwrap_err();
    drop(dropped);
    failpoint::hit(point).unwrap();
}

#[test]
fn a_threads_points_are_its_own() {
    let _guard = failpoint::arm_on_this_thread("log.segment.after_roll=error").unwrap();
    failpoint::hit("log.segment.after_roll").unwrap_err();
    let elsewhere = std::thread::spawn(|| failpoint::hit("log.segment.after_roll"));
    elsewhere.join().unwrap().unwrap();
}

#[test]
fn a_process_wide_point_fails_every_thread_until_its_guard_is_dropped() {
    let hit = || std::thread::spawn(|| failpoint::hit("store.apply.before_begin"));
    let guard = failpoint::arm("store.apply.before_begin=error").unwrap();
    hit().join().unwrap().unwrap_err();
    assert_eq!(guard.hits("store.apply.before_begin"), 1);
    drop(guard);
    hit().join().unwrap().unwrap();
}

#[test]
fn hits_of_many_threads_are_counted_one_by_one() {
    let guard = failpoint::arm("store.apply.before_commit=error@500").unwrap();
    let failed: usize = std::thread::scope(|scope| {
        let hits = || (0..250).filter(|_| failpoint::hit("store.apply.before_commit").is_err());
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(move || hits().count()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(
        (failed, guard.hits("store.apply.before_commit")),
        (1, 1_000)
    );
}

#[test]
fn a_wrong_specification_arms_nothing() {
    let wrong = "log.segment.before_delete=error,log.segment.nowhere=kill";
    let refused = failpoint::arm_on_this_thread(wrong).unwrap_err();
    assert_eq!(
        refused,
        SpecError::UnknownName("log.segment.nowhere".to_owned())
    );
    failpoint::hit("log.segment.before_delete").unwrap();
}

/// Does nothing unless a test below runs it in a process of its own, with a role.
#[test]
fn child() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    if let Err(error) = failpoint::check_environment() {
        println!("refused: {error}");
    }
    for hit in 1..=5 {
        let passed = failpoint::hit("consumer.before_apply").is_ok();
        println!("hit {hit} {}", if passed { "passed" } else { "failed" });
    }
}

/// Runs [`child`] with these points in its environment.
fn run_child(points: &str) -> (Output, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(ROLE, "1")
        .env(VARIABLE, points)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, printed)
}

#[test]
fn a_process_killed_by_a_point_dies_at_that_hit_without_a_word() {
    let (output, printed) = run_child("consumer.before_apply=kill@3");
    assert_eq!(output.status.signal(), Some(9));
    assert!(printed.contains("hit 2 passed"), "{printed}");
    assert!(!printed.contains("hit 3"), "{printed}");
}

#[test]
fn a_process_takes_its_points_from_the_environment() {
    let (output, printed) = run_child("consumer.before_apply=error@2");
    assert!(output.status.success());
    for line in ["hit 1 passed", "hit 2 failed", "hit 3 passed"] {
        assert!(printed.contains(line), "{printed}");
    }
}

#[test]
fn a_wrong_environment_is_one_clear_line_and_never_passes_for_no_points() {
    let (_, printed) = run_child("consumer.befor_apply=kill");
    let refusal = "refused: no failure point is called `consumer.befor_apply`";
    assert!(printed.contains(refusal), "{printed}");
    assert!(printed.contains("hit 1 failed"), "{printed}");
}
