//! What every vote log is, whatever stands behind it.

use async_trait::async_trait;
use bytes::Bytes;
use paredao_domain::{EncodedBatch, Envelope, Incarnation, Lane, UnixMillis};

/// Why a batch could not be made durable. It may have been stored all the same, so a retry sends
/// the same bytes under the same id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The log cannot take it now (disk full, broker away); voters get 503 until it can.
    #[error("the vote log is not available: {0}")]
    Unavailable(String),
    /// The log is being closed; voters get 503 `shutting-down`.
    #[error("the vote log is closed")]
    Closed,
}

/// Why the log cannot be read, opened or asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file or connection failed; trying again may help.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the path or address.
        context: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Written by a newer release; the program stops.
    #[error("{path} was written by a newer release (format {found}, this one reads {supported})")]
    Newer {
        /// The file.
        path: String,
        /// Its format.
        found: u32,
        /// The newest this release reads.
        supported: u32,
    },
    /// The subscription ended because the log is being closed.
    #[error("the vote log is closed")]
    Closed,
}

/// What a subscription calls a delivery until it is acknowledged. Means nothing elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryTag(pub u64);

/// Something that came off the log.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// For the acknowledgement.
    pub tag: DeliveryTag,
    /// What the log itself knew of the batch; `None` where not even that could be read.
    pub envelope: Option<Envelope>,
    /// The batch as it was found: good or damaged, the consumer judges.
    pub body: Bytes,
}

/// What waits in a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStatus {
    /// Batches appended and not acknowledged.
    pub batches: u64,
    /// Their votes.
    pub votes: u64,
    /// When the oldest of them was accepted (start of its minute) or appended.
    pub oldest: Option<UnixMillis>,
    /// Bytes kept, acknowledged ones included.
    pub bytes: u64,
    /// Whether somebody consumes.
    pub consumed: bool,
    /// The highest cumulative count of each incarnation that the kept batches name.
    pub cut: Vec<(Incarnation, u64)>,
    /// Damaged regions that were found since the log was opened, each once.
    pub damaged: u64,
}

/// The durable queue.
///
/// Deliveries come at least once and in any order, but for one promise on which results stand:
/// **what was confirmed before a barrier was appended is delivered before that barrier.** Each batch
/// that had been confirmed when [`VoteLog::append`] was called with the barrier is acknowledged
/// already, or is handed out by a subscription before that one hands out the barrier. So whoever
/// applies in this order has applied all votes that were answered with success before the barrier
/// was sent, and a result that is declared final by it lacks none of them.
#[async_trait]
pub trait VoteLog: Send + Sync + 'static {
    /// Makes a batch durable. Resolves when it is, never before.
    ///
    /// The embedded backend writes and syncs on the calling thread (handing a system call to
    /// another thread costs more than the call): whoever appends has a thread to spare.
    async fn append(&self, batch: &EncodedBatch) -> Result<(), AppendError>;

    /// Starts delivering everything of a lane that is not acknowledged, oldest first. A later
    /// subscription takes the lane over; the earlier one gets [`LogError::Closed`].
    async fn subscribe(&self, lane: Lane) -> Result<Box<dyn Subscription>, LogError>;

    /// What waits in a lane.
    async fn status(&self, lane: Lane) -> Result<LogStatus, LogError>;
}

/// What became of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// What may go has gone, or will without being asked.
    Done,
    /// Something keeps the log from letting it go now: to be asked for again.
    Later,
}

/// One consumer's hold on a lane. Dropping it gives back what was not acknowledged.
#[async_trait]
pub trait Subscription: Send {
    /// Waits until something is there and takes it: at most `votes_max` votes, but at least one
    /// batch. Cancelling the wait loses nothing.
    async fn next(&mut self, votes_max: usize) -> Result<Vec<Delivery>, LogError>;

    /// Acknowledges: these are applied and need not come again.
    async fn ack(&mut self, tags: &[DeliveryTag]) -> Result<(), LogError>;

    /// Tells the log that everything acknowledged so far also survives damage to the store's
    /// journal, so that its own copy may go.
    async fn release(&mut self) -> Result<Release, LogError>;
}
