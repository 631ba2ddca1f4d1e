//! Ends everything, in the order in which nothing accepted is lost.

use std::time::{Duration, Instant};

use paredao_vote_log::VoteLog as _;
use tokio::time::timeout;

use super::start::Program;
use crate::config::Config;
use crate::failure::Verdict;
use crate::office::LANE;

/// How long the store may take to note the log's newest file.
const NOTE_MAX: Duration = Duration::from_millis(500);

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A supervisor asked: serve on while proxies notice.
    Terminate,
    /// Somebody at the keyboard asked: nobody else has to notice.
    Interrupt,
    /// A component died: what is left cannot keep the promise.
    Died(&'static str),
}

impl Cause {
    fn serve_on(self, config: &Config) -> Duration {
        match self {
            Self::Terminate => config.drain,
            Self::Interrupt | Self::Died(_) => Duration::ZERO,
        }
    }
}

/// The steps of the end, which share one limit.
struct Steps {
    deadline: Instant,
    cut_short: Vec<&'static str>,
    /// Votes that the consumer left in the log, if anybody knows.
    votes_left: Option<u64>,
}

impl Steps {
    fn within(limit: Duration) -> Self {
        Self {
            deadline: Instant::now() + limit,
            cut_short: Vec::new(),
            votes_left: None,
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Takes a step that says whether it did all it should; the limit cuts it short.
    async fn take(&mut self, what: &'static str, step: impl Future<Output = bool>) {
        if timeout(self.left(), step).await != Ok(true) {
            self.cut_short.push(what);
        }
    }
}

impl Program {
    /// Unready, serve on, stop accepting and finish what was accepted, flush with the end marker,
    /// apply what the log holds, checkpoint, close. All within the limit; what is cut short, or
    /// cannot be done because the store is away, loses nothing: whatever was answered with success
    /// is durable.
    pub(super) async fn stop(self, config: &Config, cause: Cause) -> Verdict {
        let mut steps = Steps::within(config.stop_timeout);
        self.health.stop();
        let serve_on = cause.serve_on(config);
        let drain_ms = u64::try_from(serve_on.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(event = "stopping", cause = ?cause, drain_ms);
        tokio::time::sleep(serve_on).await;
        self.wind_up(&mut steps).await;
        if !steps.cut_short.is_empty() {
            let what = steps.cut_short.join(", ");
            tracing::error!(
                event = "stop_cut_short",
                what,
                votes_left = steps.votes_left,
                "votes left are durable in the vote log; the next start applies them"
            );
        }
        tracing::info!(event = "stopped");
        match cause {
            Cause::Terminate | Cause::Interrupt if steps.cut_short.is_empty() => Verdict::Good,
            _ => Verdict::Bad,
        }
    }

    async fn wind_up(self, steps: &mut Steps) {
        self.api.end_streams();
        steps
            .take("requests", done(self.public_server.stop(true)))
            .await;
        steps.take("intake", self.intake.stop(steps.left())).await;
        steps
            .take("consumer", self.consumer.stop(steps.left()))
            .await;
        let log = self.files.log.status(LANE).await;
        steps.votes_left = log.ok().map(|status| status.votes);
        self.metrics_server.stop(false).await;
        self.helpers_stop.cancel();
        steps.take("tasks", done(self.tasks.join_all())).await;
        let files = self.files;
        // What shares the files goes first, so that they are closed by the one who opened them.
        drop((self.api, self.intake, self.consumer));
        // A courtesy to the next start, which must not keep the log from being closed.
        let noted = timeout(NOTE_MAX.min(steps.left()), files.note_newest_segment());
        match noted.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(event = "log_segment_not_noted", %error),
            Err(error) => tracing::warn!(event = "log_segment_not_noted", %error),
        }
        let close = tokio::task::spawn_blocking(move || files.close());
        steps.take("files", done(close)).await;
    }
}

async fn done<T>(step: impl Future<Output = T>) -> bool {
    step.await;
    true
}
