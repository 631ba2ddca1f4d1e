//! Votes for prime-time television, counted exactly once: the program.
//!
//! - `cli`: the command line. `config`: what can be set.
//! - `serve`: everything in one process, from start to stop.
//! - `commands`: what is asked of a running process, through `control`, or of the files.
//! - `office`: does what is asked.
//! - `files`, `data_folder`: the embedded backends' files, under their folder's lock.
//! - `log_levels`, `clock`, `output`, `failure`: what their names say.

mod cli;
mod clock;
mod commands;
mod config;
mod control;
mod data_folder;
mod failure;
mod files;
mod log_levels;
mod office;
mod output;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, ConfigArgs};
use commands::Question;
use config::{Config, Environment, Flag, InForce};
use failure::{Misuse, Verdict};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::explain(&error),
    };
    match run(cli) {
        Ok(verdict) => verdict.into(),
        Err(error) => {
            output::complain(&failure::one_line(&error));
            failure::exit_code(&error)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Verdict> {
    let Cli {
        config,
        place,
        command,
    } = cli;
    let settings = |mut flags: Vec<Flag>| -> Result<InForce, Misuse> {
        flags.extend(place.0.iter().cloned());
        config::read(config.as_deref(), &Environment::of_this_process(), &flags)
    };
    let question = match command {
        Command::Serve(flags) => return serve::run(settings(flags.0)?.config),
        Command::Config(args) => return show_config(args, settings),
        Command::Poll(command) => Question::Poll(command),
        Command::VoteLog(command) => Question::VoteLog(command),
        Command::DeadLetters(command) => Question::DeadLetters(command),
        Command::Recount(args) => Question::Recount(args),
        Command::Health(json) => Question::Health(json),
        Command::Logging(command) => Question::Logging(command),
    };
    ask(question, &settings(Vec::new())?.config)
}

fn show_config(
    args: ConfigArgs,
    settings: impl FnOnce(Vec<Flag>) -> Result<InForce, Misuse>,
) -> anyhow::Result<Verdict> {
    let text = if args.example {
        config::sample()
    } else {
        let in_force = settings(args.flags.0)?;
        if args.json.json {
            serde_json::to_string_pretty(&config::as_json(&in_force))? + "\n"
        } else {
            config::as_toml(&in_force)
        }
    };
    output::print(&text)?;
    Ok(Verdict::Good)
}

fn ask(question: Question, config: &Config) -> anyhow::Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(commands::ask(question, config))
}
