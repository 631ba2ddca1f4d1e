//! What the store keeps of the vote log's files, so that their loss is noticed.

use std::ops::RangeInclusive;

use paredao_domain::{Poll, Ranges, UnixMillis};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::fault::Work;
use crate::{Loss, Lost};

/// In `meta`: the highest number of a file that there ever was…
const NEWEST: &str = "log_segment";
/// …and up to which they went in good order.
const RELEASED: &str = "log_released";

/// What is kept of the vote log's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSegments {
    /// The highest number there ever was.
    pub newest: u64,
    /// Those up to here went in good order: what they held is in the ledger.
    pub released: u64,
}

pub(super) fn known(connection: &Connection) -> Work<LogSegments> {
    Ok(LogSegments {
        newest: number(connection, NEWEST)?,
        released: number(connection, RELEASED)?,
    })
}

fn number(connection: &Connection, name: &str) -> Work<u64> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let number: Option<[u8; 8]> = connection
        .query_row(sql, [name], |row| row.get(0))
        .optional()?;
    Ok(number.map_or(0, u64::from_be_bytes))
}

/// Notes the highest number of a file.
pub(super) fn note_newest(connection: &mut Connection, newest: u64) -> Work<()> {
    raise(connection, NEWEST, newest)
}

/// Notes that the files up to this one may go.
pub(super) fn note_released(connection: &mut Connection, up_to: u64) -> Work<()> {
    raise(connection, RELEASED, up_to)
}

fn raise(connection: &mut Connection, name: &str, number: u64) -> Work<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let highest = self::number(&transaction, name)?.max(number);
    transaction.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, highest.to_be_bytes()),
    )?;
    transaction.commit()?;
    Ok(())
}

/// A row of `lost_segments`.
struct Row {
    numbers: RangeInclusive<u64>,
    noticed_at: UnixMillis,
    /// The polls whose votes they may have held: a JSON list of ids.
    polls: String,
    written_off_as: Option<String>,
}

impl Row {
    fn loss(self) -> Loss {
        Loss {
            what: Lost::Segments {
                numbers: self.numbers,
                noticed_at: self.noticed_at,
            },
            written_off_because: self.written_off_as,
        }
    }

    fn is_undecided(&self) -> bool {
        self.written_off_as.is_none()
    }

    fn covers(&self, numbers: &RangeInclusive<u64>) -> bool {
        self.numbers.contains(numbers.start()) && self.numbers.contains(numbers.end())
    }
}

pub(super) fn losses(connection: &Connection) -> Work<Vec<Loss>> {
    Ok(rows(connection)?.into_iter().map(Row::loss).collect())
}

fn rows(connection: &Connection) -> Work<Vec<Row>> {
    let mut statement = connection.prepare_cached(
        "SELECT first, last, noticed_at, polls, written_off_as FROM lost_segments ORDER BY first",
    )?;
    let rows = statement.query_map([], |row| {
        let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        Ok(Row {
            numbers: number(0)?..=number(1)?,
            noticed_at: UnixMillis(row.get(2)?),
            polls: row.get(3)?,
            written_off_as: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Notes which files are not there although they did not go in good order. What was missed before
/// and is there again is not missed any more; what was given up stays so.
pub(super) fn note_lost(
    connection: &mut Connection,
    lost: &[RangeInclusive<u64>],
    now: UnixMillis,
) -> Work<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let released = number(&transaction, RELEASED)?;
    let rows = rows(&transaction)?;
    // Of those released since nobody can say that they came back.
    let is_open = |row: &&Row| row.is_undecided() && *row.numbers.start() > released;
    let (open, settled): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(is_open);
    for row in &open {
        let sql = "DELETE FROM lost_segments WHERE first = ?1";
        transaction.execute(sql, [row.numbers.start().cast_signed()])?;
    }
    let mut missed = Ranges::default();
    lost.iter().for_each(|range| missed.insert(range.clone()));
    let numbers = settled.iter().flat_map(|row| row.numbers.clone());
    numbers.for_each(|number| missed.remove(number));
    let polls = polls_voted_in(&transaction)?;
    for numbers in missed.iter() {
        let before = open.iter().find(|row| row.covers(&numbers));
        transaction.execute(
            "INSERT INTO lost_segments (first, last, noticed_at, polls) VALUES (?1, ?2, ?3, ?4)",
            (
                numbers.start().cast_signed(),
                numbers.end().cast_signed(),
                before.map_or(now, |row| row.noticed_at).0,
                before.map_or(&polls, |row| &row.polls),
            ),
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// The polls that had ever been opened, or were to be, and are not final: of no clock's making, so
/// that a wrong one exempts nobody.
fn polls_voted_in(connection: &Connection) -> Work<String> {
    let sql = "SELECT json_group_array(id) FROM poll
               WHERE opens_at IS NOT NULL AND final_at IS NULL";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// Files that are lost, may have held votes of the poll, and were not given up.
pub(super) fn lost_of(connection: &Connection, poll: &Poll) -> Work<u64> {
    let sql = "SELECT coalesce(sum(last - first + 1), 0) FROM lost_segments
               WHERE written_off_as IS NULL
                 AND EXISTS (SELECT 1 FROM json_each(polls) WHERE value = ?1)";
    let segments: i64 = connection
        .prepare_cached(sql)?
        .query_row([poll.id.0], |row| row.get(0))?;
    Ok(segments.cast_unsigned())
}

/// Files that are lost and were not given up.
pub(super) fn undecided(connection: &Connection) -> Work<u64> {
    let sql = "SELECT coalesce(sum(last - first + 1), 0) FROM lost_segments
               WHERE written_off_as IS NULL";
    let segments: i64 = connection
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))?;
    Ok(segments.cast_unsigned())
}
