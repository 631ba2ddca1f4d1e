//! Reading a whole ledger in order, naming what is damaged or not there.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use paredao_domain::{Lane, LedgerEntry, LedgerPosition, PollId};

use super::{Findings, Kept, LedgerDamage, LedgerDoor, Phase, Progress, Shown};
use crate::StoreError;

/// Unreadable entries after which reading stops: a disk that answers nothing any more.
const UNREADABLE_MAX: u64 = 10_000;

/// What a whole ledger consisted of.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) entries: u64,
    pub(super) votes: u64,
    pub(super) damage: Findings<LedgerDamage>,
}

/// Shows every good entry of a ledger, or of one poll's part of it, lane by lane in order.
///
/// An error that `take` returns ends the reading.
pub(super) fn entries(
    door: &mut dyn LedgerDoor,
    kept: &Kept,
    poll: Option<PollId>,
    progress: &mut dyn FnMut(Progress),
    take: &mut dyn FnMut(Lane, &LedgerEntry) -> Result<(), StoreError>,
) -> Result<Scanned, StoreError> {
    let mut scan = Scan {
        scanned: Scanned::default(),
        poll,
        polls: kept.polls.iter().map(|poll| poll.id).collect(),
        votes_total: kept.figures.booked(poll),
        unreadable: 0,
        failed: None,
        progress,
        take,
    };
    for &(lane, last) in &kept.lanes {
        scan.lane(door, lane, last)?;
    }
    scan.failed.map_or(Ok(scan.scanned), Err)
}

struct Scan<'a> {
    scanned: Scanned,
    poll: Option<PollId>,
    polls: BTreeSet<PollId>,
    votes_total: u64,
    unreadable: u64,
    failed: Option<StoreError>,
    progress: &'a mut dyn FnMut(Progress),
    take: &'a mut dyn FnMut(Lane, &LedgerEntry) -> Result<(), StoreError>,
}

impl Scan<'_> {
    fn lane(
        &mut self,
        door: &mut dyn LedgerDoor,
        lane: Lane,
        last: LedgerPosition,
    ) -> Result<(), StoreError> {
        let mut expected = LedgerPosition(1);
        door.scan(lane, last, &mut |shown| {
            let position = match &shown {
                Shown::Entry(entry) => entry.position,
                Shown::Unreadable(position, _) => *position,
            };
            self.name_hole(lane, expected, position);
            expected = position.next();
            self.show(lane, shown)
        })?;
        if self.failed.is_none() && self.unreadable < UNREADABLE_MAX {
            self.name_hole(lane, expected, last.next());
        }
        Ok(())
    }

    fn show(&mut self, lane: Lane, shown: Shown<'_>) -> ControlFlow<()> {
        let entry = match shown {
            Shown::Unreadable(position, what) => {
                self.damage(lane, position, what);
                self.unreadable += 1;
                return if self.unreadable < UNREADABLE_MAX {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                };
            }
            Shown::Entry(entry) => entry,
        };
        if self.poll.is_some_and(|poll| poll != entry.poll) {
            return ControlFlow::Continue(());
        }
        if entry.poll != PollId::NONE && !self.polls.contains(&entry.poll) {
            let what = format!("it is of poll {}, which does not exist", entry.poll);
            self.damage(lane, entry.position, what);
            return ControlFlow::Continue(());
        }
        match entry.decode() {
            Ok(entry) => self.take(lane, &entry),
            Err(damage) => {
                self.damage(lane, entry.position, damage.to_string());
                ControlFlow::Continue(())
            }
        }
    }

    fn take(&mut self, lane: Lane, entry: &LedgerEntry) -> ControlFlow<()> {
        self.scanned.entries += 1;
        self.scanned.votes += u64::from(entry.batch.vote_count());
        if let Err(error) = (self.take)(lane, entry) {
            self.failed = Some(error);
            return ControlFlow::Break(());
        }
        (self.progress)(Progress {
            phase: Phase::Reading,
            votes_done: self.scanned.votes,
            votes_total: self.votes_total,
        });
        ControlFlow::Continue(())
    }

    fn name_hole(&mut self, lane: Lane, expected: LedgerPosition, found: LedgerPosition) {
        if expected < found {
            let up_to = found.0 - 1;
            let what = if expected.0 == up_to {
                "there is no such entry".to_owned()
            } else {
                format!("there is no entry from here up to position {up_to}")
            };
            self.damage(lane, expected, what);
        }
    }

    fn damage(&mut self, lane: Lane, position: LedgerPosition, what: String) {
        self.scanned.damage.push(LedgerDamage {
            lane,
            position,
            what,
        });
    }
}
