//! What was confirmed to voters and is lost: listed, given up.

use paredao_domain::{BatchId, BatchNumber, Incarnation, UtcOffset};
use paredao_store::{Loss, LossName, Lost};

use super::{LANE, Office, refusal};
use crate::control::protocol::{LossReport, Refusal, Reply};

impl Office {
    pub(super) async fn losses(&self) -> Result<Reply, Refusal> {
        let losses = self.store.losses().await.map_err(refusal)?;
        Ok(Reply::Losses(losses.iter().map(report).collect()))
    }

    pub(super) async fn write_off_batches(
        &self,
        incarnation: Incarnation,
        number: BatchNumber,
        reason: &str,
    ) -> Result<Reply, Refusal> {
        let id = BatchId {
            incarnation,
            lane: LANE,
            number,
        };
        self.write_off_loss(LossName::Batch(id), reason).await
    }

    pub(super) async fn write_off_segments(
        &self,
        number: u64,
        reason: &str,
    ) -> Result<Reply, Refusal> {
        self.write_off_loss(LossName::Segment(number), reason).await
    }

    async fn write_off_loss(&self, name: LossName, reason: &str) -> Result<Reply, Refusal> {
        if reason.trim().is_empty() {
            return Err(Refusal::misuse(
                "reason: say why, for those who read the books later",
            ));
        }
        let now = self.clock.now();
        let written_off = self.store.write_off_loss(name, reason, now).await;
        let loss = report(&written_off.map_err(refusal)?);
        tracing::warn!(
            event = "loss_written_off",
            first = loss.first,
            last = loss.last,
            incarnation = loss.incarnation,
            votes = loss.votes,
            reason,
        );
        let what = loss.incarnation.as_ref().map_or("segments", |_| "batches");
        let votes = loss.votes.map(|votes| format!(" ({votes} votes)"));
        Ok(Reply::Said(format!(
            "{what} {} to {}{} are written off: results can become final without them",
            loss.first,
            loss.last,
            votes.unwrap_or_default(),
        )))
    }
}

fn report(loss: &Loss) -> LossReport {
    let written_off_because = loss.written_off_because.clone();
    match &loss.what {
        Lost::Batches {
            incarnation,
            numbers,
            votes,
            minutes,
            ..
        } => LossReport {
            incarnation: Some(incarnation.to_string()),
            first: *numbers.start(),
            last: *numbers.end(),
            votes: Some(*votes),
            accepted_from: Some(minutes.start().start().rfc3339(UtcOffset::BRASILIA)),
            accepted_until: minutes.end().at(59_999).rfc3339(UtcOffset::BRASILIA),
            written_off_because,
        },
        Lost::Segments {
            numbers,
            noticed_at,
        } => LossReport {
            incarnation: None,
            first: *numbers.start(),
            last: *numbers.end(),
            votes: None,
            accepted_from: None,
            accepted_until: noticed_at.rfc3339(UtcOffset::BRASILIA),
            written_off_because,
        },
    }
}
