//! The thread that drives a lane: deliveries in, transactions out, acknowledgements after.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use paredao_domain::{Account, Accounts, Clock, Incarnation, Lane, LedgerEntry, PollId};
use paredao_store::{ApplyError, FinalityHurdle, OwnerId, Store, StoreError};
use paredao_telemetry::failpoint;
use paredao_telemetry::metrics::{self, metrics};
use paredao_vote_log::{Delivery, LogError, Subscription, VoteLog};
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::closing::{Closing, ClosingOptions};
use crate::owner::{LaneOwner, OwnerError, Prepared};

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
        let closing = Closing::new(
            Arc::clone(&log),
            Arc::clone(&store),
            incarnation,
            options.lane,
            options.closing,
        );
        let mut driver = Driver {
            log,
            store,
            clock,
            owner_id: owner,
            options,
            closing,
            status: Arc::clone(&status),
            stop: stop.clone(),
            bad_in_a_row: 0,
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
                runtime.block_on(driver.run());
            })?;
        Ok(Self {
            status,
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

    /// Applies what the log still holds, makes the store safe, and ends. Returns whether that
    /// happened within `limit`; what is left stays in the log.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.stop.cancel();
        let Some(handle) = self.handle.lock().take() else {
            return true;
        };
        let joined = tokio::task::spawn_blocking(move || handle.join().is_ok());
        matches!(tokio::time::timeout(limit, joined).await, Ok(Ok(true)))
    }
}

/// Why a subscription's loop ended.
enum Ended {
    /// Everything is applied and the consumer was told to stop.
    Drained,
    /// Another consumer owns the lane: a new subscription may bring it back.
    Fenced,
    /// The log went away.
    Log(LogError),
    /// Going on would make things worse.
    Failed(String),
}

struct Driver {
    log: Arc<dyn VoteLog>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    owner_id: OwnerId,
    options: ConsumerOptions,
    closing: Closing,
    status: Arc<Mutex<ConsumerStatus>>,
    stop: CancellationToken,
    bad_in_a_row: usize,
    /// Ticks without a delivery since it was told to stop.
    quiet_ticks: u32,
    /// Whether something was acknowledged since the log was subscribed to.
    progressed: bool,
    last_apply: Option<Instant>,
    last_checkpoint: Instant,
    applied_since_checkpoint: bool,
}

