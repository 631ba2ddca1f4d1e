//! The shapes of metrics. Children are made when the program starts: finding one is an array
//! access, and every series is shown from the first scrape, at zero.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus::core::{Collector, Desc, GenericGauge};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Histogram, IntCounter};

use super::Label;

/// A gauge of something that is counted and never negative.
pub type CountGauge = GenericGauge<prometheus::core::AtomicU64>;

/// One child for each value of a label.
#[derive(Debug)]
pub struct Family<M, L> {
    children: Box<[M]>,
    label: PhantomData<L>,
}

/// Counters, one for each value of a label.
pub type Counters<L> = Family<IntCounter, L>;
/// Counters, one for each pair of two labels' values.
pub type CounterGrid<A, B> = Family<Counters<B>, A>;
/// Gauges of counts, one for each value of a label.
pub type CountGauges<L> = Family<CountGauge, L>;
/// Histograms, one for each value of a label.
pub type Histograms<L> = Family<Histogram, L>;

impl<M, L: Label> Family<M, L> {
    /// Makes the child of every value.
    pub(super) fn new(child: impl FnMut(L) -> M) -> Self {
        Self {
            children: L::ALL.iter().copied().map(child).collect(),
            label: PhantomData,
        }
    }

    /// The child of one value.
    #[expect(
        clippy::indexing_slicing,
        reason = "there is a child for each value, in the order of their positions"
    )]
    pub fn of(&self, label: L) -> &M {
        &self.children[label.position()]
    }
}

/// How long ago something last happened, computed when it is scraped: it also grows while
/// whoever should refresh it hangs. Until the first time it is the age of the process's metrics.
#[derive(Clone, Debug)]
pub struct AgeGauge {
    gauge: Gauge,
    made: Instant,
    /// Microseconds from `made` to the last refresh.
    refreshed_us: Arc<AtomicU64>,
}

impl AgeGauge {
    pub(super) fn new(gauge: Gauge) -> Self {
        Self {
            gauge,
            made: Instant::now(),
            refreshed_us: Arc::default(),
        }
    }

    /// It happened now.
    pub fn refresh(&self) {
        let since_made = self.made.elapsed().as_micros();
        let refreshed_us = u64::try_from(since_made).unwrap_or(u64::MAX);
        self.refreshed_us.store(refreshed_us, Ordering::Relaxed);
    }

    /// How long ago it happened.
    pub fn age(&self) -> Duration {
        let refreshed = Duration::from_micros(self.refreshed_us.load(Ordering::Relaxed));
        self.made.elapsed().saturating_sub(refreshed)
    }
}

impl Collector for AgeGauge {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.set(self.age().as_secs_f64());
        self.gauge.collect()
    }
}
