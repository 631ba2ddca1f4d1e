//! One entry of the ledger: an applied batch with its marks.

use crate::{Account, Accounts, EncodedBatch, LedgerPosition, Mark};

/// An applied batch, where it stands in its lane's ledger, and what was not counted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Its place.
    pub position: LedgerPosition,
    /// The batch as it came.
    pub batch: EncodedBatch,
    /// The votes that were not counted, in order of position.
    pub marks: Vec<Mark>,
}

impl LedgerEntry {
    /// What its votes were booked as.
    pub fn accounts(&self) -> Accounts {
        let mut accounts = Accounts::default();
        self.marks
            .iter()
            .for_each(|mark| accounts.add(mark.kind.into(), 1));
        let marked = accounts.total();
        accounts.add(
            Account::Counted,
            u64::from(self.batch.vote_count()).saturating_sub(marked),
        );
        accounts
    }

    /// Counted votes per candidate number.
    pub fn counted(&self) -> [u64; 100] {
        let mut votes = [0; 100];
        let mut marks = self.marks.iter().peekable();
        for (raw, at) in self.batch.raw_votes().zip(0..) {
            if marks.next_if(|mark| mark.position == at).is_some() {
                continue;
            }
            let [candidate, ..] = *raw;
            if let Some(votes) = votes.get_mut(usize::from(candidate)) {
                *votes += 1;
            }
        }
        votes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BatchHeader, BatchId, BatchKind, CandidateNumber, Incarnation, KeyHash, KeySource, Lane,
        MarkKind, Minute, Mode, PollId, Vote,
    };

    #[test]
    fn marked_votes_are_booked_apart_and_not_counted() {
        let vote = |candidate| Vote {
            candidate: CandidateNumber::try_from(candidate).unwrap(),
            source: KeySource::Client,
            offset: 0,
            key: KeyHash([0; 12]),
        };
        let header = BatchHeader {
            kind: BatchKind::Votes,
            mode: Mode::Torcida,
            poll: PollId(1),
            id: BatchId {
                incarnation: Incarnation(1),
                lane: Lane(0),
                number: 1,
            },
            minute: Minute(0),
            cumulative: 5,
            confirmed: 0,
        };
        let mark = |position, kind| Mark {
            position,
            kind,
            standing: None,
        };
        let entry = LedgerEntry {
            position: LedgerPosition(1),
            batch: EncodedBatch::encode(header, &[], &[1, 2, 2, 1, 99].map(vote)),
            marks: vec![mark(0, MarkKind::Duplicate), mark(2, MarkKind::KeyConflict)],
        };
        let counted = entry.counted();
        assert_eq!((counted[1], counted[2], counted[99]), (1, 1, 1));
        assert_eq!(counted.iter().sum::<u64>(), 3);
        let accounts = entry.accounts();
        assert_eq!(
            (accounts.counted, accounts.duplicate, accounts.key_conflict),
            (3, 1, 1)
        );
    }
}
