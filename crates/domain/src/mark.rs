//! Marks: what the consumer wrote beside the votes of a batch that it did not count.
//!
//! A vote without a mark is counted. A mark is 13 bytes, little-endian: position of the vote
//! (2), kind (1), ledger position (8) and position (2) of the copy that stands; both zero where
//! no copy is named.

use crate::{LedgerPosition, Position};

/// Bytes of one mark.
pub const MARK_BYTES: usize = 13;

/// Why bytes are not marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    /// Not a whole number of marks.
    #[error("{0} bytes are not a whole number of marks")]
    Length(usize),
    /// A kind that this release does not know.
    #[error("unknown kind of mark: {0}")]
    Kind(u8),
    /// A place in no entry.
    #[error("a mark names a place in no entry")]
    Standing,
    /// Positions that do not rise.
    #[error("marks are not in order of position")]
    Order,
}

/// Why a vote is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkKind {
    /// Its key stands already, for the same candidate.
    Duplicate,
    /// Its key stands already, for another candidate.
    KeyConflict,
    /// It was accepted after its poll's end, by an API that had not heard of it: quarantined.
    AfterClose,
    /// It came when the result was final; it was answered to nobody.
    Late,
}

impl MarkKind {
    fn byte(self) -> u8 {
        match self {
            Self::Duplicate => 1,
            Self::KeyConflict => 2,
            Self::AfterClose => 3,
            Self::Late => 4,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, MarkError> {
        match byte {
            1 => Ok(Self::Duplicate),
            2 => Ok(Self::KeyConflict),
            3 => Ok(Self::AfterClose),
            4 => Ok(Self::Late),
            _ => Err(MarkError::Kind(byte)),
        }
    }
}

/// Where the copy that stands is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Standing {
    /// The ledger entry that holds it.
    pub entry: LedgerPosition,
    /// Its place in that entry's batch.
    pub position: Position,
}

/// One vote that is not counted, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its place in the batch.
    pub position: Position,
    /// Why.
    pub kind: MarkKind,
    /// The copy that stands: for duplicates and conflicts, and only for them.
    pub standing: Option<Standing>,
}

/// Writes marks, in order of position.
pub fn encode_marks(marks: &[Mark]) -> Vec<u8> {
    let mut out = Vec::with_capacity(marks.len() * MARK_BYTES);
    for mark in marks {
        let standing = mark.standing.unwrap_or(Standing {
            entry: LedgerPosition(0),
            position: 0,
        });
        out.extend_from_slice(&mark.position.to_le_bytes());
        out.push(mark.kind.byte());
        out.extend_from_slice(&standing.entry.0.to_le_bytes());
        out.extend_from_slice(&standing.position.to_le_bytes());
    }
    out
}

/// Reads marks.
pub fn decode_marks(bytes: &[u8]) -> Result<Vec<Mark>, MarkError> {
    let (chunks, rest) = bytes.as_chunks::<MARK_BYTES>();
    if !rest.is_empty() {
        return Err(MarkError::Length(bytes.len()));
    }
    let marks = chunks
        .iter()
        .map(decode_mark)
        .collect::<Result<Vec<_>, _>>()?;
    if marks.is_sorted_by(|a, b| a.position < b.position) {
        Ok(marks)
    } else {
        Err(MarkError::Order)
    }
}

fn decode_mark(raw: &[u8; MARK_BYTES]) -> Result<Mark, MarkError> {
    let [p0, p1, kind, e0, e1, e2, e3, e4, e5, e6, e7, s0, s1] = *raw;
    let entry = LedgerPosition(u64::from_le_bytes([e0, e1, e2, e3, e4, e5, e6, e7]));
    let standing = Standing {
        entry,
        position: u16::from_le_bytes([s0, s1]),
    };
    if entry.0 == 0 && standing.position != 0 {
        return Err(MarkError::Standing);
    }
    Ok(Mark {
        position: u16::from_le_bytes([p0, p1]),
        kind: MarkKind::from_byte(kind)?,
        standing: (entry.0 > 0).then_some(standing),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(position: Position, kind: MarkKind, standing: Option<(u64, u16)>) -> Mark {
        let standing = standing.map(|(entry, position)| Standing {
            entry: LedgerPosition(entry),
            position,
        });
        Mark {
            position,
            kind,
            standing,
        }
    }

    #[test]
    fn marks_read_back_as_they_were_written() {
        let marks = [
            mark(0, MarkKind::Duplicate, Some((u64::MAX, 7))),
            mark(5, MarkKind::KeyConflict, Some((1, u16::MAX))),
            mark(6, MarkKind::AfterClose, None),
            mark(u16::MAX, MarkKind::Late, None),
        ];
        assert_eq!(decode_marks(&encode_marks(&marks)), Ok(marks.to_vec()));
    }

    #[test]
    fn what_is_not_marks_is_refused() {
        assert_eq!(decode_marks(&[0; 12]), Err(MarkError::Length(12)));
        assert_eq!(decode_marks(&[9; 13]), Err(MarkError::Kind(9)));
        let nowhere = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0];
        assert_eq!(decode_marks(&nowhere), Err(MarkError::Standing));
        let twice = encode_marks(&[mark(1, MarkKind::Late, None), mark(1, MarkKind::Late, None)]);
        assert_eq!(decode_marks(&twice), Err(MarkError::Order));
    }
}
