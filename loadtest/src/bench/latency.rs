//! Latency at 1,000 votes a second, open loop, against the no-op and the disk itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::fdatasync;
use super::report::{Line, Section, Target, Unit, median};
use super::site::{Deployment, Effort, Site};
use crate::console::say;
use crate::http::{Door, Reuse};
use crate::schedule::Pace;
use crate::vote::{Load, NoRecord, Percentiles, RetryPolicy, Tally, VotePlan, drive};

const RATE: f64 = 1000.0;
const CONNECTIONS: u32 = 64;
/// What a single vote adds to the log: a batch's header and 16 bytes, rounded up.
const APPEND_BYTES: u32 = 256;

/// Medians over the alternations, in µs.
#[derive(Default)]
struct Medians {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Medians {
    #[expect(clippy::cast_precision_loss, reason = "microseconds within minutes")]
    fn add(&mut self, percentiles: &Percentiles) {
        self.p50.push(percentiles.p50 as f64);
        self.p99.push(percentiles.p99 as f64);
    }
}

/// The votes of all alternations.
#[derive(Clone, Copy)]
struct Counts {
    due: f64,
    measured: u64,
    errors: u64,
}

/// Measures no-op, disk and vote in turn.
pub(super) async fn measure(site: &Site, vote: &Deployment) -> anyhow::Result<Section> {
    let length = match site.effort {
        Effort::Quick => Duration::from_secs(3),
        Effort::Full => Duration::from_secs(10),
    };
    let noop = site.ring.noop_like(vote.program.listen).await?;
    let (mut noops, mut syncs, mut votes) =
        (Medians::default(), Medians::default(), Medians::default());
    let (mut errors, mut measured) = (0, 0);
    for _ in 0..site.effort.alternations() {
        noops.add(&steady(noop.address, length).await?.latencies.percentiles());
        syncs.add(&fdatasync::measure(&site.folder, RATE, length, APPEND_BYTES).await?);
        let tally = steady(vote.program.listen, length).await?;
        errors += tally.sent - tally.accepted + tally.setbacks.values().sum::<u64>();
        measured += tally.accepted;
        votes.add(&tally.latencies.percentiles());
        vote.settled().await?;
    }
    let due = RATE * length.as_secs_f64() * f64::from(site.effort.alternations());
    Ok(section(
        &noops,
        &syncs,
        &votes,
        Counts {
            due,
            measured,
            errors,
        },
    ))
}

/// 1,000 votes a second, none of them sent twice.
async fn steady(address: SocketAddr, length: Duration) -> anyhow::Result<Tally> {
    let load = Load {
        door: Door::principal(address),
        connections: CONNECTIONS,
        reuse: Reuse::KeepAlive,
        pace: Pace::Open(RATE),
        length,
        first_index: 0,
        plan: VotePlan::plain(rand::random(), vec![1, 2]),
        retry: RetryPolicy::once(Duration::from_secs(10)),
    };
    let driven = drive(load, Arc::new(NoRecord), CancellationToken::new()).await?;
    let p = driven.tally.latencies.percentiles();
    say(format_args!(
        "1,000/s at {address}: p50 {} µs, p99 {} µs",
        p.p50, p.p99
    ));
    Ok(driven.tally)
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53 votes")]
fn section(noops: &Medians, syncs: &Medians, votes: &Medians, counts: Counts) -> Section {
    let mut section = Section::new("Latency at 1,000 votes/s, open loop, from the intended start");
    let named = [("no-op", noops), ("fdatasync at the same cadence", syncs)];
    for (name, medians) in named {
        section.push(Line::median(
            format!("{name}, p50"),
            &medians.p50,
            Unit::Micros,
        ));
        section.push(Line::median(
            format!("{name}, p99"),
            &medians.p99,
            Unit::Micros,
        ));
    }
    let p50_most = median(&noops.p50) + 3.0 * median(&syncs.p50);
    let p99_most = median(&noops.p99) + 2.0 * median(&syncs.p99);
    let p50 = Line::median("vote, p50 (no-op + 3 fdatasync)", &votes.p50, Unit::Micros);
    section.push(p50.target(Target::AtMost(p50_most)));
    let p99 = Line::median("vote, p99 (no-op + 2 fdatasync)", &votes.p99, Unit::Micros);
    section.push(p99.target(Target::AtMost(p99_most)));
    let measured = Line::new("votes measured", counts.measured as f64, Unit::Count);
    section.push(measured.target(Target::AtLeast(counts.due * 0.99)));
    let errors = Line::new(
        "votes not answered with success at once",
        counts.errors as f64,
        Unit::Count,
    );
    section.push(errors.target(Target::AtMost(0.0)));
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_follow_from_what_no_op_and_disk_took() {
        let medians = |p50, p99| Medians {
            p50: vec![p50],
            p99: vec![p99],
        };
        let (noops, syncs) = (medians(100.0, 1_000.0), medians(200.0, 5_000.0));
        let targets = |votes: Medians, measured| {
            let counts = Counts {
                due: 1_000.0,
                measured,
                errors: 0,
            };
            let section = section(&noops, &syncs, &votes, counts);
            section
                .lines
                .iter()
                .filter_map(|line| line.met)
                .collect::<Vec<bool>>()
        };
        let good = targets(medians(700.0, 11_000.0), 1_000);
        assert_eq!(good, [true, true, true, true]);
        let slow = targets(medians(701.0, 11_001.0), 990);
        assert_eq!(slow, [false, false, true, true]);
        let unmeasured = targets(medians(0.0, 0.0), 0);
        assert_eq!(unmeasured, [true, true, false, true]);
    }
}
