//! Dead letters: what could not be applied, until somebody decides.

use blake3::{Hash, Hasher};
use bytes::Bytes;
use paredao_domain::{BatchId, Envelope, PollId, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};

use super::fault::{Work, damaged};
use super::ledger;
use crate::{DeadLetter, DeadLetterHead, DeadLetterId, DeadLetterState, NewDeadLetter, StoreError};

const HEAD_COLUMNS: &str =
    "id, at, state, written_off_as, reason, votes, envelope, length(body) AS bytes";

/// A letter whose batch is not in the ledger after all.
const NOT_IN_LEDGER: &str = "NOT EXISTS (
    SELECT 1 FROM ledger WHERE ledger.incarnation = dead_letter.incarnation
        AND ledger.number = dead_letter.number AND ledger.lane = dead_letter.lane)";

/// Keeps letters; of one that is here already only the state may change.
pub(super) fn write(
    connection: &Connection,
    letters: &[NewDeadLetter],
    at: UnixMillis,
) -> Work<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO dead_letter (at, state, reason, votes, poll, incarnation, number, lane,
                                  envelope, hash, body)
         VALUES (?1, 'unresolved', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (hash) DO UPDATE SET state = 'unresolved' WHERE state = 'requeued'",
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
            hash(letter).as_bytes(),
            &letter.body[..],
        ])?;
    }
    Ok(())
}

/// Tells letters apart: equal bytes under the names of two batches are two letters, and the same
/// batch with the same bytes is one, for whatever reason it comes.
fn hash(letter: &NewDeadLetter) -> Hash {
    let mut hasher = Hasher::new();
    match letter.envelope.map(|envelope| envelope.id) {
        None => hasher.update(&[0]),
        Some(id) => hasher
            .update(&[1, id.lane.0])
            .update(&id.incarnation.0.to_le_bytes())
            .update(&id.number.to_le_bytes()),
    };
    hasher.update(&letter.body).finalize()
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

/// All letters, without their bytes: there is no bound to how many a broken disk makes.
pub(super) fn all(connection: &Connection) -> Work<Vec<DeadLetterHead>> {
    let sql = format!("SELECT {HEAD_COLUMNS} FROM dead_letter ORDER BY id");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.push(read_head(row)?);
    }
    Ok(letters)
}

pub(super) fn find(connection: &Connection, id: DeadLetterId) -> Work<DeadLetter> {
    let sql = format!("SELECT {HEAD_COLUMNS}, body FROM dead_letter WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id.0])?;
    match rows.next()? {
        Some(row) => read(row),
        None => Err(StoreError::UnknownDeadLetter(id).into()),
    }
}

/// Resolves a letter that waits. A requeued one may be put back (its batch could not be sent
/// again) or given up, unless its batch has come out of the log after all.
pub(super) fn resolve(
    connection: &mut Connection,
    id: DeadLetterId,
    state: &DeadLetterState,
) -> Work<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let letter = find(&transaction, id)?;
    let has_come = match letter.letter.envelope {
        Some(envelope) => ledger::checksum_of(&transaction, envelope.id)?.is_some(),
        None => false,
    };
    match (&letter.state, state) {
        (DeadLetterState::Unresolved, _) => {}
        (DeadLetterState::Requeued, DeadLetterState::Unresolved) if has_come => return Ok(()),
        (
            DeadLetterState::Requeued,
            DeadLetterState::Unresolved | DeadLetterState::WrittenOff(_),
        ) if !has_come => {}
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
/// sent again, and that before one that was given up.
pub(super) fn state_of(connection: &Connection, batch: BatchId) -> Work<Option<DeadLetterState>> {
    let mut statement = connection.prepare_cached(
        "SELECT state, written_off_as FROM dead_letter
         WHERE incarnation = ?1 AND number = ?2 AND lane = ?3
         ORDER BY CASE state WHEN 'unresolved' THEN 0 WHEN 'requeued' THEN 1 ELSE 2 END",
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

/// Votes in letters, of one poll or of all. Those of a requeued letter are booked in the ledger
/// from the transaction on that applies its batch, and here until then.
pub(super) fn votes(connection: &Connection, poll: Option<PollId>) -> Work<u64> {
    let sql = format!(
        "SELECT coalesce(sum(votes), 0) FROM dead_letter
         WHERE (state <> 'requeued' OR {NOT_IN_LEDGER}) AND (?1 IS NULL OR poll = ?1)"
    );
    let votes: i64 = connection
        .prepare_cached(&sql)?
        .query_row([poll.map(|poll| poll.0)], |row| row.get(0))?;
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

/// Letters that may hold votes of a poll which are in no account of it yet.
pub(super) struct Undecided {
    /// Wait for somebody.
    pub(super) unresolved: u64,
    /// Were sent again and have not come through.
    pub(super) requeued: u64,
}

/// Letters that may hold votes of this poll which are in no account of it yet.
pub(super) fn undecided_of(connection: &Connection, poll: PollId) -> Work<Undecided> {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE state = 'unresolved'),
                count(*) FILTER (WHERE state = 'requeued' AND {NOT_IN_LEDGER})
         FROM dead_letter
         WHERE poll = ?1 OR poll IS NULL OR poll NOT IN (SELECT id FROM poll UNION SELECT 0)"
    );
    let (unresolved, requeued) = connection
        .prepare_cached(&sql)?
        .query_row([poll.0], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })?;
    Ok(Undecided {
        unresolved: unresolved.cast_unsigned(),
        requeued: requeued.cast_unsigned(),
    })
}

fn read(row: &Row<'_>) -> Work<DeadLetter> {
    let head = read_head(row)?;
    Ok(DeadLetter {
        id: head.id,
        letter: NewDeadLetter {
            envelope: head.envelope,
            body: Bytes::from(row.get::<_, Vec<u8>>("body")?),
            reason: head.reason,
            votes: head.votes,
        },
        at: head.at,
        state: head.state,
    })
}

fn read_head(row: &Row<'_>) -> Work<DeadLetterHead> {
    let id = DeadLetterId(row.get("id")?);
    let state: String = row.get("state")?;
    let envelope: Option<String> = row.get("envelope")?;
    let envelope: Option<Envelope> = envelope
        .map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(|_| damaged(format!("dead letter {}: its envelope cannot be read", id.0)))?;
    Ok(DeadLetterHead {
        id,
        envelope,
        reason: row.get("reason")?,
        votes: row.get("votes")?,
        bytes: row.get::<_, i64>("bytes")?.cast_unsigned(),
        at: UnixMillis(row.get("at")?),
        state: state_named(&state, row.get("written_off_as")?)?,
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
