//! The consumer's thread: takes the driver's steps when it is time, and shows what it is doing.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use paredao_domain::{Clock, Incarnation, Lane, PollId};
use paredao_store::{ApplyError, FinalityHurdle, OwnerId, Store};
use paredao_telemetry::metrics::metrics;
use paredao_vote_log::{Delivery, LogError, Release, Subscription, VoteLog};
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::closing::ClosingOptions;
use crate::driver::{Driver, DriverOptions, Ended};
use crate::window::Window;

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often closing, checkpoint and draining are looked after.
const TICK: Duration = Duration::from_millis(250);
/// Ticks without a delivery after which a consumer that was told to stop has nothing to wait for:
/// what the log still holds is another's.
const QUIET_TICKS: u32 = 4;

/// How a consumer works.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerOptions {
    /// The lane.
    pub lane: Lane,
    /// Votes of one transaction, about.
    pub votes_max: usize,
    /// Shortest time from one transaction's start to the next's.
    pub apply_interval: Duration,
    /// Longest time in which the log keeps what the store has.
    pub checkpoint_interval: Duration,
    /// Bad batches in a row after which the consumer stops and says so.
    pub bad_batches_max: usize,
    /// How polls are closed.
    pub closing: ClosingOptions,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            lane: Lane(0),
            votes_max: 65_536,
            apply_interval: Duration::from_millis(50),
            checkpoint_interval: Duration::from_secs(10),
            bad_batches_max: 100,
            closing: ClosingOptions { settle_ms: 7_000 },
        }
    }
}

/// What a consumer is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConsumerState {
    /// Nothing was delivered yet: somebody else owns the lane, or it is empty.
    #[default]
    Waiting,
    /// Owns the lane and applies.
    Owning,
    /// The store does not answer; what is delivered waits.
    StoreAway,
    /// The log does not answer.
    LogAway,
    /// Was stopped, everything it held is applied or given back.
    Stopped,
    /// Stopped by itself; somebody must look.
    Failed(String),
}

/// What a consumer is doing, and what it waits for.
#[derive(Clone, Debug, Default)]
pub struct ConsumerStatus {
    /// What it is doing.
    pub state: ConsumerState,
    /// Live keys of its window.
    pub window_keys: usize,
    /// Memory of its window.
    pub window_bytes: usize,
    /// What stands in the way of each closed poll that is not final.
    pub hurdles: HashMap<PollId, Vec<FinalityHurdle>>,
}

/// A consumer at work.
pub struct Consumer {
    status: Arc<Mutex<ConsumerStatus>>,
    log: Arc<dyn VoteLog>,
    lane: Lane,
    stop: CancellationToken,
    ended: CancellationToken,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Consumer {
    /// Starts the thread. `owner` and `incarnation` must be drawn afresh for every start.
    pub fn start(
        log: Arc<dyn VoteLog>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        owner: OwnerId,
        incarnation: Incarnation,
        options: ConsumerOptions,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let status = Arc::new(Mutex::new(ConsumerStatus::default()));
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let driver = Driver::new(
            Arc::clone(&log),
            Arc::clone(&store),
            clock,
            owner,
            incarnation,
            DriverOptions {
                lane: options.lane,
                bad_batches_max: options.bad_batches_max,
                closing: options.closing,
            },
        );
        let mut worker = Worker {
            log: Arc::clone(&log),
            store,
            driver,
            options,
            board: Board(Arc::clone(&status)),
            stop: stop.clone(),
            quiet_ticks: 0,
            progressed: false,
            last_apply: None,
            last_checkpoint: Instant::now(),
            applied_since_checkpoint: false,
        };
        let end = ended.clone().drop_guard();
        let handle = thread::Builder::new()
            .name("consumer".to_owned())
            .spawn(move || {
                let _end = end;
                runtime.block_on(worker.run());
            })?;
        Ok(Self {
            status,
            log,
            lane: options.lane,
            stop,
            ended,
            handle: Mutex::new(Some(handle)),
        })
    }

    /// What it is doing.
    pub fn status(&self) -> ConsumerStatus {
        self.status.lock().clone()
    }

    /// Resolves when it has ended, by a stop or by itself.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Applies what the log still holds, makes the store safe, and ends. Returns whether all of that
    /// happened within `limit`: not when it had failed, or while store or log are away. What is left
    /// stays in the log, and the next start applies it.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.stop.cancel();
        let handle = self.handle.lock().take();
        if let Some(handle) = handle {
            let joined = tokio::task::spawn_blocking(move || handle.join().is_ok());
            if !matches!(tokio::time::timeout(limit, joined).await, Ok(Ok(true))) {
                return false;
            }
        }
        self.status().state == ConsumerState::Stopped && self.has_left_nothing().await
    }

    /// Whether everything is applied, or what is not is another consumer's.
    async fn has_left_nothing(&self) -> bool {
        let status = self.log.status(self.lane).await;
        status.is_ok_and(|status| status.batches == 0 || status.consumed)
    }
}

/// Where the consumer's thread shows what it is doing.
struct Board(Arc<Mutex<ConsumerStatus>>);

impl Board {
    fn set_state(&self, state: ConsumerState) {
        let mut status = self.0.lock();
        if status.state != state {
            tracing::info!(event = "consumer_state", state = ?state);
            status.state = state;
        }
    }

    fn log_is_back(&self) {
        if self.0.lock().state == ConsumerState::LogAway {
            self.set_state(ConsumerState::Waiting);
        }
    }

