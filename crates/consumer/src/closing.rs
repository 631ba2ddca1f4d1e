//! Closing: after a poll's end a barrier goes through the lane, and once everything before it is
//! applied and nothing is unresolved, the result is declared final.

use std::collections::HashMap;
use std::sync::Arc;

use paredao_domain::{
    BatchHeader, BatchId, BatchKind, BatchNumber, BootMillis, Clock, EncodedBatch, Incarnation,
    Lane, Mode, Poll, PollId, PollState, UnixMillis,
};
use paredao_store::{Application, ApplyError, Fence, FinalityHurdle, Store};
use paredao_vote_log::{AppendError, VoteLog};

/// A barrier that has not come through after this long is sent again…
const BARRIER_AGAIN_MS: u64 = 10_000;
/// …and by a consumer that does not own the lane, and so cannot know, after this long.
const BARRIER_AGAIN_STANDBY_MS: u64 = 60_000;

/// How a poll is closed.
#[derive(Clone, Copy, Debug)]
pub struct ClosingOptions {
    /// How long after a poll's end a vote accepted before it may still be appended: the append
    /// deadline and how far clocks may be apart, in milliseconds.
    pub settle_ms: i64,
}

/// Sends barriers and declares results final.
pub struct Closing {
    log: Arc<dyn VoteLog>,
    store: Arc<dyn Store>,
    options: ClosingOptions,
    incarnation: Incarnation,
    lane: Lane,
    last_number: BatchNumber,
    confirmed: BatchNumber,
    /// A barrier that could not be appended: it is tried again with the same bytes.
    frozen: Option<EncodedBatch>,
    /// Since when this process has seen each poll closed. The wall clock alone may have stepped
    /// forward, and what is final stays final.
    closed_since: HashMap<PollId, BootMillis>,
    sent: HashMap<PollId, BootMillis>,
    /// The last number drawn when each poll was last seen open: votes for it may come behind
    /// barriers up to this one.
    too_early: HashMap<PollId, BatchNumber>,
}

/// One reading of the clock.
#[derive(Clone, Copy, Debug)]
struct Reading {
    now: UnixMillis,
    boot: BootMillis,
}

impl Closing {
    /// For one start of a consumer: barriers are numbered under an incarnation of its own.
    pub fn new(
        log: Arc<dyn VoteLog>,
        store: Arc<dyn Store>,
        incarnation: Incarnation,
        lane: Lane,
        options: ClosingOptions,
    ) -> Self {
        Self {
            log,
            store,
            options,
            incarnation,
            lane,
            last_number: 0,
            confirmed: 0,
            frozen: None,
            closed_since: HashMap::new(),
            sent: HashMap::new(),
            too_early: HashMap::new(),
        }
    }

    /// Leaves in a transaction those barriers that count: this process sent them since it last saw
    /// their polls open. Another's may have been sent by a clock that was ahead.
    pub fn keep_what_counts(&self, application: &mut Application) {
        let headers = application.entries.iter().map(|entry| entry.batch.header());
        let barriers = headers.filter(|header| header.kind == BatchKind::Barrier);
        application.barriers = barriers
            .filter(|barrier| self.counts(barrier))
            .map(|barrier| barrier.poll)
            .collect();
    }

    fn counts(&self, barrier: &BatchHeader) -> bool {
        let too_early = self.too_early.get(&barrier.poll).copied().unwrap_or(0);
        barrier.id.incarnation == self.incarnation && barrier.id.number > too_early
    }

    /// Brings every closed poll one step nearer to its final result. `fence` is the lane's, if
    /// this consumer owns it; without it barriers are sent, which bring a delivery and a claim.
    /// Returns what stands in the way of each closed poll that is not final.
    pub async fn tend(
        &mut self,
        fence: Option<&Fence>,
        clock: &dyn Clock,
    ) -> Result<HashMap<PollId, Vec<FinalityHurdle>>, ApplyError> {
        let reading = Reading {
            now: clock.now(),
            boot: clock.boot(),
        };
        let mut hurdles = HashMap::new();
        for poll in self.store.polls().await? {
            match poll.state(reading.now) {
                PollState::Closed => {}
                PollState::Scheduled | PollState::Open => {
                    self.note_open(&poll, fence, reading.now).await?;
                    continue;
                }
                PollState::Final => {
                    self.closed_since.remove(&poll.id);
                    continue;
                }
            }
            let left = if self.is_settled(&poll, reading) {
                self.tend_poll(&poll, fence, reading).await?
            } else {
                vec![FinalityHurdle::Barrier]
            };
            if !left.is_empty() {
                hurdles.insert(poll.id, left);
            }
        }
        Ok(hurdles)
    }

