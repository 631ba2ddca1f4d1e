//! Three times what the program sustains, with the disk made slow until it is the limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::report::{Line, Section, Target, Unit, median, ratio};
use super::site::{Deployment, Effort, Site};
use crate::console::say;
use crate::http::{Door, Reuse};
use crate::schedule::Pace;
use crate::vote::{
    Driven, Load, NoRecord, Outcome, Percentiles, Recorder, RetryPolicy, SettledVote, VotePlan,
    drive,
};

/// 100 votes a batch and 20 ms a batch: about 5,000 votes/s, far below what the processor can do.
/// At most 400 votes wait, 80 ms of work.
const SETTINGS: &[(&str, &str)] = &[
    ("PAREDAO_APPEND_DELAY_US", "20000"),
    ("PAREDAO_BATCH_VOTES_MAX", "100"),
    ("PAREDAO_VOTES_WAITING_MAX", "400"),
];
/// Fewer than may wait, so that sustaining means no refusal.
const SUSTAINING_CONNECTIONS: u32 = 300;
/// More than may wait, so that the client never waits for the server.
const OVERLOADING_CONNECTIONS: u32 = 2_000;
/// Memory that may come and go without the program growing.
const FLAT_MEGABYTES: f64 = 10.0;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
const NORMAL_WINDOW: Duration = Duration::from_millis(100);

/// What is offered, as a multiple of what is sustained.
const OVERLOAD: f64 = 3.0;
/// What of that the client must manage, or it was no overload.
const OVERLOAD_LEAST: f64 = 2.9;

/// What the phases measured.
struct Phases {
    sustained: f64,
    offered: f64,
    overloaded: Driven,
    refusals: Percentiles,
    growth_megabytes: f64,
    back_to_normal: Duration,
}

/// Measures what is sustained, offers three times that, and watches the time after.
pub(super) async fn measure(site: &Site) -> anyhow::Result<Section> {
    let vote = site.deploy("overload", SETTINGS).await?;
    let length = match site.effort {
        Effort::Quick => Duration::from_secs(4),
        Effort::Full => Duration::from_secs(15),
    };
    let closed = load(&vote, Pace::Closed, SUSTAINING_CONNECTIONS, length);
    let sustained = accepted_per_second(&run(closed, Arc::new(NoRecord)).await?);
    let half = load(
        &vote,
        Pace::Open(sustained / 2.0),
        SUSTAINING_CONNECTIONS,
        length / 2,
    );
    let normal = run(half, Arc::new(NoRecord))
        .await?
        .tally
        .latencies
        .percentiles();

    let triple = load(
        &vote,
        Pace::Open(sustained * OVERLOAD),
        OVERLOADING_CONNECTIONS,
        length,
    );
    let overload = async {
        let driven = run(triple, Arc::new(NoRecord)).await;
        (driven, Instant::now())
    };
    let (overloaded, growth) = tokio::join!(overload, growth_within(&vote, length));
    let (overloaded, ended) = overloaded;
    let overloaded = overloaded?;

    let watch = Arc::new(Watch::default());
    let half = load(
        &vote,
        Pace::Open(sustained / 2.0),
        SUSTAINING_CONNECTIONS,
        Duration::from_secs(5),
    );
    let afterwards = run(half, Arc::<Watch>::clone(&watch)).await?;
    ensure!(afterwards.tally.accepted > 0, "no vote after the overload");
    vote.settled().await?;
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 votes")]
    let offered = overloaded.tally.sent as f64 / length.as_secs_f64();
    let phases = Phases {
        sustained,
        offered,
        refusals: overloaded.tally.refusal_latencies.percentiles(),
        overloaded,
        growth_megabytes: growth?,
        back_to_normal: watch.last_abnormal(ended, Duration::from_micros(2 * normal.p99)),
    };
    Ok(section(&phases))
}

