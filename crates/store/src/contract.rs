//! What every store is, whatever stands behind it.

use std::fmt;
use std::ops::RangeInclusive;

use async_trait::async_trait;
use bytes::Bytes;
use paredao_domain::{
    Account, Accounts, BatchId, BatchNumber, Envelope, Incarnation, IncarnationBook, Lane,
    LedgerEntry, LedgerPosition, Minute, Poll, PollDraft, PollError, PollId, Position,
    ReceiptSecret, Slug, UnixMillis,
};

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or cannot write; trying again may help.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// What it keeps contradicts itself; somebody must look.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// It never keeps what it was given, however often it is given; somebody must look.
    #[error("the store cannot keep this: {0}")]
    TooLarge(String),
    /// A part of it died and comes back only with the process, which has to end.
    #[error("the store has failed: {0}; start the program again")]
    Dead(String),
    /// Written by a newer release; the program stops.
    #[error("{path} was written by a newer release (schema {found}, this one reads {supported})")]
    Newer {
        /// The file or database.
        path: String,
        /// Its schema version.
        found: i64,
        /// The newest this release reads.
        supported: i64,
    },
    /// No poll of that name.
    #[error("no poll is called {0}")]
    UnknownPoll(Slug),
    /// A second poll of that name.
    #[error("a poll called {0} exists already")]
    PollExists(Slug),
    /// The poll cannot be as asked.
    #[error(transparent)]
    Poll(#[from] PollError),
    /// No dead letter of that number, or it is resolved already.
    #[error("no unresolved dead letter has the number {}", .0.0)]
    UnknownDeadLetter(DeadLetterId),
    /// Nothing of that name is lost, or it was given up already.
    #[error("{0} is not missing, or it was written off already")]
    UnknownLoss(LossName),
}

impl StoreError {
    /// Whether it may pass by itself: then the same is worth trying again.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Damaged(_)
            | Self::TooLarge(_)
            | Self::Dead(_)
            | Self::Newer { .. }
            | Self::UnknownPoll(_)
            | Self::PollExists(_)
            | Self::Poll(_)
            | Self::UnknownDeadLetter(_)
            | Self::UnknownLoss(_) => false,
        }
    }
}

/// Why a transaction of the consumer did not happen, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Somebody else owns the lane. Nothing happened; the owner must claim again.
    #[error("the lane belongs to another consumer")]
    Fenced,
    /// A batch of the application is in the ledger already. Nothing happened.
    #[error("batch {0} is in the ledger already")]
    AlreadyApplied(BatchId),
    /// It may have happened: ask again what is known before doing anything else.
    #[error("the outcome of the transaction is unknown: {0}")]
    Unknown(String),
    /// Nothing happened; trying again may help.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One consumer, drawn at random when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId(pub u64);

/// The right to write to a lane, good until somebody else claims it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The lane.
    pub lane: Lane,
    /// Who claimed it.
    pub owner: OwnerId,
    /// Which claim it was.
    pub epoch: u64,
}

/// What a new owner of a lane finds.
#[derive(Clone, Debug)]
pub struct LaneClaim {
    /// The right to write.
    pub fence: Fence,
    /// Where the next entry goes.
    pub next_position: LedgerPosition,
    /// The books of every incarnation that ever sent on this lane.
    pub incarnations: Vec<IncarnationBook>,
    /// The highest minute of the lane's ledger.
    pub newest_minute: Option<Minute>,
}

/// One transaction of the lane's owner.
#[derive(Clone, Debug, Default)]
pub struct Application {
    /// New entries, at consecutive positions from the lane's next.
    pub entries: Vec<LedgerEntry>,
    /// The books as they are after this transaction, of incarnations that changed.
    pub incarnations: Vec<IncarnationBook>,
    /// Batches among the entries of which a damaged copy lies in the dead letters, those of this
    /// transaction included: their letters become requeued with it.
    pub recovered: Vec<BatchId>,
    /// What could not be read or broke a rule.
    pub dead_letters: Vec<NewDeadLetter>,
    /// Polls of which a barrier that counts came off the lane with this transaction.
    pub barriers: Vec<PollId>,
    /// When the transaction was made, for the dead letters and the entries.
    pub now: UnixMillis,
}

