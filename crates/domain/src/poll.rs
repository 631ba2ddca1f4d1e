//! A poll (a "paredão"): its candidates, its hours, its state.

use serde::{Deserialize, Serialize};

use crate::{CandidateNumber, PollId, PollSecret, Slug, TimeError, UnixMillis, UtcOffset};

/// Fewest candidates of a poll.
pub const CANDIDATES_MIN: usize = 2;
/// Most candidates of a poll: what fits a phone's screen and a results table.
pub const CANDIDATES_MAX: usize = 20;

const TITLE_CHARS_MAX: usize = 120;
const NAME_CHARS_MAX: usize = 60;
const KEY_LIFE_S_DEFAULT: u32 = 180;
/// Longest key life: the consumer's window holds the keys of that long.
const KEY_LIFE_S_MAX: u32 = 900;
/// Shortest key life: the page resends for up to two minutes.
const KEY_LIFE_S_MIN: u32 = 130;
/// How long before its creation a poll may open: "since this morning" is meant, a year is a slip.
const OPENS_BEFORE_MS_MAX: i64 = 24 * 60 * 60 * 1_000;

/// Why a poll cannot be as asked; shown to the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// A title that is empty or too long.
    #[error("title: 1 to {TITLE_CHARS_MAX} characters, not {0}")]
    Title(usize),
    /// Too few or too many candidates.
    #[error("candidates: {CANDIDATES_MIN} to {CANDIDATES_MAX}, not {0}")]
    CandidateCount(usize),
    /// A candidate's name that is empty or too long.
    #[error("candidate {number}: a name has 1 to {NAME_CHARS_MAX} characters, not {chars}")]
    CandidateName {
        /// Whose name it is.
        number: CandidateNumber,
        /// How long it is.
        chars: usize,
    },
    /// Two candidates with one number.
    #[error("candidate {0} is there twice")]
    CandidateTwice(CandidateNumber),
    /// A key life that the window cannot hold or the page would outlive.
    #[error("key_life_s: {KEY_LIFE_S_MIN} to {KEY_LIFE_S_MAX} seconds, not {0}")]
    KeyLife(u32),
    /// An end before the beginning.
    #[error("a poll must close after it opens")]
    ClosesBeforeItOpens,
    /// A beginning long before the poll exists.
    #[error("opens_at: at most a day in the past; is its date right?")]
    OpensLongAgo,
    /// Opening what is open or over.
    #[error("this poll has been opened already")]
    AlreadyOpened,
    /// Closing or extending what has not begun.
    #[error("this poll is not open")]
    NotOpen,
    /// Changing the end when it has passed.
    #[error("this poll has closed: its end can no longer be moved")]
    AlreadyClosed,
    /// Extending to an instant that is not later than the present end.
    #[error("the new end must be later than the present one and than now")]
    NotLater,
    /// A time that cannot be read.
    #[error(transparent)]
    Time(#[from] TimeError),
}

/// Who can be voted for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The number voters tap.
    pub number: CandidateNumber,
    /// The name on the page.
    pub name: String,
}

/// When voters see percentages. More policies come with the production's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartialsPolicy {
    /// Always.
    #[default]
    Always,
}

/// A poll as somebody wishes it, before it has a number: the contents of a poll file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PollDraft {
    /// Its name in addresses.
    pub slug: Slug,
    /// Its title on the page.
    pub title: String,
    /// Its candidates, in the order of the page.
    pub candidates: Vec<Candidate>,
    /// The offset of its times and hours from UTC. Default: Brasília.
    #[serde(default = "default_offset")]
    pub utc_offset: UtcOffset,
    /// When it opens by itself (RFC 3339); without it somebody opens it.
    #[serde(default)]
    pub opens_at: Option<String>,
    /// When it closes by itself (RFC 3339); without it somebody closes it.
    #[serde(default)]
    pub closes_at: Option<String>,
    /// Seconds in which equal keys are one vote. Default: 180.
    #[serde(default = "default_key_life")]
    pub key_life_s: u32,
    /// When voters see percentages.
    #[serde(default)]
    pub partials_policy: PartialsPolicy,
    /// Whether the bare addresses (`/`, `/votar`) mean this poll.
    #[serde(default)]
    pub principal: bool,
}

