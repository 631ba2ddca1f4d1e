//! A client that says exactly what a test wants said, byte by byte.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Asserts that it is a problem document of this status and slug, and returns it.
    pub(crate) fn problem(&self, status: u16, slug: &str) -> Value {
        let media_type = self.header("content-type");
        assert_eq!(media_type, Some("application/problem+json"), "{self:?}");
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        let expected = (status, format!("/problemas/{slug}"));
        assert_eq!(
            (self.status, body["type"].as_str().unwrap().to_owned()),
            expected,
            "{self:?}"
        );
        assert_eq!(body["status"], status);
        assert_eq!(self.header("cache-control"), Some("no-store"));
        body
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    inbox: BytesMut,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address))
            .await
            .unwrap()
            .unwrap();
        Self {
            stream,
            inbox: BytesMut::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref()))
            .await
            .unwrap()
            .unwrap();
    }

    /// Whether the server has not closed the connection, as far as sending this tells.
    pub(crate) async fn still_takes(&mut self, bytes: &[u8]) -> bool {
        let sent = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        sent.unwrap().is_ok()
    }

    /// Sends as much as the server takes; returns how many bytes that was.
    pub(crate) async fn send_until_refused(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        for chunk in bytes.chunks(16 * 1024) {
            match timeout(PATIENCE, self.stream.write_all(chunk))
                .await
                .unwrap()
            {
                Ok(()) => sent += chunk.len(),
                Err(_) => break,
            }
        }
        sent
    }

    /// Reads one answer with its body.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.answer_to("GET").await
    }

    /// Reads one answer; to HEAD there is no body.
    pub(crate) async fn answer_to(&mut self, method: &str) -> Answer {
        let mut answer = self.head().await;
        let length = answer
            .header("content-length")
            .map_or(0, |text| text.parse().unwrap());
        let has_body = method != "HEAD" && answer.status != 304;
        let length = if has_body { length } else { 0 };
        while self.inbox.len() < length {
            assert!(self.fill().await, "the body broke off: {answer:?}");
        }
        answer.body = self.inbox.split_to(length).freeze();
        answer
    }

    /// Reads the head of one answer.
    pub(crate) async fn head(&mut self) -> Answer {
        loop {
            if let Some(head) = self.take_head() {
                return head;
            }
            assert!(
                self.fill().await,
                "closed without an answer: {:?}",
                self.inbox
            );
        }
    }

    fn take_head(&mut self) -> Option<Answer> {
        let mut lines = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut lines);
        let httparse::Status::Complete(length) = head.parse(&self.inbox).unwrap() else {
            return None;
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers = head
            .headers
            .iter()
            .map(|h| (h.name.to_owned(), text(h.value)))
            .collect();
        let status = head.code.unwrap();
        let _ = self.inbox.split_to(length);
        Some(Answer {
            status,
            headers,
            body: Bytes::new(),
        })
    }

    /// Reads the stream up to the end of the next event, without its chunk headers.
    pub(crate) async fn event(&mut self) -> String {
        let mut event = String::new();
        while !event.ends_with("\n\n") {
            event
                .push_str(std::str::from_utf8(&self.chunk().await.expect("stream ended")).unwrap());
        }
        event
    }

    /// One chunk of a chunked body; `None` for the last one.
    pub(crate) async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            if let Ok(httparse::Status::Complete((start, length))) =
                httparse::parse_chunk_size(&self.inbox)
            {
                let length = usize::try_from(length).unwrap();
                let end = start + length + 2;
                if self.inbox.len() >= end {
                    let chunk = self.inbox.split_to(end).freeze();
                    return (length > 0).then(|| chunk.slice(start..start + length));
                }
            }
            assert!(self.fill().await, "the stream broke off");
        }
    }

    /// Whether the server closed the connection (or does so in time).
    pub(crate) async fn is_closed(&mut self) -> bool {
        while self.fill().await {}
        true
    }

    async fn fill(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.inbox)).await;
        matches!(read.expect("the server says nothing"), Ok(bytes) if bytes > 0)
    }
}

/// One request on a connection of its own.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut client = Client::connect(address).await;
    client.send(request(method, path, headers, body)).await;
    client.answer_to(method).await
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: teste\r\n");
    for (name, value) in headers {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    if !body.is_empty() {
        write!(text, "content-length: {}\r\n", body.len()).unwrap();
    }
    [text.as_bytes(), b"\r\n", body].concat()
}