/// Something that cannot be applied, and why.
///
/// A letter of which the dead letters have the batch and the body already is not kept twice: the
/// kept one stays as it is, except that a requeued one becomes unresolved again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// What the log knew of it.
    pub envelope: Option<Envelope>,
    /// As it was found.
    pub body: Bytes,
    /// Why it is here, for the operator.
    pub reason: String,
    /// Its votes as far as the books need them: 0 where they stand elsewhere already (a known
    /// batch under another checksum) or cannot be known.
    pub votes: u32,
}

/// Number of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetterId(pub i64);

/// What became of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterState {
    /// Waits for somebody's decision; keeps the result of its poll from becoming final.
    Unresolved,
    /// Sent through the log again. Until its batch is in the ledger its votes are still this
    /// letter's, and it keeps the result of its poll from becoming final.
    Requeued,
    /// Given up, with the reason.
    WrittenOff(String),
}

/// A dead letter as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub id: DeadLetterId,
    /// What it is.
    pub letter: NewDeadLetter,
    /// When it came.
    pub at: UnixMillis,
    /// What became of it.
    pub state: DeadLetterState,
}

impl DeadLetter {
    /// What a list tells of it.
    pub fn head(&self) -> DeadLetterHead {
        DeadLetterHead {
            id: self.id,
            envelope: self.letter.envelope,
            reason: self.letter.reason.clone(),
            votes: self.letter.votes,
            bytes: self.letter.body.len() as u64,
            at: self.at,
            state: self.state.clone(),
        }
    }
}

/// A dead letter without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterHead {
    /// Its number.
    pub id: DeadLetterId,
    /// What the log knew of it.
    pub envelope: Option<Envelope>,
    /// Why it is here.
    pub reason: String,
    /// Its votes as far as the books need them.
    pub votes: u32,
    /// How many bytes it has.
    pub bytes: u64,
    /// When it came.
    pub at: UnixMillis,
    /// What became of it.
    pub state: DeadLetterState,
}

/// What was confirmed to voters and is nowhere to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What it is.
    pub what: Lost,
    /// Why it was given up, if somebody decided so.
    pub written_off_because: Option<String>,
}

impl Loss {
    /// Whether the thing of this name is part of it.
    pub fn includes(&self, name: LossName) -> bool {
        match (&self.what, name) {
            (
                Lost::Batches {
                    incarnation,
                    lane,
                    numbers,
                    ..
                },
                LossName::Batch(id),
            ) => (*incarnation, *lane) == (id.incarnation, id.lane) && numbers.contains(&id.number),
            (Lost::Segments { numbers, .. }, LossName::Segment(number)) => {
                numbers.contains(&number)
            }
            (Lost::Batches { .. }, LossName::Segment(_))
            | (Lost::Segments { .. }, LossName::Batch(_)) => false,
        }
    }
}

/// What can be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Batches that never came out of the vote log.
    Batches {
        /// Who cut them.
        incarnation: Incarnation,
        /// On which lane.
        lane: Lane,
        /// Their numbers.
        numbers: RangeInclusive<BatchNumber>,
        /// The votes in them.
        votes: u64,
        /// When these were accepted.
        minutes: RangeInclusive<Minute>,
    },
    /// Files of the vote log that are not there any more: nobody knows how many votes they held.
    Segments {
        /// Their numbers.
        numbers: RangeInclusive<u64>,
        /// When that was noticed; what they held was accepted before.
        noticed_at: UnixMillis,
    },
}

/// Names a loss by one of the things lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossName {
    /// A batch that never came.
    Batch(BatchId),
    /// A file of the vote log.
    Segment(u64),
}

