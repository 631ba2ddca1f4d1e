//! Serving: everything in one process, from start to stop.
//!
//! - `start`: opens everything, in the order in which one needs the other, then lets voters in.
//! - `stop`: ends everything, in the order in which nothing accepted is lost.
//! - `signals`: when to stop, and when to stop at once.
//! - `upkeep`: what has to be done a few times a second.
//! - `files_watch`: whether the store lives, and which files the log has.
//! - `demo`, `greeting`, `descriptors`, `listeners`: what their names say.

mod demo;
mod descriptors;
mod files_watch;
mod greeting;
mod listeners;
mod signals;
mod start;
mod stop;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use paredao_telemetry::failpoint;
use paredao_telemetry::health::Ending;
use paredao_telemetry::logs::{self, LogControl, LogOptions};

use crate::config::{Config, LogFormat};
use crate::failure::{Misuse, Verdict, one_line};
use crate::log_levels::LogLevels;
use greeting::Audience;
use signals::{Signal, Signals};
use start::Opened;
use stop::Cause;

/// Threads of the main runtime. Requests have threads of their own, and so have the intake, the
/// consumer and the store; this one runs what is left.
const MAIN_THREADS: usize = 2;
/// How long the end waits for the last log lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it waits for tasks that were told to end.
const RUNTIME_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until a signal or the death of a component.
pub(crate) fn run(config: Config) -> anyhow::Result<Verdict> {
    let logs = start_logs(&config)?;
    let result = serve_with(config, &logs);
    if let Err(error) = &result {
        tracing::error!(event = "not_served", error = one_line(error));
    }
    logs.flush(FLUSH_TIMEOUT);
    result
}

fn serve_with(config: Config, logs: &LogControl) -> anyhow::Result<Verdict> {
    failpoint::check_environment().map_err(|error| Misuse::of(failpoint::VARIABLE, error))?;
    if !config.append_delay.is_zero() {
        tracing::warn!(
            event = "append_delay_set",
            append_delay_us = u64::try_from(config.append_delay.as_micros()).unwrap_or(u64::MAX),
            "every append is slowed down on purpose: never do this on air",
        );
    }
    descriptors::raise(config.connections_max);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(MAIN_THREADS)
        .thread_name("main-worker")
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(config, logs));
    runtime.shutdown_timeout(RUNTIME_TIMEOUT);
    result
}

fn start_logs(config: &Config) -> anyhow::Result<LogControl> {
    let options = LogOptions {
        format: match config.log_format {
            LogFormat::Auto => logs::LogFormat::Auto,
            LogFormat::Json => logs::LogFormat::Json,
            LogFormat::Human => logs::LogFormat::Human,
        },
        levels: config
            .log_level
            .parse()
            .map_err(|error| Misuse::of("log_level", error))?,
        service: "paredao".to_owned(),
        instance: std::process::id().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(logs::init(options)?)
}

async fn serve(config: Config, logs: &LogControl) -> anyhow::Result<Verdict> {
    let levels = Arc::new(LogLevels::new(logs.clone()));
    let opened = Opened::open(&config).await?;
    // Until here a signal ends the process at once: nobody was let in yet.
    let mut signals = Signals::listen()?;
    let program = opened.serve(&config, levels)?;
    greeting::greet(&program, Audience::of(config.log_format))?;
    let cause = tokio::select! {
        signal = signals.next() => match signal {
            Signal::Terminate => Cause::Terminate,
            Signal::Interrupt => Cause::Interrupt,
        },
        ending = program.health.ended() => match ending {
            Ending::ComponentDied(name) => Cause::Died(name),
            // Nothing in the program asks for its end but this function.
            Ending::Requested => Cause::Terminate,
        },
    };
    tokio::select! {
        verdict = program.stop(&config, cause) => Ok(verdict),
        () = signals.interrupted() => at_once(logs),
    }
}

/// The second Ctrl-C: whoever presses it means it. What was answered with success is durable.
#[expect(
    clippy::disallowed_methods,
    reason = "the drain is what was to be skipped"
)]
fn at_once(logs: &LogControl) -> ! {
    tracing::warn!(event = "stopped_at_once");
    logs.flush(FLUSH_TIMEOUT);
    std::process::exit(130)
}
