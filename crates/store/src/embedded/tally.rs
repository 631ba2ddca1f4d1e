//! What a transaction adds to totals, buckets and accounts: summed in memory, written once.

use std::collections::BTreeMap;

use paredao_domain::{Account, Accounts, Lane, LedgerEntry, Minute, Poll, PollId};
use rusqlite::Connection;

use super::fault::{OwnerWork, Work, damaged};
use super::polls;
use crate::counts::{self, Counts, NONE};

/// The sums of one poll.
struct PollTally {
    poll: Poll,
    accounts: Accounts,
    minutes: BTreeMap<Minute, Counts>,
}

/// The sums of one transaction.
pub(super) struct Tally<'a> {
    connection: &'a Connection,
    lane: Lane,
    polls: BTreeMap<PollId, PollTally>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(connection: &'a Connection, lane: Lane) -> Self {
        Self {
            connection,
            lane,
            polls: BTreeMap::new(),
        }
    }

    /// Adds an entry's votes.
    pub(super) fn add(&mut self, entry: &LedgerEntry) -> OwnerWork<()> {
        if entry.batch.vote_count() == 0 {
            return Ok(());
        }
        let accounts = entry.accounts();
        let counted = entry.counted();
        let tally = self.poll(entry.batch.header().poll)?;
        tally.check(entry, &counted)?;
        tally.accounts += accounts;
        let minute = tally
            .minutes
            .entry(entry.batch.header().minute)
            .or_insert(NONE);
        counts::add(minute, &counted);
        Ok(())
    }

    fn poll(&mut self, id: PollId) -> Work<&mut PollTally> {
        use std::collections::btree_map::Entry;
        match self.polls.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(vacant) => {
                let poll = polls::find(self.connection, id)?
                    .ok_or_else(|| damaged(format!("votes of poll {id}, which does not exist")))?;
                Ok(vacant.insert(PollTally {
                    poll,
                    accounts: Accounts::default(),
                    minutes: BTreeMap::new(),
                }))
            }
        }
    }

    /// Adds the sums to what is kept.
    pub(super) fn write(&self) -> Work<()> {
        self.polls
            .values()
            .try_for_each(|tally| tally.write(self.connection, self.lane))
    }
}

impl PollTally {
    /// What no consumer may ask for: the totals would no longer be those of the poll.
    fn check(&self, entry: &LedgerEntry, counted: &Counts) -> Work<()> {
        let batch = entry.batch.id();
        let slug = &self.poll.slug;
        if self.poll.final_at.is_some() && counted.iter().any(|&votes| votes > 0) {
            return Err(damaged(format!(
                "batch {batch} would change the result of {slug}, which is final"
            ))
            .into());
        }
        let stranger = (0..).zip(counted).find(|&(number, &votes)| {
            votes > 0
                && !self
                    .poll
                    .candidates
                    .iter()
                    .any(|c| c.number.get() == number)
        });
        match stranger {
            Some((number, _)) => Err(damaged(format!(
                "batch {batch} has votes for {number}, who does not stand in {slug}"
            ))
            .into()),
            None => Ok(()),
        }
    }

    fn write(&self, connection: &Connection, lane: Lane) -> Work<()> {
        let mut hours = BTreeMap::new();
        let mut total = NONE;
        for (minute, votes) in &self.minutes {
            let hour = minute.hour_start(self.poll.utc_offset);
            counts::add(hours.entry(hour).or_insert(NONE), votes);
            counts::add(&mut total, votes);
        }
        self.write_total(connection, lane, &total)?;
        self.write_buckets(connection, lane, MINUTE_SQL, &self.minutes)?;
        self.write_buckets(connection, lane, HOUR_SQL, &hours)?;
        self.write_accounts(connection, lane)
    }

    fn write_total(&self, connection: &Connection, lane: Lane, total: &Counts) -> Work<()> {
        let mut statement = connection.prepare_cached(
            "INSERT INTO total (poll, candidate, lane, votes) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET votes = votes + excluded.votes",
        )?;
        for (candidate, votes) in counted(total) {
            statement.execute((self.poll.id.0, candidate, lane.0, votes.cast_signed()))?;
        }
        Ok(())
    }

    fn write_buckets(
        &self,
        connection: &Connection,
        lane: Lane,
        sql: &str,
        buckets: &BTreeMap<Minute, Counts>,
    ) -> Work<()> {
        let mut statement = connection.prepare_cached(sql)?;
        for (start, counts) in buckets {
            for (candidate, votes) in counted(counts) {
                let votes = votes.cast_signed();
                statement.execute((self.poll.id.0, start.0, candidate, lane.0, votes))?;
            }
        }
        Ok(())
    }

    fn write_accounts(&self, connection: &Connection, lane: Lane) -> Work<()> {
        let mut statement = connection.prepare_cached(
            "INSERT INTO account (poll, account, lane, votes) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET votes = votes + excluded.votes",
        )?;
        for account in Account::ALL {
            let votes = self.accounts.get(account);
            if votes > 0 {
                let votes = votes.cast_signed();
                statement.execute((self.poll.id.0, account.name(), lane.0, votes))?;
            }
        }
        Ok(())
    }
}

const MINUTE_SQL: &str =
    "INSERT INTO minute_bucket (poll, start, candidate, lane, votes) VALUES (?1, ?2, ?3, ?4, ?5)
     ON CONFLICT DO UPDATE SET votes = votes + excluded.votes";
const HOUR_SQL: &str =
    "INSERT INTO hour_bucket (poll, start, candidate, lane, votes) VALUES (?1, ?2, ?3, ?4, ?5)
     ON CONFLICT DO UPDATE SET votes = votes + excluded.votes";

/// The candidates who got something.
fn counted(counts: &Counts) -> impl Iterator<Item = (u8, u64)> {
    (0..)
        .zip(counts)
        .filter_map(|(candidate, &votes)| (votes > 0).then_some((candidate, votes)))
}
