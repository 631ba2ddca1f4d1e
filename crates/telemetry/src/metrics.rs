//! Every metric of the program: its name, its unit, its labels and, computed in [`catalogue()`], the
//! bound of its series. Other rooms count on what they find in [`metrics`]; none makes a metric of
//! its own.
//!
//! No series carries a candidate, a percentage, an address or a key.

use std::sync::LazyLock;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, Histogram, IntCounter, IntGauge, Registry, TextEncoder};

mod catalogue;
mod document;
mod family;
mod label;

use catalogue::{Builder, Words};

pub use catalogue::{Entry, Kind, Unit};
pub use document::document;
pub use family::{AgeGauge, CountGauge, CountGauges, CounterGrid, Counters, Family, Histograms};
pub use label::{
    Account, AppendFailure, ConnectionFailure, Label, PollState, Route, Stage, StatusClass, Term,
    VoteOutcome,
};

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The metrics of this process.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

/// All metrics of this process in the text format of Prometheus.
pub fn gather_text() -> String {
    METRICS.gather_text()
}

/// Name, kind, unit, labels and bound of every metric.
pub fn catalogue() -> &'static [Entry] {
    &METRICS.catalogue
}

/// Makes [`Metrics`] from the table below. A metric's doc comment is its help text as well.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $shape:ty = $name:literal in $unit:ident;)+) => {
        /// All metrics, ready to be counted on.
        #[derive(Debug)]
        pub struct Metrics {
            $($(#[doc = $help])+ pub $field: $shape,)+
            registry: Registry,
            catalogue: Vec<Entry>,
        }

        impl Metrics {
            fn from_table(mut builder: Builder) -> Self {
                Self {
                    $($field: builder.make(Words {
                        name: $name,
                        unit: Unit::$unit,
                        help: concat!($($help),+),
                    }),)+
                    registry: builder.registry,
                    catalogue: builder.entries,
                }
            }
        }
    };
}

metrics! {
    /// Answered requests by route pattern and class of status.
    http_requests: CounterGrid<Route, StatusClass> = "paredao_http_requests_total" in Count;
    /// From the head of the request read until its answer is handed to the connection.
    http_request_seconds: Histograms<Route> = "paredao_http_request_duration_seconds" in Seconds;
    /// Event streams that are open.
    sse_streams: CountGauge = "paredao_http_event_streams" in Count;
    /// Event streams that found no place.
    sse_streams_refused: IntCounter = "paredao_http_event_streams_refused_total" in Count;
    /// Connections that ended otherwise than in good order.
    connection_failures: Counters<ConnectionFailure> = "paredao_http_connection_failures_total" in Count;

    /// Requests to vote by how they ended.
    votes: Counters<VoteOutcome> = "paredao_votes_total" in Count;
    /// Where the time of a vote goes inside the API.
    vote_stage_seconds: Histograms<Stage> = "paredao_vote_stage_duration_seconds" in Seconds;
    /// Votes accepted that are in no batch yet.
    votes_waiting: CountGauge = "paredao_votes_waiting" in Count;
    /// Batches cut that are not durable yet.
    batches_in_flight: CountGauge = "paredao_batches_in_flight" in Count;
    /// Votes in a batch when it is cut.
    batch_votes: Histogram = "paredao_batch_votes" in Count;
    /// How long a batch waits for company at present.
    linger_us: CountGauge = "paredao_linger_microseconds" in Microseconds;
    /// One append to the log until it is durable or has failed.
    append_seconds: Histogram = "paredao_append_duration_seconds" in Seconds;
    /// Appends that failed; the same batch is tried again until its deadline.
    append_failures: Counters<AppendFailure> = "paredao_append_failures_total" in Count;

    /// Batches in the log that are not acknowledged.
    log_batches: CountGauge = "paredao_log_waiting_batches" in Count;
    /// Votes in the log that are not acknowledged.
    log_votes: CountGauge = "paredao_log_waiting_votes" in Count;
    /// Bytes that the log keeps, acknowledged ones included.
    log_bytes: CountGauge = "paredao_log_bytes" in Bytes;
    /// Age of the oldest batch that is not acknowledged; 0 when there is none.
    log_oldest_age_seconds: Gauge = "paredao_log_oldest_age_seconds" in Seconds;
    /// Damaged regions of the log that were found and set aside since the process started.
    log_damaged_regions: CountGauge = "paredao_log_damaged_regions" in Count;
    /// Files of the log that are lost and that nobody has given up.
    log_segments_lost: CountGauge = "paredao_log_segments_lost" in Count;

    /// Batches taken off the log, repeated ones included.
    consumer_deliveries: IntCounter = "paredao_consumer_deliveries_total" in Count;
    /// Batches written to the ledger.
    consumer_batches_applied: IntCounter = "paredao_consumer_batches_applied_total" in Count;
    /// Votes of applied batches by where they ended.
    consumer_votes: Counters<Account> = "paredao_consumer_votes_total" in Count;
    /// One transaction of the consumer.
    apply_seconds: Histogram = "paredao_consumer_apply_duration_seconds" in Seconds;
    /// Live keys in the window.
    window_keys: CountGauge = "paredao_consumer_window_keys" in Count;
    /// Memory of the window.
    window_bytes: CountGauge = "paredao_consumer_window_bytes" in Bytes;
    /// 1 while this process owns lane 0, else 0.
    lane_owned: CountGauge = "paredao_consumer_lane_owned" in Count;
    /// How often another consumer was found to own the lane.
    fenced: IntCounter = "paredao_consumer_fenced_total" in Count;
    /// Dead letters that wait for somebody's decision.
    dead_letters_unresolved: CountGauge = "paredao_dead_letters_unresolved" in Count;

    /// The terms of the conservation law, each from durable data of its own.
    conservation: CountGauges<Term> = "paredao_conservation_votes" in Count;
    /// Receipts of ours that were asked for and whose votes are neither in the ledger nor in the log.
    receipts_of_nobody: IntCounter = "paredao_receipts_of_nobody_total" in Count;
    /// Missing votes that nobody has given up.
    missing_undecided: CountGauge = "paredao_missing_undecided_votes" in Count;
    /// Accepted votes that are nowhere (positive) or votes that nobody accepted (negative).
    conservation_difference: IntGauge = "paredao_conservation_difference_votes" in Count;
    /// Age of the reading that those terms and their difference are of.
    conservation_age: AgeGauge = "paredao_conservation_age_seconds" in Seconds;
    /// Age of the snapshot from which readers are answered.
    snapshot_age: AgeGauge = "paredao_snapshot_age_seconds" in Seconds;
    /// Polls by state.
    polls: CountGauges<PollState> = "paredao_polls" in Count;

    /// Log lines that were not written because the reader was too slow or gone.
    log_lines_dropped: IntCounter = "paredao_log_lines_dropped_total" in Count;
}

/// What [`Metrics`] shows besides its table.
const BUILD_INFO: Words = Words {
    name: "paredao_build_info",
    unit: Unit::Count,
    help: "Always 1; the label says which version runs.",
};

impl Metrics {
    fn new() -> Self {
        let mut builder = Builder::new();
        builder.info(BUILD_INFO, "version", env!("CARGO_PKG_VERSION"));
        builder.foreign(ProcessCollector::for_self());
        Self::from_table(builder)
    }

    fn gather_text(&self) -> String {
        // Encoding fails only for a family without a name or a metric, and there is none.
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }
}
