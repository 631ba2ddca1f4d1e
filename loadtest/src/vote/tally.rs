//! Counts and latencies of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::caster::Setback;
use super::outcome::{Outcome, Reason, SettledVote};
use super::plan::Candidate;

/// Longest latency told apart: five minutes, beyond every limit of a voter's patience.
const LATENCY_US_MAX: u64 = 300_000_000;

/// Latencies in microseconds, three significant digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the bounds are constants that the crate accepts"
        )]
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("valid bounds");
        Self(histogram)
    }
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Measurements.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
    /// Longest.
    pub max: u64,
}

impl Latencies {
    /// Adds one measurement.
    pub fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LATENCY_US_MAX);
        self.0.saturating_record(micros.max(1));
    }

    /// The percentiles so far.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            count: self.0.len(),
            p50: self.0.value_at_quantile(0.5),
            p90: self.0.value_at_quantile(0.9),
            p99: self.0.value_at_quantile(0.99),
            p99_9: self.0.value_at_quantile(0.999),
            max: self.0.max(),
        }
    }
}

/// What a run did and was told.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Distinct votes whose casting began.
    pub sent: u64,
    /// Votes answered with success.
    pub accepted: u64,
    /// Votes given up with an unknown outcome.
    pub unknown: u64,
    /// Votes refused for good, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Votes that took more than one request.
    pub retried: u64,
    /// All requests for first copies.
    pub attempts: u64,
    /// Requests that failed and were, or could have been, retried, by reason.
    pub setbacks: BTreeMap<Reason, u64>,
    /// 503 answers that did not say when to come back.
    pub refusals_without_retry_after: u64,
    /// Accepted copies for the same candidate, beyond the first.
    pub resent_accepted: u64,
    /// Accepted copies for another candidate.
    pub conflicts_accepted: u64,
    /// Requests for another candidate that may have stored a copy without saying so.
    pub conflicts_unsure: u64,
    /// Copies that ended otherwise, by reason.
    pub copies_not_accepted: BTreeMap<Reason, u64>,
    /// Votes accepted, by candidate of their first copy.
    pub accepted_by_candidate: BTreeMap<Candidate, u64>,
    /// Votes of unknown outcome, by candidate of their first copy.
    pub unknown_by_candidate: BTreeMap<Candidate, u64>,
    /// From intended start to acceptance, retries included.
    pub latencies: Latencies,
    /// From intended start (first attempt) or sending (retries) to a refusal.
    pub refusal_latencies: Latencies,
}

impl Tally {
    /// Adds a vote whose story is over.
    pub fn settle(&mut self, vote: &SettledVote) {
        self.sent += 1;
        self.attempts += u64::from(vote.attempts);
        self.retried += u64::from(vote.attempts > 1);
        let candidate = vote.planned.candidate;
        match &vote.outcome {
            Outcome::Accepted(_) => {
                self.accepted += 1;
                *self.accepted_by_candidate.entry(candidate).or_default() += 1;
                self.latencies.record(vote.took);
            }
            Outcome::Refused(reason) => count(&mut self.refused, reason),
            Outcome::Unknown(_) => {
                self.unknown += 1;
                *self.unknown_by_candidate.entry(candidate).or_default() += 1;
            }
        }
        for copy in &vote.copies {
            if copy.candidate != candidate {
                self.conflicts_unsure += u64::from(copy.unsure);
            }
            match &copy.outcome {
                Outcome::Accepted(_) if copy.candidate == candidate => self.resent_accepted += 1,
                Outcome::Accepted(_) => self.conflicts_accepted += 1,
                Outcome::Refused(reason) | Outcome::Unknown(reason) => {
                    count(&mut self.copies_not_accepted, reason);
                }
            }
        }
    }

    /// Adds a request that was not answered with success.
    pub fn setback(&mut self, setback: &Setback) {
        count(&mut self.setbacks, &setback.reason);
        if setback.reason.0.starts_with("503") {
            self.refusal_latencies.record(setback.took);
            self.refusals_without_retry_after += u64::from(setback.asked.is_none());
        }
    }

    /// Votes refused for good.
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }
}

fn count(by_reason: &mut BTreeMap<Reason, u64>, reason: &Reason) {
    if let Some(seen) = by_reason.get_mut(reason) {
        *seen += 1;
    } else {
        by_reason.insert(reason.clone(), 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::vote::outcome::{Receipt, ResentCopy};
    use crate::vote::plan::VotePlan;

    fn accepted() -> Outcome {
        Outcome::Accepted(Receipt("r".into()))
    }

    fn settled(outcome: Outcome, attempts: u32) -> SettledVote {
        let planned = VotePlan::plain(1, vec![1]).vote(0);
        let (intended, took) = (Instant::now(), Duration::from_millis(3));
        SettledVote {
            planned,
            outcome,
            attempts,
            copies: Vec::new(),
            intended,
            took,
        }
    }

    #[test]
    fn every_vote_ends_in_exactly_one_count() {
        let mut tally = Tally::default();
        tally.settle(&settled(accepted(), 1));
        tally.settle(&settled(accepted(), 4));
        tally.settle(&settled(Outcome::Refused(Reason("409".into())), 1));
        tally.settle(&settled(Outcome::Unknown(Reason("timeout".into())), 2));
        assert_eq!(
            (
                tally.sent,
                tally.accepted,
                tally.unknown,
                tally.refused_total()
            ),
            (4, 2, 1, 1)
        );
        assert_eq!((tally.retried, tally.attempts), (2, 8));
        assert_eq!(tally.accepted_by_candidate[&1], 2);
        assert_eq!(tally.unknown_by_candidate[&1], 1);
        assert_eq!(tally.latencies.percentiles().count, 2);
    }

    #[test]
    fn copies_are_counted_apart_from_votes() {
        let mut vote = settled(accepted(), 1);
        for candidate in [1, 2, 1] {
            vote.copies.push(ResentCopy {
                candidate,
                outcome: accepted(),
                unsure: u32::from(candidate),
            });
        }
        let mut tally = Tally::default();
        tally.settle(&vote);
        assert_eq!(
            (
                tally.accepted,
                tally.resent_accepted,
                tally.conflicts_accepted
            ),
            (1, 2, 1)
        );
        assert_eq!(tally.conflicts_unsure, 2);
    }

    #[test]
    fn percentiles_keep_three_digits() {
        let mut latencies = Latencies::default();
        for micros in 1..=1000 {
            latencies.record(Duration::from_micros(micros));
        }
        let p = latencies.percentiles();
        assert_eq!((p.p50, p.p99, p.max), (500, 990, 1000));
        latencies.record(Duration::from_hours(10));
        assert!(latencies.percentiles().max >= LATENCY_US_MAX);
    }
}
