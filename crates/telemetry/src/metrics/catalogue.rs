//! What is registered, as a list: for the documentation and for tests that compare it with what a
//! scrape shows.

use prometheus::core::{Collector, GenericGaugeVec};
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry,
};

use super::family::{AgeGauge, CountGauge, CountGauges, CounterGrid, Counters, Family, Histograms};
use super::label::Label;

/// What a metric is, in the words of the exposition format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Only grows; starts again at zero with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// What a metric is measured in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Whole things; the name says which.
    Count,
    /// Microseconds.
    Microseconds,
    /// Seconds, with fractions.
    Seconds,
}

/// One metric of the program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The full name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// The names of its labels; a histogram's `le` is not among them.
    pub labels: Vec<&'static str>,
    /// No scrape ever shows more series of it, buckets included.
    pub series_max: usize,
    /// What it says.
    pub help: String,
}

/// Bounds of every duration's buckets, in seconds: from the time of a sync on a good disk to the
/// deadline of an append.
const SECONDS_BOUNDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0,
];

/// Bounds of the buckets of counts, up to the most votes that a batch holds.
const COUNT_BOUNDS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0, 8_192.0,
    16_384.0, 32_768.0,
];

impl Kind {
    /// The word of the exposition format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    /// Source: the naming rules at <https://prometheus.io/docs/practices/naming/>.
    fn by_convention(name: &str) -> Self {
        match name.strip_suffix("_total") {
            Some(_) => Self::Counter,
            None => Self::Gauge,
        }
    }
}

impl Unit {
    /// For the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Microseconds => "microseconds",
            Self::Seconds => "seconds",
        }
    }

    /// Source: the naming rules at <https://prometheus.io/docs/practices/naming/>.
    fn by_convention(name: &str) -> Self {
        match name.strip_suffix("_total").unwrap_or(name) {
            base if base.ends_with("_seconds") => Self::Seconds,
            base if base.ends_with("_bytes") => Self::Bytes,
            _ => Self::Count,
        }
    }

    fn bounds(self) -> &'static [f64] {
        match self {
            Self::Seconds => SECONDS_BOUNDS,
            Self::Bytes | Self::Count | Self::Microseconds => COUNT_BOUNDS,
        }
    }
}

/// The words under which a metric is registered.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) help: &'static str,
}

impl Words {
    fn help(self) -> String {
        self.help.trim().to_owned()
    }

    fn options(self) -> Opts {
        Opts::new(self.name, self.help())
    }

    fn histogram_options(self) -> HistogramOpts {
        HistogramOpts::new(self.name, self.help()).buckets(self.unit.bounds().to_vec())
    }
}

/// A shape of metric that can be made from its words alone.
pub(super) trait Metric: Sized {
    const KIND: Kind;

    fn labels() -> Vec<&'static str> {
        Vec::new()
    }

    /// How many children it has.
    fn children() -> usize {
        1
    }

    fn register(words: Words, registry: &Registry) -> Self;
}

impl Metric for IntCounter {
    const KIND: Kind = Kind::Counter;

    fn register(words: Words, registry: &Registry) -> Self {
        registered(Self::with_opts(words.options()), registry)
    }
}

impl Metric for Gauge {
    const KIND: Kind = Kind::Gauge;

    fn register(words: Words, registry: &Registry) -> Self {
        registered(Self::with_opts(words.options()), registry)
    }
}

impl Metric for IntGauge {
    const KIND: Kind = Kind::Gauge;

    fn register(words: Words, registry: &Registry) -> Self {
        registered(Self::with_opts(words.options()), registry)
    }
}

impl Metric for CountGauge {
    const KIND: Kind = Kind::Gauge;

    fn register(words: Words, registry: &Registry) -> Self {
        registered(Self::with_opts(words.options()), registry)
    }
}

impl Metric for AgeGauge {
    const KIND: Kind = Kind::Gauge;

    fn register(words: Words, registry: &Registry) -> Self {
        registered(Gauge::with_opts(words.options()).map(Self::new), registry)
    }
}

impl Metric for Histogram {
    const KIND: Kind = Kind::Histogram;

    fn register(words: Words, registry: &Registry) -> Self {
        registered(Self::with_opts(words.histogram_options()), registry)
    }
}

impl<L: Label> Metric for Counters<L> {
    const KIND: Kind = Kind::Counter;

