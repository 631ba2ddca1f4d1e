//! What must hold for any input, used by the fuzz targets and by the replay of their corpus.

use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use paredao_api::Refusal;
use paredao_api::request::{check_is_json, key_of, number_of_body, number_of_path};
use paredao_domain::{ClientKey, KeySource, PollSecret};
use serde_json::Value;

/// A body or a path that is taken says the number that is read from it.
pub(crate) fn vote(data: &[u8]) {
    match number_of_body(data) {
        Ok(number) => {
            // A reader of its own may give up on nesting that is only skipped here.
            if let Ok(value) = serde_json::from_slice::<Value>(data) {
                assert_eq!(
                    value.get("voto").and_then(Value::as_u64),
                    Some(number.into())
                );
            }
        }
        Err(Refusal::Malformed | Refusal::InvalidVote | Refusal::UnknownCandidate) => {}
        Err(other) => unreachable!("a body is never refused as {other:?}"),
    }
    if let Ok(number) = std::str::from_utf8(data).map_or(Err(Refusal::Malformed), number_of_path) {
        assert_eq!(data.trim_ascii_start().len(), data.len());
        assert!((1..=99).contains(&u64::from(number)));
    }
}

/// A header is taken as a key exactly if it is one, and a content type only if it names JSON.
pub(crate) fn headers(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let secret = PollSecret::new([7; 32]);
    let is_key = ClientKey::try_from(data).is_ok();
    let with = |name: HeaderName| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.clone());
        headers
    };
    let client = key_of(&with(HeaderName::from_static("idempotency-key")), &secret);
    match client {
        Ok((source, _)) => assert_eq!((source, is_key), (KeySource::Client, true)),
        Err(refusal) => assert_eq!((refusal, is_key), (Refusal::InvalidKey, false)),
    }
    let proxy = key_of(&with(HeaderName::from_static("x-request-id")), &secret);
    let expected = if is_key {
        KeySource::Proxy
    } else {
        KeySource::Drawn
    };
    assert_eq!(proxy.map(|(source, _)| source), Ok(expected));
    if check_is_json(&with(CONTENT_TYPE)).is_ok() {
        let lower = data.trim_ascii_start().to_ascii_lowercase();
        assert!(lower.starts_with(b"application/json"));
    }
}
