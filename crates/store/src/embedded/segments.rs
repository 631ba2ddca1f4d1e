//! What the store keeps of the vote log's files, so that their loss is noticed.

use std::ops::RangeInclusive;

use paredao_domain::{Ranges, UnixMillis};
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
    raise(connection, &[(NEWEST, newest)])
}

/// Notes that the files up to this one may go.
pub(super) fn note_released(connection: &mut Connection, up_to: u64) -> Work<()> {
    raise(
        connection,
        &[(RELEASED, up_to), (NEWEST, up_to.saturating_add(1))],
    )
}

fn raise(connection: &mut Connection, numbers: &[(&str, u64)]) -> Work<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (name, number) in numbers {
        let highest = self::number(&transaction, name)?.max(*number);
        transaction.execute(
            "INSERT INTO meta (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, highest.to_be_bytes()),
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// A row of `lost_segments`.
struct Row {
    numbers: RangeInclusive<u64>,
    noticed_at: UnixMillis,
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

    fn overlaps(&self, numbers: &RangeInclusive<u64>) -> bool {
        self.numbers.start() <= numbers.end() && numbers.start() <= self.numbers.end()
    }
}

pub(super) fn losses(connection: &Connection) -> Work<Vec<Loss>> {
    Ok(rows(connection)?.into_iter().map(Row::loss).collect())
}

fn rows(connection: &Connection) -> Work<Vec<Row>> {
    let mut statement = connection.prepare_cached(
        "SELECT first, last, noticed_at, written_off_as FROM lost_segments ORDER BY first",
    )?;
    let rows = statement.query_map([], |row| {
        let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        Ok(Row {
            numbers: number(0)?..=number(1)?,
            noticed_at: UnixMillis(row.get(2)?),
            written_off_as: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Notes which files are gone, and which are there. What was missed before stays missed unless it
/// is there again, also when later files have gone in good order since; what was given up stays so.
pub(super) fn note_lost(
    connection: &mut Connection,
    lost: &[RangeInclusive<u64>],
    there: &[RangeInclusive<u64>],
    now: UnixMillis,
) -> Work<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_undecided = |row: &Row| row.written_off_as.is_none();
    let (before, given_up): (Vec<Row>, Vec<Row>) =
        rows(&transaction)?.into_iter().partition(is_undecided);
    let mut missed = Ranges::default();
    let known = before.iter().map(|row| &row.numbers).chain(lost);
    known.for_each(|range| missed.insert(range.clone()));
    let settled = given_up.iter().map(|row| &row.numbers).chain(there);
    settled.for_each(|range| missed.remove_all(range.clone()));
    transaction.execute("DELETE FROM lost_segments WHERE written_off_as IS NULL", [])?;
    for numbers in missed.iter() {
        let earlier = before.iter().filter(|row| row.overlaps(&numbers));
        let noticed_at = earlier.map(|row| row.noticed_at).min().unwrap_or(now);
        transaction.execute(
            "INSERT INTO lost_segments (first, last, noticed_at) VALUES (?1, ?2, ?3)",
            (
                numbers.start().cast_signed(),
                numbers.end().cast_signed(),
                noticed_at.0,
            ),
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// Files that are lost and were not given up. They may have held votes of every poll that is not
/// final: an older copy of the store does not know what was opened since, and a clock may be wrong.
pub(super) fn undecided(connection: &Connection) -> Work<u64> {
    let sql = "SELECT coalesce(sum(last - first + 1), 0) FROM lost_segments
               WHERE written_off_as IS NULL";
    let segments: i64 = connection
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))?;
    Ok(segments.cast_unsigned())
}
