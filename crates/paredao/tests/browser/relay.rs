//! A line between browser and program that a test can cut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the program says to whom it has no event stream for, as far as a browser is told of it.
const NO_STREAM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";
/// A connection that never asked for a stream is never silenced.
const NO_STREAM_YET: u64 = u64::MAX;

/// What the line does with what is sent over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Carries both ways.
    Open,
    /// Closes every connection, old and new.
    Cut,
    /// Carries requests; when an answer comes, it closes the connection instead.
    LosesAnswers,
    /// Takes requests and keeps them until it is open again.
    Holds,
    /// Answers that there is no event stream to be had; carries everything else.
    RefusesStreams,
}

pub(crate) struct Relay {
    address: SocketAddr,
    line: watch::Sender<Line>,
    /// How often streams were silenced.
    silence: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (line, seen) = watch::channel(Line::Open);
        let (silence, heard) = watch::channel(0);
        let accepting = tokio::spawn(accept(listener, server, seen, heard));
        Self {
            address,
            line,
            silence,
            accepting,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn turn(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// From now on nothing comes over the event streams that are open, and neither end is told.
    pub(crate) fn silence_streams(&self) {
        self.silence.send_modify(|times| *times += 1);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    line: watch::Receiver<Line>,
    silence: watch::Receiver<u64>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let connection = Connection {
            line: line.clone(),
            silence: silence.clone(),
            stream_since: AtomicU64::new(NO_STREAM_YET),
        };
        tokio::spawn(connection.carry(client, server));
    }
}

struct Connection {
    line: watch::Receiver<Line>,
    silence: watch::Receiver<u64>,
    /// How often streams had been silenced when this connection became one.
    stream_since: AtomicU64,
}

/// How the requests of a connection end.
enum Requests {
    /// The client has no more, or the program takes no more.
    Over,
    /// The line answers the last one itself.
    Refused,
}

impl Connection {
    /// Carries until either side closes or the line is cut.
    async fn carry(self, client: TcpStream, server: SocketAddr) {
        let Ok(upstream) = TcpStream::connect(server).await else {
            return;
        };
        let (from_client, mut to_client) = client.into_split();
        let (from_server, to_server) = upstream.into_split();
        let mut line = self.line.clone();
        let ended = tokio::select! {
            // First of all, or a request could slip through a line that is cut.
            biased;
            _ = line.wait_for(|line| *line == Line::Cut) => Requests::Over,
            ended = self.requests(from_client, to_server) => ended,
            () = self.answers(from_server, &mut to_client) => Requests::Over,
        };
        if matches!(ended, Requests::Refused) {
            let _ = to_client.write_all(NO_STREAM).await;
        }
    }

    async fn requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Requests {
        let mut line = self.line.clone();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let _ = line.wait_for(|line| *line != Line::Holds).await;
            let part = &buffer[..read];
            if asks_for_a_stream(part) {
                if *line.borrow() == Line::RefusesStreams {
                    return Requests::Refused;
                }
                let silenced = *self.silence.borrow();
                self.stream_since.store(silenced, Ordering::Relaxed);
            }
            if to.write_all(part).await.is_err() {
                break;
            }
        }
        Requests::Over
    }

    async fn answers(&self, mut from: OwnedReadHalf, to: &mut OwnedWriteHalf) {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            if *self.line.borrow() == Line::LosesAnswers {
                return;
            }
            if self.stream_since.load(Ordering::Relaxed) < *self.silence.borrow() {
                continue;
            }
            if to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    }
}

/// Browsers send the head of a request in one piece.
fn asks_for_a_stream(part: &[u8]) -> bool {
    let line = part.split(|&byte| byte == b'\r').next();
    line.is_some_and(|line| line.ends_with(b"/eventos HTTP/1.1"))
}
