//! The real program: started, asked, stopped, as an operator would.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::process::Command;

use crate::http::Door;
use crate::ports;
use crate::process::{self, ProcessError, Spawned};
use crate::total::Reader;

/// How long a command of the program may take; a recount of a large ledger is given more.
const COMMAND_LIMIT: Duration = Duration::from_mins(1);
/// How long a start may take, replay of the log included.
const START_LIMIT: Duration = Duration::from_mins(1);

/// Why the program did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is no such binary.
    #[error("{} does not exist: build it first (cargo build)", .0.display())]
    Missing(PathBuf),
    /// A process did not start, hangs, or failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It runs and does not become ready.
    #[error("not ready after {0:?}: {1}")]
    NotReady(Duration, String),
    /// A command ended with a failure.
    #[error("`paredao {command}` ended with {status}: {output}")]
    Command {
        /// Its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// A file or port could not be made.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The absolute path of a binary that exists.
pub fn binary(path: &Path) -> Result<PathBuf, ProgramError> {
    let path = std::path::absolute(path)?;
    if path.is_file() {
        Ok(path)
    } else {
        Err(ProgramError::Missing(path))
    }
}

/// One deployment of the program: binary, data folder, addresses, settings.
#[derive(Clone, Debug)]
pub struct Program {
    binary: PathBuf,
    /// Where its data live.
    pub data_dir: PathBuf,
    /// Where voters go.
    pub listen: SocketAddr,
    /// Where its metrics are.
    pub metrics: SocketAddr,
    settings: Vec<(String, String)>,
    flags: Vec<OsString>,
    log: PathBuf,
}

impl Program {
    /// A deployment in `folder` on free ports. The settings are configuration keys, given as
    /// `PAREDAO_…` variables.
    pub fn new(
        binary: &Path,
        folder: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, ProgramError> {
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            binary: binary.into(),
            data_dir: folder.join("data"),
            listen: ports::free()?,
            metrics: ports::free()?,
            settings: settings
                .iter()
                .map(|&(key, value)| (key.into(), value.into()))
                .collect(),
            flags: Vec::new(),
            log: folder.join("program.log"),
        })
    }

    /// Adds a flag to `paredao serve`.
    #[must_use]
    pub fn with_flag(mut self, flag: impl Into<OsString>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Everything the program has said.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts `paredao serve` with further environment variables, ready or not.
    pub fn start(&self, variables: &[(&str, &str)]) -> Result<Spawned, ProgramError> {
        let mut command = self.command("serve");
        command.args(&self.flags).envs(variables.iter().copied());
        Ok(Spawned::start("paredao serve", command, &self.log)?)
    }

    /// Waits until `running` answers `/ready` with 200.
    pub async fn ready(&self, running: &mut Spawned) -> Result<(), ProgramError> {
        let began = Instant::now();
        let mut reader = Reader::new(Door::principal(self.listen));
        loop {
            if let Some(status) = running.ended()? {
                return Err(running.failed(status).into());
            }
            let state = match reader.fetch("/ready").await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => format!("/ready answers {}", answer.status),
                Err(error) => error.to_string(),
            };
            if began.elapsed() > START_LIMIT {
                return Err(ProgramError::NotReady(START_LIMIT, state));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts it and waits until it is ready.
    pub async fn start_ready(&self, variables: &[(&str, &str)]) -> Result<Spawned, ProgramError> {
        let mut running = self.start(variables)?;
        self.ready(&mut running).await?;
        Ok(running)
    }

    /// Makes a poll with these candidates and opens it.
    pub async fn open_poll(&self, slug: &str, candidates: &[u8]) -> Result<(), ProgramError> {
        let file = self.data_dir.with_file_name(format!("{slug}.toml"));
        std::fs::write(&file, poll_file(slug, candidates))?;
        self.ask(&["poll", "create", &file.to_string_lossy()])
            .await?;
        self.ask(&["poll", "open", slug]).await?;
        Ok(())
    }

    /// Runs a command of the program; what it printed.
    pub async fn ask(&self, arguments: &[&str]) -> Result<String, ProgramError> {
        self.ask_within(arguments, COMMAND_LIMIT).await
    }

    /// The same with a limit of its own.
    pub async fn ask_within(
        &self,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<String, ProgramError> {
        let (first, rest) = arguments.split_first().unwrap_or((&"--help", &[]));
        let mut command = self.command(first);
        command.args(rest);
        let name = arguments.join(" ");
        let ended = process::run(&format!("paredao {name}"), command, limit).await?;
        let output = [ended.stdout, ended.stderr].concat();
        let output = String::from_utf8_lossy(&output).trim().to_owned();
        if ended.status.success() {
            Ok(output)
        } else {
            Err(ProgramError::Command {
                command: name,
                status: ended.status,
                output,
            })
        }
    }

    /// The door of one of its polls.
    pub fn door(&self, slug: &str) -> Door {
        Door::of_poll(self.listen, slug)
    }

    /// The command line of `paredao {subcommand}` with this deployment's settings.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg(subcommand)
            .envs(self.settings.iter().map(|(key, value)| (key, value)))
            .env("PAREDAO_DATA_DIR", &self.data_dir)
            .env("PAREDAO_LISTEN", self.listen.to_string())
            .env("PAREDAO_METRICS_LISTEN", self.metrics.to_string())
            .env("PAREDAO_PUBLIC_TOTAL", "true");
        command
    }
}

/// Sends SIGSTOP, waits, sends SIGCONT.
pub async fn freeze(running: &mut Spawned, length: Duration) -> Result<(), ProcessError> {
    running.signal(Signal::STOP)?;
    tokio::time::sleep(length).await;
    running.signal(Signal::CONT)
}

fn poll_file(slug: &str, candidates: &[u8]) -> String {
    use std::fmt::Write;
    let mut file = format!("slug = \"{slug}\"\ntitle = \"Paredão {slug}\"\n");
    for number in candidates {
        // Writing into a string cannot fail.
        let _ = write!(
            file,
            "\n[[candidates]]\nnumber = {number}\nname = \"Candidate {number}\"\n"
        );
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_file_names_every_candidate() {
        let file = poll_file("final", &[1, 42]);
        assert!(file.starts_with("slug = \"final\"\n"));
        assert_eq!(file.matches("[[candidates]]").count(), 2);
        assert!(file.contains("number = 42"));
    }
}
