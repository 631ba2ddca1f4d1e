//! The office: does what commands ask for, on the store and the log.
//!
//! The same office stands in a running process, behind the control socket, and in a command that
//! found no process and opened the files itself.

mod dead_letters;
mod losses;
mod polls;
mod recount;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use paredao_api::Api;
use paredao_api::pages::Occasion;
use paredao_consumer::Consumer;
use paredao_domain::{Clock, Lane, UtcOffset};
use paredao_store::{Store, StoreError};
use paredao_telemetry::health::Health;
use paredao_telemetry::logs::Levels;
use paredao_vote_log::VoteLog;
use tokio::sync::{Semaphore, watch};

use crate::control::protocol::{HealthReport, Progress, Refusal, Reply, Task, VoteLogReport};
use crate::log_levels::LogLevels;

/// The only lane for now.
pub(crate) const LANE: Lane = Lane(0);

/// What commands ask for, and what it takes to do it.
pub(crate) struct Office {
    /// Polls, ledger, dead letters.
    pub(crate) store: Arc<dyn Store>,
    /// The vote log.
    pub(crate) log: Arc<dyn VoteLog>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// How long before its end a poll is told of it.
    pub(crate) close_lead: Duration,
    /// Where voters are served, for the addresses of pages.
    pub(crate) listen: SocketAddr,
    /// The store's file, for recounts.
    pub(crate) store_file: PathBuf,
    /// Where a recount may put what does not fit in memory.
    pub(crate) scratch: PathBuf,
    /// A recount takes memory and a core: one at a time.
    pub(crate) recounts: Arc<Semaphore>,
    /// What only a running process has.
    pub(crate) live: Option<Live>,
}

/// What only a running process has.
pub(crate) struct Live {
    /// How its components are.
    pub(crate) health: Health,
    /// Its consumer.
    pub(crate) consumer: Arc<Consumer>,
    /// What readers see.
    pub(crate) api: Api,
    /// What it logs.
    pub(crate) levels: Arc<LogLevels>,
    /// What it tells voters the voting is for.
    pub(crate) occasion: Occasion,
}

impl Office {
    /// Does what is asked. Long work says through `progress` how far it is; dropping the future
    /// ends it.
    pub(crate) async fn perform(
        &self,
        task: Task,
        progress: watch::Sender<Progress>,
    ) -> Result<Reply, Refusal> {
        match task {
            Task::CreatePoll(draft) => self.create_poll(draft).await,
            Task::OpenPoll(slug) => self.open_poll(&slug).await,
            Task::ClosePoll(slug) => self.close_poll(&slug).await,
            Task::ExtendPoll { slug, end } => self.extend_poll(&slug, end).await,
            Task::Polls => self.polls().await,
            Task::Poll(slug) => self.poll(&slug).await,
            Task::VoteLogStatus => self.vote_log_status().await,
            Task::Losses => self.losses().await,
            Task::WriteOffBatches {
                incarnation,
                number,
                reason,
            } => self.write_off_batches(incarnation, number, &reason).await,
            Task::WriteOffSegments { number, reason } => {
                self.write_off_segments(number, &reason).await
            }
            Task::DeadLetters => self.dead_letters().await,
            Task::DeadLetter(number) => self.dead_letter(number).await,
            Task::RequeueDeadLetter(number) => self.requeue_dead_letter(number).await,
            Task::WriteOffDeadLetter { number, reason } => {
                self.write_off_dead_letter(number, reason).await
            }
            Task::Recount { poll, depth } => self.recount(poll, depth, progress).await,
            Task::Health => self.health(),
            Task::LogLevel { directives, for_ms } => self.log_level(&directives, for_ms),
        }
    }

    async fn vote_log_status(&self) -> Result<Reply, Refusal> {
        let status = self.log.status(LANE).await.map_err(Refusal::failed)?;
        let losses = self.store.losses().await.map_err(refusal)?;
        let undecided = losses
            .iter()
            .filter(|loss| loss.written_off_because.is_none());
        Ok(Reply::VoteLog(VoteLogReport {
            batches: status.batches,
            votes: status.votes,
            oldest: status.oldest.map(|at| at.rfc3339(UtcOffset::BRASILIA)),
            bytes: status.bytes,
            consumed: status.consumed,
            damaged: status.damaged,
            losses_undecided: undecided.count() as u64,
        }))
    }

    fn live(&self) -> Result<&Live, Refusal> {
        self.live
            .as_ref()
            .ok_or_else(|| Refusal::failed("no process is running on this data folder"))
    }

    fn health(&self) -> Result<Reply, Refusal> {
        let report = self.live()?.health.report();
        let unready = report.components.iter().filter_map(|component| {
            let reason = component.state.reason()?;
            Some(format!("{}: {reason}", component.name))
        });
        Ok(Reply::Health(HealthReport {
            ready: report.ready,
            stopping: report.stopping,
            unready: unready.collect(),
        }))
    }

    fn log_level(&self, directives: &str, for_ms: Option<u64>) -> Result<Reply, Refusal> {
        let live = self.live()?;
        let levels: Levels = directives.parse().map_err(Refusal::misuse)?;
        let said = match for_ms {
            None => {
                live.levels.set(levels);
                format!("logging {directives} until the process ends or this is changed again")
            }
            Some(millis) => {
                live.levels.set_for(levels, self.clock.boot(), millis);
                format!("logging {directives} for {} s", millis.div_ceil(1_000))
            }
        };
        Ok(Reply::Said(said))
    }
}

/// Whose fault it is that the store did not do something.
fn refusal(error: StoreError) -> Refusal {
    match error {
        StoreError::Poll(error) => Refusal::misuse(error),
        other => Refusal::failed(other),
    }
}
