//! Whether the program's books agree with ours, and the JSON that says so.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::total::Total;
use crate::vote::{Candidate, Driven, Percentiles, Reason, Tally};

/// What our books say the program must show: for each count the fewest and the most that our
/// knowledge allows. Both are equal where no outcome is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// Votes whose first copy was accepted, by its candidate.
    pub accepted: BTreeMap<Candidate, u64>,
    /// Votes that may or may not have been stored, by candidate.
    pub unknown: BTreeMap<Candidate, u64>,
    /// Accepted copies for the same candidate; each is a duplicate.
    pub duplicates_min: u64,
    /// Accepted copies for another candidate; each is a key conflict.
    pub conflicts_min: u64,
    /// The same, plus those of unknown outcome.
    pub conflicts_max: u64,
}

/// One way in which the program's books contradict ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Fewer votes counted than were answered with success: a loss.
    #[error("candidate {candidate}: {counted} counted, {accepted} accepted: votes are LOST")]
    Lost {
        /// Whose votes.
        candidate: Candidate,
        /// What the program counted.
        counted: u64,
        /// What it answered with success.
        accepted: u64,
    },
    /// More votes counted than keys exist: a double count.
    #[error("candidate {candidate}: {counted} counted, at most {possible} keys: counted TWICE")]
    Doubled {
        /// Whose votes.
        candidate: Candidate,
        /// What the program counted.
        counted: u64,
        /// Keys that can have been stored.
        possible: u64,
    },
    /// The grand total is not the sum of its parts.
    #[error("the total is {total}, its candidates add up to {sum}")]
    Sum {
        /// The grand total.
        total: u64,
        /// The candidates' sum.
        sum: u64,
    },
    /// The conservation law is open.
    #[error("the conservation law is open: {accepted} accepted, {accounted} accounted for")]
    Open {
        /// The left-hand side.
        accepted: u64,
        /// The right-hand side.
        accounted: u64,
    },
    /// The program could not read its books.
    #[error("the conservation law is not shown")]
    Unread,
    /// Votes in an account that must be empty in this run.
    #[error("{votes} votes are {account}")]
    Unexpected {
        /// Which account.
        account: &'static str,
        /// How many.
        votes: u64,
    },
    /// Fewer duplicates recognised than accepted copies sent.
    #[error("{shown} duplicates shown, {sent} accepted copies were sent")]
    Duplicates {
        /// What the program shows.
        shown: u64,
        /// Accepted copies.
        sent: u64,
    },
    /// Key conflicts other than the conflicting copies sent.
    #[error("{shown} key conflicts shown, {min} to {max} were sent")]
    Conflicts {
        /// What the program shows.
        shown: u64,
        /// Accepted conflicting copies.
        min: u64,
        /// Conflicting copies sent.
        max: u64,
    },
}

impl Expectation {
    /// What one run's tally leads to expect.
    pub fn of(tally: &Tally) -> Self {
        Self {
            accepted: tally.accepted_by_candidate.clone(),
            unknown: tally.unknown_by_candidate.clone(),
            duplicates_min: tally.resent_accepted,
            conflicts_min: tally.conflicts_accepted,
            conflicts_max: tally.conflicts_accepted + tally.conflicts_unsure,
        }
    }

    /// Compares with what the program shows, once nothing is in flight. `before` is what it
    /// showed before the first vote.
    pub fn check(&self, before: &Total, after: &Total) -> Vec<Violation> {
        let mut violations = self.check_candidates(before, after);
        violations.extend(self.check_copies(before, after));
        violations.extend(check_law(after));
        violations
    }

    fn check_candidates(&self, before: &Total, after: &Total) -> Vec<Violation> {
        let (was, is) = (before.by_candidate(), after.by_candidate());
        let all: BTreeSet<&Candidate> = is.keys().chain(self.accepted.keys()).collect();
        let look = |books: &BTreeMap<Candidate, u64>, c| books.get(&c).copied().unwrap_or(0);
        all.into_iter()
            .filter_map(|&candidate| {
                let counted = look(&is, candidate).saturating_sub(look(&was, candidate));
                let accepted = look(&self.accepted, candidate);
                let possible = accepted + look(&self.unknown, candidate);
                if counted < accepted {
                    Some(Violation::Lost {
                        candidate,
                        counted,
                        accepted,
                    })
                } else if counted > possible {
                    Some(Violation::Doubled {
                        candidate,
                        counted,
                        possible,
                    })
                } else {
                    None
                }
            })
            .collect()
    }

