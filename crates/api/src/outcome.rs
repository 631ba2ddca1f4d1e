//! How a request to vote ends: one of these, and nothing else.

use paredao_intake::NotTaken;
use paredao_telemetry::metrics::VoteOutcome;

use crate::problem::ProblemType;

/// Why a request to vote got no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The body is not JSON, or broke off.
    Malformed,
    /// The body is JSON and not a vote.
    InvalidVote,
    /// The body did not come in time.
    RequestTimeout,
    /// The body is over the limit.
    TooLarge,
    /// The body is of another content type.
    UnsupportedMediaType,
    /// The `Idempotency-Key` breaks its rules.
    InvalidKey,
    /// The poll has no candidate of that number.
    UnknownCandidate,
    /// There is no such poll.
    UnknownPoll,
    /// The intake did not take it, or does not know.
    NotTaken(NotTaken),
}

impl From<NotTaken> for Refusal {
    fn from(why: NotTaken) -> Self {
        Self::NotTaken(why)
    }
}

impl Refusal {
    /// How it is counted.
    pub fn metric(self) -> VoteOutcome {
        match self {
            Self::Malformed | Self::InvalidVote | Self::RequestTimeout => VoteOutcome::Malformed,
            Self::TooLarge => VoteOutcome::TooLarge,
            Self::UnsupportedMediaType => VoteOutcome::UnsupportedMediaType,
            Self::InvalidKey => VoteOutcome::InvalidKey,
            Self::UnknownCandidate => VoteOutcome::UnknownCandidate,
            Self::UnknownPoll => VoteOutcome::UnknownPoll,
            Self::NotTaken(NotTaken::NotOpen) => VoteOutcome::NotOpen,
            Self::NotTaken(NotTaken::Overloaded) => VoteOutcome::Overloaded,
            Self::NotTaken(NotTaken::LogUnavailable) => VoteOutcome::LogUnavailable,
            Self::NotTaken(NotTaken::ShuttingDown) => VoteOutcome::ShuttingDown,
            Self::NotTaken(NotTaken::OutcomeUnknown) => VoteOutcome::OutcomeUnknown,
        }
    }

    /// How it is answered.
    pub fn problem(self) -> ProblemType {
        match self {
            Self::Malformed => ProblemType::Malformed,
            Self::InvalidVote => ProblemType::InvalidVote,
            Self::RequestTimeout => ProblemType::RequestTimeout,
            Self::TooLarge => ProblemType::PayloadTooLarge,
            Self::UnsupportedMediaType => ProblemType::UnsupportedMediaType,
            Self::InvalidKey => ProblemType::InvalidKey,
            Self::UnknownCandidate => ProblemType::UnknownCandidate,
            Self::UnknownPoll => ProblemType::UnknownPoll,
            Self::NotTaken(NotTaken::NotOpen) => ProblemType::PollNotOpen,
            Self::NotTaken(NotTaken::Overloaded) => ProblemType::Overloaded,
            Self::NotTaken(NotTaken::LogUnavailable) => ProblemType::LogUnavailable,
            Self::NotTaken(NotTaken::ShuttingDown) => ProblemType::ShuttingDown,
            Self::NotTaken(NotTaken::OutcomeUnknown) => ProblemType::OutcomeUnknown,
        }
    }
}
