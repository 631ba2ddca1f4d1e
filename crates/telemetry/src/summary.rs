//! What an operator reads of votes at `info`: one event for each interval, never one for each vote.

use std::time::{Duration, Instant};

use prometheus::Histogram;
use prometheus::core::Metric;

use crate::metrics::{Label, Metrics, Route, VoteOutcome, metrics};

/// How often the program logs a summary.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// The routes on which votes come.
const VOTE_ROUTES: [Route; 4] = [
    Route::Vote,
    Route::VoteNumber,
    Route::PollVote,
    Route::PollVoteNumber,
];

/// Turns what the metrics counted since the last time into one `votes_summary` event. The caller
/// runs the timer.
#[derive(Debug)]
pub struct VotesSummary {
    metrics: &'static Metrics,
    since: Instant,
    last: Reading,
}

/// Counters at one instant.
#[derive(Clone, Debug)]
struct Reading {
    votes: Vec<u64>,
    buckets: Vec<Bucket>,
    log_lines_dropped: u64,
}

/// Answers that took at most `bound_s` seconds, the faster ones included.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    bound_s: f64,
    answers: u64,
}

/// What happened between two readings.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    votes: Vec<u64>,
    /// 99 of 100 requests to vote were answered within this many milliseconds, interpolated
    /// inside a bucket of the histogram; `None` where none was answered.
    pub p99_ms: Option<f64>,
    /// Log lines that were not written.
    pub log_lines_dropped: u64,
}

impl VotesSummary {
    /// Counts from now on.
    pub fn start() -> Self {
        Self::of(metrics())
    }

    fn of(metrics: &'static Metrics) -> Self {
        Self {
            metrics,
            since: Instant::now(),
            last: Reading::take(metrics),
        }
    }

    /// What happened since the last time.
    pub fn take(&mut self) -> Interval {
        let now = Reading::take(self.metrics);
        let last = std::mem::replace(&mut self.last, now);
        self.last.since(&last)
    }

    /// Logs what happened since the last time, also when nothing did: silence would look like a
    /// process that hangs.
    pub fn log(&mut self) {
        let interval_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since = Instant::now();
        self.take().log(interval_ms);
    }
}

impl Interval {
    /// Requests to vote that ended so.
    pub fn votes(&self, outcome: VoteOutcome) -> u64 {
        self.votes.get(outcome.position()).copied().unwrap_or(0)
    }

    /// Requests to vote that were not answered with a receipt.
    pub fn refused(&self) -> u64 {
        self.votes.iter().sum::<u64>() - self.votes(VoteOutcome::Accepted)
    }

    fn log(&self, interval_ms: u64) {
        tracing::info!(
            event = "votes_summary",
            interval_ms,
            accepted = self.votes(VoteOutcome::Accepted),
            refused = self.refused(),
            refused_malformed = self.votes(VoteOutcome::Malformed),
            refused_unknown_candidate = self.votes(VoteOutcome::UnknownCandidate),
            refused_unknown_poll = self.votes(VoteOutcome::UnknownPoll),
            refused_not_open = self.votes(VoteOutcome::NotOpen),
            refused_invalid_key = self.votes(VoteOutcome::InvalidKey),
            refused_too_large = self.votes(VoteOutcome::TooLarge),
            refused_unsupported_media_type = self.votes(VoteOutcome::UnsupportedMediaType),
            refused_overloaded = self.votes(VoteOutcome::Overloaded),
            refused_log_unavailable = self.votes(VoteOutcome::LogUnavailable),
            refused_outcome_unknown = self.votes(VoteOutcome::OutcomeUnknown),
            refused_shutting_down = self.votes(VoteOutcome::ShuttingDown),
            p99_ms = self.p99_ms,
            log_lines_dropped = self.log_lines_dropped,
        );
    }
}

impl Reading {
    fn take(metrics: &Metrics) -> Self {
        let votes = VoteOutcome::ALL
            .iter()
            .map(|&outcome| metrics.votes.of(outcome).get());
        let durations = VOTE_ROUTES.map(|route| metrics.http_request_seconds.of(route));
        Self {
            votes: votes.collect(),
            buckets: sum_of_buckets(&durations),
            log_lines_dropped: metrics.log_lines_dropped.get(),
        }
    }

    fn since(&self, earlier: &Self) -> Interval {
        let votes = self.votes.iter().zip(&earlier.votes);
        let buckets = self.buckets.iter().zip(&earlier.buckets);
        let grown: Vec<Bucket> = buckets
            .map(|(now, then)| Bucket {
                bound_s: now.bound_s,
                answers: now.answers.saturating_sub(then.answers),
            })
            .collect();
        Interval {
            votes: votes.map(|(now, then)| now.saturating_sub(*then)).collect(),
            p99_ms: quantile_s(&grown, 0.99).map(|seconds| (seconds * 1e6).round() / 1e3),
            log_lines_dropped: self
                .log_lines_dropped
                .saturating_sub(earlier.log_lines_dropped),
        }
    }
}

