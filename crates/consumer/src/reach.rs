//! How far from a batch other copies of its votes may have been accepted, and so where to look for
//! them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use paredao_domain::{BatchKind, EncodedBatch, Minute, Poll, PollId, Ranges, UnixMillis};

use crate::window::Window;

const MINUTE_END: u16 = 59_999;

/// The time in which copies of a batch's votes may have been accepted that stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) poll: PollId,
    pub(crate) first: UnixMillis,
    pub(crate) last: UnixMillis,
}

impl Reach {
    /// A key life of the batch's own poll before and after its minute, but not before that poll
    /// opened: what was accepted earlier was never counted. `None` where no copy can matter.
    pub(crate) fn of(batch: &EncodedBatch, polls: &[Poll]) -> Option<Self> {
        let header = batch.header();
        if header.kind != BatchKind::Votes {
            return None;
        }
        let poll = polls.iter().find(|poll| poll.id == header.poll)?;
        if poll.final_at.is_some() {
            return None;
        }
        let life_ms = poll.key_life_ms();
        let reach = Self {
            poll: poll.id,
            first: header.minute.start().plus(-life_ms).max(poll.opens_at?),
            last: header.minute.at(MINUTE_END).plus(life_ms),
        };
        (reach.first <= reach.last).then_some(reach)
    }

    /// Whether the window is complete for all of it.
    pub(crate) fn is_within(&self, window: &Window) -> bool {
        window.outside(self.first, self.last).next().is_none()
    }
}

/// Parts of the ledger to be looked through, each once.
#[derive(Debug, Default)]
pub(crate) struct Lookups(BTreeMap<PollId, Ranges>);

impl Lookups {
    /// Adds what the window does not cover.
    pub(crate) fn add(&mut self, reach: &Reach, window: &Window) {
        for (first, last) in window.outside(reach.first, reach.last) {
            let minutes = u64::from(minute_of(first).0)..=u64::from(minute_of(last).0);
            self.0.entry(reach.poll).or_default().insert(minutes);
        }
    }

    /// Polls, and minutes that neither overlap nor touch.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PollId, RangeInclusive<Minute>)> {
        let minute = |number: u64| Minute(u32::try_from(number).unwrap_or(u32::MAX));
        self.0.iter().flat_map(move |(poll, ranges)| {
            let minutes = ranges.iter().map(move |range| {
                let (first, last) = range.into_inner();
                minute(first)..=minute(last)
            });
            minutes.map(|minutes| (*poll, minutes))
        })
    }
}

/// The minute of an instant, or the nearest one that a batch can name.
pub(crate) fn minute_of(instant: UnixMillis) -> Minute {
    instant.min(Minute(u32::MAX).start()).minute()
}

/// The longest key life of the polls that have opened `by` this instant and had not closed
/// `before` that one, in milliseconds. Others keep nothing in memory: stragglers of theirs are
/// looked up in the ledger.
pub(crate) fn longest_life_ms(polls: &[Poll], by: UnixMillis, before: UnixMillis) -> i64 {
    let gets_votes = |poll: &&Poll| {
        let has_opened = poll.opens_at.is_some_and(|opens| opens <= by);
        let is_over = poll.closes_at.is_some_and(|closes| closes < before);
        poll.final_at.is_none() && has_opened && !is_over
    };
    let lives = polls.iter().filter(gets_votes).map(Poll::key_life_ms);
    lives.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{LIFE_MS, OPENS, POLL, batch, open_poll, vote};

    fn minute(after: u32) -> Minute {
        Minute(OPENS.0 + after)
    }

    fn reach(poll: &Poll, at: Minute) -> Option<Reach> {
        Reach::of(&batch(1, at, &[vote(1, 1)]), std::slice::from_ref(poll))
    }

    #[test]
    fn copies_of_a_batch_lie_within_its_own_polls_life_and_after_that_poll_opened() {
        let mut poll = open_poll(POLL);
        let far = reach(&poll, minute(60)).unwrap();
        assert_eq!(far.first, minute(60).start().plus(-LIFE_MS));
        assert_eq!(far.last, minute(61).start().plus(LIFE_MS - 1));
        assert_eq!(reach(&poll, minute(1)).unwrap().first, OPENS.start());
        assert_eq!(
            reach(&poll, Minute(OPENS.0 - 60)),
            None,
            "nothing stands there"
        );
        poll.close(minute(2).start(), 1).unwrap();
        poll.final_at = Some(minute(3).start());
        assert_eq!(reach(&poll, minute(1)), None, "nothing is judged any more");
    }

    #[test]
    fn what_overlaps_is_looked_through_once_and_what_lies_between_never() {
        let poll = open_poll(POLL);
        let window = Window::between(minute(500).start(), UnixMillis(i64::MAX));
        let mut lookups = Lookups::default();
        for after in [400, 100, 102, 499] {
            lookups.add(&reach(&poll, minute(after)).unwrap(), &window);
        }
        let expected = [(97, 105), (397, 403), (496, 499)];
        let expected = expected.map(|(first, last)| (POLL, minute(first)..=minute(last)));
        assert!(lookups.iter().eq(expected), "{lookups:?}");
    }

    #[test]
    fn the_last_minute_there_is_has_a_reach_like_any_other() {
        let poll = open_poll(POLL);
        let last = reach(&poll, Minute(u32::MAX)).unwrap();
        let mut lookups = Lookups::default();
        lookups.add(&last, &Window::closed());
        let expected = Minute(u32::MAX - 3)..=Minute(u32::MAX);
        assert!(lookups.iter().eq([(POLL, expected)]), "{lookups:?}");
    }

    #[test]
    fn only_polls_that_still_get_votes_keep_keys_in_memory() {
        let poll = |id: u32, key_life_s: u32| {
            let mut poll = open_poll(PollId(id));
            poll.key_life_s = key_life_s;
            poll
        };
        let (open, mut closed) = (poll(1, 180), poll(2, 900));
        let (mut scheduled, mut ended) = (poll(3, 600), poll(4, 800));
        closed.closes_at = Some(minute(5).start());
        scheduled.opens_at = Some(minute(9).start());
        ended.closes_at = Some(minute(5).start());
        ended.final_at = Some(minute(5).start());
        let polls = [open, closed, scheduled, ended];
        let life = |by, before| longest_life_ms(&polls, minute(by).start(), minute(before).start());
        assert_eq!(life(6, 5), 900_000, "votes of the closed one still come");
        assert_eq!(life(7, 6), 180_000);
        assert_eq!(life(9, 6), 600_000, "the third has opened");
        assert_eq!(longest_life_ms(&polls, UnixMillis(0), UnixMillis(0)), 0);
    }
}
