//! The books of incarnations: which batches came, which are missing.

use paredao_domain::{Incarnation, IncarnationBook, Lane};
use rusqlite::{Connection, Params};

use super::fault::{Work, damaged};

/// Sums over all incarnations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) missing: u64,
    pub(super) unanswered: u64,
    pub(super) cut: Vec<(Incarnation, u64)>,
}

pub(super) fn write(connection: &Connection, books: &[IncarnationBook]) -> Work<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO incarnation (lane, incarnation, cumulative, missing, unanswered, book)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET cumulative = ?3, missing = ?4, unanswered = ?5, book = ?6",
    )?;
    for book in books {
        let json = serde_json::to_string(book)
            .map_err(|error| damaged(format!("a book cannot be written: {error}")))?;
        statement.execute((
            book.lane().0,
            book.incarnation().0.cast_signed(),
            book.cumulative().cast_signed(),
            book.missing_votes().cast_signed(),
            book.unanswered_votes().cast_signed(),
            json,
        ))?;
    }
    Ok(())
}

pub(super) fn of_lane(connection: &Connection, lane: Lane) -> Work<Vec<IncarnationBook>> {
    read(
        connection,
        "SELECT incarnation, cumulative, missing, unanswered, book FROM incarnation
         WHERE lane = ?1 ORDER BY incarnation",
        [i64::from(lane.0)],
    )
}

pub(super) fn of_incarnation(
    connection: &Connection,
    lane: Lane,
    incarnation: Incarnation,
) -> Work<Option<IncarnationBook>> {
    let books = read(
        connection,
        "SELECT incarnation, cumulative, missing, unanswered, book FROM incarnation
         WHERE lane = ?1 AND incarnation = ?2",
        [i64::from(lane.0), incarnation.0.cast_signed()],
    )?;
    Ok(books.into_iter().next())
}

/// The books in which votes are missing.
pub(super) fn with_missing(connection: &Connection) -> Work<Vec<IncarnationBook>> {
    read(
        connection,
        "SELECT incarnation, cumulative, missing, unanswered, book FROM incarnation
         WHERE missing <> 0 ORDER BY lane, incarnation",
        [],
    )
}

pub(super) fn sums(connection: &Connection) -> Work<Sums> {
    let mut statement = connection.prepare_cached(
        "SELECT incarnation, sum(cumulative), sum(missing), sum(unanswered)
         FROM incarnation GROUP BY incarnation",
    )?;
    let mut rows = statement.query([])?;
    let mut sums = Sums::default();
    while let Some(row) = rows.next()? {
        let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        sums.cut.push((Incarnation(count(0)?), count(1)?));
        sums.missing += count(2)?;
        sums.unanswered += count(3)?;
    }
    Ok(sums)
}

fn read(connection: &Connection, sql: &str, parameters: impl Params) -> Work<Vec<IncarnationBook>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut books = Vec::new();
    while let Some(row) = rows.next()? {
        books.push(read_book(row)?);
    }
    Ok(books)
}

/// Reads a book and makes sure that the columns beside it say the same.
fn read_book(row: &rusqlite::Row<'_>) -> Work<IncarnationBook> {
    let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let incarnation = Incarnation(count(0)?);
    let wrong = || {
        damaged(format!(
            "the book of incarnation {incarnation} contradicts itself"
        ))
    };
    let json: String = row.get(4)?;
    let book: IncarnationBook = serde_json::from_str(&json).map_err(|_| wrong())?;
    let kept = (count(1)?, count(2)?, count(3)?);
    let derived = (
        book.cumulative(),
        book.missing_votes(),
        book.unanswered_votes(),
    );
    if kept != derived || book.incarnation() != incarnation {
        return Err(wrong().into());
    }
    Ok(book)
}
