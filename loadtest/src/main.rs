//! The command line of the load tester.

use std::io::{self, Write};
use std::pin::pin;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use paredao_loadtest::bench::command::BenchOptions;
use paredao_loadtest::bench::fdatasync::FdatasyncOptions;
use paredao_loadtest::bench::generate::GenerateOptions;
use paredao_loadtest::chaos::command::ChaosOptions;
use paredao_loadtest::vote::command::VoteOptions;

/// Load, chaos and benchmark for Paredão; talks to loopback only.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cast votes at a rate, keep every receipt, and end with a verdict as JSON
    ///
    /// Exit status: 0 when the verdict passes, 1 when it fails, 2 when there is none.
    Vote(VoteOptions),
    /// Break the real program under load, round after round, and check its books each time
    ///
    /// Exit status: 0 when every check passes, 1 when one fails, 2 when the campaign could not
    /// go on.
    Chaos(ChaosOptions),
    /// Measure the real program beside nginx, a no-op and Redis; prints one table
    ///
    /// Exit status: 0 when every target is met, 1 when one is missed, 2 when a measurement could
    /// not be made.
    Bench(BenchOptions),
    /// Make a data folder with a large ledger of votes nobody cast, through the real store
    GenerateLedger(GenerateOptions),
    /// Measure `fdatasync` after small appends at a fixed cadence
    Fdatasync(FdatasyncOptions),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let ended = run(Options::parse().command).await;
    match ended {
        Ok(status) => status,
        Err(error) => {
            let _ = writeln!(io::stderr(), "paredao-loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn interruption() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Interrupted once, begins no more votes and gives a verdict on those it began; interrupted
/// twice, ends.
async fn vote(options: &VoteOptions) -> anyhow::Result<ExitCode> {
    let stop = CancellationToken::new();
    let mut running = pin!(options.run(stop.clone()));
    let report = tokio::select! {
        report = &mut running => report?,
        interrupted = interruption() => {
            interrupted?;
            stop.cancel();
            or_interrupted(running).await?
        }
    };
    conclude(&report, Passed(report.passed))
}

/// Interrupted, drops what runs, which ends every process it started.
async fn or_interrupted<T>(running: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        ended = running => ended,
        interrupted = interruption() => interrupted.and_then(|()| anyhow::bail!("interrupted")),
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Vote(options) => vote(&options).await,
        Command::Chaos(options) => {
            let report = or_interrupted(options.run()).await?;
            conclude(&report, Passed(report.passed))
        }
        Command::Bench(options) => {
            let report = or_interrupted(options.run()).await?;
            write!(io::stdout(), "{}", report.table())?;
            Ok(Passed(report.passed).into())
        }
        Command::GenerateLedger(options) => {
            or_interrupted(options.run()).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Fdatasync(options) => {
            conclude(&or_interrupted(options.run()).await?, Passed(true))
        }
    }
}

/// Whether a report is a good one.
#[derive(Clone, Copy)]
struct Passed(bool);

/// Prints the report; the exit status says whether it is a good one.
fn conclude(report: &impl Serialize, passed: Passed) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, report)?;
    writeln!(out)?;
    Ok(passed.into())
}

impl From<Passed> for ExitCode {
    fn from(passed: Passed) -> Self {
        if passed.0 {
            Self::SUCCESS
        } else {
            Self::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_is_status_1() {
        assert_eq!(ExitCode::from(Passed(false)), ExitCode::from(1));
        assert_eq!(ExitCode::from(Passed(true)), ExitCode::from(0));
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }
}
