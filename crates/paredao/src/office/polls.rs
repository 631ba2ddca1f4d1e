//! Polls: created, opened, closed, extended, and reported.

use paredao_api::pages::Occasion;
use paredao_domain::{
    Percentage, Poll, PollDraft, PollState, Slug, UnixMillis, UtcOffset, apportion,
};
use paredao_store::{FinalityHurdle, PollChange, PollView, StoreError};

use super::{Office, refusal};
use crate::control::protocol::{CandidateReport, End, PollReport, PollWord, Refusal, Reply};

impl Office {
    pub(super) async fn create_poll(&self, draft: PollDraft) -> Result<Reply, Refusal> {
        self.refuse_beside_a_demonstration()?;
        let poll = self
            .store
            .create_poll(draft, self.clock.now())
            .await
            .map_err(refusal)?;
        tracing::info!(event = "poll_created", poll = %poll.slug);
        self.show_now().await;
        self.poll(&poll.slug).await
    }

    /// Voters of a real poll would read that their votes are void.
    fn refuse_beside_a_demonstration(&self) -> Result<(), Refusal> {
        match &self.live {
            Some(live) if live.occasion == Occasion::Demonstration => Err(Refusal::misuse(
                "this process serves a demonstration: serve without --demo, in another folder \
                 (--data-dir), before you create a poll",
            )),
            _ => Ok(()),
        }
    }

    /// Whoever changed a poll sees the change on the page at once. If the store does not answer
    /// now, the next refresh shows it.
    async fn show_now(&self) {
        if let Some(live) = &self.live
            && let Err(error) = live.api.refresh().await
        {
            tracing::warn!(event = "change_shown_later", %error);
        }
    }

    pub(super) async fn open_poll(&self, slug: &Slug) -> Result<Reply, Refusal> {
        self.change_poll(slug, PollChange::Open, "poll_opened")
            .await
    }

    pub(super) async fn close_poll(&self, slug: &Slug) -> Result<Reply, Refusal> {
        let change = PollChange::Close {
            lead_ms: self.lead_ms(),
        };
        self.change_poll(slug, change, "poll_closed").await
    }

    pub(super) async fn extend_poll(&self, slug: &Slug, end: End) -> Result<Reply, Refusal> {
        let closes_at = match end {
            End::Until(instant) => instant,
            End::ByMillis(millis) => self.end_of(slug).await?.plus(millis),
        };
        let change = PollChange::Extend {
            closes_at,
            lead_ms: self.lead_ms(),
        };
        self.change_poll(slug, change, "poll_extended").await
    }

    fn lead_ms(&self) -> i64 {
        i64::try_from(self.close_lead.as_millis()).unwrap_or(i64::MAX)
    }

    async fn end_of(&self, slug: &Slug) -> Result<UnixMillis, Refusal> {
        let polls = self.store.polls().await.map_err(refusal)?;
        let poll = polls.into_iter().find(|poll| poll.slug == *slug);
        let poll = poll.ok_or_else(|| refusal(StoreError::UnknownPoll(slug.clone())))?;
        poll.closes_at
            .ok_or_else(|| Refusal::misuse("this poll has no end yet: say --until"))
    }

    async fn change_poll(
        &self,
        slug: &Slug,
        change: PollChange,
        event: &'static str,
    ) -> Result<Reply, Refusal> {
        let now = self.clock.now();
        let poll = self
            .store
            .change_poll(slug, change, now)
            .await
            .map_err(refusal)?;
        let closes_at = poll.closes_at.map(|at| at.rfc3339(poll.utc_offset));
        tracing::info!(event, poll = %slug, closes_at);
        self.show_now().await;
        self.poll(slug).await
    }

    pub(super) async fn polls(&self) -> Result<Reply, Refusal> {
        let now = self.clock.now();
        let snapshot = self.store.snapshot(now).await.map_err(refusal)?;
        let reports = snapshot.polls.iter().map(|view| self.report(view, now));
        Ok(Reply::Polls(reports.collect()))
    }

