//! The ledger: entries written once, and read by position, by minute or by batch.

use paredao_domain::{
    Account, BatchId, Incarnation, Lane, LedgerEntry, LedgerPosition, Minute, PollId, Position,
    UnixMillis, decode_marks, encode_marks,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row};

use super::fault::{OwnerWork, Work, damaged};
use crate::entry::{KeptEntry, seal};
use crate::{ApplyError, Fate, LedgerQuery};

/// A place is lane × 2⁴⁸ + position, so that a lane's entries lie one after another.
const POSITION_BITS: u32 = 48;
const COLUMNS: &str =
    "place, incarnation, number, poll, minute, votes, checksum, seal, marks, body";

/// The key of an entry's row.
pub(super) fn place(lane: Lane, position: LedgerPosition) -> i64 {
    (i64::from(lane.0) << POSITION_BITS) | position.0.cast_signed()
}

fn position_of(place: i64) -> LedgerPosition {
    LedgerPosition((place & ((1 << POSITION_BITS) - 1)).cast_unsigned())
}

fn lane_of(place: i64) -> Lane {
    Lane(u8::try_from(place >> POSITION_BITS).unwrap_or(u8::MAX))
}

/// Writes entries; a batch that is there already ends the transaction.
pub(super) struct Pen<'a> {
    insert: CachedStatement<'a>,
    applied_at: UnixMillis,
}

impl<'a> Pen<'a> {
    pub(super) fn new(connection: &'a Connection, applied_at: UnixMillis) -> Work<Self> {
        let insert = connection.prepare_cached(
            "INSERT INTO ledger (place, incarnation, number, poll, minute, votes, checksum, seal,
                                 applied_at, marks, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (incarnation, number, lane) DO NOTHING",
        )?;
        Ok(Self { insert, applied_at })
    }

    pub(super) fn write(&mut self, entry: &LedgerEntry) -> OwnerWork<()> {
        let header = entry.batch.header();
        let id = header.id;
        let marks = encode_marks(&entry.marks);
        let checksum = entry.batch.checksum();
        let written = self.insert.execute(rusqlite::params![
            place(id.lane, entry.position),
            id.incarnation.0.cast_signed(),
            id.number.cast_signed(),
            header.poll.0,
            header.minute.0,
            entry.batch.vote_count(),
            checksum,
            seal(id.lane, entry.position, checksum, &marks),
            self.applied_at.0,
            marks,
            &entry.batch.bytes()[..],
        ])?;
        if written == 1 {
            Ok(())
        } else {
            Err(ApplyError::AlreadyApplied(id).into())
        }
    }
}

/// The last position of a lane, 0 if it has no entry.
pub(super) fn last_position(connection: &Connection, lane: Lane) -> Work<LedgerPosition> {
    let sql = "SELECT max(place) FROM ledger WHERE place BETWEEN ?1 AND ?2";
    let (first, last) = (place(lane, LedgerPosition(0)), last_place(lane));
    let place: Option<i64> = connection.query_row(sql, (first, last), |row| row.get(0))?;
    Ok(place.map_or(LedgerPosition(0), position_of))
}

fn last_place(lane: Lane) -> i64 {
    place(lane, LedgerPosition((1 << POSITION_BITS) - 1))
}

/// The checksum of a batch, if it is in the ledger.
pub(super) fn checksum_of(connection: &Connection, id: BatchId) -> Work<Option<u32>> {
    let mut statement = connection.prepare_cached(
        "SELECT checksum FROM ledger WHERE incarnation = ?1 AND number = ?2 AND lane = ?3",
    )?;
    let checksum = statement.query_row(key(id), |row| row.get(0)).optional()?;
    Ok(checksum)
}

fn key(id: BatchId) -> (i64, i64, u8) {
    (
        id.incarnation.0.cast_signed(),
        id.number.cast_signed(),
        id.lane.0,
    )
}

/// What a vote of a batch in the ledger was booked as; `None` if the batch is not there.
pub(super) fn fate_of(
    connection: &Connection,
    id: BatchId,
    position: Position,
) -> Work<Option<Fate>> {
    let mut statement = connection.prepare_cached(
        "SELECT poll, votes, marks FROM ledger
         WHERE incarnation = ?1 AND number = ?2 AND lane = ?3",
    )?;
    let mut rows = statement.query(key(id))?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let votes: u32 = row.get(1)?;
    if u32::from(position) >= votes {
        return Ok(Some(Fate::NoSuchVote));
    }
    let marks = decode_marks(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)
        .map_err(|error| damaged(format!("the entry of batch {id}: its marks: {error}")))?;
    let mark = marks.iter().find(|mark| mark.position == position);
    Ok(Some(Fate::Recorded {
        poll: PollId(row.get(0)?),
        account: mark.map_or(Account::Counted, |mark| mark.kind.into()),
    }))
}

/// A page of a lane, in order of position.
pub(super) fn page(connection: &Connection, query: &LedgerQuery) -> Work<Vec<LedgerEntry>> {
    let mut page = Page {
        entries: Vec::new(),
        bytes_left: query.bytes_max,
    };
    match &query.minutes {
        None => fill_by_position(connection, query, &mut page)?,
        Some(minutes) => fill_by_minute(
            connection,
            query,
            (*minutes.start(), *minutes.end()),
            &mut page,
        )?,
    }
    Ok(page.entries)
}

struct Page {
    entries: Vec<LedgerEntry>,
    bytes_left: usize,
}

impl Page {
    fn is_full(&self) -> bool {
        self.bytes_left == 0 && !self.entries.is_empty()
    }

