//! A promise that was broken, and how to see it.

use paredao_domain::{BatchId, PollId};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("counted {times} where {expected} is right: {story}")]
    Counted {
        times: usize,
        expected: &'static str,
        story: String,
    },
    #[error("a vote answered with success ended as {fate}: {story}")]
    Success { fate: String, story: String },
    #[error("a vote is not booked as the others of its key demand ({why}): {story}")]
    Booked { why: String, story: String },
    #[error("poll {poll}: candidate {candidate} has {shown} votes, the voters know of {expected}")]
    Total {
        poll: PollId,
        candidate: u8,
        shown: u64,
        expected: u64,
    },
    #[error("the books do not close: {0}")]
    Books(String),
    #[error("the recount disagrees: {0}")]
    Recount(String),
    #[error(
        "poll {poll} became final before {batch} was applied, of which votes were answered: {why}"
    )]
    FinalTooEarly {
        poll: PollId,
        batch: BatchId,
        why: String,
    },
    #[error("poll {poll} is {state}: {why}")]
    Finality {
        poll: PollId,
        state: &'static str,
        why: String,
    },
    #[error("a fenced consumer wrote ({0})")]
    FencedWrote(String),
    #[error("the store found itself damaged: {0}")]
    Damaged(String),
    #[error("a consumer stopped: {0}")]
    ConsumerStopped(String),
    #[error("it panicked: {0}")]
    Panicked(String),
    #[error("it never came to rest: {0}")]
    Restless(String),
}