/// The buckets of several histograms with equal bounds, added up; the last one has no bound.
fn sum_of_buckets(histograms: &[&Histogram]) -> Vec<Bucket> {
    let mut sum: Vec<Bucket> = Vec::new();
    for histogram in histograms {
        let buckets = buckets_of(histogram);
        sum.resize(
            buckets.len(),
            Bucket {
                bound_s: f64::INFINITY,
                answers: 0,
            },
        );
        for (sum, bucket) in sum.iter_mut().zip(buckets) {
            sum.bound_s = bucket.bound_s;
            sum.answers += bucket.answers;
        }
    }
    sum
}

fn buckets_of(histogram: &Histogram) -> Vec<Bucket> {
    let metric = histogram.metric();
    let shown = metric.get_histogram();
    let bounded = shown.get_bucket().iter().map(|bucket| Bucket {
        bound_s: bucket.upper_bound(),
        answers: bucket.cumulative_count(),
    });
    let unbounded = Bucket {
        bound_s: f64::INFINITY,
        answers: shown.get_sample_count(),
    };
    bounded.chain([unbounded]).collect()
}

/// As Prometheus' `histogram_quantile` does it: linear inside the bucket that holds the rank, and
/// the last bound where the rank lies beyond it.
///
/// Source: <https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile>.
#[expect(
    clippy::cast_precision_loss,
    reason = "answers of one interval stay far below 2^53"
)]
fn quantile_s(buckets: &[Bucket], quantile: f64) -> Option<f64> {
    let answers = buckets.last()?.answers;
    if answers == 0 {
        return None;
    }
    let rank = quantile * answers as f64;
    let mut below = Bucket {
        bound_s: 0.0,
        answers: 0,
    };
    for bucket in buckets {
        if bucket.answers as f64 >= rank && bucket.bound_s.is_finite() {
            let inside = (rank - below.answers as f64) / (bucket.answers - below.answers) as f64;
            return Some(below.bound_s + (bucket.bound_s - below.bound_s) * inside);
        }
        if bucket.bound_s.is_finite() {
            below = *bucket;
        }
    }
    Some(below.bound_s)
}

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;

    use super::*;

    fn answered(route: Route, seconds: f64, answers: usize) {
        let histogram = metrics().http_request_seconds.of(route);
        (0..answers).for_each(|_| histogram.observe(seconds));
    }

    fn buckets(counts: &[(f64, u64)]) -> Vec<Bucket> {
        let bucket = |&(bound_s, answers)| Bucket { bound_s, answers };
        counts.iter().map(bucket).collect()
    }

    /// The only test here that counts on the metrics of the process.
    #[test]
    fn an_interval_holds_what_happened_since_the_last_and_nothing_else() {
        metrics().votes.of(VoteOutcome::Accepted).inc_by(1_000);
        answered(Route::Vote, 4.0, 500);
        let mut summary = VotesSummary::start();

        metrics().votes.of(VoteOutcome::Accepted).inc_by(90);
        metrics().votes.of(VoteOutcome::Overloaded).inc_by(7);
        metrics().votes.of(VoteOutcome::NotOpen).inc_by(3);
        metrics().log_lines_dropped.inc_by(2);
        answered(Route::Vote, 0.000_8, 50);
        answered(Route::PollVoteNumber, 0.000_8, 50);
        answered(Route::Total, 4.0, 1_000);

        let interval = summary.take();
        assert_eq!(interval.votes(VoteOutcome::Accepted), 90);
        assert_eq!(interval.votes(VoteOutcome::Overloaded), 7);
        assert_eq!((interval.refused(), interval.log_lines_dropped), (10, 2));
        assert_eq!(interval.p99_ms, Some(0.995));

        let quiet = summary.take();
        assert_eq!(
            (quiet.votes(VoteOutcome::Accepted), quiet.refused()),
            (0, 0)
        );
        assert_eq!((quiet.p99_ms, quiet.log_lines_dropped), (None, 0));
    }

    #[test]
    fn a_quantile_lies_inside_the_bucket_that_holds_its_rank() {
        let buckets = buckets(&[(0.1, 50), (0.2, 100), (f64::INFINITY, 100)]);
        assert_eq!(quantile_s(&buckets, 0.5), Some(0.1));
        let three_quarters = quantile_s(&buckets, 0.75).unwrap();
        assert!((three_quarters - 0.15).abs() < 1e-9, "{three_quarters}");
    }

    #[test]
    fn a_quantile_beyond_the_last_bound_is_that_bound() {
        let buckets = buckets(&[(0.1, 1), (0.2, 1), (f64::INFINITY, 100)]);
        assert_eq!(quantile_s(&buckets, 0.99), Some(0.2));
    }

    #[test]
    fn without_answers_there_is_no_quantile() {
        assert_eq!(
            quantile_s(&buckets(&[(0.1, 0), (f64::INFINITY, 0)]), 0.99),
            None
        );
        assert_eq!(quantile_s(&[], 0.99), None);
    }

    #[test]
    fn histograms_are_added_bucket_by_bucket() {
        let options = HistogramOpts::new("h", "One test's.").buckets(vec![1.0, 2.0]);
        let [one, other] = [(); 2].map(|()| Histogram::with_opts(options.clone()).unwrap());
        [0.5, 1.5, 9.0]
            .iter()
            .for_each(|&seconds| one.observe(seconds));
        other.observe(0.5);
        let expected = buckets(&[(1.0, 2), (2.0, 3), (f64::INFINITY, 4)]);
        assert_eq!(sum_of_buckets(&[&one, &other]), expected);
    }
}
