//! A poll beside the main one that is closed during a round, so that failure points on the way
//! to a final result are passed.

use std::time::{Duration, Instant};

use anyhow::bail;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::finding::Finding;
use super::round::{CANDIDATES, patience};
use crate::http::Reuse;
use crate::program::Program;
use crate::total::{Reader, Total};
use crate::vote::{Caster, Outcome, VotePlan};

/// Votes it gets.
const VOTES: u64 = 50;
/// From closing to the final result: lead, append deadline, tolerance, barrier.
const FINAL_LIMIT: Duration = Duration::from_mins(1);

/// The poll of one round.
pub(super) struct SidePoll {
    program: Program,
    slug: String,
}

impl SidePoll {
    /// Where its votes are numbered, beyond the round's ordinary ones.
    pub(super) const FIRST_INDEX: u64 = 0xE000_0000;

    pub(super) fn new(program: &Program, round: u32) -> Self {
        Self {
            program: program.clone(),
            slug: format!("side-{round}"),
        }
    }

    /// Opens it, casts its votes and closes it.
    pub(super) async fn vote_and_close(
        &self,
        plan: &VotePlan,
        first_index: u64,
    ) -> anyhow::Result<()> {
        self.program.open_poll(&self.slug, CANDIDATES).await?;
        let door = self.program.door(&self.slug);
        let dice = SmallRng::seed_from_u64(first_index);
        let mut caster = Caster::new(door, Reuse::KeepAlive, patience(), dice);
        for index in first_index..first_index + VOTES {
            let vote = plan.vote(index);
            let ended = caster
                .cast(&vote.key, vote.candidate, Instant::now(), |_| {})
                .await;
            if !matches!(ended.outcome, Outcome::Accepted(_)) {
                bail!("poll {}: {:?}", self.slug, ended.outcome);
            }
        }
        self.program.ask(&["poll", "close", &self.slug]).await?;
        Ok(())
    }

    /// Waits for the final result and compares it with the votes cast.
    pub(super) async fn check(&self) -> anyhow::Result<Option<Finding>> {
        let total = final_total(&self.program, &self.slug).await?;
        let (poll, counted) = (self.slug.clone(), total.votes);
        let differs = counted != VOTES;
        Ok(differs.then_some(Finding::ClosedPoll {
            poll,
            counted,
            accepted: VOTES,
        }))
    }
}

/// Waits until a poll that was closed is final.
pub(super) async fn final_total(program: &Program, slug: &str) -> anyhow::Result<Total> {
    let mut reader = Reader::new(program.door(slug));
    let began = Instant::now();
    loop {
        let total = reader.total().await?;
        if total.estado == "final" {
            return Ok(total);
        }
        if began.elapsed() > FINAL_LIMIT {
            bail!(
                "poll {slug} is {:?}, not final, after {FINAL_LIMIT:?}",
                total.estado
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
