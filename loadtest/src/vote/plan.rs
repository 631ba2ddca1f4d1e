//! Which votes a run casts: a pure function of seed and counter, so that a run can be replayed.

use std::ops::Range;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Odd constant of Knuth's multiplicative hashing: spreads neighbouring counters over all seeds.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// A candidate's number as voters type it.
pub type Candidate = u8;

/// Part of the votes, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fraction(f64);

impl Fraction {
    /// A share in percent, at most 100.
    pub fn percent(percent: u8) -> Self {
        Self(f64::from(percent.min(100)) / 100.0)
    }

    /// The share as a number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl std::str::FromStr for Fraction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            _ => Err(format!("{text:?} is not a fraction from 0 to 1")),
        }
    }
}

/// What to do with a vote once it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// Leave it.
    Nothing,
    /// Send the same key this many more times, for this candidate (perhaps another one).
    Resend {
        /// For whom the copies are.
        candidate: Candidate,
        /// How many.
        copies: u8,
    },
}

/// One vote of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedVote {
    /// Its number in the plan.
    pub index: u64,
    /// Its `Idempotency-Key`, the same for every copy.
    pub key: String,
    /// For whom.
    pub candidate: Candidate,
    /// What happens after acceptance.
    pub afterwards: Afterwards,
}

/// The votes of a run.
#[derive(Clone, Debug)]
pub struct VotePlan {
    /// Makes keys and choices; two runs with one seed within the key life are one run's votes.
    pub seed: u64,
    /// Candidates voted for, evenly.
    pub candidates: Vec<Candidate>,
    /// Share of accepted votes sent again for the same candidate.
    pub resend: Fraction,
    /// Share of accepted votes sent again for another candidate.
    pub conflict: Fraction,
    /// How many copies a resent vote gets, at random within.
    pub copies: Range<u8>,
}

impl VotePlan {
    /// A plan without resends.
    pub fn plain(seed: u64, candidates: Vec<Candidate>) -> Self {
        let none = Fraction::default();
        Self {
            seed,
            candidates,
            resend: none,
            conflict: none,
            copies: 1..2,
        }
    }

    /// The vote with this number.
    pub fn vote(&self, index: u64) -> PlannedVote {
        let mut dice = self.dice(index);
        let candidate = self.pick(&mut dice, None);
        let fate: f64 = dice.random();
        let copies = dice.random_range(self.copies.clone());
        let afterwards = if fate < self.conflict.get() {
            let other = self.pick(&mut dice, Some(candidate));
            Afterwards::Resend {
                candidate: other,
                copies,
            }
        } else if fate < self.conflict.get() + self.resend.get() {
            Afterwards::Resend { candidate, copies }
        } else {
            Afterwards::Nothing
        };
        PlannedVote {
            index,
            key: self.key(index),
            candidate,
            afterwards,
        }
    }

    /// The key of the vote with this number: 36 visible characters.
    pub fn key(&self, index: u64) -> String {
        format!("lt-{:016x}-{index:016x}", self.seed)
    }

    fn dice(&self, index: u64) -> SmallRng {
        SmallRng::seed_from_u64(self.seed.wrapping_add(index.wrapping_mul(SPREAD)))
    }

    fn pick(&self, dice: &mut SmallRng, except: Option<Candidate>) -> Candidate {
        let choices = self.candidates.iter().filter(|&&c| Some(c) != except);
        let nth = dice.random_range(0..choices.clone().count().max(1));
        choices.copied().nth(nth).or(except).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn plan() -> VotePlan {
        VotePlan {
            seed: 7,
            candidates: vec![1, 2, 3],
            resend: "0.10".parse().unwrap(),
            conflict: "0.05".parse().unwrap(),
            copies: 1..4,
        }
    }

    #[test]
    fn the_same_seed_and_number_give_the_same_vote() {
        assert_eq!(plan().vote(12_345), plan().vote(12_345));
        assert_ne!(plan().vote(1).key, plan().vote(2).key);
        let other = VotePlan { seed: 8, ..plan() };
        assert_ne!(plan().vote(1).key, other.vote(1).key);
    }

    #[test]
    fn keys_are_unique_and_within_what_the_server_takes() {
        let keys: HashSet<String> = (0..10_000).map(|i| plan().key(i)).collect();
        assert_eq!(keys.len(), 10_000);
        for key in keys {
            assert!((16..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()));
        }
    }

    #[test]
    fn resends_and_conflicts_come_in_the_shares_asked_for() {
        let votes: Vec<PlannedVote> = (0..20_000).map(|i| plan().vote(i)).collect();
        let share = |wanted: fn(&PlannedVote) -> bool| {
            f64::from(u32::try_from(votes.iter().filter(|v| wanted(v)).count()).unwrap()) / 20_000.0
        };
        let same = share(
            |v| matches!(v.afterwards, Afterwards::Resend { candidate, .. } if candidate == v.candidate),
        );
        let other = share(
            |v| matches!(v.afterwards, Afterwards::Resend { candidate, .. } if candidate != v.candidate),
        );
        assert!((0.09..0.11).contains(&same), "{same}");
        assert!((0.04..0.06).contains(&other), "{other}");
    }

    #[test]
    fn votes_spread_evenly_over_the_candidates() {
        for candidate in 1..=3 {
            let votes = (0..30_000)
                .filter(|&i| plan().vote(i).candidate == candidate)
                .count();
            assert!((9_500..10_500).contains(&votes), "{candidate}: {votes}");
        }
    }

    #[test]
    fn a_fraction_is_between_nothing_and_everything() {
        for bad in ["-0.1", "1.01", "x", "NaN"] {
            assert!(bad.parse::<Fraction>().is_err(), "{bad}");
        }
        assert_eq!("0.02".parse::<Fraction>().unwrap(), Fraction(0.02));
    }
}
