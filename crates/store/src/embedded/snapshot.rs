//! Everything readers see, of one instant.
//!
//! Costs as many rows as there are candidates × (hours + 60 minutes), however many votes there are.

use paredao_domain::{Account, Accounts, CandidateNumber, Minute, Poll, PollId, UnixMillis};
use rusqlite::{Connection, Params, Row};

use super::fault::{Work, damaged};
use super::{books, dead_letters, finality, losses, polls, segments};
use crate::{Bucket, DeploymentBooks, PollView, Snapshot};

/// Minute buckets shown, the current one included.
const MINUTES_SHOWN: u32 = 60;

pub(super) fn take(connection: &mut Connection, now: UnixMillis) -> Work<Snapshot> {
    let transaction = connection.transaction()?;
    let polls = polls::all(&transaction)?
        .into_iter()
        .map(|poll| view(&transaction, poll, now))
        .collect::<Work<Vec<_>>>()?;
    let books = deployment(&transaction)?;
    Ok(Snapshot {
        taken_at: now,
        polls,
        books,
    })
}

fn view(connection: &Connection, poll: Poll, now: UnixMillis) -> Work<PollView> {
    let votes = totals(connection, &poll)?;
    let view = PollView {
        votes,
        accounts: accounts(connection, Some(poll.id))?,
        dead_lettered: dead_letters::votes(connection, Some(poll.id))?,
        hours: hours(connection, &poll)?,
        minutes: minutes(connection, &poll, now)?,
        barrier_passed: finality::barrier_passed(connection, poll.id)?,
        poll,
    };
    cross_check(&view)?;
    Ok(view)
}

/// Three sums of the same votes, kept apart, must agree.
fn cross_check(view: &PollView) -> Work<()> {
    let slug = &view.poll.slug;
    let total: u64 = view.votes.iter().sum();
    if total != view.accounts.counted {
        return Err(damaged(format!(
            "{slug}: the candidates' totals add up to {total}, the account of counted votes says \
             {}; `recount` tells which is right",
            view.accounts.counted
        ))
        .into());
    }
    for (at, candidate) in view.poll.candidates.iter().enumerate() {
        let total = view.votes.get(at).copied().unwrap_or(0);
        let hours: u64 = view
            .hours
            .iter()
            .filter_map(|hour| hour.votes.get(at))
            .sum();
        if total != hours {
            return Err(damaged(format!(
                "{slug}: candidate {} has {total} votes in total and {hours} in the hours; \
                 `recount` tells which is right",
                candidate.number
            ))
            .into());
        }
    }
    Ok(())
}

fn totals(connection: &Connection, poll: &Poll) -> Work<Vec<u64>> {
    let sql = "SELECT 0, candidate, sum(votes) FROM total WHERE poll = ?1 GROUP BY candidate";
    let buckets = buckets(connection, poll, sql, [poll.id.0])?;
    let totals = buckets.into_iter().next().map(|bucket| bucket.votes);
    Ok(totals.unwrap_or_else(|| vec![0; poll.candidates.len()]))
}

fn hours(connection: &Connection, poll: &Poll) -> Work<Vec<Bucket>> {
    let sql = "SELECT start, candidate, sum(votes) FROM hour_bucket
               WHERE poll = ?1 GROUP BY start, candidate ORDER BY start";
    buckets(connection, poll, sql, [poll.id.0])
}

fn minutes(connection: &Connection, poll: &Poll, now: UnixMillis) -> Work<Vec<Bucket>> {
    let sql = "SELECT start, candidate, sum(votes) FROM minute_bucket
               WHERE poll = ?1 AND start BETWEEN ?2 AND ?3
               GROUP BY start, candidate ORDER BY start";
    let last = now.minute().0;
    let first = last.saturating_sub(MINUTES_SHOWN - 1);
    buckets(connection, poll, sql, [poll.id.0, first, last])
}

/// Rows of (start, candidate, votes) in order of start, as buckets.
fn buckets(
    connection: &Connection,
    poll: &Poll,
    sql: &str,
    parameters: impl Params,
) -> Work<Vec<Bucket>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut buckets: Vec<Bucket> = Vec::new();
    while let Some(row) = rows.next()? {
        let start = Minute(row.get(0)?);
        if buckets.last().is_none_or(|bucket| bucket.start != start) {
            buckets.push(Bucket {
                start,
                votes: vec![0; poll.candidates.len()],
            });
        }
        let votes = buckets.last_mut().map(|bucket| &mut bucket.votes);
        put(poll, votes.unwrap_or(&mut Vec::new()), row)?;
    }
    Ok(buckets)
}

fn put(poll: &Poll, votes: &mut [u64], row: &Row<'_>) -> Work<()> {
    let candidate: u8 = row.get(1)?;
    let column = poll
        .candidates
        .iter()
        .map(|c| c.number)
        .position(|number: CandidateNumber| number.get() == candidate);
    match column.and_then(|at| votes.get_mut(at)) {
        Some(entry) => {
            *entry = row.get::<_, i64>(2)?.cast_unsigned();
            Ok(())
        }
        None => Err(damaged(format!(
            "{}: votes are kept for {candidate}, who does not stand there",
            poll.slug
        ))
        .into()),
    }
}

/// Where the votes of one poll, or of all, ended.
pub(super) fn accounts(connection: &Connection, poll: Option<PollId>) -> Work<Accounts> {
    let mut statement = connection.prepare_cached(
        "SELECT account, sum(votes) FROM account WHERE ?1 IS NULL OR poll = ?1 GROUP BY account",
    )?;
    let mut rows = statement.query([poll.map(|poll| poll.0)])?;
    let mut accounts = Accounts::default();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        accounts.add(account_named(&name)?, row.get::<_, i64>(1)?.cast_unsigned());
    }
    Ok(accounts)
}

pub(super) fn account_named(name: &str) -> Work<Account> {
    Account::ALL
        .into_iter()
        .find(|account| account.name() == name)
        .ok_or_else(|| damaged(format!("votes are kept in an account called {name:?}")).into())
}

fn deployment(connection: &Connection) -> Work<DeploymentBooks> {
    let sums = books::sums(connection)?;
    Ok(DeploymentBooks {
        accounts: accounts(connection, None)?,
        dead_lettered: dead_letters::votes(connection, None)?,
        dead_letters_unresolved: dead_letters::unresolved(connection)?,
        missing: sums.missing,
        missing_undecided: losses::votes_undecided(connection)?,
        segments_lost: segments::undecided(connection)?,
        unanswered: sums.unanswered,
        cut: sums.cut,
    })
}
