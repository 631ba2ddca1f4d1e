//! Many histories on all cores.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::defect::Defect;
use crate::history::{self, Outcome};
use crate::violation::Violation;

/// What a campaign must have met, or it has proved less than it says.
const MUST_BE_SEEN: [&str; 41] = [
    "API crashed",
    "after_close",
    "append hung",
    "claim",
    "clock leapt",
    "clock went back",
    "confirmed too late",
    "consumer crashed",
    "counted",
    "damaged batch",
    "damaged copy",
    "dead letter",
    "dead-lettered",
    "delivered again",
    "duplicate",
    "executed later",
    "fail-over",
    "fenced",
    "final",
    "garbage",
    "impostor",
    "key used anew",
    "key_conflict",
    "known batches looked up",
    "late",
    "log restarted",
    "missing",
    "number given up",
    "old batch looked up in the ledger",
    "other candidate under one key",
    "outcome unknown",
    "poll announced",
    "recovered",
    "requeued",
    "stored later",
    "success",
    "unanswered",
    "unscheduled close",
    "votes requeued",
    "window rebuilt",
    "written off",
];
const FAILURES_SHOWN: usize = 3;

/// A number from the environment.
pub(crate) fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What many histories came to.
pub(crate) struct Campaign {
    histories: u64,
    took: Duration,
    tally: BTreeMap<&'static str, u64>,
    failures: BTreeMap<u64, Outcome>,
    found: bool,
}

impl Campaign {
    /// Runs the histories of so many seeds from `first` on.
    pub(crate) fn run(first: u64, histories: u64, defect: Option<Defect>) -> Self {
        Self::run_until(first, histories, defect, |_| false)
    }

    /// The same, until one is found as wanted.
    pub(crate) fn run_until(
        first: u64,
        histories: u64,
        defect: Option<Defect>,
        is_found: impl Fn(&Outcome) -> bool + Sync,
    ) -> Self {
        let started = Instant::now();
        let (next, found) = (AtomicU64::new(first), AtomicBool::new(false));
        let tally = Mutex::new(BTreeMap::new());
        let failures = Mutex::new(BTreeMap::new());
        let work = || {
            while !found.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + histories {
                    return;
                }
                let outcome = run_caught(seed, defect);
                found.fetch_or(is_found(&outcome), Ordering::Relaxed);
                for (what, times) in &outcome.tally {
                    *tally.lock().entry(*what).or_insert(0) += times;
                }
                if !outcome.violations.is_empty() {
                    failures.lock().insert(seed, outcome);
                }
            }
        };
        // A history mostly waits for its store's threads: two of them keep a core busy.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..2 * cores {
                scope.spawn(work);
            }
        });
        Self {
            histories,
            took: started.elapsed(),
            tally: tally.into_inner(),
            failures: failures.into_inner(),
            found: found.into_inner(),
        }
    }

    pub(crate) fn has_found(&self) -> bool {
        self.found
    }

    pub(crate) fn assert_clean(&self) {
        let shown = self.failures.iter().take(FAILURES_SHOWN);
        let stories: String = shown.map(|(seed, outcome)| story(*seed, outcome)).collect();
        assert!(
            self.failures.is_empty(),
            "{} of {} histories broke a promise\n{stories}",
            self.failures.len(),
            self.histories
        );
    }

    pub(crate) fn assert_everything_was_seen(&self) {
        self.assert_seen(&MUST_BE_SEEN);
    }

    pub(crate) fn assert_seen(&self, what_must_be: &[&str]) {
        for what in what_must_be {
            let times = self.tally.get(what).copied().unwrap_or(0);
            assert!(times > 0, "no history has met: {what}");
        }
    }
}

/// A history in which a room panics has a seed like any other.
fn run_caught(seed: u64, defect: Option<Defect>) -> Outcome {
    std::panic::catch_unwind(|| history::run(seed, defect)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        Outcome {
            violations: vec![Violation::Panicked(text.unwrap_or("?").to_owned())],
            tally: BTreeMap::new(),
        }
    })
}

fn story(seed: u64, outcome: &Outcome) -> String {
    let broken: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
    let broken = broken.join("\n  ");
    format!(
        "\nseed {seed}: PAREDAO_MODEL_SEED={seed} cargo test -p paredao-consumer --test model -- a_seed --nocapture\n  {broken}\n"
    )
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let rate = f64::from(u32::try_from(self.histories).unwrap_or(u32::MAX)) / seconds;
        writeln!(
            f,
            "{} histories in {seconds:.1} s, {rate:.0}/s",
            self.histories
        )?;
        for (what, times) in &self.tally {
            writeln!(f, "{times:>9} {what}")?;
        }
        Ok(())
    }
}
