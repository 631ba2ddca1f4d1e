//! `paredao-loadtest bench`: everything that is measured, in one run.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::contestants::Ring;
use super::report::{BenchReport, Section};
use super::site::{Deployment, Effort, Site};
use super::wrk::Wrk;
use super::{latency, ledger, memory, overload, throughput, visibility};
use crate::console::say;
use crate::program::binary;

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Votes a second against nginx, no-op and Redis
    Throughput,
    /// Resident memory, and the window of live keys
    Memory,
    /// A new connection for every vote
    PerConnection,
    /// From vote to visible total, at saturation
    Visibility,
    /// Latency at 1,000 votes a second
    Latency,
    /// Three times what a slow disk sustains
    Overload,
    /// Totals, recount and size of a large ledger
    Ledger,
}

/// Measures and compares; prints a table and writes it as JSON.
#[derive(Args, Debug)]
pub struct BenchOptions {
    /// Short measurements and a small ledger: a look, not a result
    #[arg(long)]
    quick: bool,
    /// Where the JSON goes
    #[arg(long, default_value = "target/bench.json", value_name = "FILE")]
    out: PathBuf,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Subject>,
    /// Votes of the large ledger [default: 100 million, quick: 5 million]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    votes: Option<u64>,
    /// Worker threads of every server [default: one for each core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// The program [default: beside this one]
    #[arg(long)]
    program: Option<PathBuf>,
    /// The no-op [default: beside this one]
    #[arg(long)]
    noop: Option<PathBuf>,
    /// Where data folders are made; they are removed at the end
    #[arg(long, default_value = "target/tmp")]
    scratch: PathBuf,
}

impl BenchOptions {
    /// Measures; writes the JSON and gives the table.
    pub async fn run(&self) -> anyhow::Result<BenchReport> {
        let began = Timestamp::now().to_string();
        std::fs::create_dir_all(&self.scratch)?;
        let scratch = std::path::absolute(&self.scratch)?;
        let folder = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(scratch)?;
        let site = self.site(folder.path())?;
        let machine = machine(site.workers);
        let sections = self.measure(&site).await?;
        let report = BenchReport {
            began,
            machine,
            quick: self.quick,
            passed: BenchReport::all_met(&sections),
            sections,
        };
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(&self.out, json + "\n").with_context(|| self.out.display().to_string())?;
        Ok(report)
    }

    fn site(&self, folder: &Path) -> anyhow::Result<Site> {
        let beside = |name: &str, given: &Option<PathBuf>| match given {
            Some(path) => anyhow::Ok(binary(path)?),
            None => Ok(binary(&std::env::current_exe()?.with_file_name(name))?),
        };
        let workers = match self.workers {
            Some(workers) => workers,
            None => std::thread::available_parallelism()?.get().try_into()?,
        };
        Ok(Site {
            folder: folder.into(),
            program: beside("paredao", &self.program)?,
            workers,
            effort: if self.quick {
                Effort::Quick
            } else {
                Effort::Full
            },
            ring: Ring::new(folder, workers, &beside("paredao-noop", &self.noop)?),
            wrk: Wrk::new(folder)?,
        })
    }

    async fn measure(&self, site: &Site) -> anyhow::Result<Vec<Section>> {
        let mut sections = Vec::new();
        if self.wants_any(&[Subject::Throughput, Subject::Memory, Subject::PerConnection]) {
            let vote = site.deploy("vote", &[]).await?;
            sections.extend(self.saturate(site, &vote).await?);
        }
        if self.wants_any(&[Subject::Visibility, Subject::Latency]) {
            let vote = site.deploy("steady", &[]).await?;
            if self.wants_any(&[Subject::Latency]) {
                sections.push(latency::measure(site, &vote).await.context("latency")?);
            }
            if self.wants_any(&[Subject::Visibility]) {
                sections.push(
                    visibility::measure(site, &vote)
                        .await
                        .context("visibility")?,
                );
            }
        }
        if self.wants_any(&[Subject::Overload]) {
            sections.push(overload::measure(site).await.context("overload")?);
        }
        if self.wants_any(&[Subject::Ledger]) {
            let votes = self
                .votes
                .unwrap_or(if self.quick { 5_000_000 } else { 100_000_000 });
            sections.push(ledger::measure(site, votes).await.context("ledger")?);
        }
        Ok(sections)
    }

    async fn saturate(&self, site: &Site, vote: &Deployment) -> anyhow::Result<Vec<Section>> {
        let mut sections = Vec::new();
        if self.wants_any(&[Subject::Throughput]) {
            sections.extend(
                throughput::measure(site, vote)
                    .await
                    .context("throughput")?,
            );
        }
        if self.wants_any(&[Subject::Memory]) {
            if sections.is_empty() {
                memory::fill(site, vote).await.context("filling memory")?;
            }
            sections.push(memory::measure(vote).await.context("memory")?);
        }
        if self.wants_any(&[Subject::PerConnection]) {
            sections.push(
                throughput::per_connection(site, vote)
                    .await
                    .context("connections")?,
            );
        }
        Ok(sections)
    }

    fn wants_any(&self, subjects: &[Subject]) -> bool {
        let wanted = self.only.is_empty() || self.only.iter().any(|only| subjects.contains(only));
        if wanted {
            say(format_args!("measuring {subjects:?}"));
        }
        wanted
    }
}

/// Processor, cores, kernel and how busy it is before the start, for whoever compares two tables.
fn machine(workers: u16) -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model
        .and_then(|line| line.split_once(':'))
        .map_or("?", |(_, name)| name.trim());
    let kernel = read("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    let kernel = kernel.trim();
    format!("{model}, {cores} cores, Linux {kernel}, {workers} workers, load before {load}")
}
