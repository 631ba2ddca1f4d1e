//! What was confirmed and is lost, batches and files of the vote log, and what of it was given up.

use std::ops::RangeInclusive;

use paredao_domain::{BatchNumber, Gap, IncarnationBook, Minute, Poll, UnixMillis, VotingHours};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::fault::Work;
use super::{books, segments};
use crate::{Loss, LossName, Lost, StoreError};

/// Everything that is lost, what was given up included.
pub(super) fn all(connection: &Connection) -> Work<Vec<Loss>> {
    let mut losses = batches(connection)?;
    losses.extend(segments::losses(connection)?);
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

/// Votes that are missing and were not given up.
pub(super) fn votes_undecided(connection: &Connection) -> Work<u64> {
    let losses = batches(connection)?.into_iter();
    let undecided = losses.filter(|loss| loss.written_off_because.is_none());
    let votes = undecided.map(|loss| match loss.what {
        Lost::Batches { votes, .. } => votes,
        Lost::Segments { .. } => 0,
    });
    Ok(votes.fold(0, u64::saturating_add))
}

fn overlaps(minutes: &RangeInclusive<Minute>, hours: VotingHours) -> bool {
    let end = Minute(minutes.end().0.saturating_add(1)).start();
    hours.opens_at.is_none_or(|opens| opens < end)
        && hours
            .closes_at
            .is_none_or(|closes| minutes.start().start() < closes)
}