    /// A poll is open, perhaps again: the clock was ahead and was put right. Then what was sent for
    /// its end came before it, and no longer counts.
    async fn note_open(
        &mut self,
        poll: &Poll,
        fence: Option<&Fence>,
        now: UnixMillis,
    ) -> Result<(), ApplyError> {
        self.sent.remove(&poll.id);
        self.too_early.insert(poll.id, self.last_number);
        if !self.closed_since.contains_key(&poll.id) {
            return Ok(());
        }
        if let Some(fence) = fence {
            // Asked about a poll that is not closed, the store takes its barrier back; without a
            // fence the next claim does.
            self.store.finalize(fence, poll.id, now).await?;
        }
        self.closed_since.remove(&poll.id);
        tracing::info!(event = "poll_open_again", poll = %poll.slug, "the clock was set");
        Ok(())
    }

    /// Whether nobody can be told any more that a vote for this poll succeeded, by either clock.
    fn is_settled(&mut self, poll: &Poll, reading: Reading) -> bool {
        let closed_since = self.closed_since.entry(poll.id).or_insert(reading.boot);
        let settle_ms = self.options.settle_ms;
        let is_over = |closes: UnixMillis| reading.now >= closes.plus(settle_ms);
        let seen_closed_ms = reading.boot.since(*closed_since);
        seen_closed_ms >= settle_ms.cast_unsigned() && poll.closes_at.is_some_and(is_over)
    }

    async fn tend_poll(
        &mut self,
        poll: &Poll,
        fence: Option<&Fence>,
        reading: Reading,
    ) -> Result<Vec<FinalityHurdle>, ApplyError> {
        let (hurdles, again_ms) = match fence {
            Some(fence) => (
                self.finalize(fence, poll.id, reading.now).await?,
                BARRIER_AGAIN_MS,
            ),
            None => (vec![FinalityHurdle::Barrier], BARRIER_AGAIN_STANDBY_MS),
        };
        let is_due = self.is_due(poll.id, reading.boot, again_ms);
        if hurdles.contains(&FinalityHurdle::Barrier) && is_due {
            self.send_barrier(poll.id, reading).await;
        }
        if hurdles.is_empty() {
            self.sent.remove(&poll.id);
            tracing::info!(event = "result_final", poll = %poll.slug);
        }
        Ok(hurdles)
    }

    async fn finalize(
        &mut self,
        fence: &Fence,
        poll: PollId,
        now: UnixMillis,
    ) -> Result<Vec<FinalityHurdle>, ApplyError> {
        let result = self.store.finalize(fence, poll, now).await;
        if matches!(result, Err(ApplyError::Unknown(_))) {
            // The lane must be claimed again, and a barrier brings the delivery that does it.
            self.sent.remove(&poll);
        }
        result
    }

    fn is_due(&self, poll: PollId, boot: BootMillis, again_ms: u64) -> bool {
        self.sent
            .get(&poll)
            .is_none_or(|sent| boot.since(*sent) >= again_ms)
    }

    async fn send_barrier(&mut self, poll: PollId, reading: Reading) {
        let barrier = match self.frozen.take() {
            Some(frozen) => frozen,
            None => self.barrier(poll, reading.now),
        };
        match self.append(&barrier).await {
            Ok(()) => {
                self.confirmed = barrier.id().number;
                if self.counts(barrier.header()) {
                    self.sent.insert(barrier.header().poll, reading.boot);
                }
            }
            Err(error) => {
                let poll_number = barrier.header().poll.0;
                tracing::warn!(event = "barrier_not_appended", poll_number, %error);
                self.frozen = Some(barrier);
            }
        }
    }

    async fn append(&self, barrier: &EncodedBatch) -> Result<(), AppendError> {
        self.log.append(barrier).await
    }

