//! What a campaign can find wrong.

use serde::{Serialize, Serializer};

use crate::verdict::Violation;

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The totals contradict what was answered.
    #[error(transparent)]
    Books(#[from] Violation),
    /// A vote found no answer, or a final refusal, although the program was up again.
    #[error("the vote {key} was not accepted: {reason}")]
    NotAccepted {
        /// Its key.
        key: String,
        /// Why.
        reason: String,
    },
    /// A receipt given with a 200 does not say that the vote is recorded.
    #[error("the receipt {receipt} of vote {key} says {state:?}, not \"registrado\"")]
    Receipt {
        /// The vote's key.
        key: String,
        /// Its receipt.
        receipt: String,
        /// What the program says, or what it answered instead.
        state: String,
    },
    /// A receipt names another outcome than the vote's story allows, once the poll is final.
    #[error("the receipts of vote {key} say {found:?}, its story allows {allowed}")]
    Outcome {
        /// The vote's key.
        key: String,
        /// What they say.
        found: Vec<String>,
        /// What they may say.
        allowed: &'static str,
    },
    /// `paredao recount --keys` found a difference or failed.
    #[error("recount: {0}")]
    Recount(String),
    /// The program ended in a way it must not.
    #[error("the program ended with {0}")]
    Ended(String),
    /// The program's log shows a panic.
    #[error("the program panicked: {0}")]
    Panicked(String),
    /// A poll closed beside the main one has another result than the votes it answered.
    #[error("poll {poll}: {counted} counted, {accepted} accepted")]
    ClosedPoll {
        /// Its slug.
        poll: String,
        /// What its final result says.
        counted: u64,
        /// What it answered with success.
        accepted: u64,
    },
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Finding {
    /// Whether this is what a planted double count must lead to.
    pub fn is_double_count(&self) -> bool {
        matches!(self, Self::Books(Violation::Doubled { .. }))
    }

    /// Whether this is what a planted panic must lead to.
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }

    /// Whether this is what a planted loss must lead to.
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Books(Violation::Lost { .. }))
    }
}
