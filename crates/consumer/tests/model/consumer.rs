//! A consumer, step by step: the real driver, with a turn for everybody else between any two steps.

use std::sync::Arc;

use paredao_consumer::{ClosingOptions, Driver, DriverOptions, Ended};
use paredao_domain::{Clock, Incarnation, Lane};
use paredao_store::{ApplyError, OwnerId, Store};
use paredao_vote_log::{Subscription, VoteLog};

use crate::defect::Defect;
use crate::log::{SimLog, SimSubscription};
use crate::steps::{Process, step};
use crate::store::FaultyStore;
use crate::violation::Violation;
use crate::world::{DEADLINE_MS, ProcessClock, SKEW_MS_MAX, World};

pub(crate) struct Consumer {
    world: Arc<World>,
    log: Arc<SimLog>,
    driver: Driver,
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
        let driver = Driver::new(
            Arc::clone(log) as Arc<dyn VoteLog>,
            Arc::clone(store) as Arc<dyn Store>,
            Arc::clone(clock) as Arc<dyn Clock>,
            OwnerId(world.next()),
            Incarnation(world.next()),
            DriverOptions {
                lane: Lane(0),
                bad_batches_max: usize::MAX,
                closing: ClosingOptions { settle_ms },
            },
        );
        let consumer = Self {
            world: Arc::clone(world),
            log: Arc::clone(log),
            driver,
        };
        Process::new(consumer.run())
    }

    async fn run(mut self) {
        loop {
            step().await;
            let mut subscription = self.log.listen();
            self.driver.begin();
            match self.serve(&mut subscription).await {
                Ended::Fenced | Ended::Log(_) => {}
                Ended::Failed(why) => return self.world.report(Violation::ConsumerStopped(why)),
                Ended::Stopped => {
                    let why = "nobody told it to".to_owned();
                    return self.world.report(Violation::ConsumerStopped(why));
                }
            }
        }
    }

    async fn serve(&mut self, subscription: &mut SimSubscription) -> Ended {
        loop {
            step().await;
            let result = if subscription.is_ready() && !self.world.hits(200) {
                self.take(subscription).await
            } else {
                self.tend().await
            };
            if let Err(ended) = result {
                return ended;
            }
        }
    }

    async fn take(&mut self, subscription: &mut SimSubscription) -> Result<(), Ended> {
        let deliveries = subscription.next(usize::MAX).await.map_err(Ended::Log)?;
        let keep_trying = async |_| {
            step().await;
            true
        };
        self.driver
            .take(subscription, &deliveries, keep_trying)
            .await
    }

    async fn tend(&mut self) -> Result<(), Ended> {
        match self.driver.tend().await {
            Err(ApplyError::Fenced) => Err(Ended::Fenced),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
