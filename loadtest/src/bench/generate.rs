//! `paredao-loadtest generate-ledger`: a data folder with a large ledger of votes nobody cast,
//! written through the real store.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use jiff::Timestamp;
use paredao_domain::{
    Candidate, CandidateNumber, PartialsPolicy, PollDraft, UnixMillis, UtcOffset,
};
use paredao_store::generate::{GeneratePlan, generate};
use paredao_store::{EmbeddedOptions, EmbeddedStore, PollChange, Store};

use crate::console::say;

/// Votes of a minute: the Brazilian record.
const MINUTE_VOTES: u64 = 3_600_000;
/// Votes of a batch: what a busy program cuts.
const BATCH_VOTES: u32 = 8_192;
/// One vote in so many is a copy.
const DUPLICATE_EVERY: u64 = 100;
/// Between the last vote and now, longer than any key lives: a start need not rebuild a window of
/// millions of keys, which is not what is measured here.
const QUIET: Duration = Duration::from_mins(30);
const PROGRESS: Duration = Duration::from_secs(5);

/// Makes a data folder with a large ledger.
#[derive(Args, Debug)]
pub struct GenerateOptions {
    /// Votes, copies included
    #[arg(long, default_value_t = 100_000_000,
          value_parser = clap::value_parser!(u64).range(1..=10_000_000_000))]
    votes: u64,
    /// The data folder; must not exist yet
    #[arg(long)]
    data_dir: PathBuf,
    /// Draws the votes
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl GenerateOptions {
    /// Makes the folder.
    pub async fn run(&self) -> anyhow::Result<()> {
        ledger(&self.data_dir, self.votes, self.seed).await
    }
}

/// Makes a data folder at `folder` with an open poll of two candidates and so many votes.
pub(super) async fn ledger(folder: &Path, votes: u64, seed: u64) -> anyhow::Result<()> {
    let store = create(folder).with_context(|| folder.display().to_string())?;
    let minutes = i64::try_from(votes.div_ceil(MINUTE_VOTES))?;
    let before_now = i64::try_from(QUIET.as_millis())? + (minutes + 1) * 60_000;
    let opened = UnixMillis(Timestamp::now().as_millisecond()).plus(-before_now);
    let poll = store.create_poll(draft()?, opened).await?;
    let poll = store
        .change_poll(&poll.slug, PollChange::Open, opened)
        .await?;
    let plan = GeneratePlan {
        votes,
        batch_votes: BATCH_VOTES,
        minute_votes: MINUTE_VOTES,
        first_minute: opened.plus(60_000).minute(),
        duplicate_every: DUPLICATE_EVERY,
        seed,
    };
    let (began, mut said) = (Instant::now(), Instant::now());
    let mut progress = |done: u64| {
        if said.elapsed() > PROGRESS {
            said = Instant::now();
            say(format_args!("{done} of {votes} votes"));
        }
    };
    generate(&store, &poll, &plan, &mut progress).await?;
    // Closing moves the journal into the file and may take as long as the disk does.
    tokio::task::spawn_blocking(move || drop(store)).await?;
    say(format_args!(
        "{votes} votes in {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// A store where the program looks for it.
fn create(folder: &Path) -> anyhow::Result<EmbeddedStore> {
    let file = folder.join("store.sqlite");
    ensure!(!file.try_exists()?, "there is a ledger already");
    make_private(folder)?;
    Ok(EmbeddedStore::open(&file, EmbeddedOptions::default())?)
}

fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

fn draft() -> anyhow::Result<PollDraft> {
    let candidate = |number: u64| -> anyhow::Result<Candidate> {
        let name = format!("Candidate {number}");
        Ok(Candidate {
            number: CandidateNumber::try_from(number)?,
            name,
        })
    };
    Ok(PollDraft {
        slug: "bench".parse()?,
        title: "Benchmark".to_owned(),
        candidates: vec![candidate(1)?, candidate(2)?],
        utc_offset: UtcOffset::BRASILIA,
        opens_at: None,
        closes_at: None,
        key_life_s: 180,
        partials_policy: PartialsPolicy::Always,
        principal: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_generated_ledger_adds_up_to_the_votes_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        ledger(&data, 20_000, 3).await.unwrap();
        let again = ledger(&data, 1, 3).await.unwrap_err();
        assert!(format!("{again:#}").contains("already"), "{again:#}");

        let file = data.join("store.sqlite");
        let store = EmbeddedStore::open(&file, EmbeddedOptions::default()).unwrap();
        let snapshot = store
            .snapshot(UnixMillis(Timestamp::now().as_millisecond()))
            .await
            .unwrap();
        let view = &snapshot.polls[0];
        assert_eq!(view.votes.iter().sum::<u64>(), 19_800);
        assert_eq!(view.accounts.duplicate, 200);
    }
}