    fn labels() -> Vec<&'static str> {
        vec![L::NAME]
    }

    fn children() -> usize {
        L::ALL.len()
    }

    fn register(words: Words, registry: &Registry) -> Self {
        let vector = registered(IntCounterVec::new(words.options(), &[L::NAME]), registry);
        Family::new(|label: L| vector.with_label_values(&[label.value()]))
    }
}

impl<A: Label, B: Label> Metric for CounterGrid<A, B> {
    const KIND: Kind = Kind::Counter;

    fn labels() -> Vec<&'static str> {
        vec![A::NAME, B::NAME]
    }

    fn children() -> usize {
        A::ALL.len() * B::ALL.len()
    }

    fn register(words: Words, registry: &Registry) -> Self {
        let vector = IntCounterVec::new(words.options(), &[A::NAME, B::NAME]);
        let vector = registered(vector, registry);
        Family::new(|a: A| Family::new(|b: B| vector.with_label_values(&[a.value(), b.value()])))
    }
}

impl<L: Label> Metric for CountGauges<L> {
    const KIND: Kind = Kind::Gauge;

    fn labels() -> Vec<&'static str> {
        vec![L::NAME]
    }

    fn children() -> usize {
        L::ALL.len()
    }

    fn register(words: Words, registry: &Registry) -> Self {
        let vector = registered(GenericGaugeVec::new(words.options(), &[L::NAME]), registry);
        Family::new(|label: L| vector.with_label_values(&[label.value()]))
    }
}

impl<L: Label> Metric for Histograms<L> {
    const KIND: Kind = Kind::Histogram;

    fn labels() -> Vec<&'static str> {
        vec![L::NAME]
    }

    fn children() -> usize {
        L::ALL.len()
    }

    fn register(words: Words, registry: &Registry) -> Self {
        let vector = HistogramVec::new(words.histogram_options(), &[L::NAME]);
        let vector = registered(vector, registry);
        Family::new(|label: L| vector.with_label_values(&[label.value()]))
    }
}

/// Makes metrics and keeps the list of what it made.
pub(super) struct Builder {
    pub(super) registry: Registry,
    pub(super) entries: Vec<Entry>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            registry: Registry::new(),
            entries: Vec::new(),
        }
    }

    pub(super) fn make<M: Metric>(&mut self, words: Words) -> M {
        self.entries.push(Entry {
            name: words.name.to_owned(),
            kind: M::KIND,
            unit: words.unit,
            labels: M::labels(),
            series_max: M::children() * series_of_child(M::KIND, words.unit),
            help: words.help(),
        });
        M::register(words, &self.registry)
    }

    /// A gauge that is always 1 and says something in a label that is fixed at compile time.
    pub(super) fn info(&mut self, words: Words, label: &'static str, value: &'static str) {
        self.entries.push(Entry {
            name: words.name.to_owned(),
            kind: Kind::Gauge,
            unit: words.unit,
            labels: vec![label],
            series_max: 1,
            help: words.help(),
        });
        let info = IntGauge::with_opts(words.options().const_label(label, value));
        registered(info, &self.registry).set(1);
    }

    /// Takes in a collector that somebody else wrote, as it describes itself.
    pub(super) fn foreign(&mut self, collector: impl Collector + 'static) {
        for described in collector.desc() {
            self.entries.push(Entry {
                name: described.fq_name.clone(),
                kind: Kind::by_convention(&described.fq_name),
                unit: Unit::by_convention(&described.fq_name),
                labels: Vec::new(),
                series_max: 1,
                help: described.help.clone(),
            });
        }
        made(self.registry.register(Box::new(collector)));
    }
}

/// A histogram shows its buckets, the one without a bound, the sum and the count.
fn series_of_child(kind: Kind, unit: Unit) -> usize {
    match kind {
        Kind::Counter | Kind::Gauge => 1,
        Kind::Histogram => unit.bounds().len() + 3,
    }
}

fn registered<C>(collector: prometheus::Result<C>, registry: &Registry) -> C
where
    C: Collector + Clone + 'static,
{
    let collector = made(collector);
    made(registry.register(Box::new(collector.clone())));
    collector
}

/// Every name, label and bound is a constant of this program, and every test that counts anything
/// makes them all: what fails here fails in every build.
#[expect(
    clippy::expect_used,
    reason = "depends on constants only; any test would have shown it"
)]
fn made<T>(result: prometheus::Result<T>) -> T {
    result.expect("metric names are valid and used once")
}
