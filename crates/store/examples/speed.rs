//! What a vote costs to apply, and how fast a ledger is recounted.
//!
//! `cargo run --release -p paredao-store --example speed -- [million votes] [votes a batch]`

use std::ops::Div;
use std::path::Path;
use std::time::{Duration, Instant};

use paredao_store::conformance::fixture::{NOW, open_poll, snapshot};
use paredao_store::generate::{GeneratePlan, generate};
use paredao_store::recount::{KeysOptions, keys, plain};
use paredao_store::{EmbeddedLedger, EmbeddedOptions, EmbeddedStore, Store};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let votes = arguments.next().unwrap_or(Ok(20))? * 1_000_000;
    let batch_votes = u32::try_from(arguments.next().unwrap_or(Ok(8_192))?)?;
    let folder = tempfile::tempdir_in(".")?;
    let path = folder.path().join("store.sqlite");
    apply(&path, votes, batch_votes).await?;
    let bytes = std::fs::metadata(&path)?.len();
    report("bytes a vote in the file", rate(bytes, votes));
    recount(&path, folder.path())?;
    Ok(())
}

async fn apply(
    path: &Path,
    votes: u64,
    batch_votes: u32,
) -> Result<(), Box<dyn std::error::Error>> {
    let store = EmbeddedStore::open(path, EmbeddedOptions::default())?;
    let poll = open_poll(&store, "um").await;
    let plan = GeneratePlan {
        votes,
        batch_votes,
        minute_votes: 3_600_000,
        first_minute: NOW.minute(),
        duplicate_every: 100,
        seed: 1,
    };
    let start = Instant::now();
    generate(&store, &poll, &plan, &mut |_| ()).await?;
    report(
        "million votes/s generated and applied",
        speed(votes, start.elapsed()),
    );
    report("ns a vote", nanos(start.elapsed(), votes));
    let start = Instant::now();
    store.checkpoint().await?;
    report(
        "ms for the last checkpoint",
        start.elapsed().as_secs_f64() * 1e3,
    );
    let start = Instant::now();
    for _ in 0..1_000 {
        snapshot(&store).await;
    }
    report("us a snapshot", start.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

fn recount(path: &Path, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    for _ in 0..2 {
        let mut door = EmbeddedLedger::open(path)?;
        let start = Instant::now();
        let found = plain(&mut door, None, &mut |_| ())?;
        assert!(found.agrees(), "{found:?}");
        report(
            "million votes/s recounted",
            speed(found.votes, start.elapsed()),
        );
    }
    let mut door = EmbeddedLedger::open(path)?;
    let options = KeysOptions {
        folder: folder.to_owned(),
        memory_bytes: 256 << 20,
    };
    let start = Instant::now();
    let found = keys(&mut door, None, &options, &mut |_| ())?;
    assert!(found.agrees(), "{found:?}");
    report(
        "million votes/s recounted by keys",
        speed(found.plain.votes, start.elapsed()),
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn report(what: &str, value: f64) {
    println!("{value:10.2} {what}");
}

fn speed(votes: u64, took: Duration) -> f64 {
    as_float(votes).div(took.as_secs_f64() * 1e6)
}

fn nanos(took: Duration, votes: u64) -> f64 {
    (took.as_secs_f64() * 1e9).div(as_float(votes))
}

fn rate(a: u64, b: u64) -> f64 {
    as_float(a).div(as_float(b))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn as_float(count: u64) -> f64 {
    count as f64
}
