//! Who may write to a lane: claims, and the fence every transaction of an owner passes first.

use paredao_domain::{Lane, LedgerPosition, Minute};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::fault::{OwnerWork, Work, damaged};
use super::{books, ledger};
use crate::{ApplyError, Fence, LaneClaim, OwnerId};

pub(super) fn claim(connection: &mut Connection, lane: Lane, owner: OwnerId) -> Work<LaneClaim> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sql =
        "INSERT INTO lane (lane, owner, epoch, writes, next_position) VALUES (?1, ?2, 1, 1, 1)
               ON CONFLICT DO UPDATE SET owner = ?2, epoch = epoch + 1, writes = writes + 1
               RETURNING epoch, next_position";
    let (epoch, next) = transaction.query_row(sql, (lane.0, owner.0.cast_signed()), |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    })?;
    let next_position = LedgerPosition(next.cast_unsigned());
    check_end(&transaction, lane, next_position)?;
    forget_barriers(&transaction, lane)?;
    let claim = LaneClaim {
        fence: Fence {
            lane,
            owner,
            epoch: epoch.cast_unsigned(),
        },
        next_position,
        incarnations: books::of_lane(&transaction, lane)?,
        newest_minute: newest_minute(&transaction, lane)?,
    };
    transaction.commit()?;
    Ok(claim)
}

/// The new owner cannot know when the barriers of the last one were sent: it sends its own.
fn forget_barriers(connection: &Connection, lane: Lane) -> Work<()> {
    let sql = "DELETE FROM barrier WHERE lane = ?1
               AND poll NOT IN (SELECT id FROM poll WHERE final_at IS NOT NULL)";
    connection.execute(sql, [lane.0])?;
    Ok(())
}

/// Makes sure that the lane's record and its ledger end at the same place.
fn check_end(connection: &Connection, lane: Lane, next: LedgerPosition) -> Work<()> {
    let last = ledger::last_position(connection, lane)?;
    if last.next() == next {
        return Ok(());
    }
    Err(damaged(format!(
        "lane {lane}: the ledger ends at position {last}, its record says that {next} is next"
    ))
    .into())
}

fn newest_minute(connection: &Connection, lane: Lane) -> Work<Option<Minute>> {
    let sql = "SELECT max(minute) FROM ledger INDEXED BY ledger_minute WHERE lane = ?1";
    let minute: Option<u32> = connection.query_row(sql, [lane.0], |row| row.get(0))?;
    Ok(minute.map(Minute))
}

/// The first operation of an owner's transaction: changes the lane's record if it still is the
/// owner's. Returns where the next entry goes.
pub(super) fn pass_fence(connection: &Connection, fence: &Fence) -> OwnerWork<LedgerPosition> {
    let sql = "UPDATE lane SET writes = writes + 1 WHERE lane = ?1 AND owner = ?2 AND epoch = ?3
               RETURNING next_position";
    let key = (
        fence.lane.0,
        fence.owner.0.cast_signed(),
        fence.epoch.cast_signed(),
    );
    let next: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row(key, |row| row.get(0))
        .optional()?;
    let next = next.ok_or(ApplyError::Fenced)?;
    Ok(LedgerPosition(next.cast_unsigned()))
}

pub(super) fn advance(connection: &Connection, lane: Lane, next: LedgerPosition) -> Work<()> {
    connection
        .prepare_cached("UPDATE lane SET next_position = ?2 WHERE lane = ?1")?
        .execute((lane.0, next.0.cast_signed()))?;
    Ok(())
}

/// Every lane that was ever claimed and the position where its next entry goes.
pub(super) fn all(connection: &Connection) -> Work<Vec<(Lane, LedgerPosition)>> {
    let mut statement =
        connection.prepare_cached("SELECT lane, next_position FROM lane ORDER BY lane")?;
    let rows = statement.query_map([], |row| {
        let next: i64 = row.get(1)?;
        Ok((Lane(row.get(0)?), LedgerPosition(next.cast_unsigned())))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Changes the record of every lane, so that a transaction of any owner conflicts with this one.
pub(super) fn touch_all(connection: &Connection) -> Work<()> {
    connection.execute("UPDATE lane SET writes = writes + 1", [])?;
    Ok(())
}
