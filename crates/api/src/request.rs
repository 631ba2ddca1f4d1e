//! What a request to vote says: number and key. Parsing only; no I/O.

use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use paredao_domain::{CandidateNumber, ClientKey, KeyHash, KeySource, PollSecret};
use rand::Rng as _;
use serde::Deserialize;
use serde_json::error::Category;
use utoipa::ToSchema;

use crate::outcome::Refusal;

/// Most bytes of a vote's body.
pub const BODY_BYTES_MAX: usize = 1024;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The body of `POST /votar`. Other members are ignored.
#[derive(Deserialize, ToSchema)]
pub struct VoteRequest {
    /// The number of the candidate.
    #[schema(example = 1, minimum = 1, maximum = 99)]
    voto: u64,
}

/// Reads the body of `POST /votar`.
pub fn number_of_body(body: &[u8]) -> Result<CandidateNumber, Refusal> {
    let vote: VoteRequest = serde_json::from_slice(body).map_err(|e| refusal_of(&e))?;
    // Serde would also fill the struct from an array.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::InvalidVote);
    }
    CandidateNumber::try_from(vote.voto).map_err(|_| Refusal::UnknownCandidate)
}

fn refusal_of(error: &serde_json::Error) -> Refusal {
    match error.classify() {
        Category::Data => Refusal::InvalidVote,
        Category::Syntax | Category::Eof | Category::Io => Refusal::Malformed,
    }
}

/// Reads the number of `POST /votar/{n}`.
pub fn number_of_path(text: &str) -> Result<CandidateNumber, Refusal> {
    let is_plain = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let number = is_plain.then(|| text.parse::<u64>().ok()).flatten();
    number
        .and_then(|n| CandidateNumber::try_from(n).ok())
        .ok_or(Refusal::UnknownCandidate)
}

/// Checks that a body is announced as JSON; parameters such as a charset are ignored.
pub fn check_is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let media_type = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let essence = media_type.split(|&b| b == b';').next().unwrap_or_default();
    if essence
        .trim_ascii()
        .eq_ignore_ascii_case(b"application/json")
    {
        Ok(())
    } else {
        Err(Refusal::UnsupportedMediaType)
    }
}

/// The vote's key, hashed under the poll's secret: the client's own, else the proxy's request id
/// if that can be one, else drawn.
pub fn key_of(headers: &HeaderMap, secret: &PollSecret) -> Result<(KeySource, KeyHash), Refusal> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY);
    if let Some(value) = keys.next() {
        // Two keys name two votes: guessing which is meant could count one twice.
        let key = if keys.next().is_none() {
            value.as_bytes()
        } else {
            b""
        };
        let key = ClientKey::try_from(key).map_err(|_| Refusal::InvalidKey)?;
        return Ok((KeySource::Client, secret.hash(KeySource::Client, key)));
    }
    let request_id = headers.get(X_REQUEST_ID).map(HeaderValue::as_bytes);
    if let Some(Ok(key)) = request_id.map(ClientKey::try_from) {
        return Ok((KeySource::Proxy, secret.hash(KeySource::Proxy, key)));
    }
    Ok((KeySource::Drawn, drawn()))
}

