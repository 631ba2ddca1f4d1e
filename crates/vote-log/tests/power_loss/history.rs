//! One history of a log on a machine with accidents, and the check that goes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use paredao_domain::{BatchId, EncodedBatch, Envelope, Incarnation, Lane};
use paredao_vote_log::conformance::{StoppedClock, at_once, sample_batch};
use paredao_vote_log::disk::Disk;
use paredao_vote_log::disk::simulated::{ForgettingDisk, Operation, Random};
use paredao_vote_log::{
    Delivery, DeliveryTag, EmbeddedLog, EmbeddedOptions, KnownSegments, SegmentBytes,
    SegmentRegister, Subscription, VoteLog,
};
use parking_lot::Mutex;

use crate::lying_disk::{Lie, LyingDisk};

const STEPS: u64 = 60;

/// What happened, to see that the histories are worth their time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    pub(crate) restarts: u64,
    pub(crate) power_losses: u64,
    pub(crate) segments_gone: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.restarts += other.restarts;
        self.power_losses += other.power_losses;
        self.segments_gone += other.segments_gone;
    }
}

pub(crate) struct History {
    random: Random,
    disk: ForgettingDisk,
    lie: Lie,
    /// What was appended, whatever the answer.
    tried: BTreeMap<BatchId, EncodedBatch>,
    /// What was answered with success and not released since.
    promised: BTreeSet<BatchId>,
    /// Refused last, to be tried again.
    refused: Option<EncodedBatch>,
    next_number: u64,
    /// The newest segment that the log has named, as a store would keep it.
    register: Arc<Register>,
    tally: Tally,
}

/// Whether the machine is still up after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    GoOn,
    ProcessDies,
    PowerGoes,
}

/// Keeps what is known of the segments on a disk of its own, which forgets nothing.
#[derive(Default)]
struct Register(Mutex<KnownSegments>);

#[async_trait]
impl SegmentRegister for Register {
    fn known(&self) -> KnownSegments {
        *self.0.lock()
    }

    async fn note_released(&self, up_to: u64) -> io::Result<()> {
        let mut known = self.0.lock();
        known.released = known.released.max(up_to);
        Ok(())
    }
}

impl History {
    pub(crate) fn new(seed: u64, lie: Lie) -> Self {
        let mut random = Random::new(seed);
        Self {
            disk: ForgettingDisk::new(random.draw()),
            random,
            lie,
            tried: BTreeMap::new(),
            promised: BTreeSet::new(),
            refused: None,
            next_number: 1,
            register: Arc::default(),
            tally: Tally::default(),
        }
    }

    /// Runs it to the end; the error says what was lost or made up.
    pub(crate) fn run(mut self) -> Result<Tally, String> {
        let mut log = self.open();
        for _ in 0..STEPS {
            match self.step(&log)? {
                After::GoOn => continue,
                After::ProcessDies => drop(log),
                After::PowerGoes => {
                    drop(log);
                    self.lose_power();
                }
            }
            log = self.restart()?;
        }
        drop(log);
        self.lose_power();
        self.restart()?;
        Ok(self.tally)
    }

    fn lose_power(&mut self) {
        self.disk.lose_power();
        self.tally.power_losses += 1;
    }

    /// Starts the log, on a machine that may lose power meanwhile, and checks what it holds.
    fn restart(&mut self) -> Result<EmbeddedLog, String> {
        self.tally.restarts += 1;
        self.disk.set_capacity(None);
        if self.random.percent(20) {
            self.disk.cut_power_after(self.random.below(6));
        }
        let log = self.open();
        self.check(&log)?;
        self.check_segments(&log)?;
        Ok(log)
    }

    /// No segment is ever missed that was not lost, and the newest number never goes back.
    fn check_segments(&mut self, log: &EmbeddedLog) -> Result<(), String> {
        let lost = &log.found().lost;
        if !lost.is_empty() {
            return Err(format!("segments {lost:?} are said to be lost"));
        }
        self.note_newest_segment(log);
        Ok(())
    }

    fn note_newest_segment(&mut self, log: &EmbeddedLog) {
        if let Some(newest) = log.newest_segment() {
            let mut known = self.register.0.lock();
            known.newest = known.newest.max(newest);
        }
    }

    fn open(&mut self) -> EmbeddedLog {
        let options = EmbeddedOptions {
            segment_bytes: SegmentBytes::new(SegmentBytes::MIN).unwrap_or_default(),
            ..EmbeddedOptions::default()
        };
        loop {
            let disk = Arc::new(LyingDisk(self.disk.clone(), self.lie));
            let register = Arc::clone(&self.register) as Arc<dyn SegmentRegister>;
            match EmbeddedLog::open_registered(disk, Arc::new(StoppedClock), options, register) {
                Ok(log) if self.disk.list().is_ok() => return log,
                // An injected fault is used up at the next attempt.
                _ => self.lose_power(),
            }
        }
    }

