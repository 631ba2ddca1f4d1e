//! As much of HTTP as these tests need: one JSON exchange on a connection of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// A status and a body; `Null` when the body is not JSON.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

pub(crate) fn get(server: SocketAddr, path: &str) -> std::io::Result<Answer> {
    exchange(server, "GET", path, None)
}

pub(crate) fn post(server: SocketAddr, path: &str, body: &Value) -> std::io::Result<Answer> {
    exchange(server, "POST", path, Some(body))
}

pub(crate) fn delete(server: SocketAddr, path: &str) -> std::io::Result<Answer> {
    exchange(server, "DELETE", path, None)
}

fn exchange(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> std::io::Result<Answer> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    read_answer(BufReader::new(stream))
}

fn read_answer(mut reader: impl BufRead) -> std::io::Result<Answer> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let mut length = None;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().ok();
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut bytes = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut bytes)?;
    Ok(Answer {
        status: status.ok_or(std::io::ErrorKind::InvalidData)?,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    })
}
