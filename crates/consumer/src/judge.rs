//! What each vote of a batch is: counted, a copy of one that stands, or set aside.

use paredao_domain::{
    BatchKind, EncodedBatch, KeyHash, LedgerEntry, LedgerPosition, Mark, MarkKind, Poll, PollId,
    Position, Standing, UnixMillis, Vote,
};

use crate::copies::{Copies, Copy};
use crate::window::{Found, Probe, Window};

/// Why a batch that can be read is poison all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Poison {
    /// It names a poll that does not exist.
    #[error("poll {0} does not exist")]
    UnknownPoll(PollId),
    /// It names a candidate who does not stand.
    #[error("vote {position} is for {candidate}, who does not stand in poll {poll}")]
    UnknownCandidate {
        /// The vote.
        position: Position,
        /// Whom it names.
        candidate: u8,
        /// The poll.
        poll: PollId,
    },
}

/// Takes the counted votes of a ledger entry whose keys `is_wanted`.
pub(crate) fn learn(
    copies: &mut Copies,
    entry: &LedgerEntry,
    is_wanted: impl Fn(&KeyHash) -> bool,
) {
    let header = entry.batch.header();
    for (position, vote) in standing_votes(&entry.batch, &entry.marks) {
        if is_wanted(&vote.key) {
            let copy = copy_of(
                &vote,
                header.minute.at(vote.offset),
                header.poll,
                entry.position,
                position,
            );
            copies.add(vote.key, copy);
        }
    }
}

fn copy_of(
    vote: &Vote,
    accepted_at: UnixMillis,
    poll: PollId,
    entry: LedgerPosition,
    position: Position,
) -> Copy {
    let standing = Standing { entry, position };
    Copy {
        poll,
        accepted_at,
        found: Found {
            standing,
            candidate: vote.candidate,
        },
    }
}

/// Votes of a batch that are counted and whose keys can come again.
pub(crate) fn standing_votes<'a>(
    batch: &'a EncodedBatch,
    marks: &'a [Mark],
) -> impl Iterator<Item = (Position, Vote)> + 'a {
    let mut marks = marks.iter().peekable();
    batch.votes().filter(move |(position, vote)| {
        let marked = marks.next_if(|mark| mark.position == *position).is_some();
        !marked && vote.source.can_repeat()
    })
}

/// Judges batches one after the other, in the order in which the ledger will hold them.
#[derive(Debug)]
pub struct Judge<'a> {
    polls: &'a [Poll],
    window: &'a Window,
    earlier: &'a Copies,
    /// Copies in the batches judged so far: they stand only if their transaction commits.
    overlay: Copies,
}

impl<'a> Judge<'a> {
    /// Judges by the polls as they are now, and by what stands.
    pub fn new(polls: &'a [Poll], window: &'a Window, earlier: &'a Copies) -> Self {
        Self {
            polls,
            window,
            earlier,
            overlay: Copies::default(),
        }
    }

    /// Judges a batch that will stand at `entry`: the marks of what is not counted.
    pub fn judge(
        &mut self,
        batch: &EncodedBatch,
        entry: LedgerPosition,
    ) -> Result<Vec<Mark>, Poison> {
        if batch.header().kind.is_of_no_poll() {
            return Ok(Vec::new());
        }
        let poll = self.poll(batch.header().poll)?;
        if batch.header().kind == BatchKind::Barrier {
            return Ok(Vec::new());
        }
        check_candidates(batch, poll)?;
        if poll.final_at.is_some() {
            return Ok(marks_when_final(batch, poll));
        }
        Ok(self.mark_and_keep(batch, poll, entry))
    }

