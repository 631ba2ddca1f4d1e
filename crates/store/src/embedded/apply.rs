//! The consumer's transaction, and the journal's way into the file.

use std::time::Duration;

use paredao_domain::{Lane, LedgerPosition, PollId};
use paredao_telemetry::failpoint;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::fault::{Fault, OwnerWork, Work, certainly_not_committed, damaged};
use super::file::BUSY_TIMEOUT;
use super::ledger::Pen;
use super::tally::Tally;
use super::worker::Seat;
use super::{books, dead_letters, lane};
use crate::entry::check_marks;
use crate::{Application, ApplyError, Fence, StoreError};

/// How long a checkpoint holds up the writer for readers, who read for milliseconds unless they
/// are another process.
const READERS_TIMEOUT: Duration = Duration::from_millis(250);

/// Applies, and keeps the journal from growing without bound.
pub(super) fn apply(
    seat: &mut Seat,
    fence: &Fence,
    application: &Application,
) -> Result<(), ApplyError> {
    seat.work(|connection| transact(connection, fence, application))?;
    if seat.journal_is_long() {
        empty_journal(seat);
    }
    Ok(())
}

/// Does what must survive damage to the journal: nobody delivers it again.
pub(super) fn for_good<T, E: From<StoreError>>(
    seat: &mut Seat,
    work: impl FnOnce(&mut Connection) -> Result<T, Fault<E>>,
) -> Result<T, E> {
    let done = seat.work(work)?;
    empty_journal(seat);
    Ok(done)
}

/// Empties the journal if that can be done now. What is in it is durable all the same; a later
/// transaction tries again.
pub(super) fn empty_journal(seat: &mut Seat) {
    let emptied = seat.work(checkpoint);
    if let Err(error) = &emptied {
        tracing::warn!(event = "store_journal_not_emptied", %error);
    }
    seat.note_checkpoint(&emptied);
}

fn transact(
    connection: &mut Connection,
    fence: &Fence,
    application: &Application,
) -> OwnerWork<()> {
    pass("store.apply.before_begin")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let next = lane::pass_fence(&transaction, fence)?;
    let next = write_entries(&transaction, fence.lane, next, application)?;
    lane::advance(&transaction, fence.lane, next)?;
    books::write(&transaction, &application.incarnations)?;
    dead_letters::write(&transaction, &application.dead_letters, application.now)?;
    dead_letters::recover(&transaction, &application.recovered)?;
    write_barriers(&transaction, fence.lane, &application.barriers)?;
    pass("store.apply.before_commit")?;
    commit(transaction)?;
    pass_committed("store.apply.after_commit")
}

fn write_entries(
    connection: &Connection,
    lane: Lane,
    mut next: LedgerPosition,
    application: &Application,
) -> OwnerWork<LedgerPosition> {
    let mut pen = Pen::new(connection, application.now)?;
    let mut tally = Tally::new(connection, lane);
    for entry in &application.entries {
        let id = entry.batch.id();
        if entry.position != next || id.lane != lane {
            return Err(damaged(format!(
                "batch {id} is to go to position {}, next in lane {lane} is {next}",
                entry.position
            ))
            .into());
        }
        check_marks(entry).map_err(|wrong| damaged(format!("batch {id}: {wrong}")))?;
        pen.write(entry)?;
        tally.add(entry)?;
        next = next.next();
    }
    tally.write()?;
    Ok(next)
}

fn write_barriers(connection: &Connection, lane: Lane, polls: &[PollId]) -> Work<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO barrier (poll, lane) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?;
    for poll in polls {
        statement.execute((poll.0, lane.0))?;
    }
    Ok(())
}

/// Commits an owner's transaction, and says truthfully what is known when that fails.
pub(super) fn commit(transaction: Transaction<'_>) -> OwnerWork<()> {
    transaction.commit().map_err(|error| {
        if certainly_not_committed(&error) {
            Fault::Sqlite(error)
        } else {
            Fault::Broken(ApplyError::Unknown(error.to_string()))
        }
    })
}

/// A failure point at which nothing is committed yet.
pub(super) fn pass(name: &'static str) -> Work<()> {
    failpoint::hit(name)
        .map_err(|error| Fault::Broken(StoreError::Unavailable(format!("{name}: {error}"))))
}

/// A failure point at which everything is committed: whoever asked cannot know.
pub(super) fn pass_committed(name: &'static str) -> OwnerWork<()> {
    failpoint::hit(name)
        .map_err(|error| Fault::Broken(ApplyError::Unknown(format!("{name}: {error}"))))
}

/// Moves everything in the journal into the file and empties the journal, so that damage to the
/// journal can no longer take anything back.
pub(super) fn checkpoint(connection: &mut Connection) -> Work<()> {
    pass("store.checkpoint.before")?;
    connection.busy_timeout(READERS_TIMEOUT)?;
    // TRUNCATE waits for readers of older states, and syncs the file.
    let busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    if busy {
        return Err(StoreError::Unavailable(
            "the journal could not be emptied: another process is reading an old state of the file"
                .to_owned(),
        )
        .into());
    }
    pass("store.checkpoint.after")
}
