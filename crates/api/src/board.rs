//! The board: everything readers are shown, made from one snapshot and read without a lock.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use actix_web::HttpRequest;
use bytes::Bytes;
use paredao_domain::{
    BootMillis, CandidateNumber, Clock, Conservation, Percentage, Poll, PollId, PollState,
    UnixMillis, apportion,
};
use paredao_store::{PollView, Snapshot};

use crate::{events, results, total, vote};

/// One instant on both clocks.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    now: UnixMillis,
    boot: BootMillis,
}

impl Moment {
    /// The present one.
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        Self {
            now: clock.now(),
            boot: clock.boot(),
        }
    }
}

/// What readers are shown until the next refresh.
pub(crate) struct Board {
    /// When it was made.
    pub(crate) made_at: BootMillis,
    snapshot: Arc<Snapshot>,
    law: Option<Conservation>,
    /// In the order of their numbers.
    polls: Vec<PollBoard>,
    by_slug: HashMap<String, usize>,
    principal: Option<usize>,
}

/// What readers are shown of one poll.
pub(crate) struct PollBoard {
    /// The poll.
    pub(crate) poll: Poll,
    /// What it was when the board was made.
    pub(crate) state: PollState,
    /// Counted votes, in the order of its candidates.
    pub(crate) votes: Vec<u64>,
    /// Their shares.
    pub(crate) shares: Vec<Percentage>,
    /// The instant the numbers are of.
    pub(crate) as_of: UnixMillis,
    /// The end of every answer to a vote.
    pub(crate) vote_tail: Bytes,
    /// The body of `/parcial`.
    pub(crate) partial: Bytes,
    /// What event streams send.
    pub(crate) frame: Bytes,
    /// Rises whenever a reader would see something other than the time change.
    pub(crate) edition: u64,
    /// The body of `/total`, made when the first asks for it.
    total: OnceLock<Bytes>,
    place: usize,
}

impl Board {
    /// Makes the board of a snapshot at a moment that is later than the snapshot when the store is
    /// away: polls open and close on the board all the same.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        law: Option<Conservation>,
        moment: Moment,
        previous: Option<&Self>,
    ) -> Self {
        let mut polls: Vec<PollBoard> = snapshot
            .polls
            .iter()
            .enumerate()
            .map(|(place, view)| PollBoard::new(place, view, snapshot.taken_at, moment.now))
            .collect();
        polls.sort_unstable_by_key(|board| board.poll.id);
        for board in &mut polls {
            if let Some(before) = previous.and_then(|previous| previous.by_id(board.poll.id)) {
                board.edition = before.edition + u64::from(board.differs_from(before));
            }
        }
        let slugs = polls.iter().map(|board| board.poll.slug.to_string());
        Self {
            made_at: moment.boot,
            by_slug: slugs.zip(0..).collect(),
            principal: principal(&polls),
            polls,
            law,
            snapshot,
        }
    }

    /// The poll that a request means: the one its path names, else the principal one.
    pub(crate) fn meant_by(&self, request: &HttpRequest) -> Option<&PollBoard> {
        match request.match_info().get("poll") {
            Some(slug) => self.by_slug(slug),
            None => self.principal(),
        }
    }

    /// The poll of this name.
    pub(crate) fn by_slug(&self, slug: &str) -> Option<&PollBoard> {
        self.polls.get(*self.by_slug.get(slug)?)
    }

    /// The poll of this number.
    pub(crate) fn by_id(&self, id: PollId) -> Option<&PollBoard> {
        let place = self.polls.binary_search_by_key(&id, |board| board.poll.id);
        self.polls.get(place.ok()?)
    }

    /// The poll that the bare addresses mean.
    pub(crate) fn principal(&self) -> Option<&PollBoard> {
        self.polls.get(self.principal?)
    }

    /// Where a page leads on whose own poll takes no votes: the principal poll, if it is another
    /// one and open. Further open polls are not what production shows everybody.
    pub(crate) fn open_besides(&self, shown: PollId, now: UnixMillis) -> Option<&PollBoard> {
        self.principal()
            .filter(|board| board.poll.id != shown && board.poll.state(now) == PollState::Open)
    }

    /// All polls.
    pub(crate) fn polls(&self) -> &[PollBoard] {
        &self.polls
    }

    /// The snapshot behind it.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The conservation law at its last reading.
    pub(crate) fn law(&self) -> Option<&Conservation> {
        self.law.as_ref()
    }

    /// The body of a poll's `/total`.
    pub(crate) fn total(&self, board: &PollBoard) -> Bytes {
        let body = board
            .total
            .get_or_init(|| match self.snapshot.polls.get(board.place) {
                Some(view) => total::body(board, view, self.law()),
                // The place was given by this snapshot.
                None => Bytes::new(),
            });
        Bytes::clone(body)
    }
}

