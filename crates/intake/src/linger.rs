//! How long a batch waits for company: not at all on an idle system, up to a few milliseconds on
//! a busy one.
//!
//! The best batch holds about half of the voters who are waiting at any time: while it is being
//! made durable the other half keeps the processors busy, and no processor ever waits for the
//! disk. How many voters there are is learned by looking: now and then a batch stays open for
//! the whole linger and counts who came. A batch that ran into the end of its linger has looked
//! as well. Where batches hold one vote each there is nobody to wait for, and nothing waits.

use std::time::Duration;

/// Batches between two looks.
const BATCHES_PER_LOOK: u32 = 32;

/// Learns how many votes are worth waiting for.
#[derive(Clone, Debug)]
pub struct Linger {
    max: Duration,
    target: usize,
    batches_since_look: u32,
    votes_since_look: usize,
}

impl Linger {
    /// Starts by waiting for nobody. `max` bounds every wait; zero switches lingering off.
    pub fn new(max: Duration) -> Self {
        Self {
            max,
            target: 1,
            batches_since_look: 0,
            votes_since_look: 0,
        }
    }

    /// Votes to wait for, at least 1.
    pub fn target(&self) -> usize {
        if self.is_looking() {
            usize::MAX
        } else {
            self.target
        }
    }

    /// The longest a batch waits for its target.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// Learns from a batch of `votes` that waited for `waited`.
    pub fn cut(&mut self, votes: usize, waited: Duration) {
        if waited >= self.max && !self.max.is_zero() {
            self.target = votes.div_ceil(2).max(1);
            self.batches_since_look = 0;
            self.votes_since_look = 0;
        } else {
            self.batches_since_look = self.batches_since_look.saturating_add(1);
            self.votes_since_look = self.votes_since_look.saturating_add(votes);
        }
    }

    /// A look is due when some batches went by and they held more than one vote each.
    fn is_looking(&self) -> bool {
        let batches = self.batches_since_look;
        !self.max.is_zero()
            && batches >= BATCHES_PER_LOOK
            && self.votes_since_look >= 2 * batches as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(2);
    const AT_ONCE: Duration = Duration::ZERO;

    fn after(batches: u32, votes: usize) -> Linger {
        let mut linger = Linger::new(MAX);
        (0..batches).for_each(|_| linger.cut(votes, AT_ONCE));
        linger
    }

    #[test]
    fn an_idle_system_waits_for_nobody() {
        assert_eq!(Linger::new(MAX).target(), 1);
        assert_eq!(after(1_000, 1).target(), 1);
    }

    #[test]
    fn a_busy_system_looks_once_and_then_waits_for_half_of_whom_it_saw() {
        let mut linger = after(BATCHES_PER_LOOK, 10);
        assert_eq!(linger.target(), usize::MAX, "looking");
        linger.cut(64, MAX);
        assert_eq!(linger.target(), 32);
    }

    #[test]
    fn a_batch_that_waited_in_vain_lowers_the_target_at_once() {
        let mut linger = after(BATCHES_PER_LOOK, 10);
        linger.cut(1_000, MAX);
        linger.cut(9, MAX);
        assert_eq!(linger.target(), 5);
        linger.cut(1, MAX);
        assert_eq!(linger.target(), 1);
    }

    #[test]
    fn switched_off_it_never_waits() {
        let mut linger = Linger::new(Duration::ZERO);
        (0..100).for_each(|_| linger.cut(50, AT_ONCE));
        assert_eq!(linger.target(), 1);
    }
}
