//! What can go wrong in a round, and in which order it does.

use std::fmt;
use std::time::Duration;

use paredao_telemetry::failpoint;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Where an error may be injected: places that stand for a disk or store that fails for a while.
const FAILING_POINTS: &[&str] = &[
    "log.append.before_write",
    "log.append.before_sync",
    "store.apply.before_begin",
    "store.apply.before_commit",
    "store.apply.after_commit",
];

/// Where a delay may be injected.
const SLOW_POINTS: &[&str] = &["log.append.before_sync", "store.apply.before_commit"];

/// One round's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` at an instant.
    Kill {
        /// From the first vote.
        after: Duration,
    },
    /// `kill -9`, and again while it starts.
    KillTwice {
        /// From the first vote.
        after: Duration,
        /// From the second start.
        again: Duration,
    },
    /// The program kills itself the n-th time it passes a named point.
    KillAt {
        /// The failure point.
        point: &'static str,
        /// Which pass, from 1.
        hit: u32,
    },
    /// The program is told to stop, and kills itself the first time it passes a named point on the
    /// way.
    KillAtStop {
        /// The failure point.
        point: &'static str,
    },
    /// A named point fails some times, then works again; the program stays up.
    ErrorsAt {
        /// The failure point.
        point: &'static str,
        /// First failing pass.
        from: u32,
        /// First pass that works again.
        to: u32,
    },
    /// A named point takes its time; the program stays up.
    SlowAt {
        /// The failure point.
        point: &'static str,
        /// How long each pass takes.
        delay: Duration,
    },
    /// `SIGTERM`: must end by itself, with status 0.
    Terminate {
        /// From the first vote.
        after: Duration,
    },
    /// `SIGSTOP`, then `SIGCONT`.
    Freeze {
        /// From the first vote.
        after: Duration,
        /// How long it stands still.
        length: Duration,
    },
}

