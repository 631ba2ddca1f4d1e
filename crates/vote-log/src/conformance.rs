//! What every vote log must do, as one suite over a [`Backend`].
//!
//! Each function is one test and says in its name what it proves; a backend's test file calls
//! every one of them. They ask for what the contract promises and nothing more: deliveries may
//! come in any order (but for barriers), more than once, and after a moment.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a failed assumption in a test is a failed test"
)]

mod at_once;
mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use paredao_domain::{BatchId, EncodedBatch, Envelope, Incarnation, Lane};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{Delivery, DeliveryTag, LogError, LogStatus, Subscription, VoteLog};

pub use at_once::at_once;
pub use sample::{StoppedClock, sample_barrier, sample_batch};

/// As many votes as a consumer may ask for.
const ALL: usize = 1_000_000;
const LANE: Lane = Lane(0);
const WHO: Incarnation = Incarnation(0x1dea);
/// How long something that must happen may take, in a backend with a network in it.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long something that must not happen is looked out for.
const SILENCE: Duration = Duration::from_millis(100);

/// How the suite gets at a log.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Opens a log that is empty at the first call.
    async fn open(&self) -> Arc<dyn VoteLog>;

    /// Ends the process that has the log open, in no good order, and starts another.
    async fn restart(&self, log: Arc<dyn VoteLog>) -> Arc<dyn VoteLog>;
}

/// Appends batches of one incarnation, with these numbers and ten times as many votes.
async fn append(log: &dyn VoteLog, numbers: impl IntoIterator<Item = u64>) -> Vec<EncodedBatch> {
    let mut batches = Vec::new();
    for number in numbers {
        let votes = u16::try_from(number * 10).expect("a small number");
        let batch = sample_batch(WHO, number, votes);
        log.append(&batch).await.expect("the log takes a batch");
        batches.push(batch);
    }
    batches
}

async fn subscribe(log: &dyn VoteLog) -> Box<dyn Subscription> {
    log.subscribe(LANE).await.expect("the lane can be taken")
}

/// Takes deliveries until each of `wanted` was among them; each must be whole and wanted.
async fn take(
    subscription: &mut dyn Subscription,
    wanted: &[EncodedBatch],
) -> BTreeMap<BatchId, Vec<DeliveryTag>> {
    let wanted: BTreeMap<BatchId, &EncodedBatch> = wanted.iter().map(|b| (b.id(), b)).collect();
    let mut tags: BTreeMap<BatchId, Vec<DeliveryTag>> = BTreeMap::new();
    let deadline = Instant::now() + DEADLINE;
    while tags.len() < wanted.len() {
        let deliveries = timeout_at(deadline, subscription.next(ALL))
            .await
            .expect("every batch is delivered in time")
            .expect("the lane is held");
        for delivery in deliveries {
            let id = check_whole(&delivery, &wanted);
            tags.entry(id).or_default().push(delivery.tag);
        }
    }
    tags
}

fn check_whole(delivery: &Delivery, wanted: &BTreeMap<BatchId, &EncodedBatch>) -> BatchId {
    let envelope = delivery.envelope.expect("a whole batch has an envelope");
    let Some(batch) = wanted.get(&envelope.id) else {
        panic!("{} was not to be delivered", envelope.id);
    };
    assert_eq!(envelope, Envelope::from(*batch));
    assert_eq!(&delivery.body, batch.bytes());
    envelope.id
}

async fn take_and_ack(subscription: &mut dyn Subscription, wanted: &[EncodedBatch]) {
    let tags: Vec<DeliveryTag> = take(subscription, wanted)
        .await
        .into_values()
        .flatten()
        .collect();
    subscription.ack(&tags).await.expect("the lane is held");
}

async fn assert_silent(subscription: &mut dyn Subscription) {
    let early = timeout(SILENCE, subscription.next(ALL)).await;
    assert!(early.is_err(), "nothing is to be delivered: {early:?}");
}

