//! The inbox: where votes wait to be cut into a batch. No I/O, no clock.

use paredao_domain::{
    BootMillis, CandidateNumber, KeyHash, KeySource, PollId, UnixMillis, VotingHours,
};

/// So far the clock may go back within one incarnation: the small steps by which clocks are kept
/// right pass by while acceptance stands still.
const BACK_MS_MAX: i64 = 1_000;

/// A vote as it is handed in.
#[derive(Clone, Copy, Debug)]
pub struct Ballot {
    /// The poll.
    pub poll: PollId,
    /// Its hours, as far as this process has heard.
    pub hours: VotingHours,
    /// For whom.
    pub candidate: CandidateNumber,
    /// Where its key comes from.
    pub source: KeySource,
    /// Its key.
    pub key: KeyHash,
}

/// Why a vote got no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Accepted at an instant outside the poll's hours: 409. Not stored.
    #[error("the poll is not open")]
    NotOpen,
    /// As many votes wait as may: 503. Not stored.
    #[error("too many votes are waiting")]
    Overloaded,
    /// Nothing is taken at present, because the log is away or an incarnation ends: 503. Not
    /// stored.
    #[error("the vote log is not available")]
    LogUnavailable,
    /// The process is stopping: 503. Not stored.
    #[error("the process is stopping")]
    ShuttingDown,
    /// The log did not confirm in time: 503. It may be stored; the same key is the same vote.
    #[error("whether the vote was stored is unknown")]
    OutcomeUnknown,
}

/// Whether the inbox takes votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It does.
    Open,
    /// It does not while the log is away.
    LogUnavailable,
    /// It does not any more.
    ShuttingDown,
}

/// A vote that waits, with the way to whoever waits for it.
#[derive(Debug)]
pub struct Waiting<W> {
    /// The vote.
    pub ballot: Ballot,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// Whom to answer.
    pub waiter: W,
}

/// Votes taken out of the inbox together.
#[derive(Debug)]
pub struct Taken<W> {
    /// In order of acceptance.
    pub votes: Vec<Waiting<W>>,
    /// When the first of them was accepted, on the clock of deadlines.
    pub oldest: BootMillis,
}

/// Where votes wait.
#[derive(Debug)]
pub struct Inbox<W> {
    door: Door,
    waiting: Vec<Waiting<W>>,
    waiting_max: usize,
    oldest: BootMillis,
    newest_accepted: UnixMillis,
    /// By how much the clock went back, once that was too much.
    went_back_ms: Option<i64>,
}

impl<W> Inbox<W> {
    /// An open inbox for at most `waiting_max` votes.
    pub fn new(waiting_max: usize) -> Self {
        Self {
            door: Door::Open,
            waiting: Vec::new(),
            waiting_max,
            oldest: BootMillis(0),
            newest_accepted: UnixMillis(0),
            went_back_ms: None,
        }
    }

    /// Accepts a vote at `now`, or at the newest acceptance if the clock went back a little:
    /// within one incarnation the time of acceptance never does. Returns how many wait.
    pub fn admit(
        &mut self,
        ballot: Ballot,
        waiter: W,
        now: UnixMillis,
        boot: BootMillis,
    ) -> Result<usize, NotTaken> {
        match self.door {
            Door::Open => {}
            Door::LogUnavailable => return Err(NotTaken::LogUnavailable),
            Door::ShuttingDown => return Err(NotTaken::ShuttingDown),
        }
        self.check_clock(now)?;
        if self.waiting.len() >= self.waiting_max {
            return Err(NotTaken::Overloaded);
        }
        let accepted_at = self.newest_accepted.max(now);
        if !ballot.hours.contain(accepted_at) {
            return Err(NotTaken::NotOpen);
        }
        self.newest_accepted = accepted_at;
        if self.waiting.is_empty() {
            self.oldest = boot;
        }
        self.waiting.push(Waiting {
            ballot,
            accepted_at,
            waiter,
        });
        Ok(self.waiting.len())
    }

    /// A clock that stood ahead and was put right would hold every later vote at one instant that
    /// is still to come. So the incarnation is over, and no vote is taken until the next begins.
    fn check_clock(&mut self, now: UnixMillis) -> Result<(), NotTaken> {
        let back_ms = self.newest_accepted.since(now);
        if self.went_back_ms.is_none() && back_ms > BACK_MS_MAX {
            self.went_back_ms = Some(back_ms);
        }
        match self.went_back_ms {
            None => Ok(()),
            Some(_) => Err(NotTaken::LogUnavailable),
        }
    }

    /// By how much the clock went back, if by so much that the incarnation is over.
    pub fn went_back_ms(&self) -> Option<i64> {
        self.went_back_ms
    }

    /// Begins an incarnation: it accepts from whatever time it is, and takes votes.
    pub fn begin_incarnation(&mut self) {
        self.newest_accepted = UnixMillis(0);
        self.went_back_ms = None;
        self.set_door(Door::Open);
    }

