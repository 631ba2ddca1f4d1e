//! A ledger entry as a backend keeps it, and the checks it must pass before it is believed.

use bytes::Bytes;
use paredao_domain::{
    BatchError, BatchId, EncodedBatch, Lane, LedgerEntry, LedgerPosition, Mark, MarkError,
    MarkKind, Minute, PollId, decode_marks,
};

/// An entry in the columns and bytes it is kept in, not checked yet.
#[derive(Clone, Copy, Debug)]
pub struct KeptEntry<'a> {
    /// Its lane.
    pub lane: Lane,
    /// Its place there.
    pub position: LedgerPosition,
    /// The batch it says it holds.
    pub batch: BatchId,
    /// The poll it says its votes are for.
    pub poll: PollId,
    /// The minute it says they were accepted in.
    pub minute: Minute,
    /// How many it says there are.
    pub votes: u32,
    /// The batch's checksum as it was when the entry was made.
    pub checksum: u32,
    /// The checksum over position, checksum and marks, as it was when the entry was made.
    pub seal: u32,
    /// The marks, encoded.
    pub marks: &'a [u8],
    /// The batch, encoded.
    pub body: &'a [u8],
}

/// Why an entry is not believed. The operator sees it with lane and position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryDamage {
    /// The batch cannot be read.
    #[error("its batch is {0}")]
    Batch(#[from] BatchError),
    /// The marks cannot be read.
    #[error("its marks: {0}")]
    Marks(#[from] MarkError),
    /// Position, checksum or marks are not those the entry was made with.
    #[error("its seal does not match its position, checksum and marks")]
    Seal,
    /// A column says something else than the batch.
    #[error("its {0} is not that of its batch")]
    Column(&'static str),
    /// A mark that cannot be.
    #[error("the mark of vote {position}: {why}")]
    Mark {
        /// The vote.
        position: u16,
        /// What is wrong.
        why: &'static str,
    },
}

impl KeptEntry<'_> {
    /// Reads the entry, if everything about it agrees.
    pub fn decode(&self) -> Result<LedgerEntry, EntryDamage> {
        if seal(self.lane, self.position, self.checksum, self.marks) != self.seal {
            return Err(EntryDamage::Seal);
        }
        let batch = EncodedBatch::decode(Bytes::copy_from_slice(self.body))?;
        self.compare_columns(&batch)?;
        let entry = LedgerEntry {
            position: self.position,
            batch,
            marks: decode_marks(self.marks)?,
        };
        check_marks(&entry)?;
        Ok(entry)
    }

    fn compare_columns(&self, batch: &EncodedBatch) -> Result<(), EntryDamage> {
        let header = batch.header();
        let columns = [
            (
                "batch id",
                self.batch == header.id && self.lane == header.id.lane,
            ),
            ("poll", self.poll == header.poll),
            ("minute", self.minute == header.minute),
            ("number of votes", self.votes == batch.vote_count()),
            ("checksum", self.checksum == batch.checksum()),
        ];
        match columns.iter().find(|(_, agrees)| !agrees) {
            Some((name, _)) => Err(EntryDamage::Column(name)),
            None => Ok(()),
        }
    }
}

/// Checks what an entry's marks say against its batch.
pub(crate) fn check_marks(entry: &LedgerEntry) -> Result<(), EntryDamage> {
    let votes = entry.batch.vote_count();
    let wrong = entry
        .marks
        .iter()
        .find_map(|mark| wrong_mark(mark, votes).map(|why| (mark.position, why)));
    if let Some((position, why)) = wrong {
        return Err(EntryDamage::Mark { position, why });
    }
    if !entry.marks.is_sorted_by(|a, b| a.position < b.position) {
        return Err(MarkError::Order.into());
    }
    Ok(())
}

fn wrong_mark(mark: &Mark, votes: u32) -> Option<&'static str> {
    let names_a_copy = matches!(mark.kind, MarkKind::Duplicate | MarkKind::KeyConflict);
    if u32::from(mark.position) >= votes {
        return Some("there is no such vote");
    }
    match (names_a_copy, mark.standing) {
        (true, None) => Some("it does not name the copy that stands"),
        (false, Some(_)) => Some("it names a copy although it is none"),
        (true, Some(_)) | (false, None) => None,
    }
}

/// A checksum over what the batch's own does not cover: CRC-32C over lane (1 byte), position (8),
/// the batch's checksum (4) and the encoded marks, integers little-endian.
pub(crate) fn seal(lane: Lane, position: LedgerPosition, checksum: u32, marks: &[u8]) -> u32 {
    let seal = crc32c::crc32c(&[lane.0]);
    let seal = crc32c::crc32c_append(seal, &position.0.to_le_bytes());
    let seal = crc32c::crc32c_append(seal, &checksum.to_le_bytes());
    crc32c::crc32c_append(seal, marks)
}
