//! A log whose batches come out as a newer release would write them.

use std::sync::Arc;

use async_trait::async_trait;
use paredao_domain::{EncodedBatch, Lane, VERSION};
use paredao_vote_log::{
    AppendError, Delivery, DeliveryTag, EmbeddedLog, LogError, LogStatus, Release, Subscription,
    VoteLog,
};

/// Delivers every batch with another version byte, and a checksum that fits.
pub(crate) struct NewerLog(pub(crate) Arc<EmbeddedLog>);

struct NewerSubscription(Box<dyn Subscription>);

#[async_trait]
impl VoteLog for NewerLog {
    async fn append(&self, batch: &EncodedBatch) -> Result<(), AppendError> {
        self.0.append(batch).await
    }

    async fn subscribe(&self, lane: Lane) -> Result<Box<dyn Subscription>, LogError> {
        let inner = self.0.subscribe(lane).await?;
        Ok(Box::new(NewerSubscription(inner)))
    }

    async fn status(&self, lane: Lane) -> Result<LogStatus, LogError> {
        self.0.status(lane).await
    }
}

#[async_trait]
impl Subscription for NewerSubscription {
    async fn next(&mut self, votes_max: usize) -> Result<Vec<Delivery>, LogError> {
        let mut deliveries = self.0.next(votes_max).await?;
        for delivery in &mut deliveries {
            let mut body = delivery.body.to_vec();
            body.truncate(body.len() - 4);
            body.iter_mut()
                .take(1)
                .for_each(|version| *version = VERSION + 1);
            body.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
            delivery.body = body.into();
        }
        Ok(deliveries)
    }

    async fn ack(&mut self, tags: &[DeliveryTag]) -> Result<(), LogError> {
        self.0.ack(tags).await
    }

    async fn release(&mut self) -> Result<Release, LogError> {
        self.0.release().await
    }
}