async fn await_status(log: &dyn VoteLog, what: &str, holds: impl Fn(&LogStatus) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = log.status(LANE).await.expect("the log tells its status");
        if holds(&status) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What goes in comes out: same bytes, and an envelope that names them.
pub async fn an_appended_batch_is_delivered_with_its_envelope(backend: &dyn Backend) {
    let log = backend.open().await;
    let batches = append(&*log, 1..=20).await;
    take(&mut *subscribe(&*log).await, &batches).await;
}

/// Batches without votes and the largest there may be are batches like others.
pub async fn markers_and_the_largest_batch_are_delivered(backend: &dyn Backend) {
    let log = backend.open().await;
    let batches = [
        sample_batch(WHO, 1, 0),
        sample_batch(WHO, 2, 32_768),
        sample_batch(WHO, 3, 0),
    ];
    for batch in &batches {
        log.append(batch).await.expect("the log takes a batch");
    }
    take(&mut *subscribe(&*log).await, &batches).await;
}

/// A consumer that waits on an empty lane is woken.
pub async fn a_waiting_consumer_gets_what_is_appended(backend: &dyn Backend) {
    let log = backend.open().await;
    let mut subscription = subscribe(&*log).await;
    for number in 1..=5 {
        let appending = {
            let log = Arc::clone(&log);
            async move { append(&*log, [number]).await }
        };
        let expected = [sample_batch(
            WHO,
            number,
            u16::try_from(number * 10).expect("small"),
        )];
        let (tags, _) = tokio::join!(take(&mut *subscription, &expected), appending);
        assert_eq!(tags.len(), 1);
    }
}

/// Many appenders at once lose nothing.
pub async fn many_may_append_at_once(backend: &dyn Backend) {
    let log = backend.open().await;
    let appenders: Vec<_> = (0..8)
        .map(|appender| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut batches = Vec::new();
                for number in 1..=10 {
                    let batch = sample_batch(Incarnation(appender), number, 3);
                    log.append(&batch).await.expect("the log takes a batch");
                    batches.push(batch);
                }
                batches
            })
        })
        .collect();
    let mut batches = Vec::new();
    for appender in appenders {
        batches.extend(appender.await.expect("the appender lives"));
    }
    take(&mut *subscribe(&*log).await, &batches).await;
}

/// A consumer bounds what it holds.
pub async fn at_most_the_votes_asked_for_come_at_once(backend: &dyn Backend) {
    let log = backend.open().await;
    append(&*log, 1..=12).await;
    let mut subscription = subscribe(&*log).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 12 {
        let deliveries = timeout(DEADLINE, subscription.next(100))
            .await
            .expect("every batch is delivered in time")
            .expect("the lane is held");
        let votes = |d: &Delivery| d.envelope.map_or(0, |envelope| envelope.votes);
        let sum: u32 = deliveries.iter().map(votes).sum();
        assert!(!deliveries.is_empty());
        assert!(
            sum <= 100 || deliveries.len() == 1,
            "{sum} votes in {}",
            deliveries.len()
        );
        seen.extend(deliveries.iter().filter_map(|d| d.envelope.map(|e| e.id)));
    }
}

/// A wait that is given up takes nothing with it: neither one on an empty lane, nor one that is
/// given up just when something has arrived, nor one that was only begun.
pub async fn cancelling_the_wait_loses_nothing(backend: &dyn Backend) {
    let log = backend.open().await;
    let mut subscription = subscribe(&*log).await;
    assert_silent(&mut *subscription).await;
    let mut batches = Vec::new();
    let mut seen = BTreeSet::new();
    for number in 1..=30 {
        let mut appending = pin!(append(&*log, [number]));
        loop {
            tokio::select! {
                biased;
                taken = subscription.next(ALL) => seen.extend(ids(taken)),
                appended = &mut appending => break batches.extend(appended),
            }
        }
        if number % 3 == 0
            && let Some(taken) = at_once(subscription.next(ALL))
        {
            seen.extend(ids(taken));
        }
    }
    let deadline = Instant::now() + DEADLINE;
    while seen.len() < batches.len() {
        let taken = timeout_at(deadline, subscription.next(ALL)).await;
        seen.extend(ids(taken.expect("every batch is delivered in time")));
    }
    let appended: BTreeSet<BatchId> = batches.iter().map(EncodedBatch::id).collect();
    assert_eq!(seen, appended);
}

