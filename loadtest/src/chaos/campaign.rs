//! A campaign: rounds on one data folder, then a final result, then a report.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

use super::book::{KeptVote, Ledger};
use super::course::{Course, Measure};
use super::fault::Fault;
use super::finding::Finding;
use super::lateral::final_total;
use super::round::{CANDIDATES, Reached, Round, RoundReport, patience};
use super::verdict;
use crate::console::say;
use crate::http::Reuse;
use crate::program::Program;
use crate::vote::{Caster, Fraction, Outcome, VotePlan};

/// The campaign's poll.
pub(super) const POLL: &str = "chaos";

/// What the program's panic hook writes, with a reason that is not one.
const PLANTED_PANIC: &str =
    r#"{"level":"error","service":"paredao","event":"panic","reason":"planted"}"#;

/// Of each round's votes, every n-th is asked for its outcome when the poll is final.
const FINAL_SAMPLE: usize = 20;

/// A lie told on purpose, to see that the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// A vote that the campaign's book does not know: counted once too often.
    Double,
    /// A vote in the book that was never sent: counted once too seldom.
    Loss,
    /// A panic in the program's log.
    Panic,
}

/// What a campaign is to do.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Its rounds.
    pub course: Course,
    /// Deals faults and votes.
    pub seed: u64,
    /// Votes per second during a round.
    pub rate: f64,
    /// The program.
    pub program: PathBuf,
    /// Where its data folder is made.
    pub scratch: PathBuf,
    /// The lie to tell, if any.
    pub plant: Option<Plant>,
}

/// What all rounds of a campaign work on.
pub(super) struct Site {
    pub(super) program: Program,
    pub(super) seed: u64,
    pub(super) rate: f64,
    pub(super) measure: Measure,
    pub(super) ledger: Ledger,
    plant: Option<Plant>,
    log_read: u64,
}

/// What a campaign found.
#[derive(Debug, Serialize)]
pub struct CampaignReport {
    /// Deals the same faults again.
    pub seed: u64,
    /// Rounds finished.
    pub rounds: u32,
    /// Votes accepted.
    pub votes: u64,
    /// Votes that took more than one request.
    pub retried: u64,
    /// Accepted copies beyond each vote's first.
    pub copies: u64,
    /// Rounds by what happened at a failure point, where the program showed that it did.
    pub struck: BTreeMap<String, u32>,
    /// What was to happen at a failure point and never did in time.
    pub never_reached: BTreeSet<String>,
    /// Seconds.
    pub duration_s: f64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The checks found what they had to: nothing, or what was planted.
    pub passed: bool,
}

impl Campaign {
    /// Runs the campaign; keeps the data folder when something is wrong.
    pub async fn run(&self) -> anyhow::Result<CampaignReport> {
        std::fs::create_dir_all(&self.scratch)?;
        let folder = tempfile::Builder::new()
            .prefix("chaos-")
            .tempdir_in(&self.scratch)?;
        say(format_args!(
            "chaos: seed {}, {}, in {}",
            self.seed,
            self.course.flags(),
            folder.path().display()
        ));
        let ran = self.run_in(folder.path()).await;
        let failed = !matches!(&ran, Ok(report) if report.passed);
        if failed {
            self.keep(folder);
        }
        ran
    }

    fn keep(&self, folder: TempDir) {
        let kept = folder.keep();
        say(format_args!(
            "chaos: data and log are kept in {}",
            kept.display()
        ));
        say(format_args!(
            "chaos: the same faults again: paredao-loadtest chaos --seed {} {}",
            self.seed,
            self.course.flags()
        ));
    }

    async fn run_in(&self, folder: &Path) -> anyhow::Result<CampaignReport> {
        let began = Instant::now();
        let mut site = self.open(folder).await.context("preparing the poll")?;
        let mut report = CampaignReport::new(self.seed);
        let mut sample = Vec::new();
        let rounds = self.course.rounds(self.seed);
        let last = rounds.last().map_or(0, |(number, _)| number + 1);
        for (number, fault) in rounds {
            let round = Round::new(&mut site, number, fault.clone());
            let ran = round
                .run()
                .await
                .with_context(|| format!("round {number}: {fault}"))?;
            report.add(&fault, &ran);
            announce(&format!("{}/{last}", number + 1), &fault, &ran);
            sample.extend(ran.notes.kept.into_iter().step_by(FINAL_SAMPLE));
            if !report.findings.is_empty() {
                break;
            }
        }
        if report.findings.is_empty() {
            report.note(
                &finish(&mut site, &sample)
                    .await
                    .context("closing the poll")?,
            );
        }
        report.close(&site.ledger, self.course, self.plant, began);
        Ok(report)
    }