impl fmt::Display for LossName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(id) => write!(f, "batch {id}"),
            Self::Segment(number) => write!(f, "segment {number} of the vote log"),
        }
    }
}

/// A change to a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollChange {
    /// Open it now.
    Open,
    /// Close it after the lead, in milliseconds.
    Close {
        /// Longer than any API takes to hear of it.
        lead_ms: i64,
    },
    /// Move its end.
    Extend {
        /// The new end.
        closes_at: UnixMillis,
        /// Longer than any API takes to hear of it.
        lead_ms: i64,
    },
}

/// Which part of a lane's ledger to read.
#[derive(Clone, Debug)]
pub struct LedgerQuery {
    /// The lane.
    pub lane: Lane,
    /// Only what follows the entry at this position, in the order of the page; 0: all.
    pub after: LedgerPosition,
    /// Only entries of these minutes (an index serves this).
    pub minutes: Option<RangeInclusive<Minute>>,
    /// Only entries of this poll.
    pub poll: Option<PollId>,
    /// Stop after about this many bytes of batches; at least one entry is returned if there is one.
    pub bytes_max: usize,
}

/// Votes of a minute or an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its first minute.
    pub start: Minute,
    /// Counted votes, in the order of the poll's candidates.
    pub votes: Vec<u64>,
}

/// A poll and what it adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollView {
    /// The poll.
    pub poll: Poll,
    /// Counted votes, in the order of its candidates.
    pub votes: Vec<u64>,
    /// Where its votes ended.
    pub accounts: Accounts,
    /// Votes of its batches among the dead letters that are not in the ledger after all.
    pub dead_lettered: u64,
    /// Hours (of the poll's clock) in which something was counted, in order.
    pub hours: Vec<Bucket>,
    /// Those of the 60 minutes up to the snapshot's in which something was counted, in order.
    pub minutes: Vec<Bucket>,
    /// Whether its barrier came through.
    pub barrier_passed: bool,
}

/// The deployment's side of the conservation law.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentBooks {
    /// All polls together.
    pub accounts: Accounts,
    /// Votes in dead letters whose batches are not in the ledger after all.
    pub dead_lettered: u64,
    /// Dead letters that wait for somebody.
    pub dead_letters_unresolved: u64,
    /// Votes that were confirmed and never came, those given up included.
    pub missing: u64,
    /// Of these, votes that wait for somebody's decision.
    pub missing_undecided: u64,
    /// Files of the vote log that are lost, with nobody knows how many votes, and wait for
    /// somebody's decision.
    pub segments_lost: u64,
    /// Votes that were cut, did not come, and were answered to nobody.
    pub unanswered: u64,
    /// The cumulative count of each incarnation as the ledger knows it.
    pub cut: Vec<(Incarnation, u64)>,
}

/// Everything readers see, of one instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The instant.
    pub taken_at: UnixMillis,
    /// All polls, oldest first.
    pub polls: Vec<PollView>,
    /// The books of the deployment.
    pub books: DeploymentBooks,
}

/// What became of a batch that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// In the ledger, with this checksum.
    Applied {
        /// [`paredao_domain::EncodedBatch::checksum`].
        checksum: u32,
    },
    /// In the dead letters, whatever was decided, and not in the ledger. It can be applied.
    DeadLettered,
}

/// What the store knows of one vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// In the ledger, booked so.
    Recorded {
        /// Its poll.
        poll: PollId,
        /// Its own account.
        account: Account,
    },
    /// Its batch is in the dead letters, and waits for a decision or was sent again.
    DeadLettered,
    /// Its batch was given up, or was confirmed and never came.
    Missing,
    /// The batch has not come.
    NotSeen,
    /// The batch came and holds no such position.
    NoSuchVote,
}