fn load(vote: &Deployment, pace: Pace, connections: u32, length: Duration) -> Load {
    Load {
        door: Door::principal(vote.program.listen),
        connections,
        reuse: Reuse::KeepAlive,
        pace,
        length,
        first_index: 0,
        plan: VotePlan::plain(rand::random(), vec![1, 2]),
        retry: RetryPolicy::once(Duration::from_secs(10)),
    }
}

async fn run(load: Load, recorder: Arc<dyn Recorder>) -> anyhow::Result<Driven> {
    let pace = load.pace;
    let driven = drive(load, recorder, CancellationToken::new()).await?;
    say(format_args!(
        "overload, {pace:?}: {:.0} accepted/s, {} refused",
        accepted_per_second(&driven),
        driven.tally.refused_total(),
    ));
    Ok(driven)
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53 votes")]
fn accepted_per_second(driven: &Driven) -> f64 {
    driven.tally.accepted as f64 / driven.took.as_secs_f64()
}

/// By how many megabytes the second half of an overload is above the first: its beginning, when
/// connections are made and buffers grow to their size, does not count.
async fn growth_within(vote: &Deployment, length: Duration) -> anyhow::Result<f64> {
    let began = Instant::now();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    while began.elapsed() < length {
        let megabytes = besides_window(vote).await?;
        if began.elapsed() > length / 2 {
            second.push(megabytes);
        } else if began.elapsed() > length / 4 {
            first.push(megabytes);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(median(&second) - median(&first))
}

/// Resident memory besides the window, in megabytes.
async fn besides_window(vote: &Deployment) -> anyhow::Result<f64> {
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 bytes")]
    let resident = vote.resident_bytes()? as f64;
    Ok((resident - vote.metric("paredao_consumer_window_bytes").await?) / 1e6)
}

/// Remembers how each vote fared, to find when the last one fared badly.
#[derive(Default)]
struct Watch {
    votes: Mutex<Vec<(Instant, Fared)>>,
}

/// How a vote fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fared {
    Accepted(Duration),
    Refused,
}

impl Recorder for Watch {
    fn settled(&self, vote: &SettledVote) {
        let fared = match vote.outcome {
            Outcome::Accepted(_) => Fared::Accepted(vote.took),
            Outcome::Refused(_) | Outcome::Unknown(_) => Fared::Refused,
        };
        self.votes.lock().push((vote.intended, fared));
    }
}

impl Watch {
    /// From `start` to the end of the last window in which a vote was refused, or in which most
    /// took longer than `usual`.
    fn last_abnormal(&self, start: Instant, usual: Duration) -> Duration {
        let mut votes = self.votes.lock().clone();
        votes.sort_by_key(|(intended, _)| *intended);
        let window_of = |intended: Instant| {
            intended.saturating_duration_since(start).as_nanos() / NORMAL_WINDOW.as_nanos()
        };
        votes
            .chunk_by(|(a, _), (b, _)| window_of(*a) == window_of(*b))
            .filter(|window| is_abnormal(window, usual))
            .filter_map(|window| window.last())
            .map(|(intended, _)| intended.saturating_duration_since(start))
            .max()
            .unwrap_or_default()
    }
}

fn is_abnormal(window: &[(Instant, Fared)], usual: Duration) -> bool {
    let refused = window.iter().any(|(_, fared)| *fared == Fared::Refused);
    let slow = |fared: Fared| matches!(fared, Fared::Accepted(took) if took > usual);
    let slow = window.iter().filter(|(_, fared)| slow(*fared)).count();
    refused || slow * 2 > window.len()
}

fn section(phases: &Phases) -> Section {
    let mut section = Section::new("Overload: three times what a slow disk sustains is offered");
    push_rates(&mut section, phases);
    push_refusals(&mut section, phases);
    let line = Line::new(
        "memory grown meanwhile, window aside",
        phases.growth_megabytes,
        Unit::Megabytes,
    );
    section.push(line.target(Target::AtMost(FLAT_MEGABYTES)));
    let seconds = phases.back_to_normal.as_secs_f64();
    section.push(
        Line::new("back to normal after", seconds, Unit::Seconds).target(Target::AtMost(2.0)),
    );
    section
}

/// What was offered and taken. A client that could not offer so much has measured no overload.
fn push_rates(section: &mut Section, phases: &Phases) {
    let per_second = |name, value| Line::new(name, value, Unit::PerSecond);
    let to_sustained = |name, value, least| {
        Line::new(name, ratio(value, phases.sustained), Unit::Ratio).target(Target::AtLeast(least))
    };
    let accepted = accepted_per_second(&phases.overloaded);
    section.push(per_second("sustained", phases.sustained));
    section.push(per_second("offered", phases.offered));
    section.push(to_sustained(
        "  offered ÷ sustained",
        phases.offered,
        OVERLOAD_LEAST,
    ));
    section.push(per_second("accepted under overload", accepted));
    section.push(to_sustained("  accepted ÷ sustained", accepted, 0.9));
}

/// How votes were refused. Without a refusal it was no overload.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53 votes")]
fn push_refusals(section: &mut Section, phases: &Phases) {
    let tally = &phases.overloaded.tally;
    let mut count = |name, votes: u64, target| {
        section.push(Line::new(name, votes as f64, Unit::Count).target(target));
    };
    let refusals = tally.refused.iter().chain(&tally.setbacks);
    let other: u64 = refusals
        .filter(|(reason, _)| !reason.0.starts_with("503"))
        .map(|(_, n)| n)
        .sum();
    count("refused", tally.refused_total(), Target::AtLeast(1.0));
    count(
        "  other than a 503, or left unknown",
        other + tally.unknown,
        Target::AtMost(0.0),
    );
    count(
        "  without Retry-After",
        tally.refusals_without_retry_after,
        Target::AtMost(0.0),
    );
    let line = Line::new(
        "  p99 of a refusal",
        phases.refusals.p99 as f64,
        Unit::Micros,
    );
    section.push(line.target(Target::AtMost(50_000.0)));
}

#[cfg(test)]
mod tests {
    use super::super::report::BenchReport;
    use super::*;
    use crate::vote::{Reason, Tally};

    /// An overload in which all went well, of 1,000 votes/s sustained.
    fn phases(offered: f64, refused: u64) -> Phases {
        let reason = Reason("503 overloaded".into());
        let tally = Tally {
            accepted: 950,
            refused: [(reason, refused)].into(),
            ..Tally::default()
        };
        Phases {
            sustained: 1_000.0,
            offered,
            overloaded: Driven {
                tally,
                took: Duration::from_secs(1),
            },
            refusals: Percentiles::default(),
            growth_megabytes: 0.0,
            back_to_normal: Duration::ZERO,
        }
    }

    #[test]
    fn an_overload_that_was_none_is_no_good_measurement() {
        let passes = |phases| BenchReport::all_met(&[section(&phases)]);
        assert!(passes(phases(2_950.0, 2_000)));
        assert!(!passes(phases(2_850.0, 2_000)), "too little was offered");
        assert!(!passes(phases(2_950.0, 0)), "nothing was refused");
        let unmeasured = Phases {
            sustained: 0.0,
            ..phases(2_950.0, 2_000)
        };
        assert!(!passes(unmeasured), "nothing was sustained");
    }

    #[test]
    fn normal_begins_after_the_last_window_with_a_refusal_or_slow_votes() {
        let (start, usual) = (Instant::now(), Duration::from_millis(40));
        let at = |ms| start + Duration::from_millis(ms);
        let (quick, slow) = (Fared::Accepted(usual), Fared::Accepted(usual * 2));
        let watch = Watch::default();
        let mut watched = vec![(at(10), Fared::Refused), (at(20), quick)];
        watched.extend([(at(510), slow), (at(530), slow), (at(590), quick)]);
        watched.extend([(at(710), slow), (at(720), quick), (at(730), quick)]);
        *watch.votes.lock() = watched;
        assert_eq!(
            watch.last_abnormal(start, usual),
            Duration::from_millis(590)
        );
        assert_eq!(Watch::default().last_abnormal(start, usual), Duration::ZERO);
    }
}