fn default_offset() -> UtcOffset {
    UtcOffset::BRASILIA
}

fn default_key_life() -> u32 {
    KEY_LIFE_S_DEFAULT
}

impl PollDraft {
    /// Makes the poll, if everything in the draft fits together.
    pub fn into_poll(
        self,
        id: PollId,
        secret: PollSecret,
        now: UnixMillis,
    ) -> Result<Poll, PollError> {
        self.check_texts()?;
        if !(KEY_LIFE_S_MIN..=KEY_LIFE_S_MAX).contains(&self.key_life_s) {
            return Err(PollError::KeyLife(self.key_life_s));
        }
        let opens_at = self.opens_at.as_deref().map(str::parse).transpose()?;
        let closes_at = self.closes_at.as_deref().map(str::parse).transpose()?;
        if opens_at.is_some_and(|opens: UnixMillis| opens < now.plus(-OPENS_BEFORE_MS_MAX)) {
            return Err(PollError::OpensLongAgo);
        }
        if let Some(closes_at) = closes_at
            && closes_at <= opens_at.unwrap_or(now)
        {
            return Err(PollError::ClosesBeforeItOpens);
        }
        Ok(Poll {
            id,
            slug: self.slug,
            title: self.title,
            candidates: self.candidates,
            utc_offset: self.utc_offset,
            opens_at,
            closes_at,
            final_at: None,
            key_life_s: self.key_life_s,
            partials_policy: self.partials_policy,
            principal: self.principal,
            created_at: now,
            secret,
        })
    }

    fn check_texts(&self) -> Result<(), PollError> {
        let chars = self.title.trim().chars().count();
        if !(1..=TITLE_CHARS_MAX).contains(&chars) {
            return Err(PollError::Title(chars));
        }
        if !(CANDIDATES_MIN..=CANDIDATES_MAX).contains(&self.candidates.len()) {
            return Err(PollError::CandidateCount(self.candidates.len()));
        }
        let mut seen = [false; CandidateNumber::MAX as usize + 1];
        for candidate in &self.candidates {
            candidate.check()?;
            if let Some(seen) = seen.get_mut(candidate.number.index())
                && std::mem::replace(seen, true)
            {
                return Err(PollError::CandidateTwice(candidate.number));
            }
        }
        Ok(())
    }
}

impl Candidate {
    fn check(&self) -> Result<(), PollError> {
        let chars = self.name.trim().chars().count();
        if (1..=NAME_CHARS_MAX).contains(&chars) {
            Ok(())
        } else {
            Err(PollError::CandidateName {
                number: self.number,
                chars,
            })
        }
    }
}

/// The instants between which votes are taken: from `opens_at`, before `closes_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VotingHours {
    /// First instant; `None`: not yet fixed.
    pub opens_at: Option<UnixMillis>,
    /// First instant after the end; `None`: not yet fixed.
    pub closes_at: Option<UnixMillis>,
}

impl VotingHours {
    /// Whether a vote accepted at `instant` is within.
    pub fn contain(&self, instant: UnixMillis) -> bool {
        self.opens_at.is_some_and(|opens| opens <= instant)
            && self.closes_at.is_none_or(|closes| instant < closes)
    }
}

/// What a poll is at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollState {
    /// Not yet open.
    Scheduled,
    /// Taking votes.
    Open,
    /// Past its end, not yet final.
    Closed,
    /// Its result no longer changes.
    Final,
}

/// A poll as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// Its number.
    pub id: PollId,
    /// Its name in addresses.
    pub slug: Slug,
    /// Its title on the page.
    pub title: String,
    /// Its candidates, in the order of the page.
    pub candidates: Vec<Candidate>,
    /// The offset of its times and hours from UTC.
    pub utc_offset: UtcOffset,
    /// First instant at which votes are taken.
    pub opens_at: Option<UnixMillis>,
    /// First instant at which they no longer are.
    pub closes_at: Option<UnixMillis>,
    /// When its result was declared final.
    pub final_at: Option<UnixMillis>,
    /// Seconds in which equal keys are one vote.
    pub key_life_s: u32,
    /// When voters see percentages.
    pub partials_policy: PartialsPolicy,
    /// Whether the bare addresses mean this poll.
    pub principal: bool,
    /// When it was created.
    pub created_at: UnixMillis,
    /// The secret of its keys; never shown.
    pub secret: PollSecret,
}

