//! Where a benchmark takes place: folders, binaries, and deployments of the real program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::contestants::Ring;
use super::wrk::Wrk;
use crate::http::Door;
use crate::metrics;
use crate::process::Spawned;
use crate::program::Program;
use crate::total::{Reader, Total};

/// Candidates of every poll; the third is for marked votes only.
pub(super) const CANDIDATES: &[u8] = &[1, 2, 3];
/// How long the program may take to apply what a measurement left.
const SETTLE_LIMIT: Duration = Duration::from_mins(2);

/// How thorough a benchmark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// A look: short measurements, three alternations.
    Quick,
    /// A result: five alternations.
    Full,
}

impl Effort {
    pub(super) fn alternations(self) -> u32 {
        match self {
            Self::Quick => 3,
            Self::Full => 5,
        }
    }

    /// Length of one measurement.
    pub(super) fn length(self) -> Duration {
        match self {
            Self::Quick => Duration::from_secs(2),
            Self::Full => Duration::from_secs(5),
        }
    }
}

/// What every measurement needs.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) folder: PathBuf,
    pub(super) program: PathBuf,
    pub(super) workers: u16,
    pub(super) effort: Effort,
    pub(super) ring: Ring,
    pub(super) wrk: Wrk,
}

/// The real program, running.
#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) program: Program,
    pub(super) running: Spawned,
}

impl Site {
    /// Starts the program in a folder of its own with an open poll.
    pub(super) async fn deploy(
        &self,
        name: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Deployment> {
        let deployment = self.deploy_empty(name, settings).await?;
        let opened = deployment.program.open_poll("bench", CANDIDATES).await;
        opened.context("opening the poll")?;
        deployment.wait_until_open().await?;
        Ok(deployment)
    }

    /// The same without a poll.
    pub(super) async fn deploy_empty(
        &self,
        name: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Deployment> {
        let folder = self.folder.join(name);
        let workers = self.workers.to_string();
        let mut all = vec![("PAREDAO_WORKERS", workers.as_str())];
        all.extend_from_slice(settings);
        let program = Program::new(&self.program, &folder, &all)?;
        let running = program.start_ready(&[]).await?;
        Ok(Deployment { program, running })
    }
}

impl Deployment {
    pub(super) fn reader(&self) -> Reader {
        Reader::new(Door::principal(self.program.listen))
    }

    /// Waits until everything accepted is applied, so that the next measurement is not charged
    /// for this one.
    pub(super) async fn settled(&self) -> anyhow::Result<Total> {
        Ok(self.reader().settled(SETTLE_LIMIT).await?)
    }

    /// The API hears of a new poll at its next refresh.
    async fn wait_until_open(&self) -> anyhow::Result<()> {
        let mut reader = self.reader();
        let open = async {
            while !reader
                .total()
                .await
                .is_ok_and(|total| total.estado == "aberto")
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SETTLE_LIMIT, open)
            .await
            .context("the poll did not open")
    }

    /// Resident memory in bytes.
    pub(super) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let pid = self.running.pid().as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        resident_bytes(&status).context("no VmRSS in /proc")
    }

    /// The value of one series of `/metrics`, by its full name.
    pub(super) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let mut reader = Reader::new(Door::principal(self.program.metrics));
        let answer = reader.fetch("/metrics").await?;
        let text = String::from_utf8_lossy(&answer.body);
        metrics::value(&text, name).with_context(|| format!("/metrics does not show {name}"))
    }
}

/// Bytes below a folder.
pub(super) fn bytes_below(folder: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        sum += if kind.is_dir() {
            bytes_below(&entry.path())?
        } else {
            kind.len()
        };
    }
    Ok(sum)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tparedao\nVmHWM:\t  20000 kB\nVmRSS:\t   12345 kB\n";
        assert_eq!(resident_bytes(status), Some(12_345 * 1024));
        assert_eq!(resident_bytes("Name:\tzombie\n"), None);
    }

    #[test]
    fn bytes_are_summed_through_all_folders() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("a"), [0; 10]).unwrap();
        std::fs::write(folder.path().join("in/b"), [0; 32]).unwrap();
        assert_eq!(bytes_below(folder.path()).unwrap(), 42);
    }
}
