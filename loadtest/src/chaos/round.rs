//! One round: votes, a fault in the middle of them, a restart, more votes, copies of old ones,
//! and the checks.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::book::{RoundBook, RoundNotes};
use super::campaign::{POLL, Site};
use super::fault::Fault;
use super::finding::Finding;
use super::lateral::SidePoll;
use super::{copies, evidence, verdict};
use crate::http::{Door, Reuse};
use crate::process::{ProcessError, Spawned};
use crate::program::{ProgramError, freeze};
use crate::schedule::Pace;
use crate::total::Reader;
use crate::vote::{Driven, Load, RetryPolicy, VotePlan, drive};

/// Candidates of the campaign's poll.
pub(super) const CANDIDATES: &[u8] = &[1, 2, 3];
/// How long a round waits for its failure point.
const POINT_LIMIT: Duration = Duration::from_secs(6);
/// How long it waits for one that the consumer's checkpoint passes; it makes one every 10 s.
const CHECKPOINT_LIMIT: Duration = Duration::from_secs(16);
/// How long it waits for one on the way to a final result: lead, append deadline, tolerance.
const FINAL_LIMIT: Duration = Duration::from_secs(30);
/// How long an orderly end may take.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// New votes begin for this long at most; the round ends them much sooner.
const LOAD_LIMIT: Duration = Duration::from_mins(2);
/// Beyond this, voters are not patient but stuck.
const SETTLE_LIMIT: Duration = Duration::from_mins(4);
/// For how long votes meet an error or a delay.
const UNDER_FAULT: Duration = Duration::from_secs(1);
/// Between two looks at a running program.
const GLANCE: Duration = Duration::from_millis(20);

/// Whether what was to happen at the round's failure point did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// The program showed that it did, or the fault comes from outside.
    Yes,
    /// It did not show in time.
    No,
}

/// What a round brought.
#[derive(Debug)]
pub(super) struct RoundReport {
    pub(super) reached: Reached,
    pub(super) votes: u64,
    pub(super) retried: u64,
    pub(super) took: Duration,
    pub(super) notes: RoundNotes,
}

/// A round under way.
pub(super) struct Round<'a> {
    site: &'a mut Site,
    number: u32,
    fault: Fault,
    dice: SmallRng,
    findings: Vec<Finding>,
}

impl<'a> Round<'a> {
    pub(super) fn new(site: &'a mut Site, number: u32, fault: Fault) -> Self {
        let dice = SmallRng::seed_from_u64(site.seed.rotate_left(17) ^ u64::from(number));
        Self {
            site,
            number,
            fault,
            dice,
            findings: Vec::new(),
        }
    }

    /// Runs the round; the program has ended when it returns.
    pub(super) async fn run(mut self) -> anyhow::Result<RoundReport> {
        let began = Instant::now();
        let (mut running, reached, driven, mut notes) = self.vote_through_the_fault().await?;
        self.site.ledger.add_run(&driven);
        self.site.plant_once(self.number).await?;

        let copied = self
            .send_copies(&mut notes)
            .await
            .context("sending copies")?;
        self.findings.extend(copied);
        let checked = verdict::check(self.site, &notes)
            .await
            .context("checking the books")?;
        self.findings.extend(checked);
        self.end(&mut running).await?;

        notes.findings.append(&mut self.findings);
        let (votes, retried) = (driven.tally.accepted, driven.tally.retried);
        Ok(RoundReport {
            reached,
            votes,
            retried,
            took: began.elapsed(),
            notes,
        })
    }

    /// From the start of the program to the last settled vote.
    async fn vote_through_the_fault(
        &mut self,
    ) -> anyhow::Result<(Spawned, Reached, Driven, RoundNotes)> {
        let running = self
            .start_armed()
            .await
            .context("starting with the fault armed")?;
        let stop = CancellationToken::new();
        let book = Arc::new(RoundBook::default());
        let voters = tokio::spawn(drive(
            self.load(),
            Arc::<RoundBook>::clone(&book),
            stop.clone(),
        ));
        let struck = self.strike(running).await;
        let (mut running, reached) = self.or_stop(struck, &voters)?;
        let afterwards_ms = self
            .dice
            .random_range(self.site.measure.afterwards_ms.clone());
        sleep(Duration::from_millis(afterwards_ms)).await;
        stop.cancel();
        let driven = timeout(SETTLE_LIMIT, voters)
            .await
            .context("voters are stuck")???;
        if let Some(status) = running.ended()? {
            self.findings
                .push(Finding::Ended(format!("{status} after the fault")));
            running = self.restart().await?;
        }
        Ok((running, reached, driven, book.take()))
    }

