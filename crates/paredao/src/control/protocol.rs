//! What is asked and answered on the control socket.

use std::fmt::Display;

use paredao_domain::{Accounts, BatchNumber, Incarnation, PollDraft, Slug, UnixMillis, UtcOffset};
use serde::{Deserialize, Serialize};

/// Version of the protocol. Command and process must speak the same.
pub(crate) const VERSION: u32 = 1;

/// One line to the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// [`VERSION`] of whoever asks.
    pub(crate) version: u32,
    /// What to do.
    pub(crate) task: Task,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Task {
    /// Create a poll.
    CreatePoll(PollDraft),
    /// Open a poll now.
    OpenPoll(Slug),
    /// Close a poll after the lead.
    ClosePoll(Slug),
    /// Move the end of a poll.
    ExtendPoll {
        /// Which.
        slug: Slug,
        /// To when.
        end: End,
    },
    /// All polls.
    Polls,
    /// One poll.
    Poll(Slug),
    /// What waits in the vote log.
    VoteLogStatus,
    /// What was confirmed and is lost.
    Losses,
    /// Give missing batches up.
    WriteOffBatches {
        /// Who cut them.
        incarnation: Incarnation,
        /// The number of one of them.
        number: BatchNumber,
        /// Why.
        reason: String,
    },
    /// Give lost files of the vote log up.
    WriteOffSegments {
        /// The number of one of them.
        number: u64,
        /// Why.
        reason: String,
    },
    /// All dead letters.
    DeadLetters,
    /// One dead letter.
    DeadLetter(i64),
    /// Send a dead letter through the log again.
    RequeueDeadLetter(i64),
    /// Give a dead letter up.
    WriteOffDeadLetter {
        /// Which.
        number: i64,
        /// Why.
        reason: String,
    },
    /// Compute totals again.
    Recount {
        /// Of this poll; `None`: of all.
        poll: Option<Slug>,
        /// How thoroughly.
        depth: Depth,
    },
    /// Whether the process is ready.
    Health,
    /// Change what is logged.
    LogLevel {
        /// A level or directives.
        directives: String,
        /// Go back after so many milliseconds.
        for_ms: Option<u64>,
    },
}

/// When a poll is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// At this instant.
    Until(UnixMillis),
    /// So many milliseconds after the present end.
    ByMillis(i64),
}

/// How thorough a recount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Depth {
    /// Believes the marks of the ledger.
    Marks,
    /// Derives the duplicates from the keys.
    Keys,
}

/// One line from the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// It is at work; more lines come.
    Progress(Progress),
    /// It is done.
    Done(Box<Reply>),
    /// It is not done.
    Refused(Refusal),
}

/// How far long work is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Steps done.
    pub(crate) done: u64,
    /// Of so many.
    pub(crate) of: u64,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// One poll, as it is now.
    Poll(PollReport),
    /// All polls.
    Polls(Vec<PollReport>),
    /// The vote log.
    VoteLog(VoteLogReport),
    /// What was confirmed and is lost.
    Losses(Vec<LossReport>),
    /// All dead letters, without their bytes.
    DeadLetters(Vec<DeadLetterReport>),
    /// One dead letter, with its bytes.
    DeadLetter(DeadLetterReport),
    /// What a recount found.
    Recount(RecountReport),
    /// Whether the process is ready.
    Health(HealthReport),
    /// Done, and nothing to show but this sentence.
    Said(String),
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// Whose fault it is.
    pub(crate) fault: Fault,
    /// What is wrong, in one line.
    pub(crate) message: String,
}

impl Refusal {
    /// What was asked makes no sense.
    pub(crate) fn misuse(message: impl Display) -> Self {
        Self {
            fault: Fault::Misuse,
            message: message.to_string(),
        }
    }

    /// What was asked could not be done.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self {
            fault: Fault::Failed,
            message: message.to_string(),
        }
    }
}

/// Whose fault a refusal is; decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// Of whoever asked: 2.
    Misuse,
    /// Of the circumstances: 1.
    Failed,
}

