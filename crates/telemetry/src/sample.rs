//! Which votes are shown at `debug`.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// One vote in so many is shown where nothing else is set.
pub const ONE_IN_DEFAULT: NonZeroU64 = NonZeroU64::new(1_000).unwrap();

/// Chooses one in N, the first included. Shared by all threads; costs one atomic addition.
///
/// Ask it only where the level is on: `tracing::enabled!(Level::DEBUG) && sample.chooses()`.
#[derive(Debug)]
pub struct Sample {
    one_in: NonZeroU64,
    seen: AtomicU64,
}

impl Sample {
    /// Chooses one in `one_in`.
    pub const fn one_in(one_in: NonZeroU64) -> Self {
        Self {
            one_in,
            seen: AtomicU64::new(0),
        }
    }

    /// Whether this one is shown.
    pub fn chooses(&self) -> bool {
        let before = self.seen.fetch_add(1, Ordering::Relaxed);
        before.is_multiple_of(self.one_in.get())
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self::one_in(ONE_IN_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(sample: &Sample, votes: usize) -> Vec<usize> {
        (0..votes).filter(|_| sample.chooses()).collect()
    }

    #[test]
    fn one_in_a_thousand_is_chosen_beginning_with_the_first() {
        assert_eq!(chosen(&Sample::default(), 2_500), [0, 1_000, 2_000]);
    }

    #[test]
    fn one_in_one_is_everyone() {
        assert_eq!(chosen(&Sample::one_in(NonZeroU64::MIN), 3), [0, 1, 2]);
    }
}
