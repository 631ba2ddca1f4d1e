//! What a vote is, and what it adds up to.
//!
//! This room holds the nouns of the system (poll, candidate, vote key, batch, mark, receipt,
//! totals) and the plain logic over them: encoding, judging times, apportioning percentages.
//! It promises that what exists is valid, because constructors check; that bytes written by a
//! release are read by it and the next; and that nothing in here does I/O, waits, or looks at a
//! clock of its own.

mod accounts;
mod batch;
mod clock;
mod ids;
mod incarnation;
mod key;
mod ledger;
mod mark;
mod percent;
mod poll;
mod ranges;
mod receipt;
mod time;
mod vote;

pub use accounts::{Account, Accounts, Conservation};
pub use batch::{
    BatchError, BatchHeader, BatchKind, EncodedBatch, HEADER_BYTES, Mode, VERSION, VOTE_BYTES,
    VOTES_MAX,
};
pub use clock::{BootMillis, Clock};
pub use ids::{
    BatchId, BatchNumber, CandidateNumber, IdError, Incarnation, Lane, LedgerPosition, PollId,
    Position, Slug,
};
pub use incarnation::{Envelope, Gap, IncarnationBook};
pub use key::{ClientKey, ClientKeyError, KeyHash, KeySource, PollSecret};
pub use ledger::LedgerEntry;
pub use mark::{MARK_BYTES, Mark, MarkError, MarkKind, Standing, decode_marks, encode_marks};
pub use percent::{Percentage, apportion};
pub use poll::{
    CANDIDATES_MAX, CANDIDATES_MIN, Candidate, PartialsPolicy, Poll, PollDraft, PollError,
    PollState, VotingHours,
};
pub use ranges::Ranges;
pub use receipt::{RECEIPT_CHARS, Receipt, ReceiptSecret, SignedReceipt};
pub use time::{Minute, OffsetMillis, TimeError, UnixMillis, UtcOffset};
pub use vote::Vote;
