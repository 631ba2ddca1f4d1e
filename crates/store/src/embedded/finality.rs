//! Declaring a result final.

use paredao_domain::{
    Gap, IncarnationBook, Minute, Poll, PollId, PollState, UnixMillis, VotingHours,
};
use rusqlite::{Connection, TransactionBehavior};

use super::apply::{commit, pass, pass_committed};
use super::fault::{OwnerWork, Work, damaged};
use super::{books, dead_letters, lane, polls};
use crate::{Fence, FinalityHurdle};

/// Declares a result final if nothing stands in the way. A second time changes nothing.
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
    let hurdles = hurdles(&transaction, &poll, now)?;
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
    if letters.unresolved > 0 {
        hurdles.push(FinalityHurdle::DeadLetters(letters.unresolved));
    }
    if letters.requeued > 0 {
        hurdles.push(FinalityHurdle::Requeued(letters.requeued));
    }
    let missing = missing_within(connection, poll.hours())?;
    if missing > 0 {
        hurdles.push(FinalityHurdle::Missing(missing));
    }
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

/// Missing votes that may have been accepted within the hours.
fn missing_within(connection: &Connection, hours: VotingHours) -> Work<u64> {
    let books = books::with_missing(connection)?;
    let gaps = books.iter().flat_map(IncarnationBook::missing);
    Ok(gaps
        .filter(|gap| overlaps(gap, hours))
        .map(|gap| gap.votes)
        .sum())
}

fn overlaps(gap: &Gap, hours: VotingHours) -> bool {
    let (first, last) = (gap.minutes.start(), gap.minutes.end());
    let end = Minute(last.0.saturating_add(1)).start();
    hours.opens_at.is_none_or(|opens| opens < end)
        && hours.closes_at.is_none_or(|closes| first.start() < closes)
}

fn note_positions(connection: &Connection, poll: PollId) -> Work<()> {
    connection.execute(
        "INSERT INTO finality (poll, lane, last_position)
         SELECT ?1, lane, next_position - 1 FROM lane",
        [poll.0],
    )?;
    Ok(())
}