    fn poll(&self, id: PollId) -> Result<&'a Poll, Poison> {
        self.polls
            .iter()
            .find(|poll| poll.id == id)
            .ok_or(Poison::UnknownPoll(id))
    }

    fn mark_and_keep(
        &mut self,
        batch: &EncodedBatch,
        poll: &Poll,
        entry: LedgerPosition,
    ) -> Vec<Mark> {
        let minute = batch.header().minute;
        self.overlay.reserve(batch.vote_count() as usize);
        let repeatable = batch.votes().filter(|(_, vote)| vote.source.can_repeat());
        self.window.warm(repeatable.map(|(_, vote)| vote.key));
        let mut marks = Vec::new();
        for (position, vote) in batch.votes() {
            let accepted_at = minute.at(vote.offset);
            match self.mark(&vote, accepted_at, poll) {
                Some((kind, standing)) => marks.push(Mark {
                    position,
                    kind,
                    standing,
                }),
                None if vote.source.can_repeat() => {
                    let copy = copy_of(&vote, accepted_at, poll.id, entry, position);
                    self.overlay.add(vote.key, copy);
                }
                None => {}
            }
        }
        marks
    }

    fn mark(
        &self,
        vote: &Vote,
        accepted_at: UnixMillis,
        poll: &Poll,
    ) -> Option<(MarkKind, Option<Standing>)> {
        if vote.source.can_repeat()
            && let Some(found) = self.standing(vote.key, accepted_at, poll)
        {
            let same = found.candidate == vote.candidate;
            let kind = if same {
                MarkKind::Duplicate
            } else {
                MarkKind::KeyConflict
            };
            return Some((kind, Some(found.standing)));
        }
        (!poll.hours().contain(accepted_at)).then_some((MarkKind::AfterClose, None))
    }

    fn standing(&self, key: KeyHash, accepted_at: UnixMillis, poll: &Poll) -> Option<Found> {
        let probe = Probe {
            poll: poll.id,
            key,
            accepted_at,
            life_ms: poll.key_life_ms(),
        };
        let places = [
            self.window.find(&probe),
            self.earlier.find(&probe),
            self.overlay.find(&probe),
        ];
        places
            .into_iter()
            .flatten()
            .min_by_key(|found| found.standing)
    }
}

/// Nothing is counted any more. Votes accepted in time were answered to nobody; others an API may
/// have taken that had not heard of the end.
fn marks_when_final(batch: &EncodedBatch, poll: &Poll) -> Vec<Mark> {
    let minute = batch.header().minute;
    let mark = |(position, vote): (Position, Vote)| Mark {
        position,
        kind: if poll.hours().contain(minute.at(vote.offset)) {
            MarkKind::Late
        } else {
            MarkKind::AfterClose
        },
        standing: None,
    };
    batch.votes().map(mark).collect()
}

fn check_candidates(batch: &EncodedBatch, poll: &Poll) -> Result<(), Poison> {
    let mut stands = [false; 256];
    for candidate in &poll.candidates {
        if let Some(stands) = stands.get_mut(candidate.number.index()) {
            *stands = true;
        }
    }
    let stranger = batch.raw_votes().zip(0..).find_map(|(raw, position)| {
        let [candidate, ..] = *raw;
        let known = stands.get(usize::from(candidate)).copied().unwrap_or(false);
        (!known).then_some((position, candidate))
    });
    match stranger {
        None => Ok(()),
        Some((position, candidate)) => Err(Poison::UnknownCandidate {
            position,
            candidate,
            poll: poll.id,
        }),
    }
}

#[cfg(test)]
mod tests {
    use paredao_domain::{BatchHeader, Minute};

    use super::*;
    use crate::sample::{LIFE_MS, OPENS, POLL, batch, header, key, open_poll, vote};
    use crate::window::Source;

    const ENTRY: LedgerPosition = LedgerPosition(7);

    /// Judges batches one after the other from `ENTRY` on, with an empty window.
    fn judge_all(polls: &[Poll], batches: &[EncodedBatch]) -> Vec<Result<Vec<Mark>, Poison>> {
        let (window, earlier) = (Window::new(), Copies::default());
        let mut judge = Judge::new(polls, &window, &earlier);
        let positions = std::iter::successors(Some(ENTRY), |entry| Some(entry.next()));
        batches
            .iter()
            .zip(positions)
            .map(|(batch, entry)| judge.judge(batch, entry))
            .collect()
    }

