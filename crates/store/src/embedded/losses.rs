//! What was confirmed and is lost, batches and files of the vote log, and what of it was given up.

use std::ops::RangeInclusive;

use paredao_domain::{BatchNumber, Gap, IncarnationBook, Minute, Poll, UnixMillis, VotingHours};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::books;
use super::fault::Work;
use crate::{Loss, LossName, Lost, StoreError};

/// Where the highest number of a file of the vote log stands in `meta`.
const LOG_SEGMENT: &str = "log_segment";

/// Everything that is lost, what was given up included.
pub(super) fn all(connection: &Connection) -> Work<Vec<Loss>> {
    let mut losses = batches(connection)?;
    losses.extend(segments(connection)?);
    Ok(losses)
}

fn batches(connection: &Connection) -> Work<Vec<Loss>> {
    let mut losses = Vec::new();
    for book in books::with_missing(connection)? {
        for gap in book.missing() {
            losses.push(Loss {
                written_off_because: reason_of(connection, &book, &gap.numbers)?,
                what: batches_of(&book, gap),
            });
        }
    }
    Ok(losses)
}

fn batches_of(book: &IncarnationBook, gap: Gap) -> Lost {
    Lost::Batches {
        incarnation: book.incarnation(),
        lane: book.lane(),
        numbers: gap.numbers,
        votes: gap.votes,
        minutes: gap.minutes,
    }
}

/// Why a gap was given up. Batches that come after all make it smaller, so it may have been part
/// of a larger one then.
fn reason_of(
    connection: &Connection,
    book: &IncarnationBook,
    numbers: &RangeInclusive<BatchNumber>,
) -> Work<Option<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT reason FROM written_off_batches
         WHERE lane = ?1 AND incarnation = ?2 AND first <= ?3 AND last >= ?4",
    )?;
    let key = (
        book.lane().0,
        book.incarnation().0.cast_signed(),
        numbers.start().cast_signed(),
        numbers.end().cast_signed(),
    );
    Ok(statement.query_row(key, |row| row.get(0)).optional()?)
}

fn segments(connection: &Connection) -> Work<Vec<Loss>> {
    let mut statement = connection.prepare_cached(
        "SELECT first, last, noticed_at, written_off_as FROM lost_segments ORDER BY first",
    )?;
    let rows = statement.query_map([], |row| {
        let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        Ok(Loss {
            what: Lost::Segments {
                numbers: number(0)?..=number(1)?,
                noticed_at: UnixMillis(row.get(2)?),
            },
            written_off_because: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Gives up the loss that `name` is part of.
pub(super) fn write_off(
    connection: &mut Connection,
    name: LossName,
    reason: &str,
    now: UnixMillis,
) -> Work<Loss> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut loss = all(&transaction)?
        .into_iter()
        .find(|loss| loss.written_off_because.is_none() && loss.includes(name))
        .ok_or(StoreError::UnknownLoss(name))?;
    write_decision(&transaction, &loss.what, reason, now)?;
    transaction.commit()?;
    loss.written_off_because = Some(reason.to_owned());
    Ok(loss)
}

fn write_decision(connection: &Connection, lost: &Lost, reason: &str, now: UnixMillis) -> Work<()> {
    match lost {
        Lost::Batches {
            incarnation,
            lane,
            numbers,
            ..
        } => connection.execute(
            "INSERT INTO written_off_batches (lane, incarnation, first, last, at, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                lane.0,
                incarnation.0.cast_signed(),
                numbers.start().cast_signed(),
                numbers.end().cast_signed(),
                now.0,
                reason,
            ),
        )?,
        Lost::Segments { numbers, .. } => connection.execute(
            "UPDATE lost_segments SET written_off_as = ?2 WHERE first = ?1",
            (numbers.start().cast_signed(), reason),
        )?,
    };
    Ok(())
}

/// Votes that are missing, may have been accepted while the poll was open, and were not given up.
pub(super) fn votes_missing_of(connection: &Connection, poll: &Poll) -> Work<u64> {
    let hours = poll.hours();
    let votes = |loss: &Loss| match &loss.what {
        Lost::Batches { votes, minutes, .. } if overlaps(minutes, hours) => *votes,
        Lost::Batches { .. } | Lost::Segments { .. } => 0,
    };
    let losses = batches(connection)?;
    let undecided = losses
        .iter()
        .filter(|loss| loss.written_off_because.is_none());
    Ok(undecided.map(votes).fold(0, u64::saturating_add))
}

fn overlaps(minutes: &RangeInclusive<Minute>, hours: VotingHours) -> bool {
    let end = Minute(minutes.end().0.saturating_add(1)).start();
    hours.opens_at.is_none_or(|opens| opens < end)
        && hours
            .closes_at
            .is_none_or(|closes| minutes.start().start() < closes)
}

/// Files that are lost, may have held votes of the poll, and were not given up: whatever they held
/// was accepted before they were missed.
pub(super) fn segments_lost_of(connection: &Connection, poll: &Poll) -> Work<u64> {
    let sql = "SELECT coalesce(sum(last - first + 1), 0) FROM lost_segments
               WHERE written_off_as IS NULL AND noticed_at > ?1";
    let segments: i64 = connection
        .prepare_cached(sql)?
        .query_row([poll.opens_at.map(|opens| opens.0)], |row| row.get(0))?;
    Ok(segments.cast_unsigned())
}

/// The highest number of a file of the vote log that was ever noted.
pub(super) fn log_segment(connection: &Connection) -> Work<Option<u64>> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let number: Option<[u8; 8]> = connection
        .query_row(sql, [LOG_SEGMENT], |row| row.get(0))
        .optional()?;
    Ok(number.map(u64::from_be_bytes))
}

/// Notes the highest number of a file of the vote log, and which of those known before are gone.
pub(super) fn note_log(
    connection: &mut Connection,
    newest: u64,
    lost: Option<&RangeInclusive<u64>>,
    now: UnixMillis,
) -> Work<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let highest = log_segment(&transaction)?.unwrap_or(0).max(newest);
    transaction.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (LOG_SEGMENT, highest.to_be_bytes()),
    )?;
    if let Some(lost) = lost {
        transaction.execute(
            "INSERT INTO lost_segments (first, last, noticed_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (first) DO UPDATE SET last = max(last, excluded.last)",
            (lost.start().cast_signed(), lost.end().cast_signed(), now.0),
        )?;
    }
    transaction.commit()?;
    Ok(())
}
