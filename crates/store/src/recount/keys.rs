//! Judging again, by the keys alone.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use paredao_domain::{CandidateNumber, KeySource, Lane, LedgerEntry, Poll, PollId};

use super::judge::{Case, Judge, KeyFinding, Verdict, VoteName};
use super::plain::{PlainReport, Sums, report};
use super::record::Record;
use super::sort::Sorter;
use super::{
    Difference, Figure, Figures, Finality, Findings, Kept, LedgerDoor, Phase, Progress, scan,
};
use crate::StoreError;

/// Votes judged between two calls of the progress callback.
const PROGRESS_EVERY: u64 = 65_536;

/// What [`keys`] may use.
#[derive(Clone, Debug)]
pub struct KeysOptions {
    /// Where its temporary file goes: 46 bytes for each vote whose key can repeat.
    pub folder: PathBuf,
    /// How much memory it may use, about.
    pub memory_bytes: usize,
}

/// What [`keys`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysReport {
    /// What [`plain`](super::plain()) finds, from the same reading.
    pub plain: PlainReport,
    /// Different keys that can repeat.
    pub keys: u64,
    /// Votes about which ledger and keys disagree.
    pub findings: Findings<KeyFinding>,
    /// Kept totals that the keys do not bear out.
    pub differences: Vec<Difference>,
}

impl KeysReport {
    /// Whether every key was counted exactly once and everything kept agrees with that.
    pub fn agrees(&self) -> bool {
        self.plain.agrees() && self.findings.is_empty() && self.differences.is_empty()
    }
}

/// Recounts from batches and keys, ignoring the marks, and compares marks and totals with that.
/// Memory stays bounded; the folder needs room for the sort.
pub fn keys(
    door: &mut dyn LedgerDoor,
    poll: Option<PollId>,
    options: &KeysOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<KeysReport, StoreError> {
    let explain = |error: io::Error| {
        let folder = options.folder.display();
        StoreError::Unavailable(format!("sorting in {folder}: {error}"))
    };
    let kept = door.kept()?;
    let mut sums = Sums::new(&kept);
    let mut court = Court::new(&kept);
    let mut sorter = Sorter::new(&options.folder, options.memory_bytes).map_err(explain)?;
    let mut repeatable = 0;
    let scanned = scan::entries(door, &kept, poll, progress, &mut |lane, entry| {
        sums.add(entry);
        for (source, case) in cases(lane, entry) {
            if source.can_repeat() {
                repeatable += 1;
                let record = Record::pack(entry.batch.header().poll, &case);
                sorter.push(record).map_err(explain)?;
            } else {
                court.hear_alone(entry.batch.header().poll, &case);
            }
        }
        Ok(())
    })?;
    judge_sorted(sorter, &mut court, repeatable, progress).map_err(explain)?;
    Ok(KeysReport {
        plain: report(&kept, &sums.finish(), poll, scanned),
        keys: court.keys,
        differences: kept.figures.differences(&court.totals(), |of, figure| {
            matches!(figure, Figure::Total(_)) && poll.is_none_or(|poll| poll == of)
        }),
        findings: court.findings,
    })
}

/// The votes of an entry as the judge sees them.
fn cases(lane: Lane, entry: &LedgerEntry) -> impl Iterator<Item = (KeySource, Case)> {
    let minute = entry.batch.header().minute;
    let mut marks = entry.marks.iter().copied().peekable();
    entry.batch.votes().map(move |(position, vote)| {
        let case = Case {
            name: VoteName {
                lane,
                entry: entry.position,
                position,
            },
            key: vote.key,
            candidate: vote.candidate,
            accepted: minute.at(vote.offset),
            mark: marks.next_if(|mark| mark.position == position),
        };
        (vote.source, case)
    })
}

fn judge_sorted(
    sorter: Sorter,
    court: &mut Court<'_>,
    votes_total: u64,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<()> {
    let mut votes_done = 0;
    sorter.finish(|record| {
        court.hear(record)?;
        votes_done += 1;
        if votes_done % PROGRESS_EVERY == 0 || votes_done == votes_total {
            progress(Progress {
                phase: Phase::Judging,
                votes_done,
                votes_total,
            });
        }
        Ok(())
    })
}

/// Hears the votes of one key after another and keeps what was found.
struct Court<'a> {
    polls: BTreeMap<PollId, &'a Poll>,
    finality: &'a Finality,
    /// The key that is being heard.
    session: Option<(Record, Judge<'a>)>,
    counted: BTreeMap<(PollId, CandidateNumber), u64>,
    keys: u64,
    findings: Findings<KeyFinding>,
}

impl<'a> Court<'a> {
    fn new(kept: &'a Kept) -> Self {
        Self {
            polls: kept.polls.iter().map(|poll| (poll.id, poll)).collect(),
            finality: &kept.finality,
            session: None,
            counted: BTreeMap::new(),
            keys: 0,
            findings: Findings::default(),
        }
    }

    /// Hears the next vote in order of poll, key and place.
    fn hear(&mut self, record: &Record) -> io::Result<()> {
        let case = record
            .unpack()
            .ok_or_else(|| io::Error::other("the temporary file is not as it was written"))?;
        let same = self
            .session
            .as_ref()
            .is_some_and(|(of, _)| of.has_key_of(record));
        if !same {
            self.keys += 1;
            self.session = self.judge_of(record.poll()).map(|judge| (*record, judge));
        }
        if let Some((_, judge)) = &mut self.session {
            let (verdict, finding) = judge.judge(&case);
            self.note(record.poll(), &case, verdict, finding);
        }
        Ok(())
    }

    /// Hears a vote whose key nobody can send again.
    fn hear_alone(&mut self, poll: PollId, case: &Case) {
        if let Some(mut judge) = self.judge_of(poll) {
            let (verdict, finding) = judge.judge(case);
            self.note(poll, case, verdict, finding);
        }
    }

    fn judge_of(&self, poll: PollId) -> Option<Judge<'a>> {
        let poll = self.polls.get(&poll)?;
        Some(Judge::new(poll, self.finality))
    }

    fn note(&mut self, poll: PollId, case: &Case, verdict: Verdict, finding: Option<KeyFinding>) {
        if verdict == Verdict::Counted {
            *self.counted.entry((poll, case.candidate)).or_insert(0) += 1;
        }
        if let Some(finding) = finding {
            self.findings.push(finding);
        }
    }

    fn totals(&self) -> Figures {
        let mut figures = Figures::default();
        for (&(poll, candidate), &votes) in &self.counted {
            figures.add(poll, Figure::Total(candidate), votes);
        }
        figures
    }
}