    fn check_copies(&self, before: &Total, after: &Total) -> Vec<Violation> {
        let (was, is) = (before.outside, after.outside);
        let mut violations = Vec::new();
        let duplicates = is.duplicados.saturating_sub(was.duplicados);
        if duplicates < self.duplicates_min {
            violations.push(Violation::Duplicates {
                shown: duplicates,
                sent: self.duplicates_min,
            });
        }
        let (min, max) = (self.conflicts_min, self.conflicts_max);
        let conflicts = is.conflitos_de_chave.saturating_sub(was.conflitos_de_chave);
        if !(min..=max).contains(&conflicts) {
            violations.push(Violation::Conflicts {
                shown: conflicts,
                min,
                max,
            });
        }
        violations
    }
}

/// The conservation law, the sum, and the accounts that stay empty when nothing is damaged.
fn check_law(after: &Total) -> Vec<Violation> {
    let mut violations = Vec::new();
    let sum = after.by_candidate().values().sum();
    if after.votes != sum {
        violations.push(Violation::Sum {
            total: after.votes,
            sum,
        });
    }
    let Some(books) = after.contas else {
        violations.push(Violation::Unread);
        return violations;
    };
    if !books.close() {
        let (accepted, accounted) = (books.aceitos, books.accounted());
        violations.push(Violation::Open {
            accepted,
            accounted,
        });
    }
    let must_be_empty = [
        ("dead letters", books.mortos),
        ("missing", books.perdidos),
        ("in flight", books.em_voo),
    ];
    for (account, votes) in must_be_empty {
        if votes > 0 {
            violations.push(Violation::Unexpected { account, votes });
        }
    }
    violations
}

/// What `paredao-loadtest vote` prints at the end.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Makes the same votes again.
    pub seed: u64,
    /// From the first turn to the last settled vote.
    pub duration_s: f64,
    /// Distinct votes whose casting began.
    pub sent: u64,
    /// Votes answered with success.
    pub accepted: u64,
    /// The same per second.
    pub accepted_per_s: f64,
    /// Votes refused for good, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Votes whose outcome stayed unknown.
    pub unknown: u64,
    /// Votes that took more than one request.
    pub retried: u64,
    /// Requests that were not answered with success, by reason.
    pub setbacks: BTreeMap<Reason, u64>,
    /// Accepted copies for the same candidate.
    pub resent_accepted: u64,
    /// Accepted copies for another candidate.
    pub conflicts_accepted: u64,
    /// From intended start to acceptance, in µs.
    pub latency_us: Percentiles,
    /// From intended start to a 503, in µs.
    pub refusal_latency_us: Percentiles,
    /// What the program's books showed, when `--verify` asked for it.
    pub verified: Option<Verified>,
    /// What is wrong, in words.
    pub violations: Vec<String>,
    /// Nothing is wrong.
    pub passed: bool,
}

/// What the program's books showed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Verified {
    /// Votes counted since before the run.
    pub counted: u64,
    /// Duplicates recognised since before the run.
    pub duplicates: u64,
    /// Key conflicts recognised since before the run.
    pub key_conflicts: u64,
}

impl Verified {
    /// The difference between two readings.
    pub fn between(before: &Total, after: &Total) -> Self {
        let (was, is) = (before.outside, after.outside);
        Self {
            counted: after.votes.saturating_sub(before.votes),
            duplicates: is.duplicados.saturating_sub(was.duplicados),
            key_conflicts: is.conflitos_de_chave.saturating_sub(was.conflitos_de_chave),
        }
    }
}

impl Report {
    /// The report of a run, before anything was verified.
    pub fn of(seed: u64, driven: &Driven) -> Self {
        let tally = &driven.tally;
        let duration_s = driven.took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 votes")]
        let accepted_per_s = tally.accepted as f64 / duration_s.max(f64::EPSILON);
        Self {
            seed,
            duration_s,
            sent: tally.sent,
            accepted: tally.accepted,
            accepted_per_s,
            refused: tally.refused.clone(),
            unknown: tally.unknown,
            retried: tally.retried,
            setbacks: tally.setbacks.clone(),
            resent_accepted: tally.resent_accepted,
            conflicts_accepted: tally.conflicts_accepted,
            latency_us: tally.latencies.percentiles(),
            refusal_latency_us: tally.refusal_latencies.percentiles(),
            verified: None,
            violations: own_violations(tally),
            passed: own_violations(tally).is_empty(),
        }
    }

    /// Adds what the program's books showed.
    #[must_use]
    pub fn verified(mut self, verified: Verified, violations: &[Violation]) -> Self {
        self.verified = Some(verified);
        self.violations
            .extend(violations.iter().map(ToString::to_string));
        self.passed = self.violations.is_empty();
        self
    }
}

