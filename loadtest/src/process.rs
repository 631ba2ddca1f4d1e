//! Child processes that are gone when their owner is: each in a process group of its own, ended
//! by its id.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Why a child did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It did not start.
    #[error("cannot start {name}: {error}")]
    Start {
        /// What should have run.
        name: String,
        /// Why it did not.
        error: io::Error,
    },
    /// It did not end in time; it was killed.
    #[error("{name} did not end within {limit:?}")]
    Hangs {
        /// What ran.
        name: String,
        /// How long it had.
        limit: Duration,
    },
    /// It could not be waited for or signalled.
    #[error("{name}: {error}")]
    Lost {
        /// What ran.
        name: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// It ended too early or with a failure.
    #[error("{name} ended with {status}; the end of {}:\n{log_end}", .log.display())]
    Failed {
        /// What ran.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Its output.
        log: PathBuf,
        /// The last lines of that.
        log_end: String,
    },
}

/// A running child, whose output goes to a file. Dropped while it runs, its group is killed.
#[derive(Debug)]
pub struct Spawned {
    name: String,
    child: Child,
    group: Pid,
    log: PathBuf,
}

impl Spawned {
    /// Starts `command`; its output is added to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self, ProcessError> {
        let failed = |error| ProcessError::Start {
            name: name.into(),
            error,
        };
        let output = File::options()
            .append(true)
            .create(true)
            .open(log)
            .map_err(failed)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(failed)?;
        let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let group = id.ok_or_else(|| failed(io::Error::other("it has no process id")))?;
        Ok(Self {
            name: name.into(),
            child,
            group,
            log: log.into(),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.group
    }

    /// Sends `signal` to the process that was started (not to its children). One that ended
    /// already is left alone.
    pub fn signal(&mut self, signal: Signal) -> Result<(), ProcessError> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        kill_process(self.group, signal).map_err(|error| self.lost(error.into()))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        let ended = self.child.try_wait();
        ended.map_err(|error| self.lost(error))
    }

    /// Waits until it ends; killed when that takes longer than `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus, ProcessError> {
        if let Ok(ended) = timeout(limit, self.child.wait()).await {
            ended.map_err(|error| self.lost(error))
        } else {
            self.kill().await?;
            Err(ProcessError::Hangs {
                name: self.name.clone(),
                limit,
            })
        }
    }

    /// Ends it and its children at once (`SIGKILL`).
    pub async fn kill(&mut self) -> Result<(), ProcessError> {
        self.kill_group();
        let ended = self.child.wait().await;
        ended.map(|_| ()).map_err(|error| self.lost(error))
    }

    /// Asks it to end (`SIGTERM`) and waits.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, ProcessError> {
        self.signal(Signal::TERM)?;
        self.wait(limit).await
    }

    /// The error for one that ended by itself when it should not have.
    pub fn failed(&self, status: ExitStatus) -> ProcessError {
        ProcessError::Failed {
            name: self.name.clone(),
            status,
            log: self.log.clone(),
            log_end: last_lines(&self.log),
        }
    }

    fn lost(&self, error: io::Error) -> ProcessError {
        ProcessError::Lost {
            name: self.name.clone(),
            error,
        }
    }

    /// Kills the group, unless its leader was reaped: then its number may be somebody else's.
    fn kill_group(&mut self) {
        if self.child.id().is_some() {
            // A group that is gone already is what was wanted.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// Runs `command` to its end, at most `limit`; its output, both streams.
pub async fn run(
    name: &str,
    mut command: Command,
    limit: Duration,
) -> Result<std::process::Output, ProcessError> {
    command
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    match timeout(limit, command.output()).await {
        Ok(ended) => ended.map_err(|error| ProcessError::Start {
            name: name.into(),
            error,
        }),
        Err(_) => Err(ProcessError::Hangs {
            name: name.into(),
            limit,
        }),
    }
}

/// The last lines of a log, for an error message.
fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(15)..)
        .unwrap_or_default()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use rustix::process::test_kill_process_group;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    async fn gone(group: Pid) -> bool {
        let gone = async {
            while test_kill_process_group(group).is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, gone).await.is_ok()
    }

    #[tokio::test]
    async fn a_dropped_process_takes_its_children_along() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let spawned = Spawned::start("sleepers", shell("sleep 300 & sleep 300"), &log).unwrap();
        let group = spawned.pid();
        assert!(test_kill_process_group(group).is_ok());
        drop(spawned);
        assert!(gone(group).await);
    }

    #[tokio::test]
    async fn one_that_ignores_sigterm_is_killed_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = shell("trap '' TERM; echo ready; while :; do sleep 0.01; done");
        let mut stubborn = Spawned::start("stubborn", script, &log).unwrap();
        while std::fs::read_to_string(&log).unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let ended = stubborn.terminate(Duration::from_millis(100)).await;
        assert!(
            matches!(ended, Err(ProcessError::Hangs { .. })),
            "{ended:?}"
        );
        assert!(gone(stubborn.pid()).await);
    }

    #[tokio::test]
    async fn a_failure_shows_the_end_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut failing = Spawned::start("failing", shell("echo why >&2; exit 3"), &log).unwrap();
        let status = failing.wait(LIMIT).await.unwrap();
        let message = failing.failed(status).to_string();
        assert!(
            message.contains("exit status: 3") && message.contains("why"),
            "{message}"
        );
    }
}
