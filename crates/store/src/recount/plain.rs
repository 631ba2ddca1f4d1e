//! Adding up again, by the marks.

use std::collections::BTreeMap;

use paredao_domain::{Account, Accounts, CandidateNumber, LedgerEntry, Minute, PollId, UtcOffset};

use super::scan::{self, Scanned};
use super::{Difference, Figure, Figures, Findings, Kept, LedgerDamage, LedgerDoor, Progress};
use crate::StoreError;
use crate::counts::{self, Counts, NONE};

/// What [`plain`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainReport {
    /// Ledger entries read.
    pub entries: u64,
    /// Votes in them.
    pub votes: u64,
    /// Entries that are damaged or not there.
    pub damage: Findings<LedgerDamage>,
    /// Kept figures that the ledger does not bear out.
    pub differences: Vec<Difference>,
}

impl PlainReport {
    /// Whether the ledger is whole and everything kept agrees with it, to the vote.
    pub fn agrees(&self) -> bool {
        self.damage.is_empty() && self.differences.is_empty()
    }
}

/// Recounts totals, buckets and accounts from batches and marks, of one poll or of all.
pub fn plain(
    door: &mut dyn LedgerDoor,
    poll: Option<PollId>,
    progress: &mut dyn FnMut(Progress),
) -> Result<PlainReport, StoreError> {
    let kept = door.kept()?;
    let mut sums = Sums::new(&kept);
    let scanned = scan::entries(door, &kept, poll, progress, &mut |_, entry| {
        sums.add(entry);
        Ok(())
    })?;
    Ok(report(&kept, &sums.finish(), poll, scanned))
}

/// Compares what was recounted with what is kept.
pub(super) fn report(
    kept: &Kept,
    recounted: &Figures,
    poll: Option<PollId>,
    scanned: Scanned,
) -> PlainReport {
    PlainReport {
        entries: scanned.entries,
        votes: scanned.votes,
        damage: scanned.damage,
        differences: kept
            .figures
            .differences(recounted, |of, _| poll.is_none_or(|poll| poll == of)),
    }
}

/// The sums while they are made. Entries of one poll and minute mostly come together, so theirs
/// are kept in a plain table until the next minute comes.
pub(super) struct Sums {
    offsets: BTreeMap<PollId, UtcOffset>,
    figures: Figures,
    current: (PollId, Minute),
    counts: Counts,
    accounts: Accounts,
}

impl Sums {
    pub(super) fn new(kept: &Kept) -> Self {
        Self {
            offsets: kept.polls.iter().map(|p| (p.id, p.utc_offset)).collect(),
            figures: Figures::default(),
            current: (PollId::NONE, Minute(0)),
            counts: NONE,
            accounts: Accounts::default(),
        }
    }

    pub(super) fn add(&mut self, entry: &LedgerEntry) {
        let header = entry.batch.header();
        let of = (header.poll, header.minute);
        if of != self.current {
            self.flush();
            self.current = of;
        }
        self.accounts += entry.accounts();
        counts::add(&mut self.counts, &entry.counted());
    }

    pub(super) fn finish(mut self) -> Figures {
        self.flush();
        self.figures
    }

    fn flush(&mut self) {
        let (poll, minute) = self.current;
        // A poll that is not kept has no clock of its own.
        let offset = self.offsets.get(&poll).copied();
        let hour = minute.hour_start(offset.unwrap_or(UtcOffset::BRASILIA));
        for (number, votes) in (0..).zip(std::mem::replace(&mut self.counts, NONE)) {
            if let (1.., Ok(candidate)) = (votes, CandidateNumber::try_from(number)) {
                for figure in [
                    Figure::Total(candidate),
                    Figure::Minute(minute, candidate),
                    Figure::Hour(hour, candidate),
                ] {
                    self.figures.add(poll, figure, votes);
                }
            }
        }
        let accounts = std::mem::take(&mut self.accounts);
        for account in Account::ALL {
            if accounts.get(account) > 0 {
                self.figures
                    .add(poll, Figure::Account(account), accounts.get(account));
            }
        }
    }
}
