//! Recounts, on a thread of their own beside everything that serves.

use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use paredao_domain::{Account, Lane, LedgerPosition, PollId, Slug};
use paredao_store::recount::{
    self, Figure, Findings, Kept, KeysOptions, LedgerDoor, Phase, PlainReport, Shown,
};
use paredao_store::{EmbeddedLedger, StoreError};
use tokio::sync::watch;

use super::{Office, refusal};
use crate::control::protocol::{Depth, Progress, RecountReport, Refusal, Reply};

/// Memory of the sort by keys, about; what does not fit goes to the data folder.
const SORT_BYTES: usize = 64 << 20;
/// Ledger entries between two signs of life.
const SIGN_EVERY: u64 = 256;
/// Differences that are listed; the rest is only counted.
const LISTED_MAX: usize = 100;

impl Office {
    pub(super) async fn recount(
        &self,
        poll: Option<Slug>,
        depth: Depth,
        progress: watch::Sender<Progress>,
    ) -> Result<Reply, Refusal> {
        let polls = self.store.polls().await.map_err(refusal)?;
        let poll = match poll {
            None => None,
            Some(slug) => {
                let found = polls.iter().find(|poll| poll.slug == slug);
                Some(
                    found
                        .ok_or_else(|| refusal(StoreError::UnknownPoll(slug)))?
                        .id,
                )
            }
        };
        let work = Work {
            store_file: self.store_file.clone(),
            poll,
            depth,
            options: KeysOptions {
                folder: self.scratch.clone(),
                memory_bytes: SORT_BYTES,
            },
        };
        let permit = Arc::clone(&self.recounts).try_acquire_owned();
        let permit = permit.map_err(|_| Refusal::failed("another recount is at work"))?;
        let cancelled = Arc::new(AtomicBool::new(false));
        let _cancel_on_drop = CancelOnDrop(Arc::clone(&cancelled));
        let run = move || {
            let _permit = permit;
            work.run(cancelled, &progress)
        };
        let done = tokio::task::spawn_blocking(run).await;
        let mut report = done.map_err(Refusal::failed)?.map_err(refusal)?;
        report.polls = if poll.is_some() {
            1
        } else {
            polls.len() as u64
        };
        Ok(Reply::Recount(report))
    }
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Work {
    store_file: std::path::PathBuf,
    poll: Option<PollId>,
    depth: Depth,
    options: KeysOptions,
}

impl Work {
    fn run(
        &self,
        cancelled: Arc<AtomicBool>,
        progress: &watch::Sender<Progress>,
    ) -> Result<RecountReport, StoreError> {
        let started = Instant::now();
        let door = EmbeddedLedger::open(&self.store_file)?;
        let mut door = Cancellable {
            door,
            cancelled,
            counted: 0,
            poll: self.poll,
            shown: 0,
            progress,
        };
        let mut tell = |now: recount::Progress| {
            progress.send_replace(self.overall(now));
        };
        let mut report = match self.depth {
            Depth::Marks => plain(&recount::plain(&mut door, self.poll, &mut tell)?),
            Depth::Keys => {
                let found = recount::keys(&mut door, self.poll, &self.options, &mut tell)?;
                let mut report = plain(&found.plain);
                list_findings(&mut report, &found.findings);
                found
                    .differences
                    .iter()
                    .for_each(|d| list(&mut report, &format!("by the keys: {d}")));
                report
            }
        };
        report.counted = door.counted;
        report.took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(report)
    }

    /// Reading and judging as one way, so that a bar goes from one end to the other once.
    fn overall(&self, now: recount::Progress) -> Progress {
        let (before, phases) = match (self.depth, now.phase) {
            (Depth::Marks, _) => (0, 1),
            (Depth::Keys, Phase::Reading) => (0, 2),
            (Depth::Keys, Phase::Judging) => (now.votes_total, 2),
        };
        Progress {
            done: before + now.votes_done,
            of: now.votes_total * phases,
        }
    }
}

fn plain(found: &PlainReport) -> RecountReport {
    let mut report = RecountReport {
        entries: found.entries,
        votes: found.votes,
        ..RecountReport::default()
    };
    list_findings(&mut report, &found.damage);
    found
        .differences
        .iter()
        .for_each(|difference| list(&mut report, difference));
    report
}

fn list_findings<T: Display>(report: &mut RecountReport, findings: &Findings<T>) {
    findings
        .listed()
        .iter()
        .for_each(|finding| list(report, finding));
    let unlisted = findings.count() - findings.listed().len() as u64;
    report.further_differences += unlisted;
}

fn list(report: &mut RecountReport, difference: &impl Display) {
    if report.differences.len() < LISTED_MAX {
        report.differences.push(difference.to_string());
    } else {
        report.further_differences += 1;
    }
}

/// A ledger whose reading ends when nobody waits for the result any more.
struct Cancellable<'a> {
    door: EmbeddedLedger,
    cancelled: Arc<AtomicBool>,
    poll: Option<PollId>,
    /// Votes that are kept as counted, noted in passing.
    counted: u64,
    /// Entries read so far, those of other polls included.
    shown: u64,
    /// Told also while entries of other polls are passed over, or it would look stalled.
    progress: &'a watch::Sender<Progress>,
}

impl LedgerDoor for Cancellable<'_> {
    fn kept(&mut self) -> Result<Kept, StoreError> {
        let kept = self.door.kept()?;
        let wanted = kept
            .polls
            .iter()
            .filter(|poll| self.poll.is_none_or(|id| id == poll.id));
        let counted =
            wanted.map(|poll| kept.figures.get(poll.id, Figure::Account(Account::Counted)));
        self.counted = counted.sum();
        Ok(kept)
    }

    fn scan(
        &mut self,
        lane: Lane,
        last: LedgerPosition,
        show: &mut dyn FnMut(Shown<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let Self {
            door,
            cancelled,
            shown: count,
            progress,
            ..
        } = self;
        door.scan(lane, last, &mut |shown| {
            if cancelled.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            *count += 1;
            if count.is_multiple_of(SIGN_EVERY) {
                progress.send_modify(|_| ());
            }
            show(shown)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_goes_from_one_end_to_the_other_once() {
        let percent = |depth, phase, votes_done| {
            let work = Work {
                store_file: "".into(),
                poll: None,
                depth,
                options: KeysOptions {
                    folder: "".into(),
                    memory_bytes: 0,
                },
            };
            let now = recount::Progress {
                phase,
                votes_done,
                votes_total: 10,
            };
            let overall = work.overall(now);
            overall.done * 100 / overall.of
        };
        assert_eq!(percent(Depth::Marks, Phase::Reading, 10), 100);
        assert_eq!(percent(Depth::Keys, Phase::Reading, 10), 50);
        assert_eq!(percent(Depth::Keys, Phase::Judging, 0), 50);
        assert_eq!(percent(Depth::Keys, Phase::Judging, 10), 100);
    }

    #[test]
    fn differences_beyond_a_list_are_counted() {
        let mut report = RecountReport::default();
        (0..LISTED_MAX + 3).for_each(|number| list(&mut report, &number));
        assert_eq!(
            (report.differences.len(), report.further_differences),
            (LISTED_MAX, 3)
        );
    }
}
