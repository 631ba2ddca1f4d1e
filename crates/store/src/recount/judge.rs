//! Which copies of a key count, derived from the keys and the clock alone.
//!
//! In ledger order, a vote is not counted if it came when its poll's result was final, if it was
//! accepted outside its poll's hours, or if a copy that counts was accepted within the key's life
//! of it, before or after. Every other vote counts, and stands for later copies.

use std::fmt;

use paredao_domain::{
    CandidateNumber, KeyHash, Lane, LedgerPosition, Mark, MarkKind, Poll, PollId, Position,
    Standing, UnixMillis,
};

use super::Finality;

/// Where a vote is in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VoteName {
    /// The lane.
    pub lane: Lane,
    /// The entry.
    pub entry: LedgerPosition,
    /// The vote of its batch.
    pub position: Position,
}

impl fmt::Display for VoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.lane, self.entry, self.position)
    }
}

/// What the keys say about a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Counted,
    /// It is a copy of one that stands, for the same candidate.
    Duplicate(VoteName),
    /// It is a copy of one that stands, for another candidate.
    KeyConflict(VoteName),
    /// It was accepted outside its poll's hours.
    AfterClose,
    /// It came when the result was final.
    Late,
}

/// A vote about which ledger and keys disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFinding {
    /// It is counted, and so is the copy that stands.
    CountedTwice {
        /// The poll.
        poll: PollId,
        /// The key.
        key: KeyHash,
        /// The copy that stands.
        standing: VoteName,
        /// The copy too many.
        vote: VoteName,
    },
    /// It is counted although it came outside its poll's hours or after the result was final.
    CountedOutOfTime {
        /// The poll.
        poll: PollId,
        /// The vote.
        vote: VoteName,
        /// Why it must not count.
        verdict: Verdict,
    },
    /// It is marked, and nothing stands in its way.
    NeverCounted {
        /// The poll.
        poll: PollId,
        /// The key.
        key: KeyHash,
        /// The vote.
        vote: VoteName,
        /// Its mark.
        mark: Mark,
    },
    /// It rightly does not count, but its mark gives another reason or names a copy that does not
    /// stand.
    WrongMark {
        /// The poll.
        poll: PollId,
        /// The vote.
        vote: VoteName,
        /// Its mark.
        mark: Mark,
        /// What the keys say.
        verdict: Verdict,
    },
}

impl fmt::Display for KeyFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CountedTwice {
                poll,
                standing,
                vote,
                ..
            } => write!(
                f,
                "poll {poll}: vote {vote} is counted, and so is its copy {standing}"
            ),
            Self::CountedOutOfTime {
                poll,
                vote,
                verdict,
            } => write!(
                f,
                "poll {poll}: vote {vote} is counted and should be {verdict:?}"
            ),
            Self::NeverCounted {
                poll, vote, mark, ..
            } => write!(
                f,
                "poll {poll}: vote {vote} is marked {:?} and nothing stands in its way",
                mark.kind
            ),
            Self::WrongMark {
                poll,
                vote,
                mark,
                verdict,
            } => write!(
                f,
                "poll {poll}: vote {vote} is marked {:?} (copy {:?}) and should be {verdict:?}",
                mark.kind, mark.standing
            ),
        }
    }
}

/// One vote as the judge sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: VoteName,
    pub(super) key: KeyHash,
    pub(super) candidate: CandidateNumber,
    pub(super) accepted: UnixMillis,
    pub(super) mark: Option<Mark>,
}

/// Judges the votes of one key of one poll, in ledger order.
pub(super) struct Judge<'a> {
    poll: &'a Poll,
    finality: &'a Finality,
    standing: Vec<Case>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(poll: &'a Poll, finality: &'a Finality) -> Self {
        Self {
            poll,
            finality,
            standing: Vec::new(),
        }
    }

    /// What the keys say, and whether the ledger disagrees. A vote that counts stands from now on.
    pub(super) fn judge(&mut self, case: &Case) -> (Verdict, Option<KeyFinding>) {
        let verdict = self.verdict(case);
        let finding = match (case.mark, verdict) {
            (None, Verdict::Counted) => None,
            (None, _) => Some(self.wrongly_counted(case, verdict)),
            (Some(mark), _) => self.check_mark(case, mark, verdict),
        };
        if verdict == Verdict::Counted {
            self.standing.push(*case);
        }
        (verdict, finding)
    }

    fn verdict(&self, case: &Case) -> Verdict {
        let VoteName { lane, entry, .. } = case.name;
        if self.finality.is_past(self.poll.id, lane, entry) {
            return Verdict::Late;
        }
        if !self.poll.hours().contain(case.accepted) {
            return Verdict::AfterClose;
        }
        match self.copies_of(case).next() {
            None => Verdict::Counted,
            Some(copy) if copy.candidate == case.candidate => Verdict::Duplicate(copy.name),
            Some(copy) => Verdict::KeyConflict(copy.name),
        }
    }

    /// The copies that stand and were accepted within the key's life of this one.
    fn copies_of(&self, case: &Case) -> impl Iterator<Item = &Case> {
        let accepted = case.accepted;
        let life = self.poll.key_life_ms().unsigned_abs();
        self.standing
            .iter()
            .filter(move |copy| copy.accepted.since(accepted).unsigned_abs() <= life)
    }

    fn wrongly_counted(&self, case: &Case, verdict: Verdict) -> KeyFinding {
        let (poll, vote) = (self.poll.id, case.name);
        match verdict {
            Verdict::Duplicate(standing) | Verdict::KeyConflict(standing) => {
                KeyFinding::CountedTwice {
                    poll,
                    key: case.key,
                    standing,
                    vote,
                }
            }
            Verdict::Counted | Verdict::AfterClose | Verdict::Late => {
                KeyFinding::CountedOutOfTime {
                    poll,
                    vote,
                    verdict,
                }
            }
        }
    }

    fn check_mark(&self, case: &Case, mark: Mark, verdict: Verdict) -> Option<KeyFinding> {
        let (poll, vote) = (self.poll.id, case.name);
        if verdict == Verdict::Counted {
            return Some(KeyFinding::NeverCounted {
                poll,
                key: case.key,
                vote,
                mark,
            });
        }
        let agrees = match mark.kind {
            MarkKind::Late => verdict == Verdict::Late,
            MarkKind::AfterClose => !self.poll.hours().contain(case.accepted),
            MarkKind::Duplicate | MarkKind::KeyConflict => self.names_a_copy(case, mark),
        };
        (!agrees).then_some(KeyFinding::WrongMark {
            poll,
            vote,
            mark,
            verdict,
        })
    }

    /// Whether the copy that a mark names stands, and is for the same or another candidate as the
    /// mark says. A copy that also came out of time may be marked as either.
    fn names_a_copy(&self, case: &Case, mark: Mark) -> bool {
        let same_candidate = mark.kind == MarkKind::Duplicate;
        let Some(Standing { entry, position }) = mark.standing else {
            return false;
        };
        let named = VoteName {
            lane: case.name.lane,
            entry,
            position,
        };
        self.copies_of(case)
            .any(|copy| copy.name == named && (copy.candidate == case.candidate) == same_candidate)
    }
}