    /// A data folder with an open poll.
    async fn open(&self, folder: &Path) -> anyhow::Result<Site> {
        let program = Program::new(&self.program, folder, &self.course.settings())?;
        let mut running = program.start_ready(&[]).await?;
        program.open_poll(POLL, CANDIDATES).await?;
        running
            .terminate(std::time::Duration::from_secs(20))
            .await?;
        Ok(Site {
            program,
            seed: self.seed,
            rate: self.rate,
            measure: self.course.measure(),
            ledger: Ledger::default(),
            plant: self.plant,
            log_read: 0,
        })
    }
}

fn announce(place: &str, fault: &Fault, ran: &RoundReport) {
    let missed = match ran.reached {
        Reached::Yes => "",
        Reached::No => " (did not happen)",
    };
    say(format_args!(
        "round {place}: {fault}{missed}: {} votes, {} retried, {:.1} s",
        ran.votes,
        ran.retried,
        ran.took.as_secs_f64(),
    ));
    for finding in ran.notes.findings.iter().take(20) {
        say(format_args!("  WRONG: {finding}"));
    }
}

impl Site {
    /// The campaign's votes; rounds take different numbers of it.
    pub(super) fn plan(&self) -> VotePlan {
        VotePlan {
            resend: Fraction::percent(4),
            conflict: Fraction::percent(2),
            copies: 1..4,
            ..VotePlan::plain(self.seed, CANDIDATES.to_vec())
        }
    }

    /// Tells the campaign's lie, in its first round.
    pub(super) async fn plant_once(&mut self, round: u32) -> anyhow::Result<()> {
        match self.plant.take() {
            None => Ok(()),
            Some(Plant::Loss) => {
                self.ledger.add_vote(1);
                Ok(())
            }
            Some(Plant::Panic) => {
                let mut log = File::options().append(true).open(self.program.log())?;
                Ok(writeln!(log, "{PLANTED_PANIC}")?)
            }
            Some(Plant::Double) => {
                let dice = SmallRng::seed_from_u64(round.into());
                let mut caster =
                    Caster::new(self.program.door(POLL), Reuse::KeepAlive, patience(), dice);
                let ended = caster
                    .cast("a-vote-nobody-knows-of", 1, Instant::now(), |_| {})
                    .await;
                let planted = matches!(ended.outcome, Outcome::Accepted(_));
                anyhow::ensure!(planted, "the planted vote was not accepted: {ended:?}");
                Ok(())
            }
        }
    }

