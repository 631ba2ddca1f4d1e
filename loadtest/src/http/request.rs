//! The bytes of a request, written once and patched per vote.

use std::io::Write;
use std::net::SocketAddr;

/// Whether a connection serves one vote or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Keep-alive: a connection carries vote after vote.
    KeepAlive,
    /// Every attempt connects anew and asks the server to close.
    PerVote,
}

/// Where votes are handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// The server's address.
    pub address: SocketAddr,
    /// Prefix of its routes: empty for the principal poll, `/p/{slug}` for another.
    pub prefix: String,
}

impl Door {
    /// The principal poll's door.
    pub fn principal(address: SocketAddr) -> Self {
        Self {
            address,
            prefix: String::new(),
        }
    }

    /// The door of the poll called `slug`.
    pub fn of_poll(address: SocketAddr, slug: &str) -> Self {
        Self {
            address,
            prefix: format!("/p/{slug}"),
        }
    }

    /// A path behind this door, such as `/p/final/total`.
    pub fn path(&self, route: &str) -> String {
        format!("{}{route}", self.prefix)
    }
}

/// Writes votes for one door into one buffer.
#[derive(Clone, Debug)]
pub struct VoteRequest {
    head: Vec<u8>,
    bytes: Vec<u8>,
}

impl VoteRequest {
    /// A writer of votes for `door`.
    pub fn new(door: &Door, reuse: Reuse) -> Self {
        let close = match reuse {
            Reuse::KeepAlive => "",
            Reuse::PerVote => "Connection: close\r\n",
        };
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\n{close}Content-Type: application/json\r\n",
            door.path("/votar"),
            door.address,
        );
        Self {
            head: head.into_bytes(),
            bytes: Vec::with_capacity(512),
        }
    }

    /// The request of the vote called `key` for `candidate`.
    pub fn write(&mut self, key: &str, candidate: u8) -> &[u8] {
        let body = if candidate < 10 {
            r#"{"voto":"#.len() + 2
        } else {
            r#"{"voto":"#.len() + 3
        };
        self.bytes.clear();
        self.bytes.extend_from_slice(&self.head);
        // Writing into a vector cannot fail.
        let _ = write!(
            self.bytes,
            "Idempotency-Key: {key}\r\nContent-Length: {body}\r\n\r\n{{\"voto\":{candidate}}}"
        );
        &self.bytes
    }
}

/// A plain GET of `path`.
pub fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> SocketAddr {
        "127.0.0.1:8080".parse().unwrap()
    }

    #[test]
    fn a_vote_states_the_length_it_has() {
        for (candidate, length) in [(1, 10), (42, 11)] {
            let mut request = VoteRequest::new(&Door::principal(address()), Reuse::KeepAlive);
            let text =
                String::from_utf8(request.write("a-key-of-sixteen", candidate).to_vec()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(body.len(), length);
            assert!(
                head.contains(&format!("Content-Length: {length}")),
                "{head}"
            );
            assert!(head.contains("Idempotency-Key: a-key-of-sixteen"), "{head}");
            assert!(!head.contains("Connection:"));
        }
    }

    #[test]
    fn a_vote_for_another_poll_goes_through_its_own_door() {
        let mut request = VoteRequest::new(&Door::of_poll(address(), "final"), Reuse::PerVote);
        let text = String::from_utf8(request.write("a-key-of-sixteen", 1).to_vec()).unwrap();
        assert!(
            text.starts_with("POST /p/final/votar HTTP/1.1\r\n"),
            "{text}"
        );
        assert!(text.contains("Connection: close\r\n"));
    }
}