/// A poll and what it adds up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PollReport {
    /// Its name in addresses.
    pub(crate) slug: Slug,
    /// Its title.
    pub(crate) title: String,
    /// What it is at present.
    pub(crate) state: PollWord,
    /// Whether the bare addresses mean it, because it is marked so.
    pub(crate) principal: bool,
    /// The offset of its times.
    pub(crate) utc_offset: UtcOffset,
    /// When it opens or opened (RFC 3339).
    pub(crate) opens_at: Option<String>,
    /// When it closes or closed (RFC 3339).
    pub(crate) closes_at: Option<String>,
    /// Milliseconds until it closes, while it is open and has an end.
    pub(crate) closes_in_ms: Option<i64>,
    /// When its result became final (RFC 3339).
    pub(crate) final_at: Option<String>,
    /// Counted votes.
    pub(crate) total: u64,
    /// Counted votes of each candidate, in the order of the page.
    pub(crate) candidates: Vec<CandidateReport>,
    /// Where its votes ended.
    pub(crate) accounts: Accounts,
    /// Votes among its dead letters.
    pub(crate) dead_lettered: u64,
    /// What keeps its result from being final; empty when it is.
    pub(crate) not_final_because: Vec<String>,
    /// Where it is voted.
    pub(crate) vote_page: String,
    /// Where its result is shown.
    pub(crate) results_page: String,
}

/// The state of a poll in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PollWord {
    /// Not yet open.
    Scheduled,
    /// Taking votes.
    Open,
    /// Past its end, result partial.
    Closed,
    /// Result final.
    Final,
}

impl PollWord {
    /// The word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Final => "final",
        }
    }
}

/// A candidate and their votes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CandidateReport {
    /// The number voters tap.
    pub(crate) number: u64,
    /// The name.
    pub(crate) name: String,
    /// Counted votes.
    pub(crate) votes: u64,
    /// Their share, apportioned so that a column adds up to 100.00.
    pub(crate) percent: String,
}

/// What waits in the vote log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteLogReport {
    /// Batches not acknowledged.
    pub(crate) batches: u64,
    /// Their votes.
    pub(crate) votes: u64,
    /// When the oldest of them was accepted (RFC 3339).
    pub(crate) oldest: Option<String>,
    /// Bytes kept, acknowledged ones included.
    pub(crate) bytes: u64,
    /// Whether somebody consumes.
    pub(crate) consumed: bool,
    /// Damaged regions found since the log was opened.
    pub(crate) damaged: u64,
    /// Losses that nobody wrote off.
    pub(crate) losses_undecided: u64,
}

/// Batches that were confirmed and never came, or files of the vote log that are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LossReport {
    /// Who cut the batches; nobody for files.
    pub(crate) incarnation: Option<String>,
    /// The first number, of a batch or of a file.
    pub(crate) first: u64,
    /// The last one.
    pub(crate) last: u64,
    /// Their votes; nobody knows those of a file.
    pub(crate) votes: Option<u64>,
    /// When the first of these was accepted at the earliest (RFC 3339); not known of a file.
    pub(crate) accepted_from: Option<String>,
    /// When the last of these was accepted at the latest (RFC 3339).
    pub(crate) accepted_until: String,
    /// Why it was given up.
    pub(crate) written_off_because: Option<String>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadLetterReport {
    /// Its number.
    pub(crate) number: i64,
    /// When it came (RFC 3339).
    pub(crate) at: String,
    /// Its batch, where the log could still name it.
    pub(crate) batch: Option<String>,
    /// Its poll, where known.
    pub(crate) poll: Option<String>,
    /// Its votes as far as the books need them.
    pub(crate) votes: u32,
    /// Why it is here.
    pub(crate) reason: String,
    /// What became of it.
    pub(crate) state: DeadLetterWord,
    /// Why it was written off.
    pub(crate) written_off_because: Option<String>,
    /// How many bytes were found.
    pub(crate) bytes: u64,
    /// The bytes themselves, in hexadecimal, where one letter is shown.
    pub(crate) body_hex: Option<String>,
}

/// What became of a dead letter, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeadLetterWord {
    /// Waits for a decision.
    Unresolved,
    /// Went through the log again.
    Requeued,
    /// Given up.
    WrittenOff,
}

impl DeadLetterWord {
    /// The word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Requeued => "requeued",
            Self::WrittenOff => "written off",
        }
    }
}

/// What a recount found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecountReport {
    /// Polls compared.
    pub(crate) polls: u64,
    /// Ledger entries read.
    pub(crate) entries: u64,
    /// Votes in them.
    pub(crate) votes: u64,
    /// Votes counted among them.
    pub(crate) counted: u64,
    /// Milliseconds it took.
    pub(crate) took_ms: u64,
    /// What differs, a line each; empty: ledger and totals agree to the vote.
    pub(crate) differences: Vec<String>,
    /// Differences beyond those listed.
    pub(crate) further_differences: u64,
}

/// Whether the process is ready, and each of its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthReport {
    /// Whether it may be sent votes.
    pub(crate) ready: bool,
    /// Whether it is on its way out.
    pub(crate) stopping: bool,
    /// Its parts that are not ready, each with the reason.
    pub(crate) unready: Vec<String>,
}
