//! What has to be done a few times a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use paredao_consumer::{Consumer, ConsumerState};
use paredao_domain::Clock;
use paredao_intake::{Door, Intake};
use paredao_telemetry::health::{Component, Health};
use paredao_telemetry::summary::{self, VotesSummary};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::log_levels::LogLevels;

/// How late an overdue vote may be answered, and a level return, at most.
const TICK: Duration = Duration::from_millis(250);

/// Looks after the intake, the consumer and the logs, and tells the process how they are.
pub(super) struct Upkeep {
    intake: Arc<Intake>,
    consumer: Arc<Consumer>,
    clock: Arc<dyn Clock>,
    levels: Arc<LogLevels>,
    intake_component: Option<Component>,
    consumer_component: Option<Component>,
    consumer_ended: bool,
    summary: VotesSummary,
    last_summary: Instant,
}

impl Upkeep {
    pub(super) fn new(
        intake: Arc<Intake>,
        consumer: Arc<Consumer>,
        clock: Arc<dyn Clock>,
        levels: Arc<LogLevels>,
        health: &Health,
    ) -> Self {
        Self {
            intake_component: Some(health.register("intake")),
            consumer_component: Some(health.register("consumer")),
            intake,
            consumer,
            clock,
            levels,
            consumer_ended: false,
            summary: VotesSummary::start(),
            last_summary: Instant::now(),
        }
    }

    /// Ticks until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let consumer = Arc::clone(&self.consumer);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = consumer.ended(), if !self.consumer_ended => self.consumer_has_ended(),
                _ = ticks.tick() => self.tick(),
            }
        }
        self.summary.log();
    }

    fn tick(&mut self) {
        self.intake.answer_overdue();
        self.levels.tick(self.clock.boot());
        self.look();
        if self.last_summary.elapsed() >= summary::INTERVAL {
            self.last_summary = Instant::now();
            self.summary.log();
        }
    }

    /// Tells the process how intake and consumer are.
    pub(super) fn look(&mut self) {
        self.look_at_intake();
        self.look_at_consumer();
    }

    fn look_at_intake(&mut self) {
        let status = self.intake.status();
        if !self.intake.is_running() {
            // Dropping the component says that it died, unless the process is stopping.
            self.intake_component = None;
        }
        let Some(component) = &self.intake_component else {
            return;
        };
        match status.door {
            Door::LogUnavailable => component.unready("the vote log takes no votes"),
            // While the process stops its own state is told anyway.
            Door::Open | Door::ShuttingDown => component.ready(),
        }
    }

    fn look_at_consumer(&self) {
        let Some(component) = &self.consumer_component else {
            return;
        };
        match self.consumer.status().state {
            ConsumerState::Waiting | ConsumerState::Owning | ConsumerState::Stopped => {
                component.ready();
            }
            ConsumerState::StoreAway => component.unready("the store does not answer"),
            ConsumerState::LogAway => component.unready("the vote log does not answer"),
            ConsumerState::Failed(reason) => component.unready(reason),
        }
    }

    /// A consumer that ended itself so that somebody looks keeps the process unready but alive:
    /// votes go on being made durable. One whose thread died ends the process.
    fn consumer_has_ended(&mut self) {
        self.consumer_ended = true;
        if !matches!(self.consumer.status().state, ConsumerState::Failed(_)) {
            self.consumer_component = None;
        }
    }
}