/// What keeps a result from becoming final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinalityHurdle {
    /// The poll has no end yet, or it has not passed.
    NotClosed,
    /// Its barrier has not come off every lane.
    Barrier,
    /// Dead letters of the poll, or of an unknown poll, wait for a decision.
    DeadLetters(u64),
    /// Dead letters of the poll, or of an unknown poll, were requeued, and their batches are not
    /// in the ledger yet.
    Requeued(u64),
    /// Votes accepted while the poll was open are missing, and nobody gave them up.
    Missing(u64),
    /// Files of the vote log were lost that may have held votes of the poll, and nobody gave them
    /// up.
    SegmentsLost(u64),
}

/// Where polls, the ledger and everything derived from it are kept.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The secret under which receipts are signed, drawn when the store was made.
    async fn receipt_secret(&self) -> Result<ReceiptSecret, StoreError>;

    /// Creates a poll, under a secret drawn for it.
    async fn create_poll(&self, draft: PollDraft, now: UnixMillis) -> Result<Poll, StoreError>;

    /// Opens, closes or extends a poll.
    async fn change_poll(
        &self,
        slug: &Slug,
        change: PollChange,
        now: UnixMillis,
    ) -> Result<Poll, StoreError>;

    /// All polls, oldest first.
    async fn polls(&self) -> Result<Vec<Poll>, StoreError>;

    /// Everything readers see.
    async fn snapshot(&self, now: UnixMillis) -> Result<Snapshot, StoreError>;

    /// Takes a lane over: from now on, whoever held it before is fenced out. Barriers that came off
    /// it count no longer, except of polls that are final.
    async fn claim_lane(&self, lane: Lane, owner: OwnerId) -> Result<LaneClaim, StoreError>;

    /// One transaction: fence, entries, marks, books, totals, buckets, dead letters, barriers.
    async fn apply(&self, fence: &Fence, application: &Application) -> Result<(), ApplyError>;

    /// What is known of these batches; those of which nothing is are left out.
    async fn known(&self, ids: &[BatchId]) -> Result<Vec<(BatchId, Known)>, StoreError>;

    /// A page of a lane's ledger: in order of position or, of some minutes, in order of minute and
    /// within one of position.
    async fn ledger(&self, query: &LedgerQuery) -> Result<Vec<LedgerEntry>, StoreError>;

    /// Declares a result final if nothing stands in the way; otherwise says what does. The barrier
    /// of a poll that is not closed at `now` counts no longer on the fence's lane.
    async fn finalize(
        &self,
        fence: &Fence,
        poll: PollId,
        now: UnixMillis,
    ) -> Result<Vec<FinalityHurdle>, ApplyError>;

    /// What became of one vote.
    async fn fate(&self, batch: BatchId, position: Position) -> Result<Fate, StoreError>;

    /// All dead letters, oldest first, without their bytes.
    async fn dead_letters(&self) -> Result<Vec<DeadLetterHead>, StoreError>;

    /// One dead letter.
    async fn dead_letter(&self, id: DeadLetterId) -> Result<DeadLetter, StoreError>;

    /// Resolves a dead letter: requeued (call this before sending it again; its batch may then be
    /// applied) or written off with a reason. A requeued one that could not be sent is put back.
    async fn resolve_dead_letter(
        &self,
        id: DeadLetterId,
        state: DeadLetterState,
    ) -> Result<(), StoreError>;

    /// Everything that was confirmed and is lost, what was given up included.
    async fn losses(&self) -> Result<Vec<Loss>, StoreError>;

    /// Gives up the loss that `name` is part of, with a reason: it stays among the missing, and no
    /// longer keeps a result from becoming final. What of it comes later is applied all the same.
    async fn write_off_loss(
        &self,
        name: LossName,
        reason: &str,
        now: UnixMillis,
    ) -> Result<Loss, StoreError>;

    /// Makes everything applied so far survive damage to the journal. Changes of polls and final
    /// results do so without being asked.
    async fn checkpoint(&self) -> Result<(), StoreError>;
}
