//! Dead letters: what could not be applied, until somebody decides.

use bytes::Bytes;
use paredao_domain::{BatchId, PollId, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};

use super::fault::{Work, damaged};
use super::ledger;
use crate::{DeadLetter, DeadLetterId, DeadLetterState, NewDeadLetter, StoreError};

const COLUMNS: &str = "id, at, state, written_off_as, reason, votes, envelope, body";

/// Keeps letters; of a body that is here already only the state may change.
pub(super) fn write(
    connection: &Connection,
    letters: &[NewDeadLetter],
    at: UnixMillis,
) -> Work<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO dead_letter (at, state, reason, votes, poll, incarnation, number, lane,
                                  envelope, body_hash, body)
         VALUES (?1, 'unresolved', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (body_hash) DO UPDATE SET state = 'unresolved' WHERE state = 'requeued'",
    )?;
    for letter in letters {
        let envelope = letter.envelope.as_ref();
        let id = envelope.map(|envelope| envelope.id);
        let json = envelope
            .map(serde_json::to_string)
            .transpose()
            .map_err(|error| damaged(format!("an envelope cannot be written: {error}")))?;
        statement.execute(rusqlite::params![
            at.0,
            letter.reason,
            letter.votes,
            envelope.map(|envelope| envelope.poll.0),
            id.map(|id| id.incarnation.0.cast_signed()),
            id.map(|id| id.number.cast_signed()),
            id.map(|id| id.lane.0),
            json,
            blake3::hash(&letter.body).as_bytes(),
            &letter.body[..],
        ])?;
    }
    Ok(())
}

/// Letters of batches that came whole after all: their votes are booked there now.
pub(super) fn recover(connection: &Connection, batches: &[BatchId]) -> Work<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE dead_letter SET state = 'requeued', written_off_as = NULL
         WHERE incarnation = ?1 AND number = ?2 AND lane = ?3",
    )?;
    for batch in batches {
        let (incarnation, number) = (batch.incarnation.0, batch.number);
        statement.execute((
            incarnation.cast_signed(),
            number.cast_signed(),
            batch.lane.0,
        ))?;
    }
    Ok(())
}

pub(super) fn all(connection: &Connection) -> Work<Vec<DeadLetter>> {
    let sql = format!("SELECT {COLUMNS} FROM dead_letter ORDER BY id");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.push(read(row)?);
    }
    Ok(letters)
}

pub(super) fn find(connection: &Connection, id: DeadLetterId) -> Work<DeadLetter> {
    let sql = format!("SELECT {COLUMNS} FROM dead_letter WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id.0])?;
    match rows.next()? {
        Some(row) => read(row),
        None => Err(StoreError::UnknownDeadLetter(id).into()),
    }
}

/// Resolves a letter that waits. A requeued one may be put back (its batch could not be sent
/// again), unless its batch has come out of the log after all.
pub(super) fn resolve(
    connection: &mut Connection,
    id: DeadLetterId,
    state: &DeadLetterState,
) -> Work<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let letter = find(&transaction, id)?;
    match (&letter.state, state) {
        (DeadLetterState::Unresolved, _) => {}
        (DeadLetterState::Requeued, DeadLetterState::Unresolved) => {
            let batch = letter.letter.envelope.map(|envelope| envelope.id);
            if let Some(batch) = batch
                && ledger::checksum_of(&transaction, batch)?.is_some()
            {
                return Ok(());
            }
        }
        (DeadLetterState::Requeued | DeadLetterState::WrittenOff(_), _) => {
            return Err(StoreError::UnknownDeadLetter(id).into());
        }
    }
    let (name, reason) = columns(state);
    let sql = "UPDATE dead_letter SET state = ?2, written_off_as = ?3 WHERE id = ?1";
    transaction.execute(sql, (id.0, name, reason))?;
    transaction.commit()?;
    Ok(())
}

/// What became of the batch whose letter is here; a letter that waits goes before one that was
/// given up, and that before one that was sent again.
pub(super) fn state_of(connection: &Connection, batch: BatchId) -> Work<Option<DeadLetterState>> {
    let mut statement = connection.prepare_cached(
        "SELECT state, written_off_as FROM dead_letter
         WHERE incarnation = ?1 AND number = ?2 AND lane = ?3
         ORDER BY CASE state WHEN 'unresolved' THEN 0 WHEN 'written_off' THEN 1 ELSE 2 END",
    )?;
    let key = (
        batch.incarnation.0.cast_signed(),
        batch.number.cast_signed(),
        batch.lane.0,
    );
    let found: Option<(String, Option<String>)> = statement
        .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found
        .map(|(name, reason)| state_named(&name, reason))
        .transpose()
}

/// Votes in letters that were not sent again, of one poll or of all.
pub(super) fn votes(connection: &Connection, poll: Option<PollId>) -> Work<u64> {
    let mut statement = connection.prepare_cached(
        "SELECT coalesce(sum(votes), 0) FROM dead_letter
         WHERE state <> 'requeued' AND (?1 IS NULL OR poll = ?1)",
    )?;
    let votes: i64 = statement.query_row([poll.map(|poll| poll.0)], |row| row.get(0))?;
    Ok(votes.cast_unsigned())
}

/// Letters that wait for somebody.
pub(super) fn unresolved(connection: &Connection) -> Work<u64> {
    let sql = "SELECT count(*) FROM dead_letter WHERE state = 'unresolved'";
    let letters: i64 = connection
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))?;
    Ok(letters.cast_unsigned())
}

/// Letters that wait for somebody and may hold votes of this poll.
pub(super) fn unresolved_of(connection: &Connection, poll: PollId) -> Work<u64> {
    let sql = "SELECT count(*) FROM dead_letter
               WHERE state = 'unresolved' AND (
                   poll = ?1 OR poll IS NULL OR poll NOT IN (SELECT id FROM poll UNION SELECT 0))";
    let letters: i64 = connection
        .prepare_cached(sql)?
        .query_row([poll.0], |row| row.get(0))?;
    Ok(letters.cast_unsigned())
}

fn read(row: &Row<'_>) -> Work<DeadLetter> {
    let id = DeadLetterId(row.get(0)?);
    let state: String = row.get(2)?;
    let envelope: Option<String> = row.get(6)?;
    let envelope = envelope
        .map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(|_| damaged(format!("dead letter {}: its envelope cannot be read", id.0)))?;
    Ok(DeadLetter {
        id,
        letter: NewDeadLetter {
            envelope,
            body: Bytes::from(row.get::<_, Vec<u8>>(7)?),
            reason: row.get(4)?,
            votes: row.get(5)?,
        },
        at: UnixMillis(row.get(1)?),
        state: state_named(&state, row.get(3)?)?,
    })
}

fn columns(state: &DeadLetterState) -> (&'static str, Option<&str>) {
    match state {
        DeadLetterState::Unresolved => ("unresolved", None),
        DeadLetterState::Requeued => ("requeued", None),
        DeadLetterState::WrittenOff(reason) => ("written_off", Some(reason)),
    }
}

fn state_named(name: &str, reason: Option<String>) -> Work<DeadLetterState> {
    match name {
        "unresolved" => Ok(DeadLetterState::Unresolved),
        "requeued" => Ok(DeadLetterState::Requeued),
        "written_off" => Ok(DeadLetterState::WrittenOff(reason.unwrap_or_default())),
        _ => Err(damaged(format!("a dead letter in a state called {name:?}")).into()),
    }
}
