//! A consumer, step by step: the same order of steps as the thread that drives a lane, over the
//! real owner and the real closing, with a turn for everybody else between any two of them.

use std::sync::Arc;

use paredao_consumer::{Closing, ClosingOptions, LaneOwner, OwnerError, Prepared};
use paredao_domain::{Clock, Incarnation, Lane};
use paredao_store::{ApplyError, OwnerId, Store, StoreError};
use paredao_vote_log::{Delivery, Subscription, VoteLog};

use crate::defect::Defect;
use crate::log::{SimLog, SimSubscription};
use crate::steps::{Process, step};
use crate::store::FaultyStore;
use crate::violation::Violation;
use crate::world::{DEADLINE_MS, ProcessClock, SKEW_MS_MAX, World};

/// Why a subscription came to its end.
enum Ended {
    /// Fenced, or the log let it go: another subscription may bring the lane back.
    Subscription,
    /// For good; never right in the model.
    Stopped(String),
}

enum Trouble {
    End(Ended),
    TryAgain,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::TryAgain,
            other => Self::End(Ended::Stopped(other.to_string())),
        }
    }
}

impl From<ApplyError> for Trouble {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Fenced => Self::End(Ended::Subscription),
            ApplyError::AlreadyApplied(_) | ApplyError::Unknown(_) => Self::TryAgain,
            ApplyError::Store(error) => error.into(),
        }
    }
}

impl From<OwnerError> for Trouble {
    fn from(error: OwnerError) -> Self {
        match error {
            OwnerError::Newer { .. } => Self::End(Ended::Stopped(error.to_string())),
            OwnerError::Store(error) => error.into(),
        }
    }
}

pub(crate) struct Consumer {
    world: Arc<World>,
    log: Arc<SimLog>,
    store: Arc<FaultyStore>,
    clock: Arc<ProcessClock>,
    owner_id: OwnerId,
    closing: Closing,
}

impl Consumer {
    /// A process that never ends by itself.
    pub(crate) fn start(
        world: &Arc<World>,
        log: &Arc<SimLog>,
        store: &Arc<FaultyStore>,
        clock: &Arc<ProcessClock>,
    ) -> Process {
        let settle_ms = if world.has(Defect::SettlesAtOnce) {
            0
        } else {
            DEADLINE_MS + 2 * SKEW_MS_MAX
        };
        let closing = Closing::new(
            Arc::clone(log) as Arc<dyn VoteLog>,
            Arc::clone(store) as Arc<dyn Store>,
            Incarnation(world.next()),
            Lane(0),
            ClosingOptions { settle_ms },
        );
        let consumer = Self {
            world: Arc::clone(world),
            log: Arc::clone(log),
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            owner_id: OwnerId(world.next()),
            closing,
        };
        Process::new(consumer.run())
    }

    async fn run(mut self) {
        loop {
            step().await;
            let mut subscription = self.log.listen();
            match self.serve(&mut subscription).await {
                Ended::Subscription => {}
                Ended::Stopped(why) => return self.world.report(Violation::ConsumerStopped(why)),
            }
        }
    }

    async fn serve(&mut self, subscription: &mut SimSubscription) -> Ended {
        let mut owner = None;
        loop {
            step().await;
            let result = if subscription.is_ready() && !self.world.hits(200) {
                match subscription.next(usize::MAX).await {
                    Ok(deliveries) => self.take(&mut owner, subscription, &deliveries).await,
                    Err(_) => Err(Ended::Subscription),
                }
            } else {
                self.tend(&mut owner).await
            };
            if let Err(ended) = result {
                return ended;
            }
        }
    }

    async fn take(
        &mut self,
        owner: &mut Option<LaneOwner>,
        subscription: &mut SimSubscription,
        deliveries: &[Delivery],
    ) -> Result<(), Ended> {
        let tags: Vec<_> = deliveries.iter().map(|d| d.tag).collect();
        if self.world.has(Defect::AcknowledgesFirst) {
            subscription
                .ack(&tags)
                .await
                .map_err(|_| Ended::Subscription)?;
        }
        while let Err(trouble) = self.attempt(owner, deliveries).await {
            match trouble {
                Trouble::End(ended) => return Err(ended),
                Trouble::TryAgain => step().await,
            }
        }
        step().await;
        if self.world.has(Defect::NeverAcknowledges) {
            return Ok(());
        }
        subscription
            .ack(&tags)
            .await
            .map_err(|_| Ended::Subscription)
    }

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
        step().await;
        if !prepared.is_empty() {
            self.store
                .apply(holder.fence(), &prepared.application)
                .await?;
        }
        step().await;
        self.tally(&prepared);
        holder.commit(prepared);
        *owner = Some(holder);
        Ok(())
    }

    async fn claim(&self) -> Result<LaneOwner, StoreError> {
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        LaneOwner::claim(store, clock, Lane(0), self.owner_id).await
    }

    fn tally(&self, prepared: &Prepared) {
        let letters = &prepared.application.dead_letters;
        self.world.saw_times("dead letter", letters.len() as u64);
    }

    async fn tend(&mut self, owner: &mut Option<LaneOwner>) -> Result<(), Ended> {
        let fence = owner.as_ref().map(LaneOwner::fence);
        match self.closing.tend(fence, self.clock.now()).await {
            Ok(_)
            | Err(ApplyError::AlreadyApplied(_) | ApplyError::Store(StoreError::Unavailable(_))) => {
                Ok(())
            }
            Err(ApplyError::Fenced) => Err(Ended::Subscription),
            Err(ApplyError::Unknown(_)) => {
                *owner = None;
                Ok(())
            }
            Err(ApplyError::Store(error)) => Err(Ended::Stopped(error.to_string())),
        }
    }
}