/// A fault whose numbers are not drawn yet.
#[derive(Clone, Copy)]
enum Card {
    KillAt(&'static str),
    ErrorsAt(&'static str),
    SlowAt(&'static str),
    Terminate,
    Freeze,
}

/// Kills at random instants; after every second one a card with another fault. The cards are
/// shuffled by the seed and dealt over and over, so that each failure point has its round in every
/// pass.
#[derive(Clone, Copy, Debug)]
pub struct Deck {
    seed: u64,
}

impl Deck {
    /// The deck of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Rounds between two cards, each with a kill at a random instant.
    pub const KILLS_BETWEEN: u32 = 2;

    /// Rounds in which every card is dealt once.
    pub fn rounds_of_a_pass() -> u32 {
        Self::len() * (Self::KILLS_BETWEEN + 1)
    }

    fn len() -> u32 {
        u32::try_from(cards().len()).unwrap_or(u32::MAX)
    }

    /// The fault of a round; rounds count from 0.
    pub fn deal(self, round: u32) -> Fault {
        let mut dice = SmallRng::seed_from_u64(self.seed ^ (u64::from(round) << 32));
        if round % (Self::KILLS_BETWEEN + 1) < Self::KILLS_BETWEEN {
            return Fault::at_random(&mut dice);
        }
        self.card(round / (Self::KILLS_BETWEEN + 1)).draw(&mut dice)
    }

    fn card(self, number: u32) -> Card {
        let (pass, place) = (number / Self::len(), number % Self::len());
        let mut cards = cards();
        cards.shuffle(&mut SmallRng::seed_from_u64(
            self.seed.wrapping_add(pass.into()),
        ));
        let place = usize::try_from(place).unwrap_or(0);
        cards.get(place).copied().unwrap_or(Card::Terminate)
    }
}

fn cards() -> Vec<Card> {
    let mut cards = vec![Card::Terminate; 2];
    cards.extend([Card::Freeze; 2]);
    cards.extend(failpoint::NAMES.iter().map(|&point| Card::KillAt(point)));
    cards.extend(FAILING_POINTS.iter().map(|&point| Card::ErrorsAt(point)));
    cards.extend(SLOW_POINTS.iter().map(|&point| Card::SlowAt(point)));
    cards
}

impl Card {
    fn draw(self, dice: &mut SmallRng) -> Fault {
        let mut millis = |range| Duration::from_millis(dice.random_range(range));
        match self {
            Self::Terminate => Fault::Terminate {
                after: millis(100..800),
            },
            Self::Freeze => Fault::Freeze {
                after: millis(50..500),
                length: millis(50..1_800),
            },
            Self::SlowAt(point) => Fault::SlowAt {
                point,
                delay: millis(20..60),
            },
            Self::KillAt(point) => Fault::KillAt {
                point,
                hit: dice.random_range(1..=passes_a_second(point)),
            },
            Self::ErrorsAt(point) => {
                let from = dice.random_range(1..=passes_a_second(point));
                Fault::ErrorsAt {
                    point,
                    from,
                    to: from + dice.random_range(1..6),
                }
            }
        }
    }
}

/// About how often a point is passed in a second of a round's load, kept low: a round must reach
/// the pass it waits for.
fn passes_a_second(point: &str) -> u32 {
    match point.split_once('.') {
        Some(("log", rest)) if rest.starts_with("append") => 300,
        Some(("intake", _)) => 300,
        Some(("consumer", _)) => 12,
        // At the start, and whenever the log begins another segment.
        Some(("store", rest)) if rest.starts_with("checkpoint") => 8,
        Some(("store", rest)) if rest.starts_with("apply") => 12,
        _ => 1,
    }
}

/// Points that a running program passes every ten seconds only, and a stop at once: a segment is
/// deleted once the consumer made a checkpoint of what it holds.
const DELETE_POINTS: &[&str] = &["log.segment.before_delete", "log.segment.after_delete"];

impl Fault {
    /// A kill at a random instant; one in four is followed by another in the next start.
    fn at_random(dice: &mut SmallRng) -> Self {
        let mut millis = |range| Duration::from_millis(dice.random_range(range));
        let (after, again) = (millis(20..1_200), millis(0..300));
        if dice.random_ratio(1, 4) {
            Self::KillTwice { after, again }
        } else {
            Self::Kill { after }
        }
    }

    /// Whether it kills at a random instant.
    #[cfg(test)]
    pub(super) fn is_at_random(&self) -> bool {
        matches!(self, Self::Kill { .. } | Self::KillTwice { .. })
    }

    /// A kill at each named failure point, early, but after some votes where it can be.
    pub(super) fn at_every_point() -> impl Iterator<Item = Self> {
        failpoint::NAMES.iter().map(|&point| {
            if DELETE_POINTS.contains(&point) {
                return Self::KillAtStop { point };
            }
            let hit = (passes_a_second(point) / 4).max(1);
            Self::KillAt { point, hit }
        })
    }

    /// Whether the program may take ten seconds to its failure point.
    pub(super) fn takes_long(&self) -> bool {
        matches!(self, Self::KillAt { point, .. } if DELETE_POINTS.contains(point))
    }

    /// What is to happen at which failure point.
    pub fn at_point(&self) -> Option<String> {
        match self {
            Self::KillAt { point, .. } | Self::KillAtStop { point } => {
                Some(format!("kill at {point}"))
            }
            Self::ErrorsAt { point, .. } => Some(format!("error at {point}")),
            Self::SlowAt { point, .. } => Some(format!("delay at {point}")),
            Self::Kill { .. }
            | Self::KillTwice { .. }
            | Self::Terminate { .. }
            | Self::Freeze { .. } => None,
        }
    }

    /// The failure points to arm, as `PAREDAO_FAILPOINTS` wants them.
    pub fn failpoints(&self) -> Option<String> {
        match self {
            Self::KillAt { point, hit } => Some(format!("{point}=kill@{hit}")),
            Self::KillAtStop { point } => Some(format!("{point}=kill@1")),
            Self::ErrorsAt { point, from, to } => Some(format!("{point}=error@{from}..{to}")),
            Self::SlowAt { point, delay } => Some(format!("{point}=delay:{}ms", delay.as_millis())),
            Self::Kill { .. }
            | Self::KillTwice { .. }
            | Self::Terminate { .. }
            | Self::Freeze { .. } => None,
        }
    }

    /// Whether the fault happens on a poll's way to its final result, which needs a poll that
    /// closes.
    pub fn needs_a_closing_poll(&self) -> bool {
        matches!(self, Self::KillAt { point, .. } if point.starts_with("store.final"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { after } => write!(f, "kill -9 after {after:?}"),
            Self::KillTwice { after, again } => {
                write!(
                    f,
                    "kill -9 after {after:?} and {again:?} into the next start"
                )
            }
            Self::KillAt { point, hit } => write!(f, "kill -9 at {point}, pass {hit}"),
            Self::KillAtStop { point } => write!(f, "SIGTERM, and kill -9 at {point}"),
            Self::ErrorsAt { point, from, to } => {
                write!(f, "errors at {point}, passes {from} to {}", to - 1)
            }
            Self::SlowAt { point, delay } => write!(f, "{delay:?} at every {point}"),
            Self::Terminate { after } => write!(f, "SIGTERM after {after:?}"),
            Self::Freeze { after, length } => {
                write!(f, "frozen after {after:?} for {length:?}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::chaos::evidence::step_around;

    #[test]
    fn every_failure_point_kills_once_in_each_pass_of_the_deck() {
        let deck = Deck::new(5);
        for pass in 0..2 {
            let rounds = pass * Deck::rounds_of_a_pass()..(pass + 1) * Deck::rounds_of_a_pass();
            let killed: HashSet<&str> = rounds
                .filter_map(|round| match deck.deal(round) {
                    Fault::KillAt { point, .. } => Some(point),
                    _ => None,
                })
                .collect();
            assert_eq!(killed, failpoint::NAMES.iter().copied().collect());
        }
    }

    #[test]
    fn the_short_form_kills_once_at_each_failure_point() {
        let points: Vec<String> = Fault::at_every_point()
            .filter_map(|fault| fault.at_point())
            .collect();
        let expected = failpoint::NAMES
            .iter()
            .map(|name| format!("kill at {name}"));
        assert_eq!(points, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_seed_deals_the_same_faults_again_and_another_seed_others() {
        let faults = |seed| (0..30).map(|r| Deck::new(seed).deal(r)).collect::<Vec<_>>();
        assert_eq!(faults(1), faults(1));
        assert_ne!(faults(1), faults(2));
    }

    #[test]
    fn every_place_that_can_fail_or_be_slow_exists() {
        let all = [FAILING_POINTS, SLOW_POINTS, DELETE_POINTS].concat();
        for point in all {
            assert!(failpoint::NAMES.contains(&point), "{point}");
        }
        for point in SLOW_POINTS {
            assert!(step_around(point).is_some(), "{point} would show nowhere");
        }
    }

    #[test]
    fn failure_points_are_written_as_the_program_reads_them() {
        let kill = Fault::KillAt {
            point: "log.append.before_sync",
            hit: 37,
        };
        assert_eq!(kill.failpoints().unwrap(), "log.append.before_sync=kill@37");
        let errors = Fault::ErrorsAt {
            point: "log.append.before_write",
            from: 3,
            to: 10,
        };
        assert_eq!(
            errors.failpoints().unwrap(),
            "log.append.before_write=error@3..10"
        );
        let delay = Duration::from_millis(20);
        let slow = Fault::SlowAt {
            point: "store.apply.before_commit",
            delay,
        };
        assert_eq!(
            slow.failpoints().unwrap(),
            "store.apply.before_commit=delay:20ms"
        );
        assert_eq!(Fault::Kill { after: delay }.failpoints(), None);
    }
}