    fn take(&mut self, row: &Row<'_>) -> Work<()> {
        let entry = with_entry(row, |kept| {
            kept.decode().map_err(|damage| {
                damaged(format!(
                    "the ledger entry at position {} of lane {}: {damage}",
                    kept.position, kept.lane
                ))
            })
        })??;
        self.bytes_left = self.bytes_left.saturating_sub(entry.batch.bytes().len());
        self.entries.push(entry);
        Ok(())
    }
}

fn fill_by_position(connection: &Connection, query: &LedgerQuery, page: &mut Page) -> Work<()> {
    let sql = format!(
        "SELECT {COLUMNS} FROM ledger
         WHERE place > ?1 AND place <= ?2 AND (?3 IS NULL OR poll = ?3) ORDER BY place"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let after = place(query.lane, query.after);
    let mut rows = statement.query((after, last_place(query.lane), query.poll.map(|p| p.0)))?;
    while !page.is_full()
        && let Some(row) = rows.next()?
    {
        page.take(row)?;
    }
    Ok(())
}

/// Minute by minute, so that a page goes on where the last one ended and never sorts more than the
/// entries of one minute.
fn fill_by_minute(
    connection: &Connection,
    query: &LedgerQuery,
    minutes: (Minute, Minute),
    page: &mut Page,
) -> Work<()> {
    let after = place(query.lane, query.after);
    let (mut first, last) = minutes;
    let mut after_in_first = None;
    if let Some(minute) = minute_at(connection, after)?
        && minute >= first
    {
        first = minute;
        after_in_first = Some(after);
    }
    while let Some(minute) = next_minute(connection, query.lane, (first, last))? {
        let after = after_in_first.take().filter(|_| minute == first);
        fill_from(connection, query, minute, after, page)?;
        match minute.0.checked_add(1) {
            Some(next) if !page.is_full() => first = Minute(next),
            _ => break,
        }
    }
    Ok(())
}

/// Entries of one minute, after a place in it.
fn fill_from(
    connection: &Connection,
    query: &LedgerQuery,
    minute: Minute,
    after: Option<i64>,
    page: &mut Page,
) -> Work<()> {
    let mut places = connection.prepare_cached(
        "SELECT place FROM ledger INDEXED BY ledger_minute
         WHERE lane = ?1 AND minute = ?2 AND (?3 IS NULL OR place > ?3)
           AND (?4 IS NULL OR poll = ?4)
         ORDER BY place",
    )?;
    let sql = format!("SELECT {COLUMNS} FROM ledger WHERE place = ?1");
    let mut entries = connection.prepare_cached(&sql)?;
    let poll = query.poll.map(|poll| poll.0);
    let mut places = places.query((query.lane.0, minute.0, after, poll))?;
    while !page.is_full()
        && let Some(row) = places.next()?
    {
        let mut found = entries.query([row.get::<_, i64>(0)?])?;
        if let Some(row) = found.next()? {
            page.take(row)?;
        }
    }
    Ok(())
}

fn minute_at(connection: &Connection, place: i64) -> Work<Option<Minute>> {
    let mut statement = connection.prepare_cached("SELECT minute FROM ledger WHERE place = ?1")?;
    let minute = statement.query_row([place], |row| row.get(0)).optional()?;
    Ok(minute.map(Minute))
}

/// The first of these minutes that has an entry.
fn next_minute(
    connection: &Connection,
    lane: Lane,
    (first, last): (Minute, Minute),
) -> Work<Option<Minute>> {
    let mut statement = connection.prepare_cached(
        "SELECT minute FROM ledger INDEXED BY ledger_minute
         WHERE lane = ?1 AND minute BETWEEN ?2 AND ?3 ORDER BY minute LIMIT 1",
    )?;
    let minute = statement
        .query_row((lane.0, first.0, last.0), |row| row.get(0))
        .optional()?;
    Ok(minute.map(Minute))
}

/// Shows an entry's row as it is kept, without copying its bytes.
fn with_entry<T>(row: &Row<'_>, show: impl FnOnce(&KeptEntry<'_>) -> T) -> rusqlite::Result<T> {
    let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let place: i64 = row.get(0)?;
    let entry = KeptEntry {
        lane: lane_of(place),
        position: position_of(place),
        batch: BatchId {
            incarnation: Incarnation(count(1)?),
            lane: lane_of(place),
            number: count(2)?,
        },
        poll: PollId(row.get(3)?),
        minute: Minute(row.get(4)?),
        votes: row.get(5)?,
        checksum: row.get(6)?,
        seal: row.get(7)?,
        marks: row.get_ref(8)?.as_blob()?,
        body: row.get_ref(9)?.as_blob()?,
    };
    Ok(show(&entry))
}

/// Entries of a lane from the first after `after` to `last`, shown one after another until `show`
/// says stop. Returns at the first row that cannot be read.
pub(super) fn scan(
    connection: &Connection,
    lane: Lane,
    after: LedgerPosition,
    last: LedgerPosition,
    show: &mut dyn FnMut(&KeptEntry<'_>) -> std::ops::ControlFlow<()>,
) -> rusqlite::Result<()> {
    let sql =
        format!("SELECT {COLUMNS} FROM ledger WHERE place > ?1 AND place <= ?2 ORDER BY place");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((place(lane, after), place(lane, last)))?;
    while let Some(row) = rows.next()? {
        if with_entry(row, &mut *show)?.is_break() {
            break;
        }
    }
    Ok(())
}