    fn barrier(&mut self, poll: PollId, now: UnixMillis) -> EncodedBatch {
        self.last_number += 1;
        let header = BatchHeader {
            kind: BatchKind::Barrier,
            mode: Mode::Torcida,
            poll,
            id: BatchId {
                incarnation: self.incarnation,
                lane: self.lane,
                number: self.last_number,
            },
            minute: now.minute(),
            cumulative: 0,
            confirmed: self.confirmed,
        };
        EncodedBatch::encode(header, &[], &[])
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use paredao_store::{DeadLetterState, OwnerId, PollChange};
    use paredao_vote_log::{Delivery, LogError, LogStatus, Subscription};
    use parking_lot::Mutex;

    use super::*;
    use crate::owner::LaneOwner;
    use crate::sample::{OPENS, POLL, Rig, batch, damaged, delivery, vote};

    const SETTLE_MS: i64 = 7_000;
    const LEAD_MS: i64 = 3_000;
    const HOUR_MS: i64 = 3_600_000;

    /// Keeps what is appended, and refuses as often as it is told to.
    #[derive(Default)]
    struct Drawer {
        kept: Mutex<Vec<EncodedBatch>>,
        refusals: Mutex<u32>,
        refused: Mutex<Vec<EncodedBatch>>,
    }

    #[async_trait]
    impl VoteLog for Drawer {
        async fn append(&self, batch: &EncodedBatch) -> Result<(), AppendError> {
            let mut refusals = self.refusals.lock();
            if *refusals > 0 {
                *refusals -= 1;
                self.refused.lock().push(batch.clone());
                return Err(AppendError::Unavailable("told to".to_owned()));
            }
            self.kept.lock().push(batch.clone());
            Ok(())
        }

        async fn subscribe(&self, _: Lane) -> Result<Box<dyn Subscription>, LogError> {
            Err(LogError::Closed)
        }

        async fn status(&self, _: Lane) -> Result<LogStatus, LogError> {
            Ok(LogStatus::default())
        }
    }

    struct Office {
        rig: Rig,
        log: Arc<Drawer>,
        closing: Closing,
        ends: UnixMillis,
    }

    impl Office {
        /// One poll that has just been seen to be closed.
        async fn new() -> Self {
            let rig = Rig::new().await;
            let log = Arc::new(Drawer::default());
            let slug = "paredao".parse().unwrap();
            let close = PollChange::Close { lead_ms: LEAD_MS };
            let poll = rig.store.change_poll(&slug, close, OPENS.start()).await;
            let mut office = Self {
                ends: poll.unwrap().closes_at.unwrap(),
                closing: Self::closing(&rig, &log),
                rig,
                log,
            };
            assert_eq!(office.tend(None, 0).await, [FinalityHurdle::Barrier]);
            office
        }

        fn closing(rig: &Rig, log: &Arc<Drawer>) -> Closing {
            Closing::new(
                Arc::clone(log) as Arc<dyn VoteLog>,
                rig.store(),
                Incarnation(0xc105e),
                Lane(0),
                ClosingOptions {
                    settle_ms: SETTLE_MS,
                },
            )
        }

        async fn owner(&self) -> LaneOwner {
            LaneOwner::claim(self.rig.store(), self.rig.clock(), Lane(0), OwnerId(1))
                .await
                .unwrap()
        }

        /// Looks after the polls so long after their end.
        async fn tend(&mut self, fence: Option<&Fence>, after_ms: i64) -> Vec<FinalityHurdle> {
            self.rig.clock.set(self.ends.plus(after_ms));
            self.tend_now(fence).await
        }

        async fn tend_now(&mut self, fence: Option<&Fence>) -> Vec<FinalityHurdle> {
            let hurdles = self.closing.tend(fence, &*self.rig.clock).await;
            hurdles.unwrap().remove(&POLL).unwrap_or_default()
        }

        /// What somebody appended comes off the lane.
        async fn deliver(&mut self, owner: &mut LaneOwner, delivered: Delivery) {
            let mut prepared = owner.prepare(&[delivered]).await.unwrap();
            self.closing.keep_what_counts(&mut prepared.application);
            let applied = self.rig.store.apply(owner.fence(), &prepared.application);
            applied.await.unwrap();
            owner.commit(prepared);
        }

        async fn deliver_barrier(&mut self, owner: &mut LaneOwner, at: usize) {
            let barrier = delivery(&self.log.kept.lock()[at]);
            self.deliver(owner, barrier).await;
        }

        /// A barrier is sent by a wall clock that is an hour ahead, while the poll is open.
        async fn send_too_early(&mut self, owner: &LaneOwner) {
            for after_ms in [HOUR_MS, HOUR_MS + SETTLE_MS] {
                self.tend(Some(owner.fence()), after_ms).await;
            }
            assert_eq!(self.barriers(), 1);
        }

        /// The wall clock is put right, and the consumer sees that the poll is open.
        async fn see_it_open(&mut self, fence: Option<&Fence>) {
            self.rig.clock.step(self.ends.plus(-50_000));
            assert_eq!(self.tend_now(fence).await, []);
        }

        /// The poll ends and settles.
        async fn settle(&mut self, fence: &Fence) -> Vec<FinalityHurdle> {
            self.rig.clock.step(self.ends);
            self.tend_now(Some(fence)).await;
            self.rig.clock.set(self.ends.plus(2 * HOUR_MS));
            self.rig.clock.step(self.ends.plus(SETTLE_MS));
            self.tend_now(Some(fence)).await
        }

        fn barriers(&self) -> usize {
            self.log.kept.lock().len()
        }

        async fn is_final(&self) -> bool {
            self.rig.store.polls().await.unwrap()[0].final_at.is_some()
        }
    }

    #[tokio::test]
    async fn a_barrier_waits_until_nobody_can_be_told_of_success_any_more() {
        let mut office = Office::new().await;
        let owner = office.owner().await;
        office.tend(Some(owner.fence()), SETTLE_MS - 1).await;
        assert_eq!(office.barriers(), 0);
        let hurdles = office.tend(Some(owner.fence()), SETTLE_MS).await;
        assert_eq!(hurdles, [FinalityHurdle::Barrier]);
        let kept = office.log.kept.lock();
        assert_eq!(kept.len(), 1);
        assert_eq!(
            (kept[0].header().kind, kept[0].header().poll),
            (BatchKind::Barrier, POLL)
        );
    }

    #[tokio::test]
    async fn a_wall_clock_that_is_an_hour_ahead_for_a_moment_settles_nothing() {
        let mut office = Office::new().await;
        let before = |office: &Office, ms: i64| office.rig.clock.set(office.ends.plus(-ms));
        before(&office, 60_000);
        office.tend_now(None).await;
        for leap in 0..3 {
            office.rig.clock.step(office.ends.plus(3_600_000));
            let hurdles = office.tend_now(None).await;
            assert_eq!(hurdles, [FinalityHurdle::Barrier], "it looks closed");
            before(&office, 50_000 - leap * SETTLE_MS);
            assert_eq!(office.tend_now(None).await, [], "and is open");
        }
        assert_eq!(office.barriers(), 0);
    }

    #[tokio::test]
    async fn after_a_restart_the_poll_must_have_been_seen_closed_as_long_as_before() {
        const LATER_MS: i64 = 3_600_000;
        let mut office = Office::new().await;
        office.closing = Office::closing(&office.rig, &office.log);
        for (after_ms, barriers) in [(0, 0), (SETTLE_MS - 1, 0), (SETTLE_MS, 1)] {
            office.tend(None, LATER_MS + after_ms).await;
            assert_eq!(office.barriers(), barriers, "after {after_ms} ms");
        }
    }

    #[tokio::test]
    async fn the_result_is_final_when_the_barrier_has_come_off_the_lane() {
        let mut office = Office::new().await;
        let mut owner = office.owner().await;
        office.tend(Some(owner.fence()), SETTLE_MS).await;
        assert!(!office.is_final().await);
        office.deliver_barrier(&mut owner, 0).await;
        assert_eq!(office.tend(Some(owner.fence()), SETTLE_MS + 1).await, []);
        assert!(office.is_final().await);
        assert_eq!(office.barriers(), 1);
    }

    #[tokio::test]
    async fn a_barrier_of_a_clock_that_was_ahead_is_taken_back_when_the_poll_is_open_again() {
        let mut office = Office::new().await;
        let mut owner = office.owner().await;
        let lost = damaged(&batch(1, OPENS, &[vote(1, 1)]), 20);
        office.deliver(&mut owner, lost).await;
        office.send_too_early(&owner).await;
        office.deliver_barrier(&mut owner, 0).await;
        let hurdles = office.tend_now(Some(owner.fence())).await;
        assert_eq!(hurdles, [FinalityHurdle::DeadLetters(1)]);

        office.see_it_open(Some(owner.fence())).await;
        let letter = office.rig.store.dead_letters().await.unwrap().remove(0);
        let given_up = DeadLetterState::WrittenOff("nobody can read it".to_owned());
        let resolved = office.rig.store.resolve_dead_letter(letter.id, given_up);
        resolved.await.unwrap();
        let hurdles = office.settle(owner.fence()).await;
        assert_eq!(hurdles, [FinalityHurdle::Barrier]);
        assert_eq!(office.barriers(), 2, "another is sent at once");
        office.deliver_barrier(&mut owner, 1).await;
        assert_eq!(office.tend_now(Some(owner.fence())).await, []);
        assert!(office.is_final().await);
    }

    #[tokio::test]
    async fn a_barrier_of_a_clock_that_was_ahead_does_not_count_when_it_comes_through_later() {
        let mut office = Office::new().await;
        let mut owner = office.owner().await;
        office.send_too_early(&owner).await;
        office.see_it_open(Some(owner.fence())).await;
        office.settle(owner.fence()).await;
        let hurdle = [FinalityHurdle::Barrier];
        office.deliver_barrier(&mut owner, 0).await;
        assert_eq!(office.tend_now(Some(owner.fence())).await, hurdle);
        office.deliver_barrier(&mut owner, 1).await;
        assert_eq!(office.tend_now(Some(owner.fence())).await, []);
    }

    #[tokio::test]
    async fn a_barrier_frozen_by_a_clock_that_was_ahead_is_followed_by_another() {
        let mut office = Office::new().await;
        let owner = office.owner().await;
        *office.log.refusals.lock() = 1;
        for after_ms in [HOUR_MS, HOUR_MS + SETTLE_MS] {
            office.tend(Some(owner.fence()), after_ms).await;
        }
        office.see_it_open(Some(owner.fence())).await;
        office.settle(owner.fence()).await;
        office.tend_now(Some(owner.fence())).await;
        office.tend_now(Some(owner.fence())).await;
        let kept = office.log.kept.lock();
        let numbers: Vec<_> = kept.iter().map(|barrier| barrier.id().number).collect();
        assert_eq!(numbers, [1, 2]);
    }

    #[tokio::test]
    async fn a_barrier_of_another_consumer_does_not_count() {
        let mut office = Office::new().await;
        let mut owner = office.owner().await;
        office.tend(Some(owner.fence()), SETTLE_MS).await;
        let log = Arc::clone(&office.log) as Arc<dyn VoteLog>;
        let options = office.closing.options;
        office.closing = Closing::new(log, office.rig.store(), Incarnation(7), Lane(0), options);
        office.tend(Some(owner.fence()), SETTLE_MS).await;
        office.deliver_barrier(&mut owner, 0).await;
        let hurdles = office.tend(Some(owner.fence()), 2 * SETTLE_MS).await;
        assert_eq!(hurdles, [FinalityHurdle::Barrier]);
    }

    #[tokio::test]
    async fn a_barrier_that_does_not_come_through_is_sent_again_after_a_while() {
        let mut office = Office::new().await;
        let owner = office.owner().await;
        let again_ms = BARRIER_AGAIN_MS.cast_signed();
        for (after_ms, barriers) in [(0, 1), (again_ms - 1, 1), (again_ms, 2)] {
            office.tend(Some(owner.fence()), SETTLE_MS + after_ms).await;
            assert_eq!(office.barriers(), barriers, "after {after_ms} ms");
        }
        let numbers: Vec<_> = office
            .log
            .kept
            .lock()
            .iter()
            .map(|b| b.id().number)
            .collect();
        assert_eq!(numbers, [1, 2]);
    }

    #[tokio::test]
    async fn a_consumer_that_does_not_own_the_lane_sends_barriers_seldom() {
        let mut office = Office::new().await;
        let again_ms = BARRIER_AGAIN_STANDBY_MS.cast_signed();
        for (after_ms, barriers) in [(0, 1), (again_ms - 1, 1), (again_ms, 2)] {
            office.tend(None, SETTLE_MS + after_ms).await;
            assert_eq!(office.barriers(), barriers, "after {after_ms} ms");
        }
    }

    #[tokio::test]
    async fn a_barrier_that_could_not_be_appended_keeps_its_number_and_its_bytes() {
        let mut office = Office::new().await;
        *office.log.refusals.lock() = 2;
        for after_ms in 0..3 {
            office.tend(None, SETTLE_MS + after_ms).await;
        }
        let refused = office.log.refused.lock();
        let kept = office.log.kept.lock();
        assert_eq!((refused.len(), kept.len()), (2, 1));
        assert!(refused.iter().all(|batch| batch.bytes() == kept[0].bytes()));
    }

    #[tokio::test]
    async fn an_owner_that_was_fenced_out_declares_nothing() {
        let mut office = Office::new().await;
        let fenced = office.owner().await;
        let _heir = office.owner().await;
        office.rig.clock.set(office.ends.plus(SETTLE_MS));
        let clock = &*office.rig.clock;
        let result = office.closing.tend(Some(fenced.fence()), clock).await;
        assert!(matches!(result, Err(ApplyError::Fenced)));
        assert_eq!(office.barriers(), 0);
    }
}