impl PollBoard {
    fn new(place: usize, view: &PollView, as_of: UnixMillis, now: UnixMillis) -> Self {
        let mut board = Self {
            poll: view.poll.clone(),
            state: view.poll.state(now),
            votes: view.votes.clone(),
            shares: apportion(&view.votes),
            as_of,
            vote_tail: Bytes::new(),
            partial: Bytes::new(),
            frame: Bytes::new(),
            edition: 0,
            total: OnceLock::new(),
            place,
        };
        board.vote_tail = vote::answer_tail(&board);
        board.partial = results::partial_body(&board);
        board.frame = events::frame(&board);
        board
    }

    /// Whether `number` stands in it.
    pub(crate) fn has_candidate(&self, number: CandidateNumber) -> bool {
        self.poll.has_candidate(number)
    }

    fn differs_from(&self, other: &Self) -> bool {
        self.state != other.state || self.votes != other.votes || self.poll != other.poll
    }
}

/// The poll that the bare addresses mean: one that is marked, else the one opened last, else the
/// one closed last, else the one that opens next, else the newest.
fn principal(polls: &[PollBoard]) -> Option<usize> {
    let ranked = polls
        .iter()
        .enumerate()
        .max_by_key(|(_, board)| rank(board));
    ranked.map(|(place, _)| place)
}

fn rank(board: &PollBoard) -> (bool, u8, i64, PollId) {
    let poll = &board.poll;
    let millis = |instant: Option<UnixMillis>| instant.map_or(i64::MIN, |at| at.0);
    let (class, within) = match board.state {
        PollState::Open => (2, millis(poll.opens_at)),
        PollState::Closed | PollState::Final => (1, millis(poll.closes_at)),
        PollState::Scheduled => (0, poll.opens_at.map_or(i64::MIN, |at| -at.0)),
    };
    (poll.principal, class, within, poll.id)
}

#[cfg(test)]
mod tests {
    use paredao_domain::{Accounts, Candidate, PartialsPolicy, PollSecret, UtcOffset};
    use paredao_store::DeploymentBooks;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn poll(id: u32, opens_at: Option<i64>, closes_at: Option<i64>) -> Poll {
        let candidate = |n: u64| Candidate {
            number: CandidateNumber::try_from(n).unwrap(),
            name: format!("Nome {n}"),
        };
        Poll {
            id: PollId(id),
            slug: format!("poll-{id}").parse().unwrap(),
            title: "Quem sai?".to_owned(),
            candidates: vec![candidate(1), candidate(2)],
            utc_offset: UtcOffset::BRASILIA,
            opens_at: opens_at.map(UnixMillis),
            closes_at: closes_at.map(UnixMillis),
            final_at: None,
            key_life_s: 180,
            partials_policy: PartialsPolicy::Always,
            principal: false,
            created_at: UnixMillis(0),
            secret: PollSecret::new([0; 32]),
        }
    }

    fn board(polls: Vec<Poll>, votes: u64, previous: Option<&Board>) -> Board {
        let view = |poll| PollView {
            poll,
            votes: vec![votes, 0],
            accounts: Accounts::default(),
            dead_lettered: 0,
            hours: vec![],
            minutes: vec![],
            barrier_passed: false,
        };
        let polls = polls.into_iter().map(view).collect();
        let snapshot = Snapshot {
            taken_at: NOW,
            polls,
            books: DeploymentBooks::default(),
        };
        Board::new(
            Arc::new(snapshot),
            None,
            Moment {
                now: NOW,
                boot: BootMillis(0),
            },
            previous,
        )
    }

