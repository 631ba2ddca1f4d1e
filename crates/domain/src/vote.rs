//! One vote as a batch carries it.

use crate::{CandidateNumber, KeyHash, KeySource, OffsetMillis};

/// One vote of a batch: for whom, when within the batch's minute, under which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// For whom.
    pub candidate: CandidateNumber,
    /// Where its key came from.
    pub source: KeySource,
    /// When it was accepted, from the start of the batch's minute.
    pub offset: OffsetMillis,
    /// Its key, hashed.
    pub key: KeyHash,
}