/// Our own books must close too, and a run that got nothing through proves nothing.
fn own_violations(tally: &Tally) -> Vec<String> {
    let ended = tally.accepted + tally.refused_total() + tally.unknown;
    let mut violations = Vec::new();
    if ended != tally.sent {
        violations.push(format!("{} votes sent, {ended} ended", tally.sent));
    }
    if tally.accepted == 0 {
        violations.push("not one vote was accepted".to_owned());
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::total::{Books, CandidateTotal, Outside};

    /// A program's `/total` with these votes, whose books close.
    fn total(votes: &[(Candidate, u64)], duplicados: u64, conflitos_de_chave: u64) -> Total {
        let contados = votes.iter().map(|(_, v)| v).sum();
        Total {
            votes: contados,
            candidatos: votes
                .iter()
                .map(|&(numero, votos)| CandidateTotal { numero, votos })
                .collect(),
            outside: Outside {
                duplicados,
                conflitos_de_chave,
                ..Outside::default()
            },
            contas: Some(Books {
                aceitos: contados + duplicados + conflitos_de_chave,
                contados,
                duplicados,
                conflitos_de_chave,
                ..Books::default()
            }),
            dados_de: jiff::Timestamp::UNIX_EPOCH,
            estado: "aberto".into(),
        }
    }

    fn expectation() -> Expectation {
        Expectation {
            accepted: BTreeMap::from([(1, 100), (2, 50)]),
            unknown: BTreeMap::from([(2, 3)]),
            duplicates_min: 7,
            conflicts_min: 4,
            conflicts_max: 5,
        }
    }

    fn check(after: &Total) -> Vec<Violation> {
        expectation().check(&total(&[(1, 0), (2, 0)], 0, 0), after)
    }

    #[test]
    fn books_that_agree_raise_nothing() {
        assert_eq!(check(&total(&[(1, 100), (2, 50)], 7, 4)), []);
        assert_eq!(
            check(&total(&[(1, 100), (2, 53)], 9, 5)),
            [],
            "unknown votes may have been stored"
        );
    }

    #[test]
    fn votes_from_before_the_run_do_not_count() {
        let before = total(&[(1, 1_000), (2, 2_000)], 10, 10);
        let after = total(&[(1, 1_100), (2, 2_050)], 17, 14);
        assert_eq!(expectation().check(&before, &after), []);
    }

    #[test]
    fn one_planted_loss_is_found() {
        let found = check(&total(&[(1, 99), (2, 50)], 7, 4));
        assert_eq!(
            found,
            [Violation::Lost {
                candidate: 1,
                counted: 99,
                accepted: 100
            }]
        );
    }

    #[test]
    fn one_planted_double_count_is_found() {
        let found = check(&total(&[(1, 101), (2, 50)], 7, 4));
        assert_eq!(
            found,
            [Violation::Doubled {
                candidate: 1,
                counted: 101,
                possible: 100
            }]
        );
    }

    #[test]
    fn a_loss_and_a_double_count_do_not_cancel_out() {
        let found = check(&total(&[(1, 99), (2, 54)], 7, 4));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn votes_for_a_candidate_nobody_voted_for_are_found() {
        let found = check(&total(&[(1, 100), (2, 50), (3, 1)], 7, 4));
        assert_eq!(
            found,
            [Violation::Doubled {
                candidate: 3,
                counted: 1,
                possible: 0
            }]
        );
    }

    #[test]
    fn copies_booked_as_something_else_are_found() {
        assert_eq!(
            check(&total(&[(1, 100), (2, 50)], 6, 4)),
            [Violation::Duplicates { shown: 6, sent: 7 }]
        );
        for shown in [3, 6] {
            let found = check(&total(&[(1, 100), (2, 50)], 7, shown));
            assert_eq!(
                found,
                [Violation::Conflicts {
                    shown,
                    min: 4,
                    max: 5
                }]
            );
        }
    }

    #[test]
    fn an_open_law_or_an_open_account_is_found() {
        let mut open = total(&[(1, 100), (2, 50)], 7, 4);
        open.contas.as_mut().unwrap().aceitos += 1;
        assert_eq!(
            check(&open),
            [Violation::Open {
                accepted: 162,
                accounted: 161
            }]
        );

        let mut missing = open;
        missing.contas.as_mut().unwrap().perdidos = 1;
        assert_eq!(
            check(&missing),
            [Violation::Unexpected {
                account: "missing",
                votes: 1
            }]
        );

        let mut unread = total(&[(1, 100), (2, 50)], 7, 4);
        unread.contas = None;
        assert_eq!(check(&unread), [Violation::Unread]);

        let mut sum = total(&[(1, 100), (2, 50)], 7, 4);
        sum.votes += 1;
        assert_eq!(
            check(&sum),
            [Violation::Sum {
                total: 151,
                sum: 150
            }]
        );
    }

    #[test]
    fn a_run_that_loses_track_of_its_own_votes_fails() {
        let mut tally = Tally {
            sent: 3,
            accepted: 2,
            ..Tally::default()
        };
        assert_eq!(own_violations(&tally).len(), 1);
        tally.unknown = 1;
        assert_eq!(own_violations(&tally).len(), 0);
        assert_eq!(
            own_violations(&Tally::default()).len(),
            1,
            "no vote proves nothing"
        );
    }
}
