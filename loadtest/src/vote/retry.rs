//! When to send a vote again, and when to give up.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

/// How patient a voter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Requests for one copy at most, the first included; never zero.
    pub attempts_max: u32,
    /// Time from the first request after which no other is sent. Must end before the key life
    /// (180 s by default), since a key sent later is a new vote.
    pub give_up_after: Duration,
    /// Bound of the first wait; each further wait doubles it.
    pub backoff_first: Duration,
    /// Bound of every wait, also of one the server asks for.
    pub backoff_max: Duration,
    /// How long one request may take.
    pub answer_limit: Duration,
}

impl RetryPolicy {
    /// One request, whatever comes of it.
    pub fn once(answer_limit: Duration) -> Self {
        Self {
            attempts_max: 1,
            answer_limit,
            ..Self::patient()
        }
    }

    /// Sends until it is answered, for up to two minutes.
    pub fn patient() -> Self {
        Self {
            attempts_max: u32::MAX,
            give_up_after: Duration::from_mins(2),
            backoff_first: Duration::from_millis(20),
            backoff_max: Duration::from_secs(2),
            answer_limit: Duration::from_secs(10),
        }
    }

    /// How long to wait after `attempts` requests that began `since_first` ago: exponential with
    /// full jitter, not less than the server asked for. `None` means give up.
    pub fn wait(
        &self,
        attempts: u32,
        since_first: Duration,
        asked: Option<Duration>,
        dice: &mut SmallRng,
    ) -> Option<Duration> {
        if attempts >= self.attempts_max {
            return None;
        }
        let doublings = attempts.saturating_sub(1).min(16);
        let bound = self
            .backoff_first
            .saturating_mul(1 << doublings)
            .min(self.backoff_max);
        let jittered = bound.mul_f64(dice.random());
        let wait = jittered
            .max(asked.unwrap_or_default())
            .min(self.backoff_max);
        (since_first + wait < self.give_up_after).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn dice() -> SmallRng {
        SmallRng::seed_from_u64(1)
    }

    #[test]
    fn waits_grow_to_their_bound_and_vary_below_it() {
        let policy = RetryPolicy::patient();
        let mut dice = dice();
        let mut longest = |attempts| {
            let waits =
                (0..500).filter_map(|_| policy.wait(attempts, Duration::ZERO, None, &mut dice));
            waits.fold((Duration::MAX, Duration::ZERO), |(low, high), w| {
                (low.min(w), high.max(w))
            })
        };
        let (low, high) = longest(1);
        assert!(low < Duration::from_millis(2) && high <= Duration::from_millis(20));
        assert!(longest(4).1 > Duration::from_millis(120));
        assert!(longest(40).1 <= policy.backoff_max);
    }

    #[test]
    fn the_server_s_wish_is_honoured_up_to_the_bound() {
        let policy = RetryPolicy::patient();
        let wait = |asked| policy.wait(1, Duration::ZERO, Some(asked), &mut dice());
        assert_eq!(wait(Duration::from_secs(1)), Some(Duration::from_secs(1)));
        assert_eq!(wait(Duration::from_mins(10)), Some(policy.backoff_max));
    }

    #[test]
    fn patience_ends_by_count_and_by_time() {
        let once = RetryPolicy::once(Duration::from_secs(1));
        assert_eq!(once.wait(1, Duration::ZERO, None, &mut dice()), None);
        let policy = RetryPolicy::patient();
        assert_eq!(
            policy.wait(1, policy.give_up_after, None, &mut dice()),
            None
        );
    }
}
