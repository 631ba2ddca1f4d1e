//! One consumer's hold on the lane: reads the segments back up to their durable end.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use paredao_telemetry::failpoint;
use tokio::sync::watch;

use super::Shared;
use super::index::{Epoch, Run};
use super::place::{Place, Sequence};
use super::reader::{Found, Item, SegmentReader};
use super::segment::Stretch;
use crate::{Delivery, DeliveryTag, LogError, Release, Subscription};

pub(super) struct EmbeddedSubscription {
    shared: Arc<Shared>,
    epoch: Epoch,
    changes: watch::Receiver<()>,
    /// Everything before was delivered by this subscription or acknowledged before it.
    cursor: Place,
    reader: Option<SegmentReader>,
    unacknowledged: BTreeMap<DeliveryTag, (Sequence, Stretch)>,
}

impl EmbeddedSubscription {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, LogError> {
        let changes = shared.changes.subscribe();
        let epoch = shared.index.lock().subscribe()?;
        shared.wake();
        Ok(Self {
            shared,
            epoch,
            changes,
            cursor: Place::default(),
            reader: None,
            unacknowledged: BTreeMap::new(),
        })
    }

    /// Takes what is there now.
    fn take(&mut self, votes_max: usize) -> Result<Vec<Delivery>, LogError> {
        let mut taken = Vec::new();
        let mut votes_left = votes_max;
        while let Some(run) = self.next_run()? {
            match self.take_run(run, &mut taken, &mut votes_left) {
                Ok(Taken::All) => {}
                Ok(Taken::Enough) => break,
                // What was taken is delivered first; the error comes again with the next call.
                Err(_) if !taken.is_empty() => break,
                Err(source) => {
                    let name = run.sequence.file_name();
                    return Err(LogError::Io {
                        context: format!("cannot read {}", self.shared.disk.path_of(&name)),
                        source,
                    });
                }
            }
        }
        Ok(taken)
    }

    fn next_run(&self) -> Result<Option<Run>, LogError> {
        let index = self.shared.index.lock();
        index.check_held(self.epoch)?;
        Ok(index.next_run(self.cursor))
    }

    fn take_run(
        &mut self,
        run: Run,
        taken: &mut Vec<Delivery>,
        votes_left: &mut usize,
    ) -> io::Result<Taken> {
        let mut at = run.start;
        while let Some(item) = self.reader(run.sequence)?.item(at, run.end)? {
            // Everything weighs something, so that a call ends also with markers and damage.
            let weight = item.found.envelope().map_or(1, |e| e.votes.max(1)) as usize;
            if weight > *votes_left && !taken.is_empty() {
                return Ok(Taken::Enough);
            }
            *votes_left = votes_left.saturating_sub(weight);
            at = item.end;
            taken.push(self.deliver(run.sequence, item));
        }
        Ok(Taken::All)
    }

    fn reader(&mut self, sequence: Sequence) -> io::Result<&mut SegmentReader> {
        let reader = match self.reader.take() {
            Some(reader) if reader.sequence() == sequence => reader,
            _ => SegmentReader::open(&*self.shared.disk, sequence)?,
        };
        Ok(self.reader.insert(reader))
    }

    fn deliver(&mut self, sequence: Sequence, item: Item) -> Delivery {
        let envelope = item.found.envelope();
        let stretch = Stretch::new(item.start, item.end, envelope.as_ref());
        let tag = tag(sequence, item.start);
        self.cursor = Place {
            sequence,
            offset: item.end,
        };
        self.unacknowledged.insert(tag, (sequence, stretch));
        Delivery {
            tag,
            envelope,
            body: self.body(sequence, item),
        }
    }

    /// The body; counts it and names it in the logs if it is damaged.
    fn body(&self, sequence: Sequence, item: Item) -> Bytes {
        let (batch, body) = match item.found {
            Found::Batch(_, body) => return body,
            Found::DamagedBody(envelope, body) => (Some(envelope.id.to_string()), body),
            Found::Unreadable(body) => (None, body),
        };
        self.shared.index.lock().note_damage(sequence, item.start);
        tracing::warn!(
            event = "vote_log_damaged",
            segment = %self.shared.disk.path_of(&sequence.file_name()),
            from = item.start,
            to = item.end,
            batch,
        );
        body
    }

    /// Before they are removed: whoever keeps it would miss them otherwise.
    async fn note_released(&self, up_to: Sequence) -> io::Result<()> {
        match &self.shared.register {
            Some(register) => register.note_released(up_to.get()).await,
            None => Ok(()),
        }
    }

    fn remove(&self, sequence: Sequence) -> io::Result<()> {
        failpoint::hit("log.segment.before_delete")?;
        match self.shared.disk.remove(&sequence.file_name()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.shared.index.lock().forget(sequence);
        failpoint::hit("log.segment.after_delete")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    All,
    Enough,
}

/// Unique while the log is open: a segment's number is never used twice.
fn tag(sequence: Sequence, offset: u32) -> DeliveryTag {
    DeliveryTag(u64::from(sequence.0) << 32 | u64::from(offset))
}

#[async_trait]
impl Subscription for EmbeddedSubscription {
    async fn next(&mut self, votes_max: usize) -> Result<Vec<Delivery>, LogError> {
        loop {
            self.changes.borrow_and_update();
            let taken = self.take(votes_max)?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            if self.changes.changed().await.is_err() {
                return Err(LogError::Closed);
            }
        }
    }

    async fn ack(&mut self, tags: &[DeliveryTag]) -> Result<(), LogError> {
        let mut index = self.shared.index.lock();
        index.check_held(self.epoch)?;
        for tag in tags {
            if let Some((sequence, stretch)) = self.unacknowledged.remove(tag) {
                index.acknowledge(sequence, &stretch);
            }
        }
        Ok(())
    }

    async fn release(&mut self) -> Result<Release, LogError> {
        let done = {
            let index = self.shared.index.lock();
            index.check_held(self.epoch)?;
            index.done()
        };
        let failed = |sequence: Sequence, source| LogError::Io {
            context: format!(
                "cannot remove {}",
                self.shared.disk.path_of(&sequence.file_name())
            ),
            source,
        };
        let Some(&last) = done.last() else {
            return Ok(Release::Done);
        };
        if let Err(error) = self.note_released(last).await {
            tracing::warn!(event = "vote_log_release_not_noted", up_to = last.get(), %error);
            return Ok(Release::Later);
        }
        for &sequence in &done {
            self.remove(sequence)
                .map_err(|source| failed(sequence, source))?;
        }
        let synced = self.shared.disk.sync_dir();
        synced.map_err(|source| failed(last, source))?;
        Ok(Release::Done)
    }
}

impl Drop for EmbeddedSubscription {
    fn drop(&mut self) {
        self.shared.index.lock().unsubscribe(self.epoch);
    }
}