    fn judge_one(poll: Poll, batch: &EncodedBatch) -> Result<Vec<Mark>, Poison> {
        judge_all(&[poll], std::slice::from_ref(batch)).remove(0)
    }

    fn kinds(marks: &[Mark]) -> Vec<(Position, MarkKind)> {
        marks
            .iter()
            .map(|mark| (mark.position, mark.kind))
            .collect()
    }

    fn standing(entry: u64, position: Position) -> Standing {
        Standing {
            entry: LedgerPosition(entry),
            position,
        }
    }

    #[test]
    fn of_the_copies_of_a_key_in_one_batch_the_first_stands() {
        let batch = batch(1, OPENS, &[vote(1, 1), vote(2, 1), vote(1, 1), vote(1, 2)]);
        let marks = judge_one(open_poll(POLL), &batch).unwrap();
        let first = Some(standing(7, 0));
        let expected = [(2, MarkKind::Duplicate), (3, MarkKind::KeyConflict)];
        assert_eq!(kinds(&marks), expected);
        assert!(marks.iter().all(|mark| mark.standing == first));
    }

    #[test]
    fn a_copy_in_a_later_batch_of_the_same_transaction_names_the_earlier_one() {
        let batches = [
            batch(1, OPENS, &[vote(9, 1), vote(1, 1)]),
            batch(2, OPENS, &[vote(8, 1), vote(1, 1)]),
        ];
        let judged = judge_all(&[open_poll(POLL)], &batches);
        assert_eq!(judged[0], Ok(Vec::new()));
        let duplicate = Mark {
            position: 1,
            kind: MarkKind::Duplicate,
            standing: Some(standing(7, 1)),
        };
        assert_eq!(judged[1], Ok(vec![duplicate]));
    }

    #[test]
    fn a_key_drawn_by_the_server_is_never_a_copy() {
        let drawn = Vote {
            source: paredao_domain::KeySource::Drawn,
            ..vote(1, 1)
        };
        let batch = batch(1, OPENS, &[drawn, drawn, vote(1, 1)]);
        assert_eq!(judge_one(open_poll(POLL), &batch), Ok(Vec::new()));
    }

    #[test]
    fn the_same_key_in_another_poll_is_another_vote() {
        let other = BatchHeader {
            poll: PollId(2),
            ..header(2, OPENS, 2)
        };
        let batches = [
            batch(1, OPENS, &[vote(1, 1)]),
            EncodedBatch::encode(other, &[], &[vote(1, 2)]),
        ];
        let judged = judge_all(&[open_poll(POLL), open_poll(PollId(2))], &batches);
        assert_eq!(judged, [Ok(Vec::new()), Ok(Vec::new())]);
    }

    #[test]
    fn a_key_is_another_vote_when_its_life_is_over_and_not_a_millisecond_before() {
        let minutes = u32::try_from(LIFE_MS / 60_000).unwrap();
        let again = Minute(OPENS.0 + minutes);
        for (offset, marks) in [(0, 1), (1, 0)] {
            let late = Vote {
                offset,
                ..vote(1, 1)
            };
            let batches = [batch(1, OPENS, &[vote(1, 1)]), batch(2, again, &[late])];
            let judged = judge_all(&[open_poll(POLL)], &batches);
            assert_eq!(judged[1].as_ref().unwrap().len(), marks, "{offset} ms");
        }
    }

    #[test]
    fn what_the_window_and_the_ledger_hold_stands_before_what_this_transaction_brings() {
        let mut window = Window::new();
        let source = Source {
            entry: LedgerPosition(5),
            poll: POLL,
            minute: OPENS,
        };
        window.add(source, std::iter::once((3, vote(1, 1))));
        let mut earlier = Copies::default();
        let entry = LedgerEntry {
            position: LedgerPosition(4),
            batch: batch(1, OPENS, &[vote(2, 1), vote(3, 1)]),
            marks: Vec::new(),
        };
        learn(&mut earlier, &entry, |wanted| *wanted == key(2));
        let polls = [open_poll(POLL)];
        let mut judge = Judge::new(&polls, &window, &earlier);
        let batch = batch(2, OPENS, &[vote(1, 1), vote(2, 1), vote(3, 1)]);
        let marks = judge.judge(&batch, ENTRY).unwrap();
        let named: Vec<_> = marks.iter().filter_map(|mark| mark.standing).collect();
        assert_eq!(named, [standing(5, 3), standing(4, 0)]);
    }

