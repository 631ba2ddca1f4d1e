//! The demonstration poll.

use paredao_domain::{Candidate, CandidateNumber, Clock, PartialsPolicy, PollDraft, UtcOffset};
use paredao_store::Store;

const SLUG: &str = "demo";
const TITLE: &str = "Quem deve sair da casa?";
const NAMES: [&str; 2] = ["Ana", "Bia"];
const KEY_LIFE_S: u32 = 180;

/// Makes a poll of two candidates, open from now on, if there is no poll at all.
pub(super) async fn prepare(store: &dyn Store, clock: &dyn Clock) -> anyhow::Result<()> {
    if !store.polls().await?.is_empty() {
        return Ok(());
    }
    let now = clock.now();
    let candidates = (1..).zip(NAMES).map(|(number, name)| {
        Ok(Candidate {
            number: CandidateNumber::try_from(number)?,
            name: name.to_owned(),
        })
    });
    let draft = PollDraft {
        slug: SLUG.parse()?,
        title: TITLE.to_owned(),
        candidates: candidates.collect::<anyhow::Result<_>>()?,
        utc_offset: UtcOffset::BRASILIA,
        opens_at: Some(now.rfc3339(UtcOffset::BRASILIA)),
        closes_at: None,
        key_life_s: KEY_LIFE_S,
        partials_policy: PartialsPolicy::Always,
        principal: false,
    };
    store.create_poll(draft, now).await?;
    tracing::info!(event = "demonstration_poll_created", poll = SLUG);
    Ok(())
}
