//! What must hold when everything has come to rest.
//!
//! Each check compares what the store says with what somebody else knows: the voters, the log, the
//! APIs. None takes one of the store's numbers as what the others leave over.

use std::collections::BTreeMap;

use paredao_domain::{
    Account, Accounts, BatchId, Lane, LedgerPosition, Mark, Poll, PollId, PollState, Position,
    Receipt, Standing,
};
use paredao_store::recount::{KeysOptions, keys, plain};
use paredao_store::{EmbeddedLedger, Fate, LedgerQuery, Snapshot, Store};
use paredao_vote_log::VoteLog;

use crate::history::History;
use crate::log::Whereabouts;
use crate::steps::wait;
use crate::violation::Violation;
use crate::voters::{Answer, Copy, CopyId};

/// What the ledger says of one vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Booked {
    at: Standing,
    account: Account,
    mark: Option<Mark>,
}

struct Checker<'a> {
    history: &'a History,
    polls: BTreeMap<PollId, Poll>,
    snapshot: Snapshot,
    ledger: BTreeMap<BatchId, (LedgerPosition, Vec<Mark>)>,
    whereabouts: BTreeMap<BatchId, Whereabouts>,
    /// Votes by poll and candidate, as far as the voters can tell.
    expected: BTreeMap<(PollId, u8), u64>,
}

/// Checks everything and reports what is broken.
pub(crate) fn check(history: &History) {
    let mut checker = Checker::new(history);
    checker.check_keys();
    checker.check_successes();
    checker.check_totals();
    checker.check_books();
    checker.check_finality();
    checker.check_recount();
}

impl<'a> Checker<'a> {
    fn new(history: &'a History) -> Self {
        let store = history.store.inner();
        let polls = wait(store.polls()).unwrap();
        let query = LedgerQuery {
            lane: Lane(0),
            after: LedgerPosition(0),
            minutes: None,
            poll: None,
            bytes_max: usize::MAX,
        };
        let entries = wait(store.ledger(&query)).unwrap();
        Self {
            history,
            polls: polls.into_iter().map(|poll| (poll.id, poll)).collect(),
            snapshot: wait(store.snapshot(history.world.now())).unwrap(),
            ledger: entries
                .into_iter()
                .map(|entry| (entry.batch.id(), (entry.position, entry.marks)))
                .collect(),
            whereabouts: history.log.whereabouts(),
            expected: BTreeMap::new(),
        }
    }

    fn report(&self, violation: Violation) {
        self.history.world.report(violation);
    }

