//! One voter with one connection: casts vote after vote and stays with each until it is settled.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::caster::{Caster, Ended};
use super::journal::Recorder;
use super::outcome::{Outcome, ResentCopy, SettledVote};
use super::plan::{Afterwards, Candidate, VotePlan};
use super::tally::Tally;
use crate::schedule::{Schedule, Turn};

/// What all voters of a run have in common.
pub(super) struct Crowd {
    pub(super) plan: VotePlan,
    pub(super) schedule: Arc<Schedule>,
    pub(super) tally: Mutex<Tally>,
    pub(super) recorder: Arc<dyn Recorder>,
}

/// One connection's voter.
pub(super) struct Voter {
    crowd: Arc<Crowd>,
    caster: Caster,
}

impl Voter {
    pub(super) fn new(crowd: Arc<Crowd>, caster: Caster) -> Self {
        Self { crowd, caster }
    }

    /// Votes until the schedule ends.
    pub(super) async fn run(mut self) {
        while let Some(turn) = self.crowd.schedule.next().await {
            self.vote(turn).await;
        }
    }

    async fn vote(&mut self, turn: Turn) {
        let planned = self.crowd.plan.vote(turn.index);
        let ended = self
            .cast(&planned.key, planned.candidate, turn.intended)
            .await;
        let took = turn.intended.elapsed();
        let copies = match (&ended.outcome, planned.afterwards) {
            (Outcome::Accepted(_), Afterwards::Resend { candidate, copies }) => {
                self.resend(&planned.key, candidate, copies).await
            }
            _ => Vec::new(),
        };
        let vote = SettledVote {
            planned,
            outcome: ended.outcome,
            attempts: ended.attempts,
            copies,
            intended: turn.intended,
            took,
        };
        self.crowd.tally.lock().settle(&vote);
        self.crowd.recorder.settled(&vote);
    }

    async fn resend(&mut self, key: &str, candidate: Candidate, copies: u8) -> Vec<ResentCopy> {
        let mut resent = Vec::with_capacity(copies.into());
        for _ in 0..copies {
            let ended = self.cast(key, candidate, Instant::now()).await;
            resent.push(ResentCopy {
                candidate,
                outcome: ended.outcome,
                unsure: ended.unsure,
            });
        }
        resent
    }

    async fn cast(&mut self, key: &str, candidate: Candidate, since: Instant) -> Ended {
        let tally = &self.crowd.tally;
        self.caster
            .cast(key, candidate, since, |setback| {
                tally.lock().setback(setback);
            })
            .await
    }
}