    /// A failed strike ends the voters too.
    fn or_stop<T, V>(
        &self,
        struck: anyhow::Result<T>,
        voters: &JoinHandle<V>,
    ) -> anyhow::Result<T> {
        if struck.is_err() {
            voters.abort();
        }
        struck.with_context(|| format!("round {}: {}", self.number, self.fault))
    }

    fn load(&self) -> Load {
        Load {
            door: self.site.program.door(POLL),
            connections: 32,
            reuse: Reuse::KeepAlive,
            pace: Pace::Open(self.site.rate),
            length: LOAD_LIMIT,
            first_index: self.first_index(),
            plan: self.site.plan(),
            retry: patience(),
        }
    }

    /// Rounds number their votes apart, whatever the rate.
    fn first_index(&self) -> u64 {
        u64::from(self.number) << 32
    }

    /// Starts the program with the round's failure points armed. It may die of them before it is
    /// ready (a start replays the log), which is as good as later.
    async fn start_armed(&self) -> Result<Spawned, ProgramError> {
        let armed = self.fault.failpoints();
        let variables: Vec<(&str, &str)> = armed
            .iter()
            .map(|spec| ("PAREDAO_FAILPOINTS", spec.as_str()))
            .collect();
        let mut running = self.site.program.start(&variables)?;
        match self.site.program.ready(&mut running).await {
            Err(ProgramError::Process(ProcessError::Failed { status, .. }))
                if matches!(self.fault, Fault::KillAt { .. }) && was_killed(status) =>
            {
                Ok(running)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(running),
        }
    }

    async fn restart(&self) -> Result<Spawned, ProgramError> {
        self.site.program.start_ready(&[]).await
    }

    /// Lets the fault happen; afterwards the program runs.
    async fn strike(&mut self, mut running: Spawned) -> anyhow::Result<(Spawned, Reached)> {
        match self.fault.clone() {
            Fault::Kill { after } => {
                sleep(after).await;
                running.kill().await?;
            }
            Fault::KillTwice { after, again } => {
                sleep(after).await;
                running.kill().await?;
                let mut second = self.site.program.start(&[])?;
                sleep(again).await;
                second.kill().await?;
            }
            Fault::KillAt { .. } if self.fault.needs_a_closing_poll() => {
                return self.die_while_closing(running).await;
            }
            Fault::KillAt { .. } => return self.die(running, self.limit()).await,
            Fault::KillAtStop { .. } => return self.die_while_stopping(running).await,
            Fault::ErrorsAt { .. } | Fault::SlowAt { .. } => {
                sleep(UNDER_FAULT).await;
                let reached = self.look_for_evidence().await?;
                return Ok((running, reached));
            }
            Fault::Terminate { after } => {
                sleep(after).await;
                self.terminate(&mut running).await?;
            }
            Fault::Freeze { after, length } => {
                sleep(after).await;
                freeze(&mut running, length).await?;
                return Ok((running, Reached::Yes));
            }
        }
        Ok((self.restart().await?, Reached::Yes))
    }

    /// Waits until the program shows that the error or delay happened.
    async fn look_for_evidence(&self) -> anyhow::Result<Reached> {
        let began = Instant::now();
        while began.elapsed() < POINT_LIMIT {
            if self.shows_the_fault().await? {
                return Ok(Reached::Yes);
            }
            sleep(GLANCE).await;
        }
        Ok(Reached::No)
    }

    async fn shows_the_fault(&self) -> anyhow::Result<bool> {
        match self.fault {
            Fault::ErrorsAt { point, .. } => Ok(evidence::shows_failure(&self.site.said()?, point)),
            Fault::SlowAt { point, delay } => {
                let mut reader = Reader::new(Door::principal(self.site.program.metrics));
                let metrics = reader.fetch("/metrics").await?;
                let text = String::from_utf8_lossy(&metrics.body);
                Ok(evidence::shows_delay(&text, point, delay))
            }
            _ => Ok(true),
        }
    }

    /// How long the program may take to the round's failure point.
    fn limit(&self) -> Duration {
        if self.fault.takes_long() {
            CHECKPOINT_LIMIT
        } else {
            POINT_LIMIT
        }
    }

    /// Waits until the program has killed itself; kills it when it does not.
    async fn die(
        &mut self,
        mut running: Spawned,
        limit: Duration,
    ) -> anyhow::Result<(Spawned, Reached)> {
        let reached = match running.wait(limit).await {
            Ok(status) if was_killed(status) => Reached::Yes,
            Ok(status) => {
                self.findings
                    .push(Finding::Ended(format!("{status} instead of SIGKILL")));
                Reached::No
            }
            Err(ProcessError::Hangs { .. }) => Reached::No,
            Err(error) => return Err(error.into()),
        };
        Ok((self.restart().await?, reached))
    }

    /// The same, with a poll beside the main one on its way to a final result.
    async fn die_while_closing(&mut self, running: Spawned) -> anyhow::Result<(Spawned, Reached)> {
        let side = SidePoll::new(&self.site.program, self.number);
        let plan = VotePlan::plain(self.site.seed, CANDIDATES.to_vec());
        side.vote_and_close(&plan, self.first_index() | SidePoll::FIRST_INDEX)
            .await?;
        let struck = self.die(running, FINAL_LIMIT).await?;
        self.findings.extend(side.check().await?);
        Ok(struck)
    }

    /// The same while it stops, which makes a checkpoint and deletes the segments that it covers.
    async fn die_while_stopping(
        &mut self,
        mut running: Spawned,
    ) -> anyhow::Result<(Spawned, Reached)> {
        timeout(POINT_LIMIT, self.until_a_stop_has_work())
            .await
            .context("no vote was applied, or no segment was filled")??;
        running.signal(Signal::TERM)?;
        self.die(running, STOP_LIMIT).await
    }

    /// Waits until votes of this round are applied and fill more than a segment.
    async fn until_a_stop_has_work(&self) -> anyhow::Result<()> {
        let mut reader = Reader::new(self.site.program.door(POLL));
        let before = reader.total().await?.votes;
        let segments = self.site.program.data_dir.join("log");
        while reader.total().await?.votes == before || std::fs::read_dir(&segments)?.count() < 2 {
            sleep(GLANCE).await;
        }
        Ok(())
    }

    async fn terminate(&mut self, running: &mut Spawned) -> Result<(), ProcessError> {
        match running.terminate(STOP_LIMIT).await {
            Ok(status) if status.success() => {}
            Ok(status) => self
                .findings
                .push(Finding::Ended(format!("{status} on SIGTERM"))),
            Err(error @ ProcessError::Hangs { .. }) => {
                self.findings.push(Finding::Ended(error.to_string()));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Sends some of the round's votes again, across whatever restarts there were, and one vote
    /// many times at once.
    async fn send_copies(&mut self, notes: &mut RoundNotes) -> anyhow::Result<Vec<Finding>> {
        let chosen: Vec<usize> = {
            let all: Vec<usize> = (0..notes.kept.len()).collect();
            let resent = self.site.measure.resent;
            all.sample(&mut self.dice, resent).copied().collect()
        };
        let volley = copies::Volley {
            vote: self
                .site
                .plan()
                .vote(self.first_index() | copies::VOLLEY_INDEX),
            copies: self.dice.random_range(self.site.measure.volley.clone()),
        };
        let mut findings = copies::resend(self.site, notes, &chosen).await?;
        findings.extend(volley.fire(self.site, notes).await?);
        Ok(findings)
    }

    /// Ends the program in order. Now and then the ledger is recounted while nothing runs.
    async fn end(&mut self, running: &mut Spawned) -> anyhow::Result<()> {
        if let Some(status) = running.ended()? {
            self.findings
                .push(Finding::Ended(format!("{status} while it was checked")));
        }
        self.terminate(running).await?;
        if self.number.is_multiple_of(5) {
            self.findings
                .extend(verdict::recount(&self.site.program).await?);
        }
        self.findings.extend(self.site.panics()?);
        Ok(())
    }
}

fn was_killed(status: std::process::ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

/// How patient the campaign's voters are: longer than any restart, shorter than the key life.
pub(super) fn patience() -> RetryPolicy {
    RetryPolicy {
        give_up_after: Duration::from_secs(100),
        backoff_max: Duration::from_millis(500),
        answer_limit: Duration::from_secs(5),
        ..RetryPolicy::patient()
    }
}
