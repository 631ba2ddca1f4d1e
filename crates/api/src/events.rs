//! `GET /eventos`: server-sent events.
//!
//! Every refresh publishes one board to everybody, and a stream sends the frame that was prepared
//! on it: for all streams together a frame is made once. A stream holds no queue, only the number
//! of the edition it sent last. A reader that is slow skips to the newest; one that reads nothing
//! at all is dropped by the kernel (see `unread_timeout`). Streams have places of their own, fewer
//! than there are connections: however many people watch, votes still come through.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use paredao_domain::{BootMillis, PollId, PollState};
use paredao_telemetry::metrics::metrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::answer;
use crate::board::{Board, PollBoard};
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::results::{Exactness, Partial};
use crate::room::Room;

/// How long a browser waits before it connects again.
const RECONNECT: &[u8] = b"retry: 3000\n\n";
/// After so long without news the same frame is sent again: it tells the page that the numbers
/// are still fresh, and the proxy that somebody is here.
const QUIET_MS_MAX: u64 = 10_000;
/// The same: a stream is never quiet for longer, except for what a refresh takes.
pub(crate) const QUIET_MAX: Duration = Duration::from_millis(QUIET_MS_MAX);
/// Asks nginx not to gather the stream in a buffer.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What event streams hear.
pub(crate) enum Airing {
    /// The board to show.
    On(Arc<Board>),
    /// Streams end; there will be no more boards.
    Over,
}

/// The frame of a poll: `parcial`, or `final` with exact numbers.
pub(crate) fn frame(board: &PollBoard) -> Bytes {
    let (event, exactness) = match board.state {
        PollState::Scheduled | PollState::Open | PollState::Closed => {
            ("parcial", Exactness::Shares)
        }
        PollState::Final => ("final", Exactness::Votes),
    };
    let data = answer::json(&Partial::new(board, exactness));
    let parts: [&[u8]; 5] = [b"event: ", event.as_bytes(), b"\ndata: ", &data, b"\n\n"];
    parts.concat().into()
}

/// Percentages as they change.
///
/// Event `parcial` carries the JSON of `/parcial`, about once a second while it changes and every
/// ten seconds otherwise. When the result is final, event `final` carries the same with exact
/// numbers (`total`, and `votos` of each candidate). Without `/p/{poll}` the stream goes on with
/// whichever poll becomes the principal one: `poll` says whose numbers they are.
///
/// There are fewer places for streams than for votes. Without one, `/parcial` has the same numbers.
#[utoipa::path(
    get,
    path = "/eventos",
    tag = "voter",
    responses(
        (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 404, description = "`unknown-poll`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`too-many-streams`: read `/parcial` now and then instead. `shutting-down`", body = ProblemDocument, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds, with jitter"))),
    )
)]
pub(crate) async fn events(
    room: web::Data<Room>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let air = room.air.subscribe();
    let target = match &*air.borrow() {
        Airing::On(board) => Target::of(&request, board)?,
        Airing::Over => return Err(ProblemType::ShuttingDown.into()),
    };
    let place = Place::take(&room.streams)?;
    let stream = stream::unfold(Stream::new(air, target, place), Stream::next);
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, answer::NO_STORE))
        .insert_header((X_ACCEL_BUFFERING, "no"))
        .streaming(stream))
}

/// Which poll a stream is about.
#[derive(Clone, Copy)]
enum Target {
    /// Whichever is the principal one, also when that changes.
    Principal,
    /// This one.
    Poll(PollId),
}

impl Target {
    fn of(request: &HttpRequest, board: &Board) -> Result<Self, Problem> {
        let poll = board.meant_by(request).ok_or(ProblemType::UnknownPoll)?;
        let is_named = request.match_info().get("poll").is_some();
        Ok(if is_named {
            Self::Poll(poll.poll.id)
        } else {
            Self::Principal
        })
    }

    fn find(self, board: &Board) -> Option<&PollBoard> {
        match self {
            Self::Principal => board.principal(),
            Self::Poll(id) => board.by_id(id),
        }
    }
}

/// What a reader was sent last.
#[derive(Clone, Copy)]
struct Sent {
    poll: PollId,
    edition: u64,
    at: BootMillis,
}

struct Stream {
    air: watch::Receiver<Airing>,
    target: Target,
    last: Option<Sent>,
    _place: Place,
}

impl Stream {
    fn new(air: watch::Receiver<Airing>, target: Target, place: Place) -> Self {
        Self {
            air,
            target,
            last: None,
            _place: place,
        }
    }

    /// The next thing to send; `None` ends the stream.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.last.is_none() {
            let frame = self.news().ok()??;
            let first = [RECONNECT, &frame].concat();
            return Some((Ok(first.into()), self));
        }
        loop {
            self.air.changed().await.ok()?;
            if let Some(frame) = self.news().ok()? {
                return Some((Ok(frame), self));
            }
        }
    }

    /// What is on the board and not sent yet, or sent long ago.
    fn news(&mut self) -> Result<Option<Bytes>, Over> {
        let airing = self.air.borrow_and_update();
        let Airing::On(board) = &*airing else {
            return Err(Over);
        };
        let Some(poll) = self.target.find(board) else {
            return Ok(None);
        };
        let (id, edition, at) = (poll.poll.id, poll.edition, board.made_at);
        let is_known = self.last.is_some_and(|last| {
            (last.poll, last.edition) == (id, edition) && at.since(last.at) < QUIET_MS_MAX
        });
        if is_known {
            return Ok(None);
        }
        self.last = Some(Sent {
            poll: id,
            edition,
            at,
        });
        Ok(Some(Bytes::clone(&poll.frame)))
    }
}

/// The program stops: streams end.
struct Over;

/// One of the places for streams, held and counted as long as its stream is open.
struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn take(places: &Arc<Semaphore>) -> Result<Self, Problem> {
        let permit = Arc::clone(places).try_acquire_owned().map_err(|_| {
            metrics().sse_streams_refused.inc();
            ProblemType::TooManyStreams
        })?;
        metrics().sse_streams.inc();
        Ok(Self { _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics().sse_streams.dec();
    }
}