    /// When the first of those who wait was accepted, on the clock of deadlines.
    pub fn oldest(&self) -> Option<BootMillis> {
        (!self.waiting.is_empty()).then_some(self.oldest)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes everybody out, leaving `room` (an emptied vector) for the next ones.
    pub fn take(&mut self, room: Vec<Waiting<W>>) -> Taken<W> {
        debug_assert!(room.is_empty(), "only empty room is handed in");
        Taken {
            votes: std::mem::replace(&mut self.waiting, room),
            oldest: self.oldest,
        }
    }

    /// Whether it takes votes.
    pub fn door(&self) -> Door {
        self.door
    }

    /// Opens or closes it. Once it is shutting down it stays so.
    pub fn set_door(&mut self, door: Door) {
        if self.door != Door::ShuttingDown {
            self.door = door;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);
    const BOOT: BootMillis = BootMillis(7);

    fn ballot() -> Ballot {
        Ballot {
            poll: PollId(1),
            hours: VotingHours {
                opens_at: Some(UnixMillis(500)),
                closes_at: Some(UnixMillis(2_000)),
            },
            candidate: CandidateNumber::try_from(1).unwrap(),
            source: KeySource::Drawn,
            key: KeyHash([0; 12]),
        }
    }

    fn admit(inbox: &mut Inbox<u8>, now: i64) -> Result<usize, NotTaken> {
        inbox.admit(ballot(), 0, UnixMillis(now), BOOT)
    }

    #[test]
    fn a_full_inbox_refuses_at_once_and_takes_again_when_emptied() {
        let mut inbox = Inbox::new(2);
        assert_eq!(admit(&mut inbox, 1_000), Ok(1));
        assert_eq!(admit(&mut inbox, 1_000), Ok(2));
        assert_eq!(admit(&mut inbox, 1_000), Err(NotTaken::Overloaded));
        assert_eq!(inbox.take(Vec::new()).votes.len(), 2);
        assert_eq!(admit(&mut inbox, 1_000), Ok(1));
    }

    #[test]
    fn the_hours_are_judged_by_the_instant_of_acceptance() {
        let mut inbox = Inbox::new(9);
        assert_eq!(admit(&mut inbox, 499), Err(NotTaken::NotOpen));
        assert_eq!(admit(&mut inbox, 500), Ok(1));
        assert_eq!(admit(&mut inbox, 1_999), Ok(2));
        assert_eq!(admit(&mut inbox, 2_000), Err(NotTaken::NotOpen));
    }

    #[test]
    fn acceptance_never_goes_back_when_the_clock_does() {
        let mut inbox = Inbox::new(9);
        admit(&mut inbox, 1_500).unwrap();
        admit(&mut inbox, 1_400).unwrap();
        let times: Vec<i64> = inbox
            .take(Vec::new())
            .votes
            .iter()
            .map(|w| w.accepted_at.0)
            .collect();
        assert_eq!(times, [1_500, 1_500]);
    }

    #[test]
    fn a_clock_that_goes_far_back_ends_the_incarnation() {
        let mut inbox = Inbox::new(9);
        admit(&mut inbox, 1_999).unwrap();
        assert_eq!(admit(&mut inbox, 999), Ok(2), "a little is borne");
        assert_eq!(inbox.went_back_ms(), None);
        assert_eq!(admit(&mut inbox, 998), Err(NotTaken::LogUnavailable));
        let later = admit(&mut inbox, 1_999);
        assert_eq!(later, Err(NotTaken::LogUnavailable), "over is over");
        assert_eq!(inbox.went_back_ms(), Some(1_001));

        inbox.begin_incarnation();
        assert_eq!(admit(&mut inbox, 998), Ok(3));
        let last = inbox.take(Vec::new()).votes.pop();
        assert_eq!(last.map(|waiting| waiting.accepted_at.0), Some(998));
    }

    #[test]
    fn an_incarnation_that_begins_while_the_process_stops_takes_nothing() {
        let mut inbox = Inbox::new(9);
        inbox.set_door(Door::ShuttingDown);
        inbox.begin_incarnation();
        assert_eq!(admit(&mut inbox, 1_000), Err(NotTaken::ShuttingDown));
    }

    #[test]
    fn a_refused_vote_does_not_move_the_clock() {
        let mut inbox = Inbox::new(9);
        assert_eq!(admit(&mut inbox, 5_000), Err(NotTaken::NotOpen));
        assert_eq!(admit(&mut inbox, 1_000), Ok(1));
    }

    #[test]
    fn a_closed_door_refuses_with_its_reason_and_shutting_down_is_for_good() {
        let mut inbox = Inbox::new(9);
        inbox.set_door(Door::LogUnavailable);
        assert_eq!(admit(&mut inbox, 1_000), Err(NotTaken::LogUnavailable));
        inbox.set_door(Door::Open);
        assert_eq!(admit(&mut inbox, 1_000), Ok(1));
        inbox.set_door(Door::ShuttingDown);
        inbox.set_door(Door::Open);
        assert_eq!(admit(&mut inbox, 1_000), Err(NotTaken::ShuttingDown));
    }

    #[test]
    fn the_oldest_is_whoever_came_first_since_the_inbox_was_empty() {
        let mut inbox = Inbox::new(9);
        inbox.admit(ballot(), 0_u8, NOW, BootMillis(5)).unwrap();
        inbox.admit(ballot(), 0, NOW, BootMillis(9)).unwrap();
        assert_eq!(inbox.oldest(), Some(BootMillis(5)));
        assert_eq!(inbox.take(Vec::new()).oldest, BootMillis(5));
        assert_eq!(inbox.oldest(), None);
        inbox.admit(ballot(), 0, NOW, BootMillis(11)).unwrap();
        assert_eq!(inbox.take(Vec::new()).oldest, BootMillis(11));
    }
}
