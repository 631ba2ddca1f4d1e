//! One HTTP answer, taken off the bytes that arrived.

use bytes::{Bytes, BytesMut};

/// Header lines beyond which an answer is not from a server we know.
const HEADERS_MAX: usize = 32;
/// Bytes of headers beyond which reading stops.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of body beyond which reading stops; a day's `/total` is well below.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why bytes are not an answer. All of them end the connection.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not HTTP/1.x, or too many header lines.
    #[error("the answer is not HTTP/1.1: {0}")]
    Malformed(#[from] httparse::Error),
    /// No usable `Content-Length`, which this client needs to find the end.
    #[error("the answer does not say its length")]
    Unsized,
    /// Headers or body beyond this client's limits.
    #[error("the answer is larger than this client reads")]
    TooLarge,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After` in seconds, where the server sent a whole number.
    pub retry_after_s: Option<u32>,
    /// The server closes the connection after this answer.
    pub closes: bool,
    /// Bytes on the wire, headers included.
    pub wire_bytes: usize,
    /// The body.
    pub body: Bytes,
}

/// What the headers said about the rest.
struct Head {
    status: u16,
    retry_after_s: Option<u32>,
    closes: bool,
    length: usize,
    body_length: usize,
}

impl Answer {
    /// Takes one answer from the front of `inbox`; `None` when more bytes are needed.
    pub fn take(inbox: &mut BytesMut) -> Result<Option<Self>, AnswerError> {
        let Some(head) = Head::parse(inbox)? else {
            return Ok(None);
        };
        let wire_bytes = head.length + head.body_length;
        if inbox.len() < wire_bytes {
            return Ok(None);
        }
        let mut all = inbox.split_to(wire_bytes);
        let body = all.split_off(head.length).freeze();
        Ok(Some(Self {
            status: head.status,
            retry_after_s: head.retry_after_s,
            closes: head.closes,
            wire_bytes,
            body,
        }))
    }
}

impl Head {
    fn parse(inbox: &[u8]) -> Result<Option<Self>, AnswerError> {
        let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut lines);
        let httparse::Status::Complete(head_bytes) = response.parse(inbox)? else {
            return if inbox.len() > HEAD_BYTES_MAX {
                Err(AnswerError::TooLarge)
            } else {
                Ok(None)
            };
        };
        let status = response.code.unwrap_or_default();
        let mut head = Self {
            status,
            retry_after_s: None,
            closes: false,
            length: head_bytes,
            body_length: 0,
        };
        let mut length = has_no_body(status).then_some(0);
        for line in response.headers.iter() {
            if line.name.eq_ignore_ascii_case("content-length") {
                length = Some(number(line.value).ok_or(AnswerError::Unsized)?);
            } else if line.name.eq_ignore_ascii_case("retry-after") {
                head.retry_after_s = number(line.value);
            } else if line.name.eq_ignore_ascii_case("connection") {
                head.closes = line.value.eq_ignore_ascii_case(b"close");
            }
        }
        let length = length.ok_or(AnswerError::Unsized)?;
        head.body_length = usize::try_from(length).unwrap_or(usize::MAX);
        if head.body_length > BODY_BYTES_MAX {
            Err(AnswerError::TooLarge)
        } else {
            Ok(Some(head))
        }
    }
}

/// RFC 9110, 6.4.1: these statuses never carry content.
fn has_no_body(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

fn number(value: &[u8]) -> Option<u32> {
    str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> Result<Option<Answer>, AnswerError> {
        Answer::take(&mut BytesMut::from(text))
    }

    #[test]
    fn an_answer_is_taken_only_when_it_is_whole() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for end in 0..whole.len() {
            assert_eq!(take(&whole[..end]), Ok(None), "after {end} bytes");
        }
        let answer = take(whole).unwrap().unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
        assert_eq!(answer.wire_bytes, whole.len());
    }

    #[test]
    fn what_follows_an_answer_stays_in_the_inbox() {
        let mut inbox = BytesMut::from("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 ");
        assert_eq!(Answer::take(&mut inbox).unwrap().unwrap().status, 204);
        assert_eq!(&inbox[..], b"HTTP/1.1 ");
    }

    #[test]
    fn a_refusal_says_when_to_come_back_and_whether_the_connection_ends() {
        let text =
            "HTTP/1.1 503 Busy\r\nretry-after: 2\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n";
        let answer = take(text).unwrap().unwrap();
        assert_eq!(answer.retry_after_s, Some(2));
        assert!(answer.closes);
    }

    #[test]
    fn what_is_not_a_sized_answer_is_refused() {
        assert_eq!(take("HTTP/1.1 200 OK\r\n\r\n"), Err(AnswerError::Unsized));
        let endless = "HTTP/1.1 200 OK\r\ncontent-length: 4000000000\r\n\r\n";
        assert_eq!(take(endless), Err(AnswerError::TooLarge));
        assert!(matches!(
            take("SSH-2.0-x\r\n\r\n"),
            Err(AnswerError::Malformed(_))
        ));
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(HEAD_BYTES_MAX));
        assert_eq!(take(&long), Err(AnswerError::TooLarge));
    }
}