/// 96 bits that nobody can send again, from the thread's own cryptographic generator.
fn drawn() -> KeyHash {
    let mut key = [0; KeyHash::BYTES];
    rand::rng().fill_bytes(&mut key);
    KeyHash(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [9; 32];
    const KEY: &str = "0123456789abcdef";

    fn key(lines: &[(HeaderName, &str)]) -> Result<(KeySource, KeyHash), Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        key_of(&headers, &PollSecret::new(SECRET))
    }

    fn hash(source: KeySource, text: &str) -> KeyHash {
        PollSecret::new(SECRET).hash(source, ClientKey::try_from(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_vote_is_an_object_with_a_number_and_whatever_else() {
        for body in [
            r#"{"voto":1}"#,
            " { \"x\" : [ {} ], \"voto\" : 1 } ",
            "{\"voto\":1,\"voto_\":null}",
        ] {
            assert_eq!(
                number_of_body(body.as_bytes()).map(CandidateNumber::get),
                Ok(1),
                "{body}"
            );
        }
    }

    #[test]
    fn json_that_is_no_vote_is_told_apart_from_what_is_no_json() {
        for body in [
            "",
            "{",
            "voto=1",
            "{\"voto\":1",
            "{\"voto\":1}x",
            "\u{feff}{\"voto\":1}",
            "{\"voto\":01}",
        ] {
            assert_eq!(
                number_of_body(body.as_bytes()),
                Err(Refusal::Malformed),
                "{body}"
            );
        }
        assert_eq!(number_of_body(b"{\"voto\":\xff}"), Err(Refusal::Malformed));
        let invalid = [
            "{}",
            "null",
            "1",
            "\"1\"",
            "[1]",
            " [1]",
            "{\"voto\":\"1\"}",
            "{\"voto\":1.0}",
            "{\"voto\":-1}",
            "{\"voto\":null}",
            "{\"voto\":[1]}",
            "{\"voto\":true}",
            "{\"voto\":1,\"voto\":2}",
            "{\"voto\":18446744073709551616}",
        ];
        for body in invalid {
            assert_eq!(
                number_of_body(body.as_bytes()),
                Err(Refusal::InvalidVote),
                "{body}"
            );
        }
    }

    #[test]
    fn numbers_that_no_candidate_can_have_are_unknown_candidates() {
        for number in ["0", "100", "257", "18446744073709551615"] {
            let body = format!("{{\"voto\":{number}}}");
            assert_eq!(
                number_of_body(body.as_bytes()),
                Err(Refusal::UnknownCandidate)
            );
            assert_eq!(number_of_path(number), Err(Refusal::UnknownCandidate));
        }
        for text in ["", "a", "+1", "-1", "1.0", " 1", "001", "١"] {
            assert_eq!(
                number_of_path(text),
                Err(Refusal::UnknownCandidate),
                "{text:?}"
            );
        }
        for (text, number) in [("1", 1), ("01", 1), ("99", 99)] {
            assert_eq!(number_of_path(text).map(CandidateNumber::get), Ok(number));
        }
    }

    #[test]
    fn nesting_as_deep_as_the_limit_allows_is_read_without_harm() {
        let open = "[".repeat(BODY_BYTES_MAX);
        assert_eq!(number_of_body(open.as_bytes()), Err(Refusal::InvalidVote));
        let ignored = format!(
            "{{\"x\":{}{},\"voto\":1}}",
            "[".repeat(500),
            "]".repeat(500)
        );
        assert!(number_of_body(ignored.as_bytes()).is_ok());
    }

    #[test]
    fn the_client_s_key_comes_first_then_the_proxy_s_then_one_is_drawn() {
        let client = key(&[(IDEMPOTENCY_KEY, KEY), (X_REQUEST_ID, "fedcba9876543210")]);
        assert_eq!(
            client,
            Ok((KeySource::Client, hash(KeySource::Client, KEY)))
        );
        let proxy = key(&[(X_REQUEST_ID, KEY)]);
        assert_eq!(proxy, Ok((KeySource::Proxy, hash(KeySource::Proxy, KEY))));
        let (one, other) = (key(&[]).unwrap(), key(&[]).unwrap());
        assert_eq!((one.0, other.0), (KeySource::Drawn, KeySource::Drawn));
        assert_ne!(one.1, other.1);
    }

    #[test]
    fn a_bad_client_key_is_refused_and_a_bad_request_id_ignored() {
        for bad in ["", "short", "with space 16 characters", &"x".repeat(129)] {
            assert_eq!(
                key(&[(IDEMPOTENCY_KEY, bad)]),
                Err(Refusal::InvalidKey),
                "{bad:?}"
            );
            assert_eq!(
                key(&[(X_REQUEST_ID, bad)]).map(|k| k.0),
                Ok(KeySource::Drawn),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn two_client_keys_are_refused_because_nobody_knows_which_is_meant() {
        let other = "fedcba9876543210";
        let both = [(IDEMPOTENCY_KEY, KEY), (IDEMPOTENCY_KEY, other)];
        assert_eq!(key(&both), Err(Refusal::InvalidKey));
    }

    #[test]
    fn only_json_is_json() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
            check_is_json(&headers)
        };
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json ;x=y",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/json2",
            "application/x-www-form-urlencoded",
            ";application/json",
        ] {
            assert_eq!(check(bad), Err(Refusal::UnsupportedMediaType), "{bad}");
        }
        assert_eq!(
            check_is_json(&HeaderMap::new()),
            Err(Refusal::UnsupportedMediaType)
        );
    }
}