    /// What the program has said since the panics in it were looked for.
    pub(super) fn said(&self) -> io::Result<String> {
        let mut log = File::open(self.program.log())?;
        log.seek(SeekFrom::Start(self.log_read))?;
        let mut said = Vec::new();
        log.read_to_end(&mut said)?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Panics in what the program has said since the last look. It has ended, so every line is whole.
    pub(super) fn panics(&mut self) -> anyhow::Result<Vec<Finding>> {
        let said = self.said()?;
        self.log_read = std::fs::metadata(self.program.log())?.len();
        let panics = said.lines().filter(|line| is_panic(line));
        Ok(panics
            .map(|line| Finding::Panicked(line.to_owned()))
            .collect())
    }
}

/// Whether a line is the event of a panic, or what the standard library writes of one before logs
/// are set up.
fn is_panic(line: &str) -> bool {
    match serde_json::from_str::<Value>(line) {
        Ok(line) => line.get("event").and_then(Value::as_str) == Some("panic"),
        Err(_) => line.contains("panicked at"),
    }
}

/// Closes the poll, waits for its final result, and checks what only that allows.
async fn finish(site: &mut Site, sample: &[KeptVote]) -> anyhow::Result<Vec<Finding>> {
    let mut running = site.program.start_ready(&[]).await?;
    site.program.ask(&["poll", "close", POLL]).await?;
    let total = final_total(&site.program, POLL).await?;
    let violations = site
        .ledger
        .expectation
        .check(&crate::total::Total::default(), &total);
    let mut findings: Vec<Finding> = violations.into_iter().map(Finding::from).collect();
    findings.extend(verdict::check_outcomes(&site.program, sample).await?);
    findings.extend(verdict::recount(&site.program).await?);
    running
        .terminate(std::time::Duration::from_secs(20))
        .await?;
    findings.extend(verdict::recount(&site.program).await?);
    findings.extend(site.panics()?);
    Ok(findings)
}

impl CampaignReport {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            rounds: 0,
            votes: 0,
            retried: 0,
            copies: 0,
            struck: BTreeMap::new(),
            never_reached: BTreeSet::new(),
            duration_s: 0.0,
            findings: Vec::new(),
            passed: false,
        }
    }

    fn add(&mut self, fault: &Fault, ran: &RoundReport) {
        self.rounds += 1;
        self.retried += ran.retried;
        if let Some(what) = fault.at_point() {
            match ran.reached {
                Reached::Yes => *self.struck.entry(what).or_default() += 1,
                Reached::No => {
                    self.never_reached.insert(what);
                }
            }
        }
        self.note(&ran.notes.findings);
    }

    fn note(&mut self, findings: &[Finding]) {
        self.findings.extend_from_slice(findings);
    }

    fn close(&mut self, ledger: &Ledger, course: Course, plant: Option<Plant>, began: Instant) {
        self.votes = ledger.votes;
        self.copies = ledger.copies;
        self.duration_s = began.elapsed().as_secs_f64();
        self.never_reached
            .retain(|what| !self.struck.contains_key(what));
        self.passed = match plant {
            None => {
                let must_reach_all = course.passes_every_point(self.rounds);
                self.findings.is_empty() && (self.never_reached.is_empty() || !must_reach_all)
            }
            Some(Plant::Double) => self.findings.iter().any(Finding::is_double_count),
            Some(Plant::Loss) => self.findings.iter().any(Finding::is_loss),
            Some(Plant::Panic) => self.findings.iter().any(Finding::is_panic),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Violation;

    const LOST: Finding = Finding::Books(Violation::Lost {
        candidate: 1,
        counted: 9,
        accepted: 10,
    });
    const DOUBLED: Finding = Finding::Books(Violation::Doubled {
        candidate: 1,
        counted: 11,
        possible: 10,
    });

    const DEALT: Course = Course::Dealt {
        first: 0,
        kills: 200,
    };

    fn passes(findings: &[Finding], plant: Option<Plant>) -> bool {
        let mut report = CampaignReport::new(1);
        report.note(findings);
        report.close(&Ledger::default(), DEALT, plant, Instant::now());
        report.passed
    }

    #[test]
    fn a_campaign_passes_when_nothing_is_wrong() {
        assert!(passes(&[], None));
        assert!(!passes(&[LOST], None));
        assert!(!passes(
            &[Finding::Recount("1 key counted twice".into())],
            None
        ));
    }

    #[test]
    fn a_campaign_with_a_planted_lie_passes_only_when_that_lie_is_found() {
        assert!(passes(&[DOUBLED], Some(Plant::Double)));
        assert!(passes(&[LOST], Some(Plant::Loss)));
        let panicked = Finding::Panicked(PLANTED_PANIC.to_owned());
        assert!(passes(&[panicked], Some(Plant::Panic)));
        for plant in [Plant::Double, Plant::Loss, Plant::Panic] {
            assert!(!passes(&[], Some(plant)), "{plant:?}");
        }
        assert!(!passes(&[LOST], Some(Plant::Double)));
        assert!(!passes(&[DOUBLED], Some(Plant::Loss)));
    }

    #[test]
    fn a_panic_is_found_by_its_event_and_an_event_that_only_speaks_of_one_is_not() {
        assert!(is_panic(PLANTED_PANIC));
        let early = "thread 'main' (7) panicked at crates/paredao/src/main.rs:1:1:";
        assert!(is_panic(early));
        let other = r#"{"level":"info","event":"started","message":"panicked at nothing"}"#;
        assert!(!is_panic(other) && !is_panic("") && !is_panic("panic"));
    }

    #[test]
    fn a_long_campaign_in_which_something_never_happened_fails() {
        let passes = |report: &mut CampaignReport, course| {
            report.close(&Ledger::default(), course, None, Instant::now());
            report.passed
        };
        let mut report = CampaignReport::new(1);
        let what = "kill at store.checkpoint.before".to_owned();
        report.never_reached.insert(what.clone());
        report.rounds = 10;
        assert!(
            passes(&mut report, DEALT),
            "a short one does not deal every point"
        );
        assert!(
            !passes(&mut report, Course::EveryPoint),
            "but this one is to pass them all"
        );
        report.rounds = 200;
        assert!(!passes(&mut report, DEALT));
        report.struck.insert(what, 1);
        assert!(passes(&mut report, DEALT));
    }
}