impl Poll {
    /// Its voting hours.
    pub fn hours(&self) -> VotingHours {
        VotingHours {
            opens_at: self.opens_at,
            closes_at: self.closes_at,
        }
    }

    /// What it is at `now`.
    pub fn state(&self, now: UnixMillis) -> PollState {
        if self.final_at.is_some() {
            return PollState::Final;
        }
        if self.closes_at.is_some_and(|closes| closes <= now) {
            return PollState::Closed;
        }
        match self.opens_at {
            Some(opens) if opens <= now => PollState::Open,
            _ => PollState::Scheduled,
        }
    }

    /// Milliseconds in which equal keys are one vote.
    pub fn key_life_ms(&self) -> i64 {
        i64::from(self.key_life_s) * 1000
    }

    /// Whether `number` stands in this poll.
    pub fn has_candidate(&self, number: CandidateNumber) -> bool {
        self.candidates.iter().any(|c| c.number == number)
    }

    /// Opens it at `now`.
    pub fn open(&mut self, now: UnixMillis) -> Result<(), PollError> {
        if self.state(now) != PollState::Scheduled {
            return Err(PollError::AlreadyOpened);
        }
        self.opens_at = Some(now);
        Ok(())
    }

    /// Closes it `lead_ms` from now, longer than any API takes to hear of it. An end that comes
    /// earlier anyway stays.
    pub fn close(&mut self, now: UnixMillis, lead_ms: i64) -> Result<(), PollError> {
        match self.state(now) {
            PollState::Scheduled => Err(PollError::NotOpen),
            PollState::Closed | PollState::Final => Err(PollError::AlreadyClosed),
            PollState::Open => {
                let end = now.plus(lead_ms);
                self.closes_at = Some(self.closes_at.map_or(end, |present| present.min(end)));
                Ok(())
            }
        }
    }

    /// Moves its end to `closes_at`, which must be later than the present end. The present end
    /// must be more than `lead_ms` away, or an API might close before it hears of the new one.
    pub fn extend(
        &mut self,
        now: UnixMillis,
        closes_at: UnixMillis,
        lead_ms: i64,
    ) -> Result<(), PollError> {
        let Some(present) = self.closes_at else {
            return if closes_at > now {
                self.set_end(closes_at)
            } else {
                Err(PollError::NotLater)
            };
        };
        if present <= now.plus(lead_ms) {
            return Err(PollError::AlreadyClosed);
        }
        if closes_at <= present {
            return Err(PollError::NotLater);
        }
        self.set_end(closes_at)
    }