    #[test]
    fn a_vote_that_was_not_counted_stands_for_nobody() {
        let entry = LedgerEntry {
            position: LedgerPosition(4),
            batch: batch(1, OPENS, &[vote(1, 1), vote(2, 1)]),
            marks: vec![Mark {
                position: 0,
                kind: MarkKind::AfterClose,
                standing: None,
            }],
        };
        let mut earlier = Copies::default();
        learn(&mut earlier, &entry, |_| true);
        let (polls, window) = ([open_poll(POLL)], Window::new());
        let mut judge = Judge::new(&polls, &window, &earlier);
        let batch = batch(2, OPENS, &[vote(1, 1), vote(2, 1)]);
        let marks = judge.judge(&batch, ENTRY).unwrap();
        assert_eq!(kinds(&marks), [(1, MarkKind::Duplicate)]);
    }

    #[test]
    fn a_vote_accepted_after_the_end_is_set_aside_unless_it_is_a_copy() {
        let mut poll = open_poll(POLL);
        poll.close(OPENS.start(), 1).unwrap();
        let late = |key_of| Vote {
            offset: 1,
            ..vote(key_of, 1)
        };
        let batch = batch(1, OPENS, &[vote(1, 1), late(1), late(2)]);
        let marks = judge_one(poll, &batch).unwrap();
        let expected = [(1, MarkKind::Duplicate), (2, MarkKind::AfterClose)];
        assert_eq!(kinds(&marks), expected);
    }

    #[test]
    fn when_the_result_is_final_nothing_is_counted_and_the_reason_is_the_time_of_acceptance() {
        let mut poll = open_poll(POLL);
        poll.close(OPENS.start(), 1).unwrap();
        poll.final_at = Some(OPENS.at(20_000));
        let after = Vote {
            offset: 1,
            ..vote(2, 1)
        };
        let marks = judge_one(poll, &batch(1, OPENS, &[vote(1, 1), after])).unwrap();
        let expected = [(0, MarkKind::Late), (1, MarkKind::AfterClose)];
        assert_eq!(kinds(&marks), expected);
    }

    #[test]
    fn a_batch_for_an_unknown_poll_or_candidate_is_poison_and_leaves_nothing_behind() {
        let unknown = BatchHeader {
            poll: PollId(3),
            ..header(1, OPENS, 1)
        };
        let batches = [
            EncodedBatch::encode(unknown, &[], &[vote(1, 1)]),
            batch(2, OPENS, &[vote(1, 1), vote(2, 9)]),
            batch(3, OPENS, &[vote(1, 1), vote(2, 2)]),
        ];
        let judged = judge_all(&[open_poll(POLL)], &batches);
        assert_eq!(judged[0], Err(Poison::UnknownPoll(PollId(3))));
        let stranger = Poison::UnknownCandidate {
            position: 1,
            candidate: 9,
            poll: POLL,
        };
        assert_eq!(judged[1], Err(stranger));
        assert_eq!(judged[2], Ok(Vec::new()));
    }

    #[test]
    fn markers_have_nothing_to_judge_but_a_barrier_must_be_of_a_poll_that_exists() {
        let marker = |kind, poll| {
            let header = BatchHeader {
                kind,
                poll,
                ..header(1, OPENS, 0)
            };
            judge_one(open_poll(POLL), &EncodedBatch::encode(header, &[], &[]))
        };
        for kind in [BatchKind::End, BatchKind::Void] {
            assert_eq!(marker(kind, PollId::NONE), Ok(Vec::new()));
        }
        assert_eq!(marker(BatchKind::Barrier, POLL), Ok(Vec::new()));
        let unknown = PollId(4);
        assert_eq!(
            marker(BatchKind::Barrier, unknown),
            Err(Poison::UnknownPoll(unknown))
        );
    }
}
