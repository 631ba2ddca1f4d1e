//! From vote to visible total, at saturation.
//!
//! Nobody can see one vote in a total, so the measurement marks its votes: the load goes to
//! candidates 1 and 2, and one voter alone votes for candidate 3, one vote after the other. The
//! n-th of these was visible when `/total` first showed n votes for candidate 3. The time counts
//! from the sending of the vote to the arrival of that `/total`, which is read every few
//! milliseconds over a connection of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::time::sleep;

use super::report::{Line, Section, Target, Unit};
use super::site::{Deployment, Effort, Site};
use super::wrk::{Connections, Keys};
use crate::http::{Door, Reuse};
use crate::total::{Reader, Total};
use crate::vote::{Candidate, Caster, Latencies, Outcome, RetryPolicy, VotePlan};

const MARKED: Candidate = 3;
const LOAD_CONNECTIONS: u32 = 256;
const BETWEEN_VOTES: Duration = Duration::from_millis(20);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// After the last vote, how long the looking goes on.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// When each marked vote was sent.
type Sent = Arc<Mutex<Vec<Instant>>>;

/// Measures while wrk saturates the program.
pub(super) async fn measure(site: &Site, vote: &Deployment) -> anyhow::Result<Section> {
    let length = match site.effort {
        Effort::Quick => Duration::from_secs(5),
        Effort::Full => Duration::from_secs(30),
    };
    let before = marked(&vote.reader().total().await?);
    let sent = Sent::default();
    let address = vote.program.listen;
    let load = site.wrk.vote(
        address,
        LOAD_CONNECTIONS,
        length,
        Keys::Unique,
        Connections::Kept,
    );
    let voting = mark(Door::principal(address), length, Arc::clone(&sent));
    let looking = look(vote.reader(), length, before, sent);
    let (load, voted, seen) = tokio::join!(load, voting, looking);
    let (load, ()) = (load?, voted?);
    let delays = seen?.percentiles();

    let mut section = Section::new("From vote to visible total, at saturation");
    section.push(Line::new(
        "load beside it",
        load.per_second(),
        Unit::PerSecond,
    ));
    #[expect(clippy::cast_precision_loss, reason = "microseconds within minutes")]
    let line = |name, micros: u64| Line::new(name, micros as f64 / 1e6, Unit::Seconds);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand votes")]
    section.push(Line::new("marked votes", delays.count as f64, Unit::Count));
    section.push(line("visible after, p50", delays.p50));
    section.push(line("visible after, p99", delays.p99).target(Target::AtMost(1.5)));
    vote.settled().await?;
    Ok(section)
}

/// Casts marked votes, one after the other.
async fn mark(door: Door, length: Duration, sent: Sent) -> anyhow::Result<()> {
    let plan = VotePlan::plain(rand::random(), vec![MARKED]);
    let dice = SmallRng::seed_from_u64(plan.seed);
    let mut caster = Caster::new(door, Reuse::KeepAlive, RetryPolicy::patient(), dice);
    let began = Instant::now();
    for index in 0.. {
        if began.elapsed() > length {
            break;
        }
        let now = Instant::now();
        sent.lock().push(now);
        let ended = caster.cast(&plan.key(index), MARKED, now, |_| {}).await;
        let accepted = matches!(ended.outcome, Outcome::Accepted(_));
        anyhow::ensure!(accepted, "a marked vote was not accepted: {ended:?}");
        sleep(BETWEEN_VOTES.saturating_sub(now.elapsed())).await;
    }
    Ok(())
}

/// Looks at `/total` until every marked vote is visible.
async fn look(
    mut reader: Reader,
    length: Duration,
    before: u64,
    sent: Sent,
) -> anyhow::Result<Latencies> {
    let began = Instant::now();
    let mut delays = Latencies::default();
    let mut seen = 0;
    loop {
        let visible = usize::try_from(marked(&reader.total().await?).saturating_sub(before))?;
        let now = Instant::now();
        let sent_so_far = sent.lock().clone();
        for at in sent_so_far.iter().take(visible).skip(seen) {
            delays.record(now.duration_since(*at));
        }
        seen = seen.max(visible);
        if began.elapsed() > length + BETWEEN_VOTES * 5 && seen >= sent_so_far.len() {
            return Ok(delays);
        }
        let overdue = began.elapsed() > length + LOOK_LIMIT;
        anyhow::ensure!(
            !overdue,
            "{seen} of {} marked votes are visible",
            sent_so_far.len()
        );
        sleep(BETWEEN_LOOKS).await;
    }
}

fn marked(total: &Total) -> u64 {
    total.by_candidate().get(&MARKED).copied().unwrap_or(0)
}
