//! The control socket on the side of the running process.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, fchmod};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::protocol::{Line, Progress, Refusal, Reply, Request, VERSION};
use super::{REQUEST_BYTES_MAX, STALL_MAX};
use crate::failure::Misuse;
use crate::office::Office;

/// Commands served at once; the next ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16;
/// Connections that may wait there.
const BACKLOG: u32 = 64;
/// How long a command may take to send its line, or to take one of ours.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often long work says how far it is, if it got any further.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// How long a command under way may go on once the process stops.
const FINISH_MAX: Duration = Duration::from_secs(2);
/// Pause after the kernel refused a connection, for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that is bound and not served yet. Dropping it removes its name.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Binds the socket, readable by the owner of the process alone. What a dead process left is
    /// replaced; what a living one listens on, or what is no socket, is not.
    pub(crate) async fn bind(path: &Path) -> Result<Self, Misuse> {
        let wrong = |what: &dyn std::fmt::Display| {
            Misuse::of("control_socket", format!("{} {what}", path.display()))
        };
        clear(path).await.map_err(|what| wrong(&what))?;
        let listener = listen(path).map_err(|error| wrong(&format!("cannot be made: {error}")))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Serves commands until `stop`, then lets those at work finish if they do so soon.
    pub(crate) async fn serve(self, office: Arc<Office>, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut at_work = JoinSet::new();
        loop {
            while at_work.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                break;
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (office, stop) = (Arc::clone(&office), stop.clone());
                    at_work.spawn(async move {
                        let _place = place;
                        serve_one(stream, &office, &stop).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(event = "control_accept_failed", %error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        while at_work.join_next().await.is_some() {}
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn clear(path: &Path) -> Result<(), String> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot be looked at: {error}")),
    };
    if !metadata.file_type().is_socket() {
        return Err("is there already and is no socket".to_owned());
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err("is in use by another process".to_owned());
    }
    fs::remove_file(path).map_err(|error| format!("cannot be replaced: {error}"))
}

/// The mode is set before the name exists: unix(7) gives the name the mode of the socket.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    fchmod(socket.as_fd(), Mode::RUSR | Mode::WUSR)?;
    socket.bind(path)?;
    socket.listen(BACKLOG)
}

/// Serves one command. What goes wrong with its connection is its own affair.
async fn serve_one(stream: UnixStream, office: &Office, stop: &CancellationToken) {
    let (reader, mut writer) = stream.into_split();
    let reader = BufReader::new(reader.take(REQUEST_BYTES_MAX));
    let request = match timeout(LINE_TIMEOUT, read_request(reader)).await {
        Ok(Ok(Some(request))) => request,
        Ok(Err(refusal)) => {
            let _ = send(&mut writer, &Line::Refused(refusal)).await;
            return;
        }
        Ok(Ok(None)) | Err(_) => return,
    };
    let (progress, seen) = watch::channel(Progress::default());
    let work = office.perform(request.task, progress);
    if let Some(last) = see_through(work, seen, &mut writer, stop).await {
        let _ = send(&mut writer, &last).await;
    }
}

/// Oversees work, and gives it up when the process stops and it does not finish soon.
async fn see_through(
    work: impl Future<Output = Result<Reply, Refusal>>,
    seen: watch::Receiver<Progress>,
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    stop: &CancellationToken,
) -> Option<Line> {
    let given_up = async {
        stop.cancelled().await;
        tokio::time::sleep(FINISH_MAX).await;
    };
    tokio::select! {
        last = oversee(work, seen, writer) => last,
        () = given_up => Some(Line::Refused(Refusal::failed(
            "the process is stopping; it may still be done, so look before you ask again",
        ))),
    }
}

/// Waits for work and passes on how far it got. `None` when nobody waits for it any more; dropping
/// it ends it.
async fn oversee(
    work: impl Future<Output = Result<Reply, Refusal>>,
    mut seen: watch::Receiver<Progress>,
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> Option<Line> {
    let mut work = std::pin::pin!(work);
    let mut tick = interval(PROGRESS_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_progress = Instant::now();
    loop {
        tokio::select! {
            result = &mut work => return Some(last_line(result)),
            _ = tick.tick() => {}
        }
        if seen.has_changed().unwrap_or(false) {
            last_progress = Instant::now();
            let now = *seen.borrow_and_update();
            send(writer, &Line::Progress(now)).await.ok()?;
        } else if last_progress.elapsed() >= STALL_MAX {
            return Some(Line::Refused(Refusal::failed(format!(
                "given up after {} s without an answer from the store or the vote log; it may still \
                 be done, so look before you ask again",
                STALL_MAX.as_secs()
            ))));
        }
    }
}

fn last_line(result: Result<Reply, Refusal>) -> Line {
    match result {
        Ok(reply) => Line::Done(Box::new(reply)),
        Err(refusal) => Line::Refused(refusal),
    }
}

/// `None` when the other side went away without a word.
async fn read_request(
    mut reader: impl tokio::io::AsyncBufRead + Unpin,
) -> Result<Option<Request>, Refusal> {
    let mut line = Vec::new();
    match reader.read_until(b'\n', &mut line).await {
        Ok(0) | Err(_) => return Ok(None),
        Ok(_) if line.last() != Some(&b'\n') => {
            return Err(Refusal::misuse("a request is one line of at most 64 KiB"));
        }
        Ok(_) => {}
    }
    check_version(&line)?;
    let request = serde_json::from_slice(&line);
    request
        .map(Some)
        .map_err(|error| Refusal::misuse(format!("not a request: {error}")))
}

/// Looked at first: another version may ask for what this one cannot read.
fn check_version(line: &[u8]) -> Result<(), Refusal> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let found: Versioned = serde_json::from_slice(line)
        .map_err(|error| Refusal::misuse(format!("not a request: {error}")))?;
    if found.version == VERSION {
        return Ok(());
    }
    Err(Refusal::misuse(format!(
        "the command speaks version {} of the control protocol, the process {VERSION}: use the same release",
        found.version
    )))
}

async fn send(writer: &mut (impl tokio::io::AsyncWrite + Unpin), line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let written = timeout(LINE_TIMEOUT, writer.write_all(&text)).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::super::protocol::Fault;
    use super::*;

    /// What is told of work that takes so long when the process is stopping.
    async fn told_of_work_of(length: Duration) -> Option<Line> {
        let (progress, seen) = watch::channel(Progress::default());
        let work = async move {
            tokio::time::sleep(length).await;
            drop(progress);
            Ok(Reply::Said("done".to_owned()))
        };
        let stop = CancellationToken::new();
        stop.cancel();
        see_through(work, seen, &mut tokio::io::sink(), &stop).await
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_soon_after_a_stop_tells_its_result() {
        let told = told_of_work_of(FINISH_MAX / 2).await;
        let done = Reply::Said("done".to_owned());
        assert_eq!(told, Some(Line::Done(Box::new(done))));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_a_stop_cuts_short_is_not_told_that_nothing_was_done() {
        let told = told_of_work_of(FINISH_MAX * 2).await;
        let Some(Line::Refused(refusal)) = told else {
            panic!("{told:?}");
        };
        assert_eq!(refusal.fault, Fault::Failed);
        assert!(refusal.message.contains("may still be done"), "{refusal}");
    }
}
