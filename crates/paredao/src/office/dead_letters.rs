//! Dead letters: listed, shown, sent again, given up.

use std::fmt::Write as _;
use std::sync::Arc;

use paredao_domain::{EncodedBatch, PollId, UtcOffset};
use paredao_store::{DeadLetter, DeadLetterHead, DeadLetterId, DeadLetterState, Known};
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
        let mut shown = report(&letter.head(), &self.poll_names().await?);
        shown.body_hex = Some(hex(&letter.letter.body));
        Ok(Reply::DeadLetter(shown))
    }

    /// Marked as requeued before it is sent, so that it waits again if its batch comes out bad
    /// again. Until its batch is in the ledger a marked letter keeps the result from being final
    /// and can be requeued again: so an end of the process between the two steps loses nothing.
    pub(super) async fn requeue_dead_letter(&self, number: i64) -> Result<Reply, Refusal> {
        let id = DeadLetterId(number);
        let letter = self.store.dead_letter(id).await.map_err(refusal)?;
        let batch = sendable(&letter)?;
        let name = batch.id();
        let place = self.place_of(&batch).await?;
        if letter.state != DeadLetterState::Requeued {
            self.resolve(id, DeadLetterState::Requeued).await?;
        }
        if place == Place::Ledger {
            return Ok(Reply::Said(format!(
                "dead letter {number} (batch {name}) is in the ledger already: its votes are booked"
            )));
        }
        if let Err(refused) = self.append(batch).await {
            self.put_back(id).await;
            return Err(refused);
        }
        tracing::info!(event = "dead_letter_requeued", number, batch = %name);
        Ok(Reply::Said(format!(
            "dead letter {number} (batch {name}) went to the log again"
        )))
    }

    /// A letter that cannot be put back now is still marked, and can be requeued again as it is.
    async fn put_back(&self, id: DeadLetterId) {
        let resolved = self.resolve(id, DeadLetterState::Unresolved).await;
        if let Err(error) = resolved {
            tracing::warn!(event = "dead_letter_not_put_back", number = id.0, %error);
        }
    }

    async fn resolve(&self, id: DeadLetterId, state: DeadLetterState) -> Result<(), Refusal> {
        let resolved = self.store.resolve_dead_letter(id, state).await;
        resolved.map_err(refusal)
    }

    /// Where the batch of a letter is. Another batch in its place in the ledger stays there.
    async fn place_of(&self, batch: &EncodedBatch) -> Result<Place, Refusal> {
        let known = self.store.known(&[batch.id()]).await.map_err(refusal)?;
        match known.first() {
            Some((_, Known::Applied { checksum })) if *checksum == batch.checksum() => {
                Ok(Place::Ledger)
            }
            Some((_, Known::Applied { .. })) => Err(Refusal::failed(
                "the ledger holds another batch of the same name: sending this one again cannot \
                 help; write it off",
            )),
            Some((_, Known::DeadLettered)) | None => Ok(Place::Letters),
        }
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
        self.resolve(DeadLetterId(number), state).await?;
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

/// Where the batch of a letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the ledger: its votes are booked.
    Ledger,
    /// Only among the dead letters.
    Letters,
}

/// The batch of a letter, if the log can deliver it and the letter is found again by its name.
fn sendable(letter: &DeadLetter) -> Result<EncodedBatch, Refusal> {
    let cannot_help = |why: &dyn std::fmt::Display| {
        Refusal::failed(format!("{why}: sending it again cannot help; write it off"))
    };
    let batch = EncodedBatch::decode(letter.letter.body.clone())
        .map_err(|error| cannot_help(&format_args!("its bytes are no batch ({error})")))?;
    match letter.letter.envelope {
        Some(envelope) if envelope.id == batch.id() => Ok(batch),
        Some(_) => Err(cannot_help(
            &"the envelope and the batch name different batches",
        )),
        None => Err(cannot_help(&"it came without an envelope")),
    }
}

fn report(letter: &DeadLetterHead, names: &[(PollId, String)]) -> DeadLetterReport {
    let envelope = letter.envelope;
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
        votes: letter.votes,
        reason: letter.reason.clone(),
        state,
        written_off_because,
        bytes: letter.bytes,
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
