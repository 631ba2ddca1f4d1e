//! A large ledger: its size, its recount, and what it does to those who read totals.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::process::Command;

use super::generate;
use super::report::{Line, Section, Target, Unit, median, ratio};
use super::site::{Deployment, Site, bytes_below};
use crate::console::say;
use crate::process;
use crate::program::Program;

const SMALL: u64 = 100;
const CONNECTIONS: u32 = 64;
const RECOUNT_LIMIT: Duration = Duration::from_mins(10);

/// Makes a ledger of `votes` votes and one of a hundred, and compares.
pub(super) async fn measure(site: &Site, votes: u64) -> anyhow::Result<Section> {
    let mut section = Section::new(format!("A ledger of {votes} votes"));
    generate::ledger(&data_dir(site, "ledger-small"), SMALL, 1).await?;
    generate::ledger(&data_dir(site, "ledger-large"), votes, 1).await?;
    size_and_recount(site, votes, &mut section).await?;

    let began = Instant::now();
    let large = site.deploy_empty("ledger-large", &[]).await?;
    section.push(Line::new(
        "start until ready",
        began.elapsed().as_secs_f64(),
        Unit::Seconds,
    ));
    let small = site.deploy_empty("ledger-small", &[]).await?;
    for deployment in [&small, &large] {
        deployment.settled().await?;
    }
    for path in ["/total", "/parcial"] {
        section.push(compare(site, &small, &large, path).await?);
    }
    Ok(section)
}

fn data_dir(site: &Site, name: &str) -> PathBuf {
    site.folder.join(name).join("data")
}

async fn size_and_recount(site: &Site, votes: u64, section: &mut Section) -> anyhow::Result<()> {
    let program = Program::new(&site.program, &site.folder.join("ledger-large"), &[])?;
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 bytes")]
    let (bytes, votes) = (bytes_below(&program.data_dir)? as f64, votes as f64);
    let line = Line::new("bytes on disk, per vote", bytes / votes, Unit::Bytes);
    section.push(line.target(Target::AtMost(20.0)));

    // The first fills the page cache, the second is measured.
    recount(&program).await?;
    let mut rates = Vec::new();
    for _ in 0..3 {
        rates.push(votes / recount(&program).await?.as_secs_f64());
    }
    let line = Line::median("plain recount on one core, votes", &rates, Unit::PerSecond);
    section.push(line.target(Target::AtLeast(20e6)));
    Ok(())
}

/// One plain recount on one core, from the start of the process to its end.
async fn recount(program: &Program) -> anyhow::Result<Duration> {
    let recount = program.command("recount");
    let mut command = Command::new("taskset");
    command
        .args(["--cpu-list", "0"])
        .arg(recount.as_std().get_program());
    command.args(recount.as_std().get_args());
    let variables = recount.as_std().get_envs();
    command.envs(variables.filter_map(|(key, value)| Some((key, value?))));
    let began = Instant::now();
    let ended = process::run("paredao recount", command, RECOUNT_LIMIT).await?;
    let took = began.elapsed();
    let output = String::from_utf8_lossy(&ended.stderr);
    ensure!(
        ended.status.success(),
        "paredao recount ended with {}: {output}",
        ended.status
    );
    say(format_args!("recount: {:.2} s", took.as_secs_f64()));
    Ok(took)
}

async fn compare(
    site: &Site,
    small: &Deployment,
    large: &Deployment,
    path: &str,
) -> anyhow::Result<Line> {
    let (mut smalls, mut larges) = (Vec::new(), Vec::new());
    for _ in 0..site.effort.alternations() {
        for (deployment, rates) in [(small, &mut smalls), (large, &mut larges)] {
            let address = deployment.program.listen;
            let length = site.effort.length();
            let measured = site.wrk.get(address, path, CONNECTIONS, length).await?;
            ensure!(measured.failures() == 0, "GET {path} failed: {measured:?}");
            rates.push(measured.per_second());
        }
    }
    let ratio = ratio(median(&larges), median(&smalls));
    say(format_args!(
        "GET {path}: {ratio:.2} of {:.0}/s",
        median(&smalls)
    ));
    let name = format!("GET {path}: large ÷ 100 votes");
    Ok(Line::new(name, ratio, Unit::Ratio).target(Target::AtLeast(0.9)))
}
