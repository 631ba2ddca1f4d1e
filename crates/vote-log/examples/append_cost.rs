//! What an append costs on this machine's disk: plain writes with `fdatasync` into files prepared
//! in different ways, and the embedded log itself, all in turn and at the same cadence.
//!
//! `cargo run --release -p paredao-vote-log --example append_cost [folder] [appends] [per second]`

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use paredao_domain::Incarnation;
use paredao_vote_log::conformance::{StoppedClock, at_once, sample_batch};
use paredao_vote_log::disk::RealDisk;
use paredao_vote_log::{EmbeddedLog, EmbeddedOptions, VoteLog};
use rustix::time::{ClockId, clock_gettime};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 3;

/// How a plain file is prepared.
#[derive(Clone, Copy, Debug)]
enum Preparation {
    /// Not at all: every append makes it longer.
    None,
    /// Space was reserved; what was not written yet is marked so in the extents.
    Reserved,
    /// Zeros were written everywhere before.
    Zeroed,
    /// Zeros are written behind a record that reaches beyond the last ones.
    ZeroedAhead(usize),
}

struct Plan {
    folder: PathBuf,
    appends: usize,
    /// Between the beginnings of two appends; zero for as fast as it goes.
    pause: Duration,
}

struct Measured {
    latencies: Vec<Duration>,
    cpu: Duration,
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| ".".to_owned());
    let appends = arguments.next().map_or(Ok(5_000), |text| text.parse())?;
    let rate: f64 = arguments.next().map_or(Ok(0.0), |text| text.parse())?;
    let scratch = tempfile::tempdir_in(folder)?;
    let plan = Plan {
        folder: scratch.path().to_owned(),
        appends,
        pause: if rate > 0.0 {
            Duration::from_secs_f64(1.0 / rate)
        } else {
            Duration::ZERO
        },
    };
    println!("per append: wall p50, p90, p99, p99.9, max; CPU of this process");
    for _ in 0..ROUNDS {
        for votes in [10, 100, 500] {
            measure_all(&plan, votes)?;
        }
    }
    Ok(())
}

fn measure_all(plan: &Plan, votes: u16) -> Outcome<()> {
    let preparations = [
        Preparation::None,
        Preparation::Reserved,
        Preparation::Zeroed,
        Preparation::ZeroedAhead(64 * 1024),
        Preparation::ZeroedAhead(256 * 1024),
        Preparation::ZeroedAhead(1024 * 1024),
    ];
    for preparation in preparations {
        let measured = plain(plan, votes, preparation)?;
        report(&format!("{preparation:?}"), votes, measured);
    }
    report("EmbeddedLog", votes, embedded(plan, votes)?);
    Ok(())
}

fn plain(plan: &Plan, votes: u16, preparation: Preparation) -> Outcome<Measured> {
    let path = plan.folder.join("plain");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    let record = vec![0xa5; 64 + 54 + usize::from(votes) * 16];
    prepare(&file, preparation, record.len() * plan.appends)?;
    file.sync_all()?;
    let (mut end, mut prepared_to) = (0_usize, 0_usize);
    let measured = measure(plan, |_| {
        let mut written = record.clone();
        if let Preparation::ZeroedAhead(ahead) = preparation
            && end + record.len() > prepared_to
        {
            written.resize(record.len() + ahead, 0);
            prepared_to = end + written.len();
        }
        file.write_all_at(&written, end as u64)?;
        file.sync_data()?;
        end += record.len();
        Ok(())
    })?;
    std::fs::remove_file(&path)?;
    Ok(measured)
}

fn prepare(file: &File, preparation: Preparation, bytes: usize) -> Outcome<()> {
    match preparation {
        Preparation::None | Preparation::ZeroedAhead(_) => {}
        Preparation::Reserved => {
            let flags = rustix::fs::FallocateFlags::empty();
            rustix::fs::fallocate(file, flags, 0, bytes as u64)?;
        }
        Preparation::Zeroed => file.write_all_at(&vec![0; bytes], 0)?,
    }
    Ok(())
}

fn embedded(plan: &Plan, votes: u16) -> Outcome<Measured> {
    let folder: &Path = &plan.folder.join("log");
    let log = EmbeddedLog::open(
        Arc::new(RealDisk::open(folder)?),
        Arc::new(StoppedClock),
        EmbeddedOptions::default(),
    )?;
    let batch = sample_batch(Incarnation(1), 1, votes);
    let measured = measure(plan, |_| {
        let outcome = at_once(log.append(&batch));
        Ok(outcome.ok_or("an append of the embedded log never waits")??)
    })?;
    drop(log);
    std::fs::remove_dir_all(folder)?;
    Ok(measured)
}

fn measure(plan: &Plan, mut append: impl FnMut(usize) -> Outcome<()>) -> Outcome<Measured> {
    let mut latencies = Vec::with_capacity(plan.appends);
    let cpu_before = cpu_time();
    let mut due = Instant::now();
    for at in 0..plan.appends {
        due += plan.pause;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let begun = Instant::now();
        append(at)?;
        latencies.push(begun.elapsed());
    }
    latencies.sort_unstable();
    Ok(Measured {
        latencies,
        cpu: cpu_time().saturating_sub(cpu_before),
    })
}

fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(spent.tv_sec).unwrap_or(0),
        u32::try_from(spent.tv_nsec).unwrap_or(0),
    )
}

fn report(what: &str, votes: u16, measured: Measured) {
    let Measured { latencies, cpu } = measured;
    let at = |per_mille: usize| {
        let rank = (latencies.len() * per_mille / 1000).min(latencies.len().saturating_sub(1));
        latencies.get(rank).copied().unwrap_or_default().as_micros()
    };
    let count = u32::try_from(latencies.len().max(1)).unwrap_or(u32::MAX);
    println!(
        "{what:22} {votes:4} votes: {:6} {:6} {:6} {:6} {:6} µs; {:4} µs CPU",
        at(500),
        at(900),
        at(990),
        at(999),
        at(1000),
        (cpu / count).as_micros()
    );
}