    fn set_end(&mut self, closes_at: UnixMillis) -> Result<(), PollError> {
        if self.opens_at.is_some_and(|opens| closes_at <= opens) {
            return Err(PollError::ClosesBeforeItOpens);
        }
        self.closes_at = Some(closes_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const LEAD: i64 = 3_000;

    fn draft() -> PollDraft {
        PollDraft {
            slug: "teste".parse().unwrap(),
            title: "Quem sai?".to_owned(),
            candidates: [(1, "Ana"), (2, "Bia")]
                .map(|(n, name)| Candidate {
                    number: CandidateNumber::try_from(n).unwrap(),
                    name: name.to_owned(),
                })
                .into(),
            utc_offset: UtcOffset::BRASILIA,
            opens_at: None,
            closes_at: None,
            key_life_s: KEY_LIFE_S_DEFAULT,
            partials_policy: PartialsPolicy::Always,
            principal: false,
        }
    }

    fn made(draft: PollDraft) -> Result<Poll, PollError> {
        draft.into_poll(PollId(1), PollSecret::new([0; 32]), NOW)
    }

    fn scheduled() -> Poll {
        made(draft()).unwrap()
    }

    #[test]
    fn drafts_that_do_not_fit_together_are_refused() {
        let refused = |change: fn(&mut PollDraft)| {
            let mut draft = draft();
            change(&mut draft);
            made(draft).unwrap_err()
        };
        assert_eq!(refused(|d| d.title = " ".into()), PollError::Title(0));
        assert_eq!(
            refused(|d| d.candidates.truncate(1)),
            PollError::CandidateCount(1)
        );
        assert_eq!(refused(|d| d.key_life_s = 1), PollError::KeyLife(1));
        let one = CandidateNumber::try_from(1).unwrap();
        assert_eq!(
            refused(|d| d.candidates[1].number = d.candidates[0].number),
            PollError::CandidateTwice(one)
        );
        assert_eq!(
            refused(|d| d.candidates[0].name = String::new()),
            PollError::CandidateName {
                number: one,
                chars: 0
            }
        );
        assert_eq!(
            refused(|d| d.closes_at = Some("1970-01-01T00:00:01Z".into())),
            PollError::ClosesBeforeItOpens
        );
        assert!(matches!(
            refused(|d| d.opens_at = Some("amanhã".into())),
            PollError::Time(_)
        ));
    }

    #[test]
    fn a_poll_may_open_a_day_before_it_is_made_and_not_earlier() {
        let made_at = "2026-03-02T12:00:00Z".parse().unwrap();
        let opening = |opens_at: &str| {
            let draft = PollDraft {
                opens_at: Some(opens_at.to_owned()),
                ..draft()
            };
            draft.into_poll(PollId(1), PollSecret::new([0; 32]), made_at)
        };
        let yesterday = opening("2026-03-01T12:00:00Z").unwrap();
        assert_eq!(yesterday.state(made_at), PollState::Open);
        for slip in ["2026-03-01T11:59:59Z", "2006-03-02T12:00:00Z"] {
            assert_eq!(
                opening(slip).unwrap_err(),
                PollError::OpensLongAgo,
                "{slip}"
            );
        }
    }

    #[test]
    fn a_poll_goes_from_scheduled_to_open_to_closed_to_final() {
        let mut poll = scheduled();
        assert_eq!(poll.state(NOW), PollState::Scheduled);
        assert_eq!(poll.close(NOW, LEAD), Err(PollError::NotOpen));
        poll.open(NOW).unwrap();
        assert_eq!(poll.state(NOW), PollState::Open);
        assert_eq!(poll.open(NOW), Err(PollError::AlreadyOpened));
        poll.close(NOW, LEAD).unwrap();
        assert_eq!(poll.state(NOW.plus(LEAD - 1)), PollState::Open);
        assert_eq!(poll.state(NOW.plus(LEAD)), PollState::Closed);
        assert_eq!(
            poll.close(NOW.plus(LEAD), LEAD),
            Err(PollError::AlreadyClosed)
        );
        poll.final_at = Some(NOW.plus(9_999));
        assert_eq!(poll.state(NOW), PollState::Final);
    }

    #[test]
    fn the_hours_take_the_first_instant_and_refuse_the_last() {
        let mut poll = scheduled();
        assert!(!poll.hours().contain(NOW));
        poll.open(NOW).unwrap();
        poll.close(NOW, LEAD).unwrap();
        let hours = poll.hours();
        assert!(!hours.contain(NOW.plus(-1)));
        assert!(hours.contain(NOW));
        assert!(hours.contain(NOW.plus(LEAD - 1)));
        assert!(!hours.contain(NOW.plus(LEAD)));
    }

    #[test]
    fn an_end_moves_only_later_and_only_while_every_api_can_still_hear_of_it() {
        let mut poll = scheduled();
        poll.open(NOW).unwrap();
        assert_eq!(poll.extend(NOW, NOW, LEAD), Err(PollError::NotLater));
        poll.extend(NOW, NOW.plus(10_000), LEAD).unwrap();
        assert_eq!(
            poll.extend(NOW, NOW.plus(10_000), LEAD),
            Err(PollError::NotLater)
        );
        poll.extend(NOW, NOW.plus(20_000), LEAD).unwrap();
        let too_late = NOW.plus(20_000 - LEAD);
        assert_eq!(
            poll.extend(too_late, NOW.plus(30_000), LEAD),
            Err(PollError::AlreadyClosed)
        );
    }

    #[test]
    fn closing_never_moves_an_earlier_end() {
        let mut poll = scheduled();
        poll.open(NOW).unwrap();
        poll.extend(NOW, NOW.plus(1_000), LEAD).unwrap();
        poll.close(NOW, LEAD).unwrap();
        assert_eq!(poll.closes_at, Some(NOW.plus(1_000)));
    }
}
