//! Dead letters: listed, shown, sent again, given up.

use std::fmt::Write as _;
use std::sync::Arc;

use paredao_domain::{EncodedBatch, PollId, UtcOffset};
use paredao_store::{DeadLetter, DeadLetterId, DeadLetterState};
use tokio::runtime::Handle;

use super::{Office, refusal};
use crate::control::protocol::{DeadLetterReport, DeadLetterWord, Refusal, Reply};

impl Office {
    pub(super) async fn dead_letters(&self) -> Result<Reply, Refusal> {
        let letters = self.store.dead_letters().await.map_err(refusal)?;
        let names = self.poll_names().await?;
        let reports = letters.iter().map(|letter| report(letter, &names));
        Ok(Reply::DeadLetters(reports.collect()))
    }

    pub(super) async fn dead_letter(&self, number: i64) -> Result<Reply, Refusal> {
        let letter = self
            .store
            .dead_letter(DeadLetterId(number))
            .await
            .map_err(refusal)?;
        let mut shown = report(&letter, &self.poll_names().await?);
        shown.body_hex = Some(hex(&letter.letter.body));
        Ok(Reply::DeadLetter(shown))
    }

    /// Resolved first, so that the batch may be applied when it comes off the log; a letter whose
    /// append failed stays requeued, and requeuing it again appends it again.
    pub(super) async fn requeue_dead_letter(&self, number: i64) -> Result<Reply, Refusal> {
        let id = DeadLetterId(number);
        let letter = self.store.dead_letter(id).await.map_err(refusal)?;
        let batch = EncodedBatch::decode(letter.letter.body.clone()).map_err(|error| {
            Refusal::failed(format!(
                "its bytes are no batch ({error}): sending them again cannot help; write it off"
            ))
        })?;
        match letter.state {
            DeadLetterState::Requeued => {}
            DeadLetterState::Unresolved | DeadLetterState::WrittenOff(_) => {
                let resolved = self
                    .store
                    .resolve_dead_letter(id, DeadLetterState::Requeued)
                    .await;
                resolved.map_err(refusal)?;
            }
        }
        let name = batch.id();
        self.append(batch).await?;
        tracing::info!(event = "dead_letter_requeued", number, batch = %name);
        Ok(Reply::Said(format!(
            "dead letter {number} (batch {name}) went to the log again"
        )))
    }

    /// The log may write and sync on the calling thread, which must not be one that serves.
    async fn append(&self, batch: EncodedBatch) -> Result<(), Refusal> {
        let (log, runtime) = (Arc::clone(&self.log), Handle::current());
        let append = move || runtime.block_on(log.append(&batch));
        match tokio::task::spawn_blocking(append).await {
            Ok(appended) => {
                appended.map_err(|error| Refusal::failed(format!("{error}; requeue it again")))
            }
            Err(error) => Err(Refusal::failed(error)),
        }
    }

    pub(super) async fn write_off_dead_letter(
        &self,
        number: i64,
        reason: String,
    ) -> Result<Reply, Refusal> {
        if reason.trim().is_empty() {
            return Err(Refusal::misuse(
                "reason: say why, for those who read the books later",
            ));
        }
        let state = DeadLetterState::WrittenOff(reason.clone());
        self.store
            .resolve_dead_letter(DeadLetterId(number), state)
            .await
            .map_err(refusal)?;
        tracing::warn!(event = "dead_letter_written_off", number, reason);
        Ok(Reply::Said(format!(
            "dead letter {number} is written off: its votes will not be counted"
        )))
    }

    async fn poll_names(&self) -> Result<Vec<(PollId, String)>, Refusal> {
        let polls = self.store.polls().await.map_err(refusal)?;
        Ok(polls
            .into_iter()
            .map(|poll| (poll.id, poll.slug.to_string()))
            .collect())
    }
}

fn report(letter: &DeadLetter, names: &[(PollId, String)]) -> DeadLetterReport {
    let envelope = letter.letter.envelope;
    let name = |id: PollId| {
        let known = names.iter().find(|(known, _)| *known == id);
        known.map_or_else(
            || format!("number {id}, which does not exist"),
            |(_, slug)| slug.clone(),
        )
    };
    let (state, written_off_because) = match &letter.state {
        DeadLetterState::Unresolved => (DeadLetterWord::Unresolved, None),
        DeadLetterState::Requeued => (DeadLetterWord::Requeued, None),
        DeadLetterState::WrittenOff(reason) => (DeadLetterWord::WrittenOff, Some(reason.clone())),
    };
    DeadLetterReport {
        number: letter.id.0,
        at: letter.at.rfc3339(UtcOffset::BRASILIA),
        batch: envelope.map(|envelope| envelope.id.to_string()),
        poll: envelope.map(|envelope| name(envelope.poll)),
        votes: letter.letter.votes,
        reason: letter.letter.reason.clone(),
        state,
        written_off_because,
        bytes: letter.letter.body.len(),
        body_hex: None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
