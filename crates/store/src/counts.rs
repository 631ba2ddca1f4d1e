//! Votes by the candidate's number.

use paredao_domain::CandidateNumber;

/// As many votes for each number; most numbers are nobody's.
pub(crate) type Counts = [u64; CandidateNumber::MAX as usize + 1];

/// No votes for anybody.
pub(crate) const NONE: Counts = [0; CandidateNumber::MAX as usize + 1];

/// Adds votes.
pub(crate) fn add(to: &mut Counts, votes: &Counts) {
    to.iter_mut()
        .zip(votes)
        .for_each(|(to, votes)| *to += votes);
}
