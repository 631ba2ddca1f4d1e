//! A campaign: rounds on one data folder, then a final result, then a report.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::Serialize;
use tempfile::TempDir;

use super::book::{KeptVote, Ledger};
use super::fault::{Deck, Fault};
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

/// Of each round's votes, every n-th is asked for its outcome when the poll is final.
const FINAL_SAMPLE: usize = 20;

/// Small segments, quick refreshes and short deadlines: more happens in a round.
const SETTINGS: &[(&str, &str)] = &[
    ("PAREDAO_APPEND_DEADLINE_MS", "1000"),
    ("PAREDAO_BATCH_VOTES_MAX", "2048"),
    ("PAREDAO_CLOSE_LEAD_MS", "600"),
    ("PAREDAO_DRAIN_MS", "100"),
    ("PAREDAO_LOG_FORMAT", "json"),
    ("PAREDAO_RECEIPTS_PER_SECOND", "1000000"),
    ("PAREDAO_REFRESH_MS", "200"),
    ("PAREDAO_SEGMENT_BYTES", "65536"),
    ("PAREDAO_WORKERS", "2"),
];

/// A lie told on purpose, to see that the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// A vote that the campaign's book does not know: counted once too often.
    Double,
    /// A vote in the book that was never sent: counted once too seldom.
    Loss,
}

/// What a campaign is to do.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Rounds to run.
    pub rounds: u32,
    /// The first of them; replays begin later.
    pub first_round: u32,
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
    /// Rounds by failure point at which the program killed itself.
    pub killed_at: BTreeMap<&'static str, u32>,
    /// Failure points that were dealt and never passed in time.
    pub never_reached: BTreeSet<&'static str>,
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
        let (seed, rounds) = (self.seed, self.rounds);
        say(format_args!(
            "chaos: seed {seed}, {rounds} rounds, in {}",
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
            "chaos: the same faults again: paredao-loadtest chaos --seed {} --rounds {}",
            self.seed, self.rounds
        ));
    }

    async fn run_in(&self, folder: &Path) -> anyhow::Result<CampaignReport> {
        let began = Instant::now();
        let mut site = self.open(folder).await.context("preparing the poll")?;
        let mut report = CampaignReport::new(self.seed);
        let mut sample = Vec::new();
        for number in self.first_round..self.first_round + self.rounds {
            let fault = Deck::new(self.seed).deal(number);
            let round = Round::new(&mut site, number, fault.clone());
            let ran = round
                .run()
                .await
                .with_context(|| format!("round {number}: {fault}"))?;
            report.add(&fault, &ran);
            self.announce(number, &fault, &ran);
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
        report.close(&site.ledger, self.plant, began);
        Ok(report)
    }

    /// A data folder with an open poll.
    async fn open(&self, folder: &Path) -> anyhow::Result<Site> {
        let program = Program::new(&self.program, folder, SETTINGS)?;
        let mut running = program.start_ready(&[]).await?;
        program.open_poll(POLL, CANDIDATES).await?;
        running
            .terminate(std::time::Duration::from_secs(20))
            .await?;
        Ok(Site {
            program,
            seed: self.seed,
            rate: self.rate,
            ledger: Ledger::default(),
            plant: self.plant,
            log_read: 0,
        })
    }

    fn announce(&self, number: u32, fault: &Fault, ran: &RoundReport) {
        let missed = if ran.reached == Reached::No {
            " (not reached: killed)"
        } else {
            ""
        };
        say(format_args!(
            "round {}/{}: {fault}{missed}: {} votes, {} retried, {:.1} s",
            number + 1,
            self.first_round + self.rounds,
            ran.votes,
            ran.retried,
            ran.took.as_secs_f64(),
        ));
        for finding in ran.notes.findings.iter().take(20) {
            say(format_args!("  WRONG: {finding}"));
        }
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

    /// Panics in what the program has said since the last look.
    pub(super) fn panics(&mut self) -> anyhow::Result<Vec<Finding>> {
        let mut log = std::fs::File::open(self.program.log())?;
        log.seek(SeekFrom::Start(self.log_read))?;
        let mut said = Vec::new();
        log.read_to_end(&mut said)?;
        self.log_read += u64::try_from(said.len())?;
        let said = String::from_utf8_lossy(&said);
        let panics = said.lines().filter(|line| line.contains("panicked at"));
        Ok(panics
            .map(|line| Finding::Panicked(line.to_owned()))
            .collect())
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
            killed_at: BTreeMap::new(),
            never_reached: BTreeSet::new(),
            duration_s: 0.0,
            findings: Vec::new(),
            passed: false,
        }
    }

    fn add(&mut self, fault: &Fault, ran: &RoundReport) {
        self.rounds += 1;
        self.retried += ran.retried;
        if let Fault::KillAt { point, .. } = fault {
            match ran.reached {
                Reached::Yes => *self.killed_at.entry(point).or_default() += 1,
                Reached::No => {
                    self.never_reached.insert(point);
                }
            }
        }
        self.note(&ran.notes.findings);
    }

    fn note(&mut self, findings: &[Finding]) {
        self.findings.extend_from_slice(findings);
    }

    fn close(&mut self, ledger: &Ledger, plant: Option<Plant>, began: Instant) {
        self.votes = ledger.votes;
        self.copies = ledger.copies;
        self.duration_s = began.elapsed().as_secs_f64();
        self.never_reached
            .retain(|point| !self.killed_at.contains_key(point));
        let every_point_was_dealt = self.rounds >= Deck::len();
        self.passed = match plant {
            None => {
                let all_reached = self.never_reached.is_empty() || !every_point_was_dealt;
                self.findings.is_empty() && all_reached
            }
            Some(Plant::Double) => self.findings.iter().any(Finding::is_double_count),
            Some(Plant::Loss) => self.findings.iter().any(Finding::is_loss),
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

    fn passes(findings: &[Finding], plant: Option<Plant>) -> bool {
        let mut report = CampaignReport::new(1);
        report.note(findings);
        report.close(&Ledger::default(), plant, Instant::now());
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
        for plant in [Plant::Double, Plant::Loss] {
            assert!(!passes(&[], Some(plant)), "{plant:?}");
        }
        assert!(!passes(&[LOST], Some(Plant::Double)));
        assert!(!passes(&[DOUBLED], Some(Plant::Loss)));
    }

    #[test]
    fn a_long_campaign_that_never_reached_a_failure_point_fails() {
        let mut report = CampaignReport::new(1);
        report.never_reached.insert("store.checkpoint.before");
        report.rounds = 10;
        report.close(&Ledger::default(), None, Instant::now());
        assert!(report.passed, "a short one does not deal every point");
        report.rounds = 200;
        report.close(&Ledger::default(), None, Instant::now());
        assert!(!report.passed);
        report.killed_at.insert("store.checkpoint.before", 1);
        report.close(&Ledger::default(), None, Instant::now());
        assert!(report.passed);
    }
}
