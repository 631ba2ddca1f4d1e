//! Votes a second against the ceiling, the no-op and Redis, in turn.

use std::collections::BTreeMap;

use super::contestants::{Contestant, Fsync};
use super::report::{Line, Section, Target, Unit, median, ratio};
use super::site::{Deployment, Site};
use super::wrk::{Connections, Keys, Measured};
use crate::console::say;

const CONNECTIONS: [u32; 3] = [64, 256, 1024];

/// Who is measured, in the order of their turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Nginx,
    Noop,
    RedisAlways,
    RedisEverySecond,
    Vote,
    VoteWithoutKey,
}

const ALL: [Who; 6] = [
    Who::Nginx,
    Who::Noop,
    Who::RedisAlways,
    Who::RedisEverySecond,
    Who::Vote,
    Who::VoteWithoutKey,
];

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx return 204",
            Self::Noop => "actix-web no-op",
            Self::RedisAlways => "nginx + Lua + Redis INCR, appendfsync always",
            Self::RedisEverySecond => "nginx + Lua + Redis INCR, appendfsync everysec",
            Self::Vote => "durable votes, a key each",
            Self::VoteWithoutKey => "durable votes without key",
        }
    }

    /// What the vote's rate over this one's should be at least.
    fn target(self) -> Option<f64> {
        match self {
            Self::Nginx => Some(0.65),
            Self::Noop => Some(0.80),
            Self::RedisAlways => Some(1.3),
            Self::RedisEverySecond => Some(1.1),
            Self::Vote | Self::VoteWithoutKey => None,
        }
    }
}

/// Everybody but the real program.
struct Others {
    nginx: Contestant,
    noop: Contestant,
    redis_always: Contestant,
    redis_every_second: Contestant,
}

impl Others {
    async fn start(site: &Site, vote: &Deployment) -> anyhow::Result<Self> {
        Ok(Self {
            nginx: site.ring.nginx().await?,
            noop: site.ring.noop_like(vote.program.listen).await?,
            redis_always: site.ring.redis(Fsync::Always).await?,
            redis_every_second: site.ring.redis(Fsync::EverySecond).await?,
        })
    }
}

/// Measurements by connections and contestant, one an alternation.
type Samples = BTreeMap<(u32, Who), Vec<Measured>>;

/// Compares everybody, with votes going to `vote`.
pub(super) async fn measure(site: &Site, vote: &Deployment) -> anyhow::Result<Vec<Section>> {
    let others = Others::start(site, vote).await?;
    let mut samples = Samples::new();
    for connections in CONNECTIONS {
        for alternation in 1..=site.effort.alternations() {
            for who in ALL {
                let measured = turn(site, vote, &others, who, connections).await?;
                say(format_args!(
                    "{connections:>5} connections, {alternation}: {:<48} {:>9.0}/s, {} failures",
                    who.name(),
                    measured.per_second(),
                    measured.failures(),
                ));
                samples
                    .entry((connections, who))
                    .or_default()
                    .push(measured);
            }
        }
    }
    Ok(CONNECTIONS
        .iter()
        .map(|&connections| section(connections, &samples))
        .collect())
}

async fn turn(
    site: &Site,
    vote: &Deployment,
    others: &Others,
    who: Who,
    connections: u32,
) -> anyhow::Result<Measured> {
    let (address, keys) = match who {
        Who::Nginx => (others.nginx.address, Keys::Unique),
        Who::Noop => (others.noop.address, Keys::Unique),
        Who::RedisAlways => (others.redis_always.address, Keys::Unique),
        Who::RedisEverySecond => (others.redis_every_second.address, Keys::Unique),
        Who::Vote => (vote.program.listen, Keys::Unique),
        Who::VoteWithoutKey => (vote.program.listen, Keys::None),
    };
    let length = site.effort.length();
    let measured = site
        .wrk
        .vote(address, connections, length, keys, Connections::Kept)
        .await?;
    if matches!(who, Who::Vote | Who::VoteWithoutKey) {
        vote.settled().await?;
    }
    Ok(measured)
}

fn section(connections: u32, samples: &Samples) -> Section {
    let mut section = Section::new(format!("Throughput, {connections} connections"));
    let of = |who| {
        samples
            .get(&(connections, who))
            .map_or(&[][..], Vec::as_slice)
    };
    let rates = |who| {
        of(who)
            .iter()
            .map(Measured::per_second)
            .collect::<Vec<f64>>()
    };
    for who in ALL {
        section.push(Line::median(who.name(), &rates(who), Unit::PerSecond));
    }
    let vote = median(&rates(Who::Vote));
    for who in ALL {
        if let Some(least) = who.target() {
            let ratio = ratio(vote, median(&rates(who)));
            let line = Line::new(format!("  votes ÷ {}", who.name()), ratio, Unit::Ratio);
            section.push(line.target(Target::AtLeast(least)));
        }
    }
    let failures: u64 = of(Who::Vote).iter().map(Measured::failures).sum();
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 failures")]
    let line = Line::new(
        "  votes not answered with success",
        failures as f64,
        Unit::Count,
    );
    section.push(line.target(Target::AtMost(0.0)));
    section
}

/// A new connection for every vote, against the no-op under the same condition.
pub(super) async fn per_connection(site: &Site, vote: &Deployment) -> anyhow::Result<Section> {
    let noop = site.ring.noop_like(vote.program.listen).await?;
    let (mut noops, mut votes) = (Vec::new(), Vec::new());
    for _ in 0..site.effort.alternations() {
        for (address, rates) in [
            (noop.address, &mut noops),
            (vote.program.listen, &mut votes),
        ] {
            let length = site.effort.length();
            let measured = site
                .wrk
                .vote(address, 64, length, Keys::Unique, Connections::PerVote)
                .await?;
            rates.push(measured.per_second());
        }
        vote.settled().await?;
    }
    let ratio = ratio(median(&votes), median(&noops));
    say(format_args!(
        "a connection for every vote: {ratio:.2} of the no-op"
    ));
    let mut section = Section::new("A new connection for every vote, 64 at a time");
    section.push(Line::median(Who::Noop.name(), &noops, Unit::PerSecond));
    section.push(Line::median(Who::Vote.name(), &votes, Unit::PerSecond));
    let line = Line::new("  votes ÷ no-op", ratio, Unit::Ratio);
    section.push(line.target(Target::AtLeast(0.8)));
    Ok(section)
}
