//! What is known of a batch, and what became of a vote.

use paredao_domain::{BatchId, IncarnationBook, Position};
use rusqlite::Connection;

use super::fault::Work;
use super::{books, dead_letters, ledger};
use crate::{DeadLetterState, Fate, Known};

/// What is known of some batches, of one instant.
pub(super) fn known(connection: &mut Connection, ids: &[BatchId]) -> Work<Vec<(BatchId, Known)>> {
    let transaction = connection.transaction()?;
    let mut found = Vec::new();
    for &id in ids {
        if let Some(known) = known_of(&transaction, id)? {
            found.push((id, known));
        }
    }
    Ok(found)
}

fn known_of(connection: &Connection, id: BatchId) -> Work<Option<Known>> {
    if let Some(checksum) = ledger::checksum_of(connection, id)? {
        return Ok(Some(Known::Applied { checksum }));
    }
    let letter = dead_letters::state_of(connection, id)?;
    Ok(letter.map(|_| Known::DeadLettered))
}

/// What became of one vote, of one instant.
pub(super) fn fate(connection: &mut Connection, batch: BatchId, position: Position) -> Work<Fate> {
    let transaction = connection.transaction()?;
    if let Some(fate) = ledger::fate_of(&transaction, batch, position)? {
        return Ok(fate);
    }
    match dead_letters::state_of(&transaction, batch)? {
        Some(DeadLetterState::Unresolved | DeadLetterState::Requeued) => Ok(Fate::DeadLettered),
        Some(DeadLetterState::WrittenOff(_)) => Ok(Fate::Missing),
        None => missing_or_not_seen(&transaction, batch),
    }
}

fn missing_or_not_seen(connection: &Connection, batch: BatchId) -> Work<Fate> {
    let book = books::of_incarnation(connection, batch.lane, batch.incarnation)?;
    let missing = book
        .iter()
        .flat_map(IncarnationBook::missing)
        .any(|gap| gap.numbers.contains(&batch.number));
    Ok(if missing {
        Fate::Missing
    } else {
        Fate::NotSeen
    })
}