    fn show_window(&self, window: Option<&Window>) {
        let mut status = self.0.lock();
        status.window_keys = window.map_or(0, Window::len);
        status.window_bytes = window.map_or(0, Window::bytes);
    }

    fn show_hurdles(&self, hurdles: HashMap<PollId, Vec<FinalityHurdle>>) {
        self.0.lock().hurdles = hurdles;
    }

    fn fail(&self, reason: String) {
        tracing::error!(
            event = "consumer_failed",
            reason,
            "votes stay in the log until it works again"
        );
        self.set_state(ConsumerState::Failed(reason));
    }
}

/// The consumer's thread: takes the driver's steps when it is time.
struct Worker {
    log: Arc<dyn VoteLog>,
    store: Arc<dyn Store>,
    driver: Driver,
    options: ConsumerOptions,
    board: Board,
    stop: CancellationToken,
    /// Ticks without a delivery since it was told to stop.
    quiet_ticks: u32,
    /// Whether something was acknowledged since the log was subscribed to.
    progressed: bool,
    last_apply: Option<Instant>,
    last_checkpoint: Instant,
    applied_since_checkpoint: bool,
}

impl Worker {
    async fn run(&mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            let ended = match self.log.subscribe(self.options.lane).await {
                Ok(mut subscription) => {
                    self.board.log_is_back();
                    self.serve(subscription.as_mut()).await
                }
                Err(error) => Ended::Log(error),
            };
            metrics().lane_owned.set(0);
            match ended {
                Ended::Stopped => return self.board.set_state(ConsumerState::Stopped),
                Ended::Failed(reason) => return self.board.fail(reason),
                Ended::Fenced => {
                    metrics().fenced.inc();
                    tracing::warn!(event = "fenced", "another consumer owns the lane");
                    self.board.set_state(ConsumerState::Waiting);
                }
                Ended::Log(error @ LogError::Newer { .. }) => {
                    return self.board.fail(error.to_string());
                }
                Ended::Log(_) if self.stop.is_cancelled() => {
                    return self.board.set_state(ConsumerState::Stopped);
                }
                Ended::Log(error) => {
                    tracing::error!(event = "log_away", %error);
                    self.board.set_state(ConsumerState::LogAway);
                }
            }
            if std::mem::take(&mut self.progressed) {
                pause = PAUSE_MIN;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn serve(&mut self, subscription: &mut dyn Subscription) -> Ended {
        self.driver.begin();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.pace().await;
            let votes_max = self.options.votes_max;
            let result = tokio::select! {
                biased;
                _ = tick.tick() => self.tend(subscription).await,
                deliveries = subscription.next(votes_max) => match deliveries {
                    Ok(deliveries) => self.take(subscription, &deliveries).await,
                    Err(error) => Err(Ended::Log(error)),
                },
            };
            if let Err(ended) = result {
                return ended;
            }
        }
    }

    /// Waits until the next transaction may start: not at all when the last was long ago.
    async fn pace(&self) {
        if let Some(last) = self.last_apply {
            let rest = self.options.apply_interval.saturating_sub(last.elapsed());
            if !rest.is_zero() {
                tokio::time::sleep(rest).await;
            }
        }
    }

    async fn take(
        &mut self,
        subscription: &mut dyn Subscription,
        deliveries: &[Delivery],
    ) -> Result<(), Ended> {
        self.last_apply = Some(Instant::now());
        self.quiet_ticks = 0;
        self.applied_since_checkpoint = true;
        let mut pause = PAUSE_MIN;
        let (board, stop) = (&self.board, &self.stop);
        let keep_trying = async |why: String| {
            tracing::warn!(event = "store_away", error = why);
            board.set_state(ConsumerState::StoreAway);
            // What is delivered and not applied stays in the log for the next start.
            if !stop.is_cancelled() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            !stop.is_cancelled()
        };
        self.driver
            .take(subscription, deliveries, keep_trying)
            .await?;
        self.progressed = true;
        self.board.show_window(self.driver.window());
        self.board.set_state(ConsumerState::Owning);
        Ok(())
    }

    /// Closing, checkpoint, draining.
    async fn tend(&mut self, subscription: &mut dyn Subscription) -> Result<(), Ended> {
        self.close().await?;
        let draining = self.stop.is_cancelled();
        let due = self.last_checkpoint.elapsed() >= self.options.checkpoint_interval;
        if self.applied_since_checkpoint && (due || draining) {
            self.checkpoint(subscription).await?;
        }
        if draining {
            self.quiet_ticks += 1;
            if self.quiet_ticks > QUIET_TICKS || self.is_drained().await {
                return Err(Ended::Stopped);
            }
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Ended> {
        match self.driver.tend().await {
            Ok(hurdles) => {
                self.board.show_hurdles(hurdles);
                Ok(())
            }
            Err(ApplyError::Fenced) => Err(Ended::Fenced),
            Err(error) => {
                tracing::warn!(event = "closing_delayed", %error);
                Ok(())
            }
        }
    }

    async fn checkpoint(&mut self, subscription: &mut dyn Subscription) -> Result<(), Ended> {
        self.last_checkpoint = Instant::now();
        match self.store.checkpoint().await {
            Ok(()) => {
                let released = subscription.release().await.map_err(Ended::Log)?;
                self.applied_since_checkpoint = released == Release::Later;
                Ok(())
            }
            Err(error) => {
                tracing::warn!(event = "checkpoint_delayed", %error);
                Ok(())
            }
        }
    }

    async fn is_drained(&self) -> bool {
        let status = self.log.status(self.options.lane).await;
        status.is_ok_and(|status| status.batches == 0)
    }
}