    fn copy(&self, id: CopyId) -> &'a Copy {
        &self.history.voters.copies[id]
    }

    fn booked(&self, id: CopyId) -> Option<Booked> {
        let Receipt { batch, position } = self.copy(id).place?;
        let (entry, marks) = self.ledger.get(&batch)?;
        let mark = marks.iter().find(|mark| mark.position == position).copied();
        Some(Booked {
            at: Standing {
                entry: *entry,
                position,
            },
            account: mark.map_or(Account::Counted, |mark| mark.kind.into()),
            mark,
        })
    }

    fn where_is(&self, batch: BatchId) -> Whereabouts {
        self.whereabouts.get(&batch).copied().unwrap_or_default()
    }

    /// Whether the log holds a whole copy of the batch of this vote, and nobody gave it up.
    fn is_whole(&self, id: CopyId) -> bool {
        let (place, poll) = (self.copy(id).place, self.poll_of(id));
        place.is_some_and(|place| {
            self.where_is(place.batch).whole && !self.is_given_up(place.batch, poll)
        })
    }

    fn poll_of(&self, id: CopyId) -> PollId {
        self.history.voters.keys[self.copy(id).key].poll
    }

    /// Whether this batch came whole when its poll was not in the store yet, became a dead letter,
    /// and somebody gave it up.
    fn is_given_up(&self, batch: BatchId, poll: PollId) -> bool {
        let operator = &self.history.operator;
        operator.was_created_late(poll)
            && operator.has_written_off(batch)
            && !self.ledger.contains_key(&batch)
    }

    fn is_in_hours(&self, id: CopyId, poll: &Poll) -> bool {
        let accepted = self.copy(id).accepted;
        accepted.is_some_and(|at| poll.hours().contain(at))
    }

    fn check_keys(&mut self) {
        for key in &self.history.voters.keys {
            let poll = self.polls[&key.poll].clone();
            for life in &key.lives {
                self.check_life(life, &poll);
            }
        }
    }

    /// All copies of one life of one key: one of them is counted, if any came in time.
    fn check_life(&mut self, life: &[CopyId], poll: &Poll) {
        let counted: Vec<CopyId> = life
            .iter()
            .copied()
            .filter(|&id| {
                self.booked(id)
                    .is_some_and(|b| b.account == Account::Counted)
            })
            .collect();
        let came = |id: &CopyId| self.is_whole(*id) && self.is_in_hours(*id, poll);
        let is_late = |id: CopyId| self.booked(id).is_some_and(|b| b.account == Account::Late);
        let came: Vec<CopyId> = life.iter().copied().filter(came).collect();
        let must_count = came.iter().any(|&id| !is_late(id));
        let expected = if must_count { "1" } else { "0" };
        if counted.len() != usize::from(must_count) {
            self.report(Violation::Counted {
                times: counted.len(),
                expected,
                story: self.story(life),
            });
        }
        self.expect(if must_count { &came } else { &[] }, &counted, poll);
        for &id in life {
            if let Some(why) = self.wrongly_booked(id, counted.first().copied(), poll) {
                let story = self.story(life);
                self.report(Violation::Booked { why, story });
            }
        }
    }

    /// Adds this life's vote to what the totals must show. Where one of some copies must count and
    /// all name one candidate, the ledger is not asked.
    fn expect(&mut self, one_counts: &[CopyId], counted: &[CopyId], poll: &Poll) {
        let candidate = |id: &CopyId| self.copy(*id).candidate.get();
        let votes: Vec<u8> = match one_counts.first().map(candidate) {
            Some(first) if one_counts.iter().all(|id| candidate(id) == first) => vec![first],
            _ => counted.iter().map(candidate).collect(),
        };
        for candidate in votes {
            *self.expected.entry((poll.id, candidate)).or_default() += 1;
        }
    }

    /// Whether one copy is booked as it must be, given which one stands.
    fn wrongly_booked(&self, id: CopyId, counted: Option<CopyId>, poll: &Poll) -> Option<String> {
        let wrong = |why: &str| Some(format!("copy {id}: {why}"));
        let Some(booked) = self.booked(id) else {
            return self
                .is_whole(id)
                .then(|| format!("copy {id}: it is not in the ledger"));
        };
        if !self.is_whole(id) {
            return wrong("it is in the ledger and was never delivered whole");
        }
        let in_hours = self.is_in_hours(id, poll);
        let stands = counted.and_then(|counted| Some((self.copy(counted), self.booked(counted)?)));
        match (booked.account, booked.mark) {
            (Account::Counted, _) if !in_hours => wrong("counted outside the poll's hours"),
            (Account::AfterClose, _) if in_hours => wrong("set aside within the poll's hours"),
            (Account::Late, _) if poll.final_at.is_none() => wrong("late before the final result"),
            (Account::Duplicate | Account::KeyConflict, Some(mark)) => {
                let Some((standing, place)) = stands else {
                    return wrong("a copy of one that does not count");
                };
                let same = standing.candidate == self.copy(id).candidate;
                if same != (booked.account == Account::Duplicate) {
                    return wrong("duplicate and conflict are mixed up");
                }
                (mark.standing != Some(place.at))
                    .then(|| format!("copy {id}: its mark names {:?}", mark.standing))
            }
            _ => None,
        }
    }

    /// Every vote answered with success has exactly one outcome, as the receipt tells it.
    fn check_successes(&self) {
        for (copy, Receipt { batch, position }) in self.history.voters.succeeded() {
            let fate = self.fate(batch, position);
            let poll = &self.polls[&self.history.voters.keys[copy.key].poll];
            let place = self.where_is(batch);
            let is_given_up = self.is_given_up(batch, poll.id);
            let written_off = self.history.operator.has_written_off(batch);
            let in_hours = copy.accepted.is_some_and(|at| poll.hours().contain(at));
            let is_right = match fate {
                Fate::Recorded {
                    poll: booked_for,
                    account,
                } => {
                    let may = match account {
                        Account::Counted | Account::Duplicate | Account::KeyConflict => true,
                        Account::AfterClose => !in_hours,
                        // A whole copy that came when somebody had given another up.
                        Account::Late => written_off,
                    };
                    booked_for == poll.id && may && place.whole
                }
                Fate::DeadLettered => place.damaged && !place.whole,
                Fate::Missing => is_given_up || (!place.whole && (written_off || place.lost)),
                Fate::NotSeen | Fate::NoSuchVote => false,
            };
            if !is_right {
                let life = self.history.voters.keys[copy.key].lives.iter();
                let life = life.flatten().copied().collect::<Vec<_>>();
                self.report(Violation::Success {
                    fate: format!("{fate:?}"),
                    story: self.story(&life),
                });
            }
        }
    }

    fn fate(&self, batch: BatchId, position: Position) -> Fate {
        wait(self.history.store.inner().fate(batch, position)).unwrap()
    }

    fn check_totals(&self) {
        for view in &self.snapshot.polls {
            for (candidate, &shown) in view.poll.candidates.iter().zip(&view.votes) {
                let candidate = candidate.number.get();
                let poll = view.poll.id;
                let expected = self.expected.get(&(poll, candidate)).copied().unwrap_or(0);
                if shown != expected {
                    self.report(Violation::Total {
                        poll,
                        candidate,
                        shown,
                        expected,
                    });
                }
            }
        }
    }

    /// The conservation law, and each of its terms against its own source.
    fn check_books(&self) {
        let books = &self.snapshot.books;
        let in_flight = wait(self.history.log.status(Lane(0))).unwrap().votes;
        let cut: u64 = books.cut.iter().map(|(_, votes)| votes).sum();
        let accepted = cut - books.unanswered;
        let accounted = books.accounts.total() + books.dead_lettered + books.missing + in_flight;
        let known = Known::new(self);
        let compared = [
            ("accepted and accounted for", accepted, accounted),
            ("cut, as the APIs know it", cut, known.cut),
            (
                "booked, as the log knows it",
                books.accounts.total(),
                known.whole,
            ),
            (
                "dead-lettered, as the log knows it",
                books.dead_lettered,
                known.damaged,
            ),
            (
                "missing or unanswered, as the APIs know it",
                books.missing + books.unanswered,
                known.gone,
            ),
            ("in flight", in_flight, 0),
        ];
        for (what, shown, right) in compared.iter().filter(|(_, shown, right)| shown != right) {
            let why = format!("{what}: {shown}, {right} is right ({books:?}, {known:?})");
            self.report(Violation::Books(why));
        }
        // Neighbours of a lost batch that nobody was told of cannot be told apart from it.
        let missing_is_right = if known.lost == 0 {
            books.missing == 0
        } else {
            books.missing >= known.lost
        };
        if !missing_is_right {
            let why = format!("missing: {}, the log lost {}", books.missing, known.lost);
            self.report(Violation::Books(why));
        }
        self.note_what_was_seen(&books.accounts, &known);
    }

    fn note_what_was_seen(&self, accounts: &Accounts, known: &Known) {
        let world = &self.history.world;
        for account in Account::ALL {
            world.saw_times(account.name(), accounts.get(account));
        }
        world.saw_times("missing", known.lost);
        world.saw_times("unanswered", known.gone - known.lost);
        world.saw_times("dead-lettered", known.damaged);
    }

    fn check_finality(&self) {
        let now = self.history.world.now();
        let polls: Vec<Poll> = self.polls.values().cloned().collect();
        for poll in &polls {
            let lost = self.lost_success(poll);
            let state = poll.state(now);
            let wrong = match state {
                PollState::Final if lost => Some("a vote answered with success is missing"),
                PollState::Closed if !self.history.keeps_from_final(poll, &polls) => {
                    Some("nothing stands in the way")
                }
                _ => None,
            };
            if let Some(why) = wrong {
                self.report(Violation::Finality {
                    poll: poll.id,
                    state: if state == PollState::Final {
                        "final"
                    } else {
                        "not final"
                    },
                    why: why.to_owned(),
                });
            }
        }
    }

    /// Whether the log lost a vote of this poll of which somebody was told that it succeeded.
    fn lost_success(&self, poll: &Poll) -> bool {
        self.history.voters.succeeded().any(|(copy, receipt)| {
            let of_this = self.history.voters.keys[copy.key].poll == poll.id;
            let in_hours = copy.accepted.is_some_and(|at| poll.hours().contain(at));
            of_this && in_hours && self.where_is(receipt.batch).lost
        })
    }

    fn check_recount(&self) {
        let open = || EmbeddedLedger::open(&self.history.file()).unwrap();
        let options = KeysOptions {
            folder: self.history.folder().to_owned(),
            memory_bytes: 1 << 20,
        };
        let by_marks = plain(&mut open(), None, &mut |_| ()).unwrap();
        if !by_marks.agrees() {
            self.report(Violation::Recount(format!("plain: {by_marks:?}")));
        }
        let by_keys = keys(&mut open(), None, &options, &mut |_| ()).unwrap();
        let findings = by_keys.findings.listed().iter().map(ToString::to_string);
        let differences = by_keys.differences.iter().map(ToString::to_string);
        let found: Vec<String> = findings.chain(differences).collect();
        if !found.is_empty() {
            self.report(Violation::Recount(format!("keys: {}", found.join("; "))));
        }
    }

    /// Everything that is known of the copies of a key.
    fn story(&self, life: &[CopyId]) -> String {
        life.iter().map(|&id| self.tell(id)).collect()
    }

    fn tell(&self, id: CopyId) -> String {
        let copy = self.copy(id);
        let key = &self.history.voters.keys[copy.key];
        let answer = match copy.answer {
            Some(Answer::Success(_)) => "success".to_owned(),
            Some(Answer::Refused(why)) => why.to_string(),
            Some(Answer::Silence) => "silence".to_owned(),
            None => "nothing yet".to_owned(),
        };
        format!(
            "\n    copy {id} of key {} ({:?}) in poll {}: for {}, sent {}, accepted {:?}, told {answer:?}, in {:?} ({:?}), booked {:?}",
            copy.key,
            key.source,
            key.poll,
            copy.candidate,
            copy.sent.0,
            copy.accepted.map(|at| at.0),
            copy.place.map(|p| format!("{}:{}", p.batch, p.position)),
            copy.place.map(|p| self.where_is(p.batch)),
            self.booked(id).map(|b| (b.account, b.at, b.mark)),
        )
    }
}

