//! As much of HTTP as these tests need: exchanges on a connection that is kept alive.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
const HEADERS_MAX: usize = 32;

/// A connection that is kept alive.
pub(crate) struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// `Null` where the text is no JSON.
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The slug of a problem document.
    pub(crate) fn problem(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.rsplit('/').next().unwrap_or_default()
    }

    pub(crate) fn receipt(&self) -> Option<String> {
        self.body["recibo"].as_str().map(str::to_owned)
    }

    fn closes(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Connection {
    pub(crate) fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            inbox: Vec::new(),
        })
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"))
    }

    /// Votes; the key is the `Idempotency-Key`.
    pub(crate) fn vote(&mut self, candidate: u8, key: Option<&str>) -> io::Result<Answer> {
        self.post(&format!("/votar/{candidate}"), key)
    }

    pub(crate) fn post(&mut self, path: &str, key: Option<&str>) -> io::Result<Answer> {
        let key = key.map_or_else(String::new, |key| format!("Idempotency-Key: {key}\r\n"));
        self.exchange(&format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n{key}\r\n"
        ))
    }

    fn exchange(&mut self, request: &str) -> io::Result<Answer> {
        self.stream.write_all(request.as_bytes())?;
        loop {
            if let Some((answer, used)) = parse(&self.inbox)? {
                self.inbox.drain(..used);
                return Ok(answer);
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.inbox.extend_from_slice(&piece[..length]),
            }
        }
    }
}

/// One exchange on a connection of its own.
pub(crate) fn get(server: SocketAddr, path: &str) -> io::Result<Answer> {
    Connection::open(server)?.get(path)
}

/// Whether the server will read another request from this connection after `answer`.
pub(crate) fn is_kept(answer: &Answer) -> bool {
    !answer.closes()
}

fn parse(bytes: &[u8]) -> io::Result<Option<(Answer, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes).map_err(io::Error::other)? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    let owned = |header: &httparse::Header<'_>| {
        (
            header.name.to_owned(),
            String::from_utf8_lossy(header.value).into_owned(),
        )
    };
    let headers: Vec<(String, String)> = response.headers.iter().map(owned).collect();
    let length = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let Some(body) = bytes.get(head..head + length) else {
        return Ok(None);
    };
    let answer = Answer {
        status: response.code.unwrap_or(0),
        headers,
        body: serde_json::from_slice(body).unwrap_or(Value::Null),
        text: String::from_utf8_lossy(body).into_owned(),
    };
    Ok(Some((answer, head + length)))
}
