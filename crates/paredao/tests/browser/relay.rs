//! A line between browser and program that a test can cut.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

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
}

pub(crate) struct Relay {
    address: SocketAddr,
    line: watch::Sender<Line>,
    accepting: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (line, seen) = watch::channel(Line::Open);
        let accepting = tokio::spawn(accept(listener, server, seen));
        Self {
            address,
            line,
            accepting,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn turn(&self, line: Line) {
        self.line.send_replace(line);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, line: watch::Receiver<Line>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, server, line.clone()));
    }
}

/// Carries one connection until either side closes it or the line is cut.
async fn carry(client: TcpStream, server: SocketAddr, mut line: watch::Receiver<Line>) {
    let Ok(upstream) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let mut held = line.clone();
    let answering = line.clone();
    let requests = async {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let _ = held.wait_for(|line| *line != Line::Holds).await;
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    let answers = async {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            let lost = *answering.borrow() == Line::LosesAnswers;
            if lost || to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        // First of all, or a request could slip through a line that is cut.
        biased;
        _ = line.wait_for(|line| *line == Line::Cut) => {}
        () = requests => {}
        () = answers => {}
    }
}