/// The names of what was taken, which is never nothing.
fn ids(taken: Result<Vec<Delivery>, LogError>) -> Vec<BatchId> {
    let deliveries = taken.expect("the lane is held");
    assert!(!deliveries.is_empty(), "an answer is never empty");
    let id = |delivery: Delivery| delivery.envelope.expect("a whole batch has an envelope").id;
    deliveries.into_iter().map(id).collect()
}

/// On this results stand: whoever takes a barrier has taken, or acknowledged earlier, all that was
/// confirmed before the barrier was appended, also after a change of consumers and a restart.
pub async fn what_was_confirmed_before_a_barrier_comes_before_it(backend: &dyn Backend) {
    let mut log = backend.open().await;
    let mut confirmed = append(&*log, 1..=20).await;
    for round in 1..=4 {
        let mut subscription = subscribe(&*log).await;
        let barrier = sample_barrier(Incarnation(0xba), round);
        log.append(&barrier).await.expect("the log takes a barrier");
        let later = append(&*log, [20 + round]).await;
        let taken = take_to(&mut *subscription, barrier.id()).await;
        for batch in &confirmed {
            let id = batch.id();
            assert!(taken.contains_key(&id), "{id} comes after barrier {round}");
        }
        confirmed.extend(later);
        let (acked, kept): (Vec<_>, Vec<_>) = confirmed
            .into_iter()
            .partition(|batch| batch.id().number % 5 == round);
        let tags: Vec<DeliveryTag> = acked
            .iter()
            .filter_map(|batch| taken.get(&batch.id()).copied())
            .collect();
        subscription.ack(&tags).await.expect("the lane is held");
        confirmed = kept;
        drop(subscription);
        if round % 2 == 0 {
            log = backend.restart(log).await;
        }
    }
}

/// Takes deliveries up to a barrier: what came before it.
async fn take_to(
    subscription: &mut dyn Subscription,
    barrier: BatchId,
) -> BTreeMap<BatchId, DeliveryTag> {
    let mut taken = BTreeMap::new();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let deliveries = timeout_at(deadline, subscription.next(100))
            .await
            .expect("the barrier is delivered in time")
            .expect("the lane is held");
        for delivery in deliveries {
            let id = delivery.envelope.expect("a whole batch has an envelope").id;
            if id == barrier {
                return taken;
            }
            taken.insert(id, delivery.tag);
        }
    }
}

/// What a consumer took and did not acknowledge goes to the next one.
pub async fn a_dropped_subscription_gives_back_what_it_held(backend: &dyn Backend) {
    let log = backend.open().await;
    let batches = append(&*log, 1..=5).await;
    let mut first = subscribe(&*log).await;
    take(&mut *first, &batches).await;
    drop(first);
    take(&mut *subscribe(&*log).await, &batches).await;
}

/// What was acknowledged stays away, in whatever order it was.
pub async fn only_what_was_not_acknowledged_comes_again(backend: &dyn Backend) {
    let log = backend.open().await;
    let batches = append(&*log, 1..=9).await;
    let mut first = subscribe(&*log).await;
    let tags = take(&mut *first, &batches).await;
    for number in [7, 2, 3, 9, 1] {
        let acked: Vec<DeliveryTag> = tags
            .iter()
            .filter(|(id, _)| id.number == number)
            .flat_map(|(_, tags)| tags.iter().copied())
            .collect();
        first.ack(&acked).await.expect("the lane is held");
        first.ack(&acked).await.expect("twice is once");
    }
    drop(first);
    let mut second = subscribe(&*log).await;
    let left: Vec<EncodedBatch> = batches
        .into_iter()
        .filter(|batch| [4, 5, 6, 8].contains(&batch.id().number))
        .collect();
    take_and_ack(&mut *second, &left).await;
    assert_silent(&mut *second).await;
}