    fn step(&mut self, log: &EmbeddedLog) -> Result<After, String> {
        match self.random.below(100) {
            0..70 => self.append(log),
            70..80 => return self.consume(log),
            80..84 => {
                self.disk.cut_power_after(self.random.below(20));
            }
            84..90 => self.inject_a_fault(),
            90..92 => {
                let room = self.random.below(20_000);
                self.disk.set_capacity(Some(room));
            }
            92..94 => self.disk.set_capacity(None),
            94..96 => return Ok(After::PowerGoes),
            96..98 => return Ok(After::ProcessDies),
            _ => {
                log.close();
                return Ok(After::ProcessDies);
            }
        }
        Ok(self.after())
    }

    fn after(&self) -> After {
        match self.disk.list() {
            Ok(_) => After::GoOn,
            Err(_) => After::PowerGoes,
        }
    }

    fn inject_a_fault(&mut self) {
        let operations = [
            Operation::Create,
            Operation::Write,
            Operation::Sync,
            Operation::Sync,
            Operation::Sync,
            Operation::Truncate,
            Operation::SyncDir,
            Operation::Remove,
        ];
        let at = usize::try_from(self.random.below(operations.len() as u64)).unwrap_or(0);
        let times = if self.random.percent(80) { 1 } else { 3 };
        if let Some(&operation) = operations.get(at) {
            self.disk.fail_next(operation, times);
        }
    }

    fn append(&mut self, log: &EmbeddedLog) {
        let again = self.refused.take().filter(|_| self.random.percent(70));
        let batch = again.unwrap_or_else(|| self.new_batch());
        self.tried.insert(batch.id(), batch.clone());
        if let Some(Ok(())) = at_once(log.append(&batch)) {
            self.promised.insert(batch.id());
            self.tally.answered += 1;
        } else {
            self.refused = Some(batch);
            self.tally.refused += 1;
        }
        self.note_newest_segment(log);
    }

    fn new_batch(&mut self) -> EncodedBatch {
        let votes = match self.random.below(10) {
            0 => 0,
            1 => 200 + self.random.below(200),
            _ => 1 + self.random.below(40),
        };
        self.next_number += 1;
        let votes = u16::try_from(votes).unwrap_or(0);
        sample_batch(Incarnation(1), self.next_number, votes)
    }

    /// Takes some, acknowledges some of them, and releases what it acknowledged.
    fn consume(&mut self, log: &EmbeddedLog) -> Result<After, String> {
        let Some(Ok(mut subscription)) = at_once(log.subscribe(Lane(0))) else {
            return Err("the lane cannot be taken".to_owned());
        };
        let kept = self.random.below(15);
        let (mut acked, mut tags) = (BTreeSet::new(), Vec::new());
        for delivery in take_all(&mut *subscription, 50) {
            if self.random.below(100) >= kept {
                tags.push(delivery.tag);
                acked.extend(delivery.envelope.map(|envelope| envelope.id));
            }
        }
        acknowledge(&mut *subscription, &tags);
        // From here on segments may go, whether the release is answered or not.
        self.promised.retain(|id| !acked.contains(id));
        let before = self.disk.list().map_or(0, |names| names.len());
        let _answer = at_once(subscription.release());
        let after = self.disk.list().map_or(before, |names| names.len());
        self.tally.segments_gone += before.saturating_sub(after) as u64;
        Ok(self.after())
    }

    /// Everything promised is delivered whole; nothing is delivered that was never appended.
    fn check(&self, log: &EmbeddedLog) -> Result<(), String> {
        let Some(Ok(mut subscription)) = at_once(log.subscribe(Lane(0))) else {
            return Err("the lane cannot be taken".to_owned());
        };
        let mut missing = self.promised.clone();
        let deliveries = take_all(&mut *subscription, 1_000);
        for delivery in &deliveries {
            let id = self.check_whole(delivery)?;
            missing.remove(&id);
        }
        let status = at_once(log.status(Lane(0))).and_then(Result::ok);
        if status.map(|status| status.batches) != Some(deliveries.len() as u64) {
            return Err("the status counts something else than what is delivered".to_owned());
        }
        match missing.first() {
            Some(id) => Err(format!("{id} was answered with success and is lost")),
            None => Ok(()),
        }
    }

    fn check_whole(&self, delivery: &Delivery) -> Result<BatchId, String> {
        let whole = delivery.envelope.and_then(|envelope| {
            let batch = self.tried.get(&envelope.id)?;
            let same = envelope == Envelope::from(batch) && delivery.body == batch.bytes();
            same.then_some(envelope.id)
        });
        whole.ok_or_else(|| format!("{delivery:?} is nothing that was appended"))
    }
}

fn acknowledge(subscription: &mut dyn Subscription, tags: &[DeliveryTag]) {
    let (first, second) = tags.split_at(tags.len() / 2);
    for tags in [second, first] {
        let _answer = at_once(subscription.ack(tags));
    }
}

fn take_all(subscription: &mut dyn Subscription, votes_max: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while let Some(Ok(deliveries)) = at_once(subscription.next(votes_max)) {
        taken.extend(deliveries);
    }
    taken
}
