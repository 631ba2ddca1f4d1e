//! The steps of a lane's consumer in their order, and what each trouble means. They wait for the log
//! and the store and for nothing else: when they are taken, and how long to pause between two
//! attempts, is for whoever drives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use paredao_domain::{Account, Accounts, Clock, Incarnation, Lane, LedgerEntry, PollId};
use paredao_store::{ApplyError, FinalityHurdle, OwnerId, Store, StoreError};
use paredao_telemetry::failpoint;
use paredao_telemetry::metrics::{self, metrics};
use paredao_vote_log::{Delivery, LogError, Subscription, VoteLog};

use crate::closing::{Closing, ClosingOptions};
use crate::owner::{LaneOwner, OwnerError, Prepared};
use crate::window::Window;

/// How a lane is driven.
#[derive(Clone, Copy, Debug)]
pub struct DriverOptions {
    /// The lane.
    pub lane: Lane,
    /// Bad batches in a row after which there is no going on.
    pub bad_batches_max: usize,
    /// How polls are closed.
    pub closing: ClosingOptions,
}

/// Why there is no going on with a subscription.
#[derive(Debug)]
pub enum Ended {
    /// There is nothing left to do, or nobody waits for it: what was delivered and is not applied
    /// stays in the log.
    Stopped,
    /// Another consumer owns the lane: a new subscription may bring it back.
    Fenced,
    /// The log went away.
    Log(LogError),
    /// Going on would make things worse.
    Failed(String),
}

/// Why an attempt at a transaction failed.
enum Trouble {
    /// There is no going on.
    End(Ended),
    /// The store may answer later.
    Store(String),
}

/// Takes deliveries of a lane to the store, and its polls to their end.
pub struct Driver {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    options: DriverOptions,
    owner_id: OwnerId,
    closing: Closing,
    /// What this consumer knows as the lane's owner, from its claim on.
    holder: Option<LaneOwner>,
    bad_in_a_row: usize,
}

impl Driver {
    /// For one start of a consumer: `owner_id` and `incarnation` are drawn for it.
    pub fn new(
        log: Arc<dyn VoteLog>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        owner_id: OwnerId,
        incarnation: Incarnation,
        options: DriverOptions,
    ) -> Self {
        let closing = Closing::new(
            log,
            Arc::clone(&store),
            incarnation,
            options.lane,
            options.closing,
        );
        Self {
            store,
            clock,
            options,
            owner_id,
            closing,
            holder: None,
            bad_in_a_row: 0,
        }
    }

    /// A new subscription begins: its first delivery brings a claim.
    pub fn begin(&mut self) {
        self.holder = None;
    }

    /// The live keys, if this consumer owns the lane.
    pub fn window(&self) -> Option<&Window> {
        self.holder.as_ref().map(LaneOwner::window)
    }

    /// Books deliveries and acknowledges them, in this order. As long as the store does not
    /// answer, `keep_trying` is told why, and decides after a while.
    pub async fn take(
        &mut self,
        subscription: &mut dyn Subscription,
        deliveries: &[Delivery],
        mut keep_trying: impl AsyncFnMut(String) -> bool,
    ) -> Result<(), Ended> {
        metrics()
            .consumer_deliveries
            .inc_by(deliveries.len() as u64);
        while let Err(trouble) = self.attempt(deliveries).await {
            let why = match trouble {
                Trouble::End(ended) => return Err(ended),
                Trouble::Store(why) => why,
            };
            if !keep_trying(why).await {
                return Err(Ended::Stopped);
            }
        }
        hit("consumer.before_ack");
        let tags: Vec<_> = deliveries.iter().map(|d| d.tag).collect();
        subscription.ack(&tags).await.map_err(Ended::Log)?;
        hit("consumer.after_ack");
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

    /// One attempt at a transaction; on success the holder has taken it over.
    async fn attempt(&mut self, deliveries: &[Delivery]) -> Result<(), Trouble> {
        let holder = match &mut self.holder {
            Some(holder) => holder,
            vacant => {
                let claimed = claim(&self.store, &self.clock, self.options.lane, self.owner_id);
                vacant.insert(claimed.await?)
            }
        };
        let mut prepared = holder.prepare(deliveries).await?;
        self.closing.keep_what_counts(&mut prepared.application);
        if !prepared.is_empty() {
            let applied = apply(&*self.store, holder, &prepared).await;
            if let Err(error) = applied {
                self.let_go_after(&error);
                return Err(error.into());
            }
        }
        count(&prepared);
        self.bad_in_a_row = match prepared.good {
            0 => self.bad_in_a_row + prepared.bad,
            _ => 0,
        };
        holder.commit(prepared);
        Ok(())
    }

    /// Lets go of what is known of the lane where the store may know better: it is claimed and
    /// read again. A store that was away for a moment has changed nothing.
    fn let_go_after(&mut self, error: &ApplyError) {
        match error {
            // It may yet be executed: a new claim fences it out or finds it done.
            ApplyError::Unknown(_) | ApplyError::AlreadyApplied(_) | ApplyError::Fenced => {
                self.holder = None;
            }
            ApplyError::Store(_) => {}
        }
    }

    /// Brings closed polls nearer to their final results. Returns what stands in the way of each
    /// that has none yet.
    pub async fn tend(&mut self) -> Result<HashMap<PollId, Vec<FinalityHurdle>>, ApplyError> {
        let fence = self.holder.as_ref().map(LaneOwner::fence);
        let tended = self.closing.tend(fence, &*self.clock).await;
        if let Err(error) = &tended {
            self.let_go_after(error);
        }
        tended
    }
}

async fn claim(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    lane: Lane,
    owner_id: OwnerId,
) -> Result<LaneOwner, StoreError> {
    let started = Instant::now();
    let owner = LaneOwner::claim(Arc::clone(store), Arc::clone(clock), lane, owner_id).await?;
    metrics().lane_owned.set(1);
    tracing::info!(
        event = "lane_claimed",
        epoch = owner.fence().epoch,
        keys = owner.window().len(),
        took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    );
    Ok(owner)
}

async fn apply(
    store: &dyn Store,
    holder: &LaneOwner,
    prepared: &Prepared,
) -> Result<(), ApplyError> {
    hit("consumer.before_apply");
    let started = Instant::now();
    store.apply(holder.fence(), &prepared.application).await?;
    metrics()
        .apply_seconds
        .observe(started.elapsed().as_secs_f64());
    hit("consumer.after_apply");
    Ok(())
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        if error.may_pass() {
            Self::Store(error.to_string())
        } else {
            Self::End(Ended::Failed(error.to_string()))
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

/// Shows what a transaction booked.
fn count(prepared: &Prepared) {
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
