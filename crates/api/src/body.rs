//! Reading the body of a vote: never more than the limit, never longer than allowed.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use futures_util::Stream as _;
use tokio::time::timeout;

use crate::outcome::Refusal;
use crate::request::BODY_BYTES_MAX;

/// Reads a body to its end.
///
/// A vote's body mostly arrives in the segment that brought the head. So a first look costs
/// neither a timer nor a copy; only what is not there yet is waited for, with a time-out.
pub(crate) async fn read(
    request: &HttpRequest,
    payload: Payload,
    limit: Duration,
) -> Result<Bytes, Refusal> {
    if announced(request).is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(Refusal::TooLarge);
    }
    let mut reading = Reading {
        payload,
        first: Bytes::new(),
        rest: BytesMut::new(),
    };
    let look = poll_fn(|context| match reading.poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    });
    match look.await {
        Some(result) => result,
        // Boxed, so that the timer takes no room in the future of every vote.
        None => Box::pin(wait_for(reading, limit)).await,
    }
}

async fn wait_for(mut reading: Reading, limit: Duration) -> Result<Bytes, Refusal> {
    let rest = poll_fn(|context| reading.poll(context));
    timeout(limit, rest)
        .await
        .unwrap_or(Err(Refusal::RequestTimeout))
}

/// The length that the head announces. The codec refused what is no number.
fn announced(request: &HttpRequest) -> Option<usize> {
    request
        .headers()
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

struct Reading {
    payload: Payload,
    /// The first chunk, mostly all there is.
    first: Bytes,
    /// First and later chunks, once there is a second one.
    rest: BytesMut,
}

impl Reading {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Refusal>> {
        loop {
            match Pin::new(&mut self.payload).poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(self.finish())),
                // The client went away in the middle, or its chunks are no chunks.
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Refusal::Malformed)),
                Poll::Ready(Some(Ok(chunk))) => {
                    if self.take(chunk) > BODY_BYTES_MAX {
                        return Poll::Ready(Err(Refusal::TooLarge));
                    }
                }
            }
        }
    }

    /// Takes a chunk; returns how much is there now.
    fn take(&mut self, chunk: Bytes) -> usize {
        if self.first.is_empty() {
            self.first = chunk;
            return self.first.len();
        }
        let before = self.rest.len().max(self.first.len());
        if before + chunk.len() <= BODY_BYTES_MAX {
            if self.rest.is_empty() {
                self.rest.extend_from_slice(&self.first);
            }
            self.rest.extend_from_slice(&chunk);
        }
        before + chunk.len()
    }

    fn finish(&mut self) -> Bytes {
        if self.rest.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            std::mem::take(&mut self.rest).freeze()
        }
    }
}