    pub(super) async fn poll(&self, slug: &Slug) -> Result<Reply, Refusal> {
        let now = self.clock.now();
        let snapshot = self.store.snapshot(now).await.map_err(refusal)?;
        let view = snapshot.polls.iter().find(|view| view.poll.slug == *slug);
        let view = view.ok_or_else(|| refusal(StoreError::UnknownPoll(slug.clone())))?;
        Ok(Reply::Poll(self.report(view, now)))
    }

    fn report(&self, view: &PollView, now: UnixMillis) -> PollReport {
        let poll = &view.poll;
        let state = word(poll.state(now));
        let closes_in_ms = poll.closes_at.map(|at| at.since(now));
        PollReport {
            slug: poll.slug.clone(),
            title: poll.title.clone(),
            state,
            principal: poll.principal,
            utc_offset: poll.utc_offset,
            opens_at: time(poll.opens_at, poll.utc_offset),
            closes_at: time(poll.closes_at, poll.utc_offset),
            closes_in_ms: closes_in_ms.filter(|_| state == PollWord::Open),
            final_at: time(poll.final_at, poll.utc_offset),
            total: view.votes.iter().sum(),
            candidates: candidates(poll, &view.votes),
            accounts: view.accounts,
            dead_lettered: view.dead_lettered,
            not_final_because: self.not_final_because(view, state),
            vote_page: format!("http://{}/p/{}/", self.listen, poll.slug),
            results_page: format!("http://{}/p/{}/resultado", self.listen, poll.slug),
        }
    }

    fn not_final_because(&self, view: &PollView, state: PollWord) -> Vec<String> {
        match state {
            PollWord::Final => Vec::new(),
            PollWord::Scheduled | PollWord::Open => vec!["it has not closed".to_owned()],
            PollWord::Closed => self.hurdles(view),
        }
    }

    fn hurdles(&self, view: &PollView) -> Vec<String> {
        let Some(live) = &self.live else {
            return vec!["no process is running: a result becomes final while one does".to_owned()];
        };
        let status = live.consumer.status();
        match status.hurdles.get(&view.poll.id) {
            Some(hurdles) if !hurdles.is_empty() => hurdles.iter().map(words).collect(),
            _ if view.barrier_passed => vec!["everything is applied; it is about to be".to_owned()],
            _ => vec![words(&FinalityHurdle::Barrier)],
        }
    }
}

fn time(at: Option<UnixMillis>, offset: UtcOffset) -> Option<String> {
    at.map(|at| at.rfc3339(offset))
}

fn word(state: PollState) -> PollWord {
    match state {
        PollState::Scheduled => PollWord::Scheduled,
        PollState::Open => PollWord::Open,
        PollState::Closed => PollWord::Closed,
        PollState::Final => PollWord::Final,
    }
}

fn candidates(poll: &Poll, votes: &[u64]) -> Vec<CandidateReport> {
    let shares = apportion(votes);
    let figures = votes.iter().zip(&shares);
    let report =
        |(candidate, (votes, share)): (&paredao_domain::Candidate, (&u64, &Percentage))| {
            CandidateReport {
                number: candidate.number.into(),
                name: candidate.name.clone(),
                votes: *votes,
                percent: share.to_string(),
            }
        };
    poll.candidates.iter().zip(figures).map(report).collect()
}

fn words(hurdle: &FinalityHurdle) -> String {
    match hurdle {
        FinalityHurdle::NotClosed => "it has not closed".to_owned(),
        FinalityHurdle::Barrier => {
            "votes accepted before the end may still be under way (the barrier has not come through)"
                .to_owned()
        }
        FinalityHurdle::DeadLetters(count) => {
            format!("{count} dead letters wait for a decision: see `paredao dead-letters list`")
        }
        FinalityHurdle::Requeued(count) => format!(
            "{count} requeued dead letters have not come through yet: if that lasts, requeue them \
             again, or write them off"
        ),
        FinalityHurdle::Missing(votes) => format!(
            "{votes} votes were confirmed and never came: see `paredao vote-log missing`; find \
             them, or write them off"
        ),
        FinalityHurdle::SegmentsLost(files) => format!(
            "{files} files of the vote log are lost, and nobody knows which votes with them: see \
             `paredao vote-log missing`; write them off when nothing brings them back"
        ),
    }
}
