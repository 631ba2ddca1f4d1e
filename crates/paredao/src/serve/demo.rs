//! The demonstration poll.

use paredao_domain::{
    Candidate, CandidateNumber, Clock, PartialsPolicy, Poll, PollDraft, PollState, Slug, UtcOffset,
};
use paredao_store::Store;

use crate::failure::Misuse;

const SLUG: &str = "demo";
const TITLE: &str = "Quem deve sair da casa?";
const NAMES: [&str; 2] = ["Ana", "Bia"];
const KEY_LIFE_S: u32 = 180;

/// Makes sure that a poll of two candidates takes votes. A folder that holds any other poll is
/// refused: its voters would read that their votes are void, and everyone its exact numbers.
pub(super) async fn prepare(store: &dyn Store, clock: &dyn Clock) -> anyhow::Result<()> {
    let polls = store.polls().await?;
    if let Some(real) = polls.iter().find(|poll| !is_demonstration(poll)) {
        return Err(refusal(&real.slug).into());
    }
    let now = clock.now();
    if polls.iter().any(|poll| poll.state(now) == PollState::Open) {
        return Ok(());
    }
    let mut draft = draft(free_slug(&polls)?)?;
    draft.opens_at = Some(now.rfc3339(UtcOffset::BRASILIA));
    let poll = store.create_poll(draft, now).await?;
    tracing::info!(event = "demonstration_poll_created", poll = %poll.slug);
    Ok(())
}

fn refusal(real: &Slug) -> Misuse {
    Misuse::of(
        "demo",
        format!(
            "the data folder holds the poll {real}, which is no demonstration: serve it without \
             --demo, or demonstrate in another folder (--data-dir)"
        ),
    )
}

/// Whether a poll was made here: the name alone may be anybody's.
fn is_demonstration(poll: &Poll) -> bool {
    let names = poll.candidates.iter().map(|candidate| &*candidate.name);
    let is_named = poll.slug.as_str() == SLUG || poll.slug.as_str().starts_with("demo-");
    is_named && poll.title == TITLE && names.eq(NAMES)
}

/// `demo`, or `demo-2` and so on after the first is over.
fn free_slug(polls: &[Poll]) -> anyhow::Result<Slug> {
    let is_taken = |slug: &Slug| polls.iter().any(|poll| poll.slug == *slug);
    let mut slug: Slug = SLUG.parse()?;
    for number in 2.. {
        if !is_taken(&slug) {
            break;
        }
        slug = format!("{SLUG}-{number}").parse()?;
    }
    Ok(slug)
}

fn draft(slug: Slug) -> anyhow::Result<PollDraft> {
    let candidates = (1..).zip(NAMES).map(|(number, name)| {
        Ok(Candidate {
            number: CandidateNumber::try_from(number)?,
            name: name.to_owned(),
        })
    });
    Ok(PollDraft {
        slug,
        title: TITLE.to_owned(),
        candidates: candidates.collect::<anyhow::Result<_>>()?,
        utc_offset: UtcOffset::BRASILIA,
        opens_at: None,
        closes_at: None,
        key_life_s: KEY_LIFE_S,
        partials_policy: PartialsPolicy::Always,
        principal: false,
    })
}

#[cfg(test)]
mod tests {
    use paredao_domain::{PollId, PollSecret, UnixMillis};

    use super::*;

    fn poll(slug: &str) -> Poll {
        let draft = draft(slug.parse().unwrap()).unwrap();
        draft
            .into_poll(PollId(1), PollSecret::new([0; 32]), UnixMillis(0))
            .unwrap()
    }

    #[test]
    fn the_first_name_that_is_free_is_taken() {
        let free = |taken: &[&str]| {
            let polls: Vec<Poll> = taken.iter().map(|slug| poll(slug)).collect();
            free_slug(&polls).unwrap().to_string()
        };
        assert_eq!(free(&[]), "demo");
        assert_eq!(free(&["demo"]), "demo-2");
        assert_eq!(free(&["demo", "demo-2", "demo-4"]), "demo-3");
    }

    #[test]
    fn a_real_poll_that_is_only_called_so_is_no_demonstration() {
        assert!(is_demonstration(&poll("demo")) && is_demonstration(&poll("demo-12")));
        assert!(!is_demonstration(&poll("democracia")));
        let mut real = poll("demo");
        real.title = "Quem sai?".to_owned();
        assert!(!is_demonstration(&real));
        let mut real = poll("demo");
        real.candidates[1].name = "Carlos".to_owned();
        assert!(!is_demonstration(&real));
    }
}