    fn principal_of(polls: Vec<Poll>) -> Option<u32> {
        board(polls, 0, None)
            .principal()
            .map(|board| board.poll.id.0)
    }

    #[test]
    fn the_poll_opened_last_is_the_principal_one() {
        let polls = vec![
            poll(1, Some(10), None),
            poll(2, Some(30), None),
            poll(3, Some(20), None),
        ];
        assert_eq!(principal_of(polls), Some(2));
    }

    #[test]
    fn an_open_poll_comes_before_closed_ones_and_those_before_scheduled_ones() {
        let closed = |id, at| poll(id, Some(1), Some(at));
        assert_eq!(
            principal_of(vec![poll(1, Some(2), None), closed(2, 900)]),
            Some(1)
        );
        assert_eq!(
            principal_of(vec![closed(1, 900), closed(2, 500), poll(3, None, None)]),
            Some(1)
        );
        assert_eq!(
            principal_of(vec![poll(1, None, None), poll(2, None, None)]),
            Some(2)
        );
        let soon = poll(2, Some(NOW.0 + 5), None);
        assert_eq!(
            principal_of(vec![
                poll(1, Some(NOW.0 + 9), None),
                soon,
                poll(3, None, None)
            ]),
            Some(2)
        );
        assert_eq!(principal_of(vec![]), None);
    }

    #[test]
    fn a_mark_decides_whatever_the_state() {
        let marked = Poll {
            principal: true,
            ..poll(1, Some(1), Some(5))
        };
        assert_eq!(principal_of(vec![marked, poll(2, Some(30), None)]), Some(1));
    }

    #[test]
    fn a_page_leads_on_to_the_principal_poll_only_and_only_while_that_is_open() {
        let leads_to = |polls: Vec<Poll>, shown| {
            let board = board(polls, 0, None);
            let other = board.open_besides(PollId(shown), NOW);
            other.map(|board| board.poll.id.0)
        };
        let closed = |id| poll(id, Some(1), Some(5));
        let open = |id, at| poll(id, Some(at), None);
        assert_eq!(leads_to(vec![closed(1), open(2, 30)], 1), Some(2));
        assert_eq!(
            leads_to(vec![closed(1), open(2, 30), open(3, 20)], 1),
            Some(2)
        );
        assert_eq!(leads_to(vec![closed(1), open(2, 30)], 2), None);
        assert_eq!(leads_to(vec![closed(1), closed(2)], 1), None);
        let marked = Poll {
            principal: true,
            ..closed(1)
        };
        assert_eq!(leads_to(vec![marked, open(2, 30)], 1), None);
    }

    #[test]
    fn polls_are_found_by_name_and_number_and_not_otherwise() {
        let board = board(vec![poll(7, None, None), poll(3, None, None)], 0, None);
        assert_eq!(board.by_slug("poll-7").map(|b| b.poll.id), Some(PollId(7)));
        assert_eq!(board.by_id(PollId(3)).map(|b| b.poll.id), Some(PollId(3)));
        assert!(board.by_slug("poll-1").is_none() && board.by_id(PollId(1)).is_none());
    }

    #[test]
    fn an_edition_rises_with_votes_state_and_hours_and_with_nothing_else() {
        let first = board(vec![poll(1, Some(1), None)], 5, None);
        let edition = |board: &Board| board.principal().unwrap().edition;
        let same = board(vec![poll(1, Some(1), None)], 5, Some(&first));
        assert_eq!(edition(&same), edition(&first));
        let voted = board(vec![poll(1, Some(1), None)], 6, Some(&same));
        assert!(edition(&voted) > edition(&same));
        let closing = board(vec![poll(1, Some(1), Some(NOW.0 + 9))], 6, Some(&voted));
        assert!(edition(&closing) > edition(&voted));
    }
}
