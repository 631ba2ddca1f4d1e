//! A crowd of voters, driven from the first connection to the last settled vote.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::caster::Caster;
use super::journal::Recorder;
use super::plan::VotePlan;
use super::retry::RetryPolicy;
use super::tally::Tally;
use super::voter::{Crowd, Voter};
use crate::http::{Connection, Door, Reuse};
use crate::schedule::{Pace, Schedule};

/// Everything that describes a run.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where the votes go.
    pub door: Door,
    /// Connections, each with one vote under way at most.
    pub connections: u32,
    /// Whether a connection carries more than one vote.
    pub reuse: Reuse,
    /// How votes arrive.
    pub pace: Pace,
    /// For how long new votes begin.
    pub length: Duration,
    /// The plan's number of the first vote.
    pub first_index: u64,
    /// What is voted.
    pub plan: VotePlan,
    /// How patient the voters are.
    pub retry: RetryPolicy,
}

/// What a run brought.
#[derive(Debug)]
pub struct Driven {
    /// Counts and latencies.
    pub tally: Tally,
    /// From the first turn to the last settled vote.
    pub took: Duration,
}

/// Casts votes until the load's length is over or `stop` is cancelled, then waits until every
/// vote that began is settled (at most the voters' patience).
pub async fn drive(
    load: Load,
    recorder: Arc<dyn Recorder>,
    stop: CancellationToken,
) -> io::Result<Driven> {
    let mut connections = warm_up(&load).await;
    let schedule = Schedule::new(load.pace, load.length, load.first_index, load.connections);
    let start = Instant::now();
    let crowd = Arc::new(Crowd {
        schedule: Arc::clone(&schedule),
        tally: Mutex::new(Tally::default()),
        recorder,
        plan: load.plan,
    });
    let mut voters = JoinSet::new();
    for number in 0..load.connections {
        let dice = SmallRng::seed_from_u64(crowd.plan.seed ^ u64::from(number));
        let caster = Caster::new(load.door.clone(), load.reuse, load.retry, dice)
            .with_connection(connections.pop().flatten());
        voters.spawn(Voter::new(Arc::clone(&crowd), caster).run());
    }
    pace_until_done(&schedule, &mut voters, stop).await?;
    let tally = std::mem::take(&mut *crowd.tally.lock());
    Ok(Driven {
        tally,
        took: start.elapsed(),
    })
}

/// Connects beforehand, so that no vote's latency holds a handshake. A server that is not there
/// yet is the voters' business.
async fn warm_up(load: &Load) -> Vec<Option<Connection>> {
    let mut connections = Vec::new();
    if load.reuse == Reuse::KeepAlive {
        for _ in 0..load.connections {
            let opened = Connection::open(load.door.address, load.retry.answer_limit).await;
            let refused = opened.is_err();
            connections.push(opened.ok());
            if refused {
                break;
            }
        }
    }
    connections
}

async fn pace_until_done(
    schedule: &Schedule,
    voters: &mut JoinSet<()>,
    stop: CancellationToken,
) -> io::Result<()> {
    let all_settled = async {
        while let Some(ended) = voters.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        Ok(())
    };
    let paced = async {
        tokio::select! {
            paced = schedule.pace() => paced?,
            () = stop.cancelled() => schedule.stop(),
        }
        stop.cancelled().await;
        schedule.stop();
        Ok::<(), io::Error>(())
    };
    tokio::pin!(all_settled);
    tokio::select! {
        done = &mut all_settled => return done,
        paced = paced => paced?,
    }
    all_settled.await
}