/// What APIs and log know of all votes, by batch.
#[derive(Debug, Default)]
struct Known {
    /// Cut, in batches up to the last that came of each incarnation.
    cut: u64,
    /// In batches of which a whole copy came.
    whole: u64,
    /// In batches of which only the envelope came, or that were given up.
    damaged: u64,
    /// In other batches before the last that came.
    gone: u64,
    /// In those of them that the log had stored.
    lost: u64,
}

impl Known {
    fn new(checker: &Checker<'_>) -> Self {
        let mut known = Self::default();
        for batches in checker.history.cuts_by_incarnation().values() {
            let came = |id: BatchId| {
                let place = checker.where_is(id);
                place.whole || place.damaged
            };
            let last = batches.values().rev().find(|batch| came(batch.id()));
            let Some(last) = last.map(|batch| batch.id().number) else {
                continue;
            };
            for batch in batches.range(..=last).map(|(_, batch)| batch) {
                let (id, poll) = (batch.id(), batch.header().poll);
                let mut place = checker.where_is(id);
                if checker.is_given_up(id, poll) {
                    // Its letter holds its votes, as if it were damaged.
                    (place.whole, place.damaged) = (false, true);
                }
                known.add(place, u64::from(batch.vote_count()));
            }
        }
        known
    }

    fn add(&mut self, place: Whereabouts, votes: u64) {
        self.cut += votes;
        if place.whole {
            self.whole += votes;
        } else if place.damaged {
            self.damaged += votes;
        } else {
            self.gone += votes;
        }
        if place.lost {
            self.lost += votes;
        }
    }
}
