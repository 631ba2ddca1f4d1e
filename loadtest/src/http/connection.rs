//! One TCP connection and one request on it at a time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Answer, AnswerError};

/// Why no answer came. Except for `Connect`, the server may have acted on the request.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Nobody listens there: the request was not sent.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The connection broke while the request or its answer was on the way.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// The server closed before it answered.
    #[error("the server closed before it answered")]
    Closed,
    /// What came back is not an answer.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// No answer within the limit.
    #[error("no answer in time")]
    TimedOut,
}

impl ExchangeError {
    /// The request certainly had no effect.
    pub fn never_sent(&self) -> bool {
        matches!(self, Self::Connect(_))
    }

    /// A short name for counting.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Broken(_) => "broken",
            Self::Closed => "closed",
            Self::Answer(_) => "answer",
            Self::TimedOut => "timeout",
        }
    }
}

/// A keep-alive connection to one server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    inbox: BytesMut,
}

impl Connection {
    /// Connects within `limit`.
    ///
    /// Closing discards instead of waiting (`SO_LINGER` 0), so that a connection for every vote
    /// does not use up the client's ports in `TIME_WAIT`.
    pub async fn open(address: SocketAddr, limit: Duration) -> Result<Self, ExchangeError> {
        let connect = timeout(limit, TcpStream::connect(address));
        let stream = connect
            .await
            .map_err(|elapsed| ExchangeError::Connect(elapsed.into()))?
            .map_err(ExchangeError::Connect)?;
        stream.set_nodelay(true).map_err(ExchangeError::Connect)?;
        stream.set_zero_linger().map_err(ExchangeError::Connect)?;
        Ok(Self {
            stream,
            inbox: BytesMut::with_capacity(4096),
        })
    }

    /// Sends `request` and waits for its answer, at most `limit`. After an error the connection
    /// must be dropped: a late answer would be taken for the next request's.
    pub async fn exchange(
        &mut self,
        request: &[u8],
        limit: Duration,
    ) -> Result<Answer, ExchangeError> {
        timeout(limit, self.converse(request))
            .await
            .unwrap_or(Err(ExchangeError::TimedOut))
    }

    async fn converse(&mut self, request: &[u8]) -> Result<Answer, ExchangeError> {
        self.stream.write_all(request).await?;
        loop {
            self.inbox.reserve(1024);
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(ExchangeError::Closed);
            }
            if let Some(answer) = Answer::take(&mut self.inbox)? {
                return Ok(answer);
            }
        }
    }
}
