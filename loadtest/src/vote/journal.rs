//! Who is told of every settled vote.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use parking_lot::Mutex;
use serde::Serialize;

use super::outcome::{Outcome, SettledVote};

/// Takes note of settled votes. Called on the runtime's thread for each vote: must be quick.
pub trait Recorder: Send + Sync {
    /// One vote's story is over.
    fn settled(&self, vote: &SettledVote);
}

/// Takes note of nothing.
#[derive(Debug, Default)]
pub struct NoRecord;

impl Recorder for NoRecord {
    fn settled(&self, _vote: &SettledVote) {}
}

/// Every vote with its receipt, one JSON object per line.
#[derive(Debug)]
pub struct Journal {
    state: Mutex<JournalState>,
}

#[derive(Debug)]
struct JournalState {
    file: BufWriter<File>,
    failure: Option<io::Error>,
}

#[derive(Serialize)]
struct Line<'a> {
    key: &'a str,
    candidate: u8,
    outcome: &'static str,
    receipt: Option<&'a str>,
    reason: Option<&'a str>,
    attempts: u32,
    copies: Vec<CopyLine<'a>>,
}

#[derive(Serialize)]
struct CopyLine<'a> {
    candidate: u8,
    outcome: &'static str,
    receipt: Option<&'a str>,
    reason: Option<&'a str>,
}

impl Journal {
    /// A new file at `path`; one that exists is replaced.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        Ok(Self {
            state: Mutex::new(JournalState {
                file,
                failure: None,
            }),
        })
    }

    /// Writes what is buffered; the first error of the whole run, if there was one.
    pub fn finish(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        match state.failure.take() {
            Some(failure) => Err(failure),
            None => state.file.flush(),
        }
    }
}

impl Recorder for Journal {
    fn settled(&self, vote: &SettledVote) {
        let mut state = self.state.lock();
        let JournalState { file, failure } = &mut *state;
        if failure.is_none() {
            *failure = write_line(file, vote).err();
        }
    }
}

fn write_line(file: &mut impl Write, vote: &SettledVote) -> io::Result<()> {
    let (outcome, receipt, reason) = told(&vote.outcome);
    let copies = vote.copies.iter().map(|copy| {
        let (outcome, receipt, reason) = told(&copy.outcome);
        CopyLine {
            candidate: copy.candidate,
            outcome,
            receipt,
            reason,
        }
    });
    let line = Line {
        key: &vote.planned.key,
        candidate: vote.planned.candidate,
        outcome,
        receipt,
        reason,
        attempts: vote.attempts,
        copies: copies.collect(),
    };
    serde_json::to_writer(&mut *file, &line)?;
    file.write_all(b"\n")
}

fn told(outcome: &Outcome) -> (&'static str, Option<&str>, Option<&str>) {
    match outcome {
        Outcome::Accepted(receipt) => ("accepted", Some(&receipt.0), None),
        Outcome::Refused(reason) => ("refused", None, Some(&reason.0)),
        Outcome::Unknown(reason) => ("unknown", None, Some(&reason.0)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::vote::outcome::{Reason, Receipt, ResentCopy};
    use crate::vote::plan::VotePlan;

    #[test]
    fn every_vote_becomes_one_line_with_its_receipt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipts.jsonl");
        let journal = Journal::create(&path).unwrap();
        let mut vote = SettledVote {
            planned: VotePlan::plain(1, vec![2]).vote(9),
            outcome: Outcome::Accepted(Receipt("first".into())),
            attempts: 3,
            copies: vec![ResentCopy {
                candidate: 1,
                outcome: Outcome::Unknown(Reason("timeout".into())),
                unsure: 1,
            }],
            intended: Instant::now(),
            took: Duration::ZERO,
        };
        journal.settled(&vote);
        vote.outcome = Outcome::Refused(Reason("409 poll-not-open".into()));
        journal.settled(&vote);
        journal.finish().unwrap();

        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["key"], "lt-0000000000000001-0000000000000009");
        assert_eq!(
            (&lines[0]["receipt"], &lines[0]["attempts"]),
            (&"first".into(), &3.into())
        );
        assert_eq!(lines[0]["copies"][0]["reason"], "timeout");
        assert_eq!(lines[1]["outcome"], "refused");
    }

    #[test]
    fn a_full_disk_is_reported_at_the_end() {
        let journal = Journal::create(Path::new("/dev/full")).unwrap();
        let vote = SettledVote {
            planned: VotePlan::plain(1, vec![2]).vote(9),
            outcome: Outcome::Accepted(Receipt("r".into())),
            attempts: 1,
            copies: Vec::new(),
            intended: Instant::now(),
            took: Duration::ZERO,
        };
        journal.settled(&vote);
        assert!(journal.finish().is_err());
    }
}
