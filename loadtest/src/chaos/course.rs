//! Which rounds a campaign has, and how much happens in each.

use std::ops::Range;

use super::fault::{Deck, Fault};

/// Small segments, quick refreshes and short deadlines: more happens in a round.
const SETTINGS: &[(&str, &str)] = &[
    ("PAREDAO_APPEND_DEADLINE_MS", "1000"),
    ("PAREDAO_BATCH_VOTES_MAX", "2048"),
    ("PAREDAO_CLOSE_LEAD_MS", "600"),
    ("PAREDAO_DRAIN_MS", "100"),
    ("PAREDAO_LOG_FORMAT", "json"),
    ("PAREDAO_RECEIPTS_PER_SECOND", "1000000"),
    ("PAREDAO_REFRESH_MS", "200"),
    ("PAREDAO_SEGMENT_BYTES", "65536"),
    ("PAREDAO_WORKERS", "2"),
];
/// What a short round has instead: nothing waits longer than it must.
const SHORT_SETTINGS: &[(&str, &str)] = &[
    ("PAREDAO_APPEND_DEADLINE_MS", "500"),
    ("PAREDAO_CLOSE_LEAD_MS", "100"),
    ("PAREDAO_DRAIN_MS", "0"),
    ("PAREDAO_REFRESH_MS", "50"),
];

/// The rounds of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Kills at random instants, and after every second one another fault from the shuffled deck.
    Dealt {
        /// The first round; replays begin later.
        first: u32,
        /// How many kills at random instants.
        kills: u32,
    },
    /// One short round for each named failure point, in their order.
    EveryPoint,
}

/// How much happens in a round.
#[derive(Clone, Debug)]
pub(super) struct Measure {
    /// Votes that are sent again after the restart.
    pub(super) resent: usize,
    /// Copies of the one vote that is sent many times at once.
    pub(super) volley: Range<u8>,
    /// Milliseconds for which new votes begin after the fault.
    pub(super) afterwards_ms: Range<u64>,
}

impl Course {
    /// Its rounds, each with a number of its own.
    pub(super) fn rounds(self, seed: u64) -> Vec<(u32, Fault)> {
        match self {
            Self::Dealt { first, kills } => {
                let deck = Deck::new(seed);
                let rounds = kills.saturating_add(kills / Deck::KILLS_BETWEEN);
                let numbers = first..first.saturating_add(rounds);
                numbers.map(|number| (number, deck.deal(number))).collect()
            }
            Self::EveryPoint => (0..).zip(Fault::at_every_point()).collect(),
        }
    }

    /// Whether so many of its rounds pass every failure point.
    pub(super) fn passes_every_point(self, rounds: u32) -> bool {
        match self {
            Self::Dealt { .. } => rounds >= Deck::rounds_of_a_pass(),
            Self::EveryPoint => true,
        }
    }

    /// The program's settings; the later one of a key counts.
    pub(super) fn settings(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Dealt { .. } => SETTINGS.to_vec(),
            Self::EveryPoint => [SETTINGS, SHORT_SETTINGS].concat(),
        }
    }

    pub(super) fn measure(self) -> Measure {
        match self {
            Self::Dealt { .. } => Measure {
                resent: 200,
                volley: 2..51,
                afterwards_ms: 200..700,
            },
            Self::EveryPoint => Measure {
                resent: 20,
                volley: 2..6,
                afterwards_ms: 50..100,
            },
        }
    }

    /// The flags that ask for it.
    pub(super) fn flags(self) -> String {
        match self {
            Self::Dealt { first: 0, kills } => format!("--rounds {kills}"),
            Self::Dealt { first, kills } => format!("--first-round {first} --rounds {kills}"),
            Self::EveryPoint => "--every-point".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_that_begins_later_deals_the_same_rounds() {
        let whole = Course::Dealt {
            first: 0,
            kills: 10,
        };
        let rest = Course::Dealt { first: 7, kills: 3 };
        assert_eq!(whole.rounds(5)[7..11], rest.rounds(5));
        assert_eq!(rest.flags(), "--first-round 7 --rounds 3");
    }

    #[test]
    fn as_many_rounds_as_asked_for_kill_at_a_random_instant() {
        for kills in [1, 10, 200] {
            let rounds = Course::Dealt { first: 0, kills }.rounds(3);
            let at_random = rounds.iter().filter(|(_, fault)| fault.is_at_random());
            assert_eq!(at_random.count(), kills as usize);
        }
    }

    #[test]
    fn a_course_over_every_point_is_the_same_whatever_the_seed() {
        assert_eq!(Course::EveryPoint.rounds(1), Course::EveryPoint.rounds(2));
    }
}
