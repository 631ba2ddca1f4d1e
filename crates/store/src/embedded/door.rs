//! The recount's way into the file: a connection of its own, reading only.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use paredao_domain::{CandidateNumber, Lane, LedgerPosition, Minute, PollId};
use rusqlite::Connection;

use super::fault::{Fault, Work, damaged, store_error};
use super::file::{Access, EmbeddedOptions, File};
use super::snapshot::account_named;
use super::{lane, polls};
use crate::StoreError;
use crate::recount::{Figure, Finality, Kept, LedgerDoor, Shown};

/// Bytes of batches read in one transaction: while it lasts, a running program cannot empty its
/// journal.
const STRETCH_BYTES: usize = 8 << 20;

/// The ledger of a store's file and what is kept of it. May be opened beside a running program.
pub struct EmbeddedLedger {
    path: PathBuf,
    connection: Connection,
}

impl EmbeddedLedger {
    /// Opens the file for reading.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::new(path, EmbeddedOptions::default());
        Ok(Self {
            path: path.to_owned(),
            connection: file.open(Access::Read)?,
        })
    }
}

impl LedgerDoor for EmbeddedLedger {
    fn kept(&mut self) -> Result<Kept, StoreError> {
        read_kept(&mut self.connection)
            .map_err(|fault: Fault<StoreError>| fault.into_answer(&self.path))
    }

    fn scan(
        &mut self,
        lane: Lane,
        last: LedgerPosition,
        show: &mut dyn FnMut(Shown<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut after = LedgerPosition(0);
        while after < last {
            let flow = match self.scan_stretch(lane, &mut after, last, show) {
                Ok(flow) => flow,
                Err(error) => {
                    // The row after the last one that could be read is named and passed over.
                    after = after.next();
                    let why = store_error(&self.path, &error).to_string();
                    show(Shown::Unreadable(after, why))
                }
            };
            if flow.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl EmbeddedLedger {
    /// Shows the entries after `after`, which moves along, up to `last` or as many as may be read
    /// at once. Only in the second case there is more to show.
    fn scan_stretch(
        &self,
        lane: Lane,
        after: &mut LedgerPosition,
        last: LedgerPosition,
        show: &mut dyn FnMut(Shown<'_>) -> ControlFlow<()>,
    ) -> rusqlite::Result<ControlFlow<()>> {
        let mut bytes = 0;
        let mut flow = ControlFlow::Break(());
        super::ledger::scan(&self.connection, lane, *after, last, &mut |entry| {
            *after = entry.position;
            bytes += entry.body.len();
            let wanted = show(Shown::Entry(entry));
            if wanted.is_continue() && bytes >= STRETCH_BYTES {
                flow = ControlFlow::Continue(());
                return ControlFlow::Break(());
            }
            wanted
        })?;
        Ok(flow)
    }
}

fn read_kept(connection: &mut Connection) -> Work<Kept> {
    let transaction = connection.transaction()?;
    let mut kept = Kept {
        polls: polls::all(&transaction)?,
        lanes: lane::all(&transaction)?
            .into_iter()
            .map(|(lane, next)| (lane, LedgerPosition(next.0.saturating_sub(1))))
            .collect(),
        finality: read_finality(&transaction)?,
        ..Kept::default()
    };
    read_figures(
        &transaction,
        "SELECT poll, 0, candidate, votes FROM total",
        |_, c| Figure::Total(c),
        &mut kept,
    )?;
    read_figures(
        &transaction,
        "SELECT poll, start, candidate, votes FROM minute_bucket",
        Figure::Minute,
        &mut kept,
    )?;
    read_figures(
        &transaction,
        "SELECT poll, start, candidate, votes FROM hour_bucket",
        Figure::Hour,
        &mut kept,
    )?;
    read_accounts(&transaction, &mut kept)?;
    Ok(kept)
}

fn read_figures(
    connection: &Connection,
    sql: &str,
    figure: impl Fn(Minute, CandidateNumber) -> Figure,
    kept: &mut Kept,
) -> Work<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let poll = PollId(row.get(0)?);
        let candidate = CandidateNumber::try_from(row.get::<_, i64>(2)?.cast_unsigned())
            .map_err(|error| damaged(format!("poll {poll}: {error}")))?;
        let votes = row.get::<_, i64>(3)?.cast_unsigned();
        kept.figures
            .add(poll, figure(Minute(row.get(1)?), candidate), votes);
    }
    Ok(())
}

fn read_accounts(connection: &Connection, kept: &mut Kept) -> Work<()> {
    let mut statement = connection.prepare("SELECT poll, account, votes FROM account")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let figure = Figure::Account(account_named(&name)?);
        let votes = row.get::<_, i64>(2)?.cast_unsigned();
        kept.figures.add(PollId(row.get(0)?), figure, votes);
    }
    Ok(())
}

fn read_finality(connection: &Connection) -> Work<Finality> {
    let mut statement = connection.prepare("SELECT poll, lane, last_position FROM finality")?;
    let mut rows = statement.query([])?;
    let mut finality = Finality::default();
    while let Some(row) = rows.next()? {
        let last = row.get::<_, i64>(2)?.cast_unsigned();
        finality.note(PollId(row.get(0)?), Lane(row.get(1)?), LedgerPosition(last));
    }
    Ok(finality)
}
