//! The control socket on the side of the command.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::protocol::{Line, Progress, Refusal, Reply, Request, Task, VERSION};
use super::{ANSWER_BYTES_MAX, SILENCE_MAX};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether a process listens.
#[derive(Debug)]
pub(crate) enum Found {
    /// One does.
    Process(Connection),
    /// None does.
    Nobody,
}

/// A connection to a running process, good for one request.
#[derive(Debug)]
pub(crate) struct Connection(UnixStream);

/// Looks for a process that listens on the socket.
pub(crate) async fn find(path: &Path) -> Result<Found, Refusal> {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    let failed = |what: &dyn std::fmt::Display| {
        Refusal::failed(format!("control socket {}: {what}", path.display()))
    };
    match timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => Ok(Found::Process(Connection(stream))),
        Ok(Err(error)) if matches!(error.kind(), NotFound | ConnectionRefused) => Ok(Found::Nobody),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(failed(&"the process does not answer")),
    }
}

impl Connection {
    /// Has a task done; `progress` is told how far it is.
    pub(crate) async fn ask(
        mut self,
        task: Task,
        mut progress: impl FnMut(Progress),
    ) -> Result<Reply, Refusal> {
        let lost = |error: io::Error| Refusal::failed(format!("the process went away: {error}"));
        let mut line = serde_json::to_vec(&Request {
            version: VERSION,
            task,
        })
        .map_err(Refusal::failed)?;
        line.push(b'\n');
        self.0.write_all(&line).await.map_err(lost)?;
        let mut lines = BufReader::new(self.0.take(ANSWER_BYTES_MAX));
        loop {
            line.clear();
            match timeout(SILENCE_MAX, lines.read_until(b'\n', &mut line)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0)) => return Err(lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(Err(error)) => return Err(lost(error)),
                Err(_) => return Err(Refusal::failed("the process does not answer")),
            }
            let answer = serde_json::from_slice(&line);
            match answer.map_err(|error| Refusal::failed(format!("not an answer: {error}")))? {
                Line::Progress(now) => progress(now),
                Line::Done(reply) => return Ok(*reply),
                Line::Refused(refusal) => return Err(refusal),
            }
        }
    }
}
