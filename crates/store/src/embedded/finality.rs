//! Declaring a result final.

use paredao_domain::{Lane, Poll, PollId, PollState, UnixMillis};
use rusqlite::{Connection, TransactionBehavior};

use super::apply::{commit, pass, pass_committed};
use super::fault::{OwnerWork, Work, damaged};
use super::{dead_letters, lane, losses, polls, segments};
use crate::{Fence, FinalityHurdle};

/// A hurdle of so many things.
type Hurdle = fn(u64) -> FinalityHurdle;

/// Declares a result final if nothing stands in the way. A second time changes nothing. A poll that
/// is not closed loses its barrier: votes for it come behind it.
pub(super) fn finalize(
    connection: &mut Connection,
    fence: &Fence,
    poll: PollId,
    now: UnixMillis,
) -> OwnerWork<Vec<FinalityHurdle>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    lane::pass_fence(&transaction, fence)?;
    let mut poll = polls::find(&transaction, poll)?
        .ok_or_else(|| damaged(format!("poll {poll}, to be made final, does not exist")))?;
    if poll.final_at.is_some() {
        return Ok(Vec::new());
    }
    let is_closed = poll.state(now) == PollState::Closed;
    let is_taken_back = !is_closed && take_barrier_back(&transaction, fence.lane, poll.id)?;
    let hurdles = hurdles(&transaction, &poll, now)?;
    if is_taken_back {
        commit(transaction)?;
        return Ok(hurdles);
    }
    if !hurdles.is_empty() {
        return Ok(hurdles);
    }
    poll.final_at = Some(now);
    polls::write_hours(&transaction, &poll)?;
    note_positions(&transaction, poll.id)?;
    lane::touch_all(&transaction)?;
    pass("store.final.before_commit")?;
    commit(transaction)?;
    pass_committed("store.final.after_commit")?;
    Ok(Vec::new())
}

fn hurdles(connection: &Connection, poll: &Poll, now: UnixMillis) -> Work<Vec<FinalityHurdle>> {
    let mut hurdles = Vec::new();
    if poll.state(now) != PollState::Closed {
        hurdles.push(FinalityHurdle::NotClosed);
    }
    if !barrier_passed(connection, poll.id)? {
        hurdles.push(FinalityHurdle::Barrier);
    }
    let letters = dead_letters::undecided_of(connection, poll.id)?;
    let counted: [(u64, Hurdle); 4] = [
        (letters.unresolved, FinalityHurdle::DeadLetters),
        (letters.requeued, FinalityHurdle::Requeued),
        (
            losses::votes_missing_of(connection, poll)?,
            FinalityHurdle::Missing,
        ),
        (
            segments::undecided(connection)?,
            FinalityHurdle::SegmentsLost,
        ),
    ];
    let standing = counted.into_iter().filter(|(count, _)| *count > 0);
    hurdles.extend(standing.map(|(count, hurdle)| hurdle(count)));
    Ok(hurdles)
}

/// Whether the poll's barrier came off every lane there is.
pub(super) fn barrier_passed(connection: &Connection, poll: PollId) -> Work<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM lane) AND NOT EXISTS (
             SELECT 1 FROM lane
             WHERE lane NOT IN (SELECT lane FROM barrier WHERE poll = ?1))",
    )?;
    Ok(statement.query_row([poll.0], |row| row.get(0))?)
}

/// Returns whether there was one.
fn take_barrier_back(connection: &Connection, lane: Lane, poll: PollId) -> Work<bool> {
    let sql = "DELETE FROM barrier WHERE lane = ?1 AND poll = ?2";
    Ok(connection.execute(sql, (lane.0, poll.0))? > 0)
}

fn note_positions(connection: &Connection, poll: PollId) -> Work<()> {
    connection.execute(
        "INSERT INTO finality (poll, lane, last_position)
         SELECT ?1, lane, next_position - 1 FROM lane",
        [poll.0],
    )?;
    Ok(())
}