impl Driver {
    async fn run(&mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            let ended = match self.log.subscribe(self.options.lane).await {
                Ok(mut subscription) => {
                    self.log_is_back();
                    self.serve(subscription.as_mut()).await
                }
                Err(error) => Ended::Log(error),
            };
            metrics().lane_owned.set(0);
            match ended {
                Ended::Drained => return self.set_state(ConsumerState::Stopped),
                Ended::Failed(reason) => return self.fail(reason),
                Ended::Fenced => {
                    metrics().fenced.inc();
                    tracing::warn!(event = "fenced", "another consumer owns the lane");
                    self.set_state(ConsumerState::Waiting);
                }
                Ended::Log(error @ LogError::Newer { .. }) => return self.fail(error.to_string()),
                Ended::Log(_) if self.stop.is_cancelled() => {
                    return self.set_state(ConsumerState::Stopped);
                }
                Ended::Log(error) => {
                    tracing::error!(event = "log_away", %error);
                    self.set_state(ConsumerState::LogAway);
                }
            }
            if std::mem::take(&mut self.progressed) {
                pause = PAUSE_MIN;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn log_is_back(&self) {
        if self.status.lock().state == ConsumerState::LogAway {
            self.set_state(ConsumerState::Waiting);
        }
    }

    fn fail(&self, reason: String) {
        tracing::error!(
            event = "consumer_failed",
            reason,
            "votes stay in the log until it works again"
        );
        self.set_state(ConsumerState::Failed(reason));
    }

    fn set_state(&self, state: ConsumerState) {
        let mut status = self.status.lock();
        if status.state != state {
            tracing::info!(event = "consumer_state", state = ?state);
            status.state = state;
        }
    }

    async fn serve(&mut self, subscription: &mut dyn Subscription) -> Ended {
        let mut owner = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.pace().await;
            let votes_max = self.options.votes_max;
            let result = tokio::select! {
                biased;
                _ = tick.tick() => self.tend(&mut owner, subscription).await,
                deliveries = subscription.next(votes_max) => match deliveries {
                    Ok(deliveries) => self.take(&mut owner, subscription, deliveries).await,
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

    /// Books deliveries and acknowledges them.
    async fn take(
        &mut self,
        owner: &mut Option<LaneOwner>,
        subscription: &mut dyn Subscription,
        deliveries: Vec<Delivery>,
    ) -> Result<(), Ended> {
        metrics()
            .consumer_deliveries
            .inc_by(deliveries.len() as u64);
        self.last_apply = Some(Instant::now());
        self.quiet_ticks = 0;
        let mut pause = PAUSE_MIN;
        while let Err(trouble) = self.attempt(owner, &deliveries).await {
            match trouble {
                Trouble::End(ended) => return Err(ended),
                Trouble::Store(error) => {
                    tracing::warn!(event = "store_away", %error);
                    self.set_state(ConsumerState::StoreAway);
                }
            }
            if self.stop.is_cancelled() {
                // What is delivered and not applied stays in the log for the next start.
                return Err(Ended::Drained);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        hit("consumer.before_ack");
        let tags: Vec<_> = deliveries.iter().map(|d| d.tag).collect();
        subscription.ack(&tags).await.map_err(Ended::Log)?;
        hit("consumer.after_ack");
        self.progressed = true;
        self.check_bad()
    }

    fn check_bad(&self) -> Result<(), Ended> {
        if self.bad_in_a_row <= self.options.bad_batches_max {
            return Ok(());
        }
        Err(Ended::Failed(format!(
            "{} bad batches in a row: see `paredao dead-letters list`, mend the cause, start again",
            self.bad_in_a_row
        )))
    }

    /// One attempt at a transaction; on success the owner has taken it over.
    async fn attempt(
        &mut self,
        owner: &mut Option<LaneOwner>,
        deliveries: &[Delivery],
    ) -> Result<(), Trouble> {
        let mut holder = match owner.take() {
            Some(holder) => holder,
            None => self.claim().await?,
        };
        let prepared = holder.prepare(deliveries).await?;
        if !prepared.is_empty() {
            // An unknown outcome leaves `owner` empty: the next attempt claims and looks again.
            self.apply(&holder, &prepared).await?;
        }
        self.note(&prepared);
        holder.commit(prepared);
        self.publish(&holder);
        *owner = Some(holder);
        Ok(())
    }

    async fn claim(&self) -> Result<LaneOwner, Trouble> {
        let started = Instant::now();
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let owner = LaneOwner::claim(store, clock, self.options.lane, self.owner_id).await?;
        metrics().lane_owned.set(1);
        tracing::info!(
            event = "lane_claimed",
            epoch = owner.fence().epoch,
            keys = owner.window().len(),
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        );
        Ok(owner)
    }

    async fn apply(&mut self, holder: &LaneOwner, prepared: &Prepared) -> Result<(), Trouble> {
        hit("consumer.before_apply");
        let started = Instant::now();
        self.store
            .apply(holder.fence(), &prepared.application)
            .await?;
        metrics()
            .apply_seconds
            .observe(started.elapsed().as_secs_f64());
        hit("consumer.after_apply");
        self.applied_since_checkpoint = true;
        Ok(())
    }

    fn note(&mut self, prepared: &Prepared) {
        self.bad_in_a_row = if prepared.good > 0 {
            0
        } else {
            self.bad_in_a_row + prepared.bad
        };
        let entries = &prepared.application.entries;
        metrics()
            .consumer_batches_applied
            .inc_by(entries.len() as u64);
        for booked in entries.iter().map(LedgerEntry::accounts) {
            count_judged(&booked);
        }
        for letter in &prepared.application.dead_letters {
            tracing::error!(
                event = "dead_letter",
                reason = letter.reason,
                votes = letter.votes
            );
        }
    }

    fn publish(&self, holder: &LaneOwner) {
        let mut status = self.status.lock();
        status.window_keys = holder.window().len();
        status.window_bytes = holder.window().bytes();
        drop(status);
        self.set_state(ConsumerState::Owning);
    }

    /// Closing, checkpoint, draining.
    async fn tend(
        &mut self,
        owner: &mut Option<LaneOwner>,
        subscription: &mut dyn Subscription,
    ) -> Result<(), Ended> {
        self.close(owner).await?;
        let draining = self.stop.is_cancelled();
        let due = self.last_checkpoint.elapsed() >= self.options.checkpoint_interval;
        if self.applied_since_checkpoint && (due || draining) {
            self.checkpoint(subscription).await?;
        }
        if draining {
            self.quiet_ticks += 1;
            if self.quiet_ticks > QUIET_TICKS || self.is_drained().await {
                return Err(Ended::Drained);
            }
        }
        Ok(())
    }

    async fn close(&mut self, owner: &mut Option<LaneOwner>) -> Result<(), Ended> {
        let fence = owner.as_ref().map(LaneOwner::fence);
        match self.closing.tend(fence, self.clock.now()).await {
            Ok(hurdles) => {
                self.status.lock().hurdles = hurdles;
                Ok(())
            }
            Err(ApplyError::Fenced) => Err(Ended::Fenced),
            Err(error) => {
                tracing::warn!(event = "closing_delayed", %error);
                if matches!(error, ApplyError::Unknown(_)) {
                    // It may yet be executed: a new claim fences it out or finds it done.
                    *owner = None;
                }
                Ok(())
            }
        }
    }

    async fn checkpoint(&mut self, subscription: &mut dyn Subscription) -> Result<(), Ended> {
        self.last_checkpoint = Instant::now();
        match self.store.checkpoint().await {
            Ok(()) => {
                self.applied_since_checkpoint = false;
                subscription.release().await.map_err(Ended::Log)
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

/// Why an attempt at a transaction failed.
enum Trouble {
    /// The loop must end.
    End(Ended),
    /// The store may answer later.
    Store(String),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(_) | StoreError::Newer { .. } => {
                Self::End(Ended::Failed(error.to_string()))
            }
            other => Self::Store(other.to_string()),
        }
    }
}

impl From<ApplyError> for Trouble {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Fenced => Self::End(Ended::Fenced),
            ApplyError::AlreadyApplied(_) | ApplyError::Unknown(_) => {
                Self::Store(error.to_string())
            }
            ApplyError::Store(error) => error.into(),
        }
    }
}

impl From<OwnerError> for Trouble {
    fn from(error: OwnerError) -> Self {
        match error {
            OwnerError::Newer { .. } => Self::End(Ended::Failed(error.to_string())),
            OwnerError::Store(error) => error.into(),
        }
    }
}

fn count_judged(booked: &Accounts) {
    for account in Account::ALL {
        let label = match account {
            Account::Counted => metrics::Account::Counted,
            Account::Duplicate => metrics::Account::Duplicate,
            Account::KeyConflict => metrics::Account::KeyConflict,
            Account::AfterClose => metrics::Account::AfterClose,
            Account::Late => metrics::Account::Late,
        };
        metrics()
            .consumer_votes
            .of(label)
            .inc_by(booked.get(account));
    }
}

/// Failure points here have no error to give: only killing and delaying make sense.
fn hit(name: &str) {
    if let Err(error) = failpoint::hit(name) {
        tracing::warn!(event = "failpoint_ignored", name, %error);
    }
}
