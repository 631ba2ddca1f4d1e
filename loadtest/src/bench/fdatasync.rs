//! How long the disk takes: small appends, each followed by `fdatasync`, at a fixed cadence.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::fs::fdatasync;

use crate::vote::command::positive;
use crate::vote::{Latencies, Percentiles};

/// Appends and syncs, and says how long the syncs took.
#[derive(Args, Debug)]
pub struct FdatasyncOptions {
    /// Folder on the disk in question
    #[arg(long, default_value = "target/tmp")]
    dir: std::path::PathBuf,
    /// Appends a second
    #[arg(long, default_value_t = 1000.0, value_parser = positive)]
    rate: f64,
    /// For how long, in seconds
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    seconds: f64,
    /// Bytes of each append
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    bytes: u32,
}

impl FdatasyncOptions {
    /// Measures.
    pub async fn run(&self) -> anyhow::Result<Percentiles> {
        std::fs::create_dir_all(&self.dir)?;
        let length = Duration::from_secs_f64(self.seconds);
        measure(&self.dir, self.rate, length, self.bytes).await
    }
}

/// Appends `bytes` bytes `rate` times a second for `length` to a file in `folder` that is removed
/// afterwards; the percentiles of the syncs alone.
pub async fn measure(
    folder: &Path,
    rate: f64,
    length: Duration,
    bytes: u32,
) -> anyhow::Result<Percentiles> {
    let file = tempfile::tempfile_in(folder)?;
    let block = vec![0x5A; usize::try_from(bytes)?];
    let measured = tokio::task::spawn_blocking(move || append(file, rate, length, &block));
    Ok(measured.await??.percentiles())
}

fn append(mut file: File, rate: f64, length: Duration, block: &[u8]) -> std::io::Result<Latencies> {
    let mut latencies = Latencies::default();
    let period = Duration::from_secs_f64(1.0 / rate);
    let start = Instant::now();
    let mut due = start;
    while start.elapsed() < length {
        file.write_all(block)?;
        let began = Instant::now();
        fdatasync(&file)?;
        latencies.record(began.elapsed());
        // A cadence, not a queue: turns that the disk was too slow for are left out.
        while due <= Instant::now() {
            due += period;
        }
        wait_until(due);
    }
    Ok(latencies)
}

/// Waits on this thread, which has nothing else to do.
fn wait_until(due: Instant) {
    while let Some(left) = due
        .checked_duration_since(Instant::now())
        .filter(|d| !d.is_zero())
    {
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_append_is_synced_at_its_cadence() {
        let folder = tempfile::tempdir().unwrap();
        let length = Duration::from_millis(200);
        let measured = measure(folder.path(), 200.0, length, 64).await.unwrap();
        assert!((2..=41).contains(&measured.count), "{measured:?}");
        assert!(
            measured.p50 >= 1 && measured.p50 <= measured.max,
            "{measured:?}"
        );
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "nothing is left"
        );
    }
}