/// One consumer at a time: the later one has the lane.
pub async fn a_later_subscription_takes_the_lane_over(backend: &dyn Backend) {
    let log = backend.open().await;
    let mut first = subscribe(&*log).await;
    let batches = append(&*log, 1..=4).await;
    let tags = take(&mut *first, &batches).await;
    let mut second = subscribe(&*log).await;
    let ended = timeout(DEADLINE, first.next(ALL)).await;
    assert!(matches!(ended, Ok(Err(LogError::Closed))), "{ended:?}");
    let tags: Vec<DeliveryTag> = tags.into_values().flatten().collect();
    let late = first.ack(&tags).await;
    assert!(matches!(late, Err(LogError::Closed)), "{late:?}");
    drop(first);
    take_and_ack(&mut *second, &batches).await;
}

/// A consumer that waits notices that another took its place.
pub async fn a_waiting_consumer_is_told_that_it_lost_the_lane(backend: &dyn Backend) {
    let log = backend.open().await;
    let mut first = subscribe(&*log).await;
    let waiting = timeout(DEADLINE, first.next(ALL));
    let (ended, _second) = tokio::join!(waiting, async {
        tokio::task::yield_now().await;
        subscribe(&*log).await
    });
    assert!(matches!(ended, Ok(Err(LogError::Closed))), "{ended:?}");
}

/// The promise: what was answered with success survives the process.
pub async fn what_was_appended_survives_a_restart(backend: &dyn Backend) {
    let mut log = backend.open().await;
    let mut batches = Vec::new();
    for life in 0..4 {
        batches.extend(append(&*log, life * 10 + 1..=life * 10 + 10).await);
        log = backend.restart(log).await;
    }
    take(&mut *subscribe(&*log).await, &batches).await;
}

/// Releasing what was acknowledged takes nothing else with it.
pub async fn a_release_keeps_what_was_not_acknowledged(backend: &dyn Backend) {
    let log = backend.open().await;
    let batches = append(&*log, 1..=40).await;
    let (gone, kept) = batches.split_at(20);
    let mut subscription = subscribe(&*log).await;
    let tags = take(&mut *subscription, &batches).await;
    let acked: Vec<DeliveryTag> = gone
        .iter()
        .filter_map(|batch| tags.get(&batch.id()))
        .flatten()
        .copied()
        .collect();
    subscription.ack(&acked).await.expect("the lane is held");
    subscription.release().await.expect("the lane is held");
    drop(subscription);
    take(&mut *subscribe(&*log).await, kept).await;
    let log = backend.restart(log).await;
    let mut after = subscribe(&*log).await;
    let mut missing: BTreeSet<BatchId> = kept.iter().map(EncodedBatch::id).collect();
    while !missing.is_empty() {
        let deliveries = timeout(DEADLINE, after.next(ALL))
            .await
            .expect("every batch is delivered in time")
            .expect("the lane is held");
        for delivery in deliveries {
            missing.remove(&delivery.envelope.expect("a whole batch").id);
        }
    }
}

/// A retry of a batch whose outcome was unknown may double it in the log; both are whole.
pub async fn a_batch_appended_twice_is_delivered(backend: &dyn Backend) {
    let log = backend.open().await;
    let batches = append(&*log, [5, 5]).await;
    take(&mut *subscribe(&*log).await, &batches).await;
}

/// The status tells what waits and whether somebody consumes it.
pub async fn the_status_tells_what_waits(backend: &dyn Backend) {
    let log = backend.open().await;
    await_status(&*log, "empty", |status| {
        status.batches == 0 && !status.consumed
    })
    .await;
    let batches = append(&*log, 1..=6).await;
    await_status(&*log, "six wait", |status| status.batches == 6).await;
    let mut subscription = subscribe(&*log).await;
    await_status(&*log, "consumed", |status| status.consumed).await;
    take_and_ack(&mut *subscription, &batches).await;
    await_status(&*log, "none waits", |status| status.batches == 0).await;
    drop(subscription);
    await_status(&*log, "nobody consumes", |status| !status.consumed).await;
}
