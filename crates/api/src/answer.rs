//! The answers that several routes give.

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use bytes::Bytes;
use serde::Serialize;

pub(crate) const JSON: &str = "application/json";
pub(crate) const NO_STORE: &str = "no-store";

/// An answer with a JSON body. Nothing JSON may be kept: all of it is of this moment.
pub(crate) fn with_json(status: StatusCode, body: Bytes) -> HttpResponse {
    let mut response = HttpResponse::new(status);
    insert_static(response.headers_mut(), JSON, NO_STORE);
    response.set_body(BoxBody::new(body))
}

/// The JSON of a struct of texts, numbers and lists, which always serialises.
pub(crate) fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Sets the two headers that every answer of ours has.
pub(crate) fn insert_static(
    headers: &mut HeaderMap,
    content_type: &'static str,
    cache_control: &'static str,
) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control));
}
