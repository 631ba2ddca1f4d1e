//! `POST /votar`: the way that has to be short.
//!
//! No extractor and no middleware stands before a vote, not even the framework's guard for methods
//! (which keeps a list for each request). What is allocated here is the buffer of the answer, of
//! which the receipt and the number are written and the rest is copied from the board.

use std::rc::Rc;
use std::time::Instant;

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use paredao_domain::{CandidateNumber, PartialsPolicy, PollId, RECEIPT_CHARS, Receipt};
use paredao_intake::Ballot;
use paredao_telemetry::metrics::{Label as _, Route, VoteOutcome, metrics};
use serde::Serialize;
use tracing::Level;
use utoipa::ToSchema;

use crate::answer::{self, insert_static};
use crate::board::PollBoard;
use crate::body;
use crate::outcome::Refusal;
use crate::problem::{Problem, ProblemDocument};
use crate::request::{self, VoteRequest};
use crate::room::Room;
use crate::routes::{methods, record};

const BEFORE_RECEIPT: &[u8] = br#"{"recibo":""#;
const BEFORE_NUMBER: &[u8] = br#"","numero":"#;
/// The end of an answer whose poll left the board meanwhile, which no store does.
const TAIL_WITHOUT_POLL: &[u8] = br#","parciais":null,"dados_de":null}"#;

/// The answer to a vote. It is written by hand from a part prepared for all; this says how it
/// looks.
#[derive(Serialize, ToSchema)]
pub(crate) struct VoteAnswer<'a> {
    /// The receipt: asks later at `/recibo/{receipt}` what became of the vote.
    #[schema(
        example = "h1H6BhYyR0QAAQAAAAAAAADy1s2ZkQe0",
        min_length = 32,
        max_length = 32
    )]
    recibo: &'a str,
    /// The number voted for.
    #[schema(example = 1)]
    numero: u8,
    #[serde(flatten)]
    tail: VoteTail,
}

/// The part of the answer that is the same for everybody until the next refresh.
#[derive(Serialize, ToSchema)]
pub(crate) struct VoteTail {
    /// Percentages so far; null where the poll hides them.
    parciais: Option<Vec<VoteShare>>,
    /// The instant the percentages are of.
    #[schema(example = "2026-11-20T21:14:03.120-03:00")]
    dados_de: String,
}

/// A candidate's share in the answer to a vote.
#[derive(Serialize, ToSchema)]
pub(crate) struct VoteShare {
    numero: u8,
    /// Two decimals; all together are exactly 100.00.
    #[schema(example = "56.73")]
    percentual: String,
}

/// The prepared end of every answer, from the comma after the number on.
pub(crate) fn answer_tail(board: &PollBoard) -> Bytes {
    let shares = board.poll.candidates.iter().zip(&board.shares);
    let tail = VoteTail {
        parciais: match board.poll.partials_policy {
            PartialsPolicy::Always => Some(
                shares
                    .map(|(candidate, share)| VoteShare {
                        numero: candidate.number.get(),
                        percentual: share.to_string(),
                    })
                    .collect(),
            ),
        },
        dados_de: board.as_of.rfc3339(board.poll.utc_offset),
    };
    let object = answer::json(&tail);
    [b",", object.get(1..).unwrap_or_default()].concat().into()
}

/// A worker that takes votes.
pub(crate) struct Worker {
    room: Data<Room>,
}

impl Worker {
    /// For the worker on whose thread this is called: it answers the intake's bell from now on,
    /// as a task that its runtime owns and ends.
    pub(crate) fn new(room: Data<Room>) -> Self {
        actix_web::rt::spawn(room.intake.answer_bell());
        Self { room }
    }
}

type Answered = Result<ServiceResponse, actix_web::Error>;

/// Where the number of a vote stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// In a JSON body.
    Body,
    /// In the path.
    Path,
}

/// A vote that is durable.
struct Accepted {
    receipt: Receipt,
    poll: PollId,
    candidate: CandidateNumber,
}

/// Votes. Answers when the vote is on durable storage.
///
/// Sent again with the same `Idempotency-Key` while the key lives (the poll's `key_life_s`, 180
/// seconds unless set otherwise, from the first acceptance), it is the same vote and counts once,
/// on whatever connection and however often it comes. A later one is a new vote. Without a key, a
/// proxy's `X-Request-Id` serves (it protects against the proxy's own retries only); without either,
/// every request is a vote of its own.
#[utoipa::path(
    post,
    path = "/votar",
    tag = "voter",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "16 to 128 visible ASCII characters, new for every tap. Equal keys are one vote for `key_life_s` seconds (180 unless the poll says otherwise)", min_length = 16, max_length = 128),
    ),
    request_body(content = VoteRequest, description = "At most 1 KiB; other members are ignored"),
    responses(
        (status = 200, description = "Durable", body = VoteAnswer, headers(("Cache-Control" = String, description = "`no-store`"))),
        (status = 400, description = "`malformed`: not JSON. `invalid-key`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`unknown-candidate`, `unknown-poll`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "`request-timeout`: the body did not come in time", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`poll-not-open`: not stored", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-vote`: JSON, but no vote", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`overloaded`, `log-unavailable`, `shutting-down`: not stored. `outcome-unknown`: perhaps stored. Sending again with the same key is safe in every case", body = ProblemDocument, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds, with jitter"))),
    )
)]
pub(crate) fn vote_in_body(
    worker: Rc<Worker>,
    route: Route,
    request: ServiceRequest,
) -> impl Future<Output = Answered> {
    answer(Form::Body, worker, route, request)
}

/// Votes, with the number in the path.
///
/// As `POST /votar`; a body of up to 1 KiB is ignored, whatever its type.
#[utoipa::path(
    post,
    path = "/votar/{n}",
    tag = "voter",
    params(
        ("n" = u8, Path, description = "The number of the candidate", minimum = 1, maximum = 99),
        ("Idempotency-Key" = Option<String>, Header, description = "As for `POST /votar`", min_length = 16, max_length = 128),
    ),
    responses(
        (status = 200, description = "Durable", body = VoteAnswer, headers(("Cache-Control" = String, description = "`no-store`"))),
        (status = 400, description = "`invalid-key`. `malformed`: the body broke off", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`unknown-candidate`, `unknown-poll`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "`request-timeout`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`poll-not-open`: not stored", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "As for `POST /votar`", body = ProblemDocument, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds, with jitter"))),
    )
)]
pub(crate) fn vote_in_path(
    worker: Rc<Worker>,
    route: Route,
    request: ServiceRequest,
) -> impl Future<Output = Answered> {
    answer(Form::Path, worker, route, request)
}

async fn answer(form: Form, worker: Rc<Worker>, route: Route, request: ServiceRequest) -> Answered {
    let started = Instant::now();
    let (request, payload) = request.into_parts();
    let response = if request.method() == Method::POST {
        cast(form, &worker.room, &request, payload, started).await
    } else {
        Problem::method_not_allowed(methods(route).allow()).response()
    };
    record(route, &response, started);
    Ok(ServiceResponse::new(request, response))
}

async fn cast(
    form: Form,
    room: &Room,
    request: &HttpRequest,
    payload: Payload,
    started: Instant,
) -> HttpResponse {
    let result = take(form, room, request, payload).await;
    let (outcome, response) = match result {
        Ok(vote) => (VoteOutcome::Accepted, accepted(room, &vote)),
        Err(why) => (why.metric(), Problem::from(why.problem()).response()),
    };
    metrics().votes.of(outcome).inc();
    if tracing::enabled!(Level::DEBUG) && room.sample.chooses() {
        let elapsed_us = started.elapsed().as_micros();
        tracing::debug!(event = "vote", outcome = outcome.value(), elapsed_us);
    }
    response
}

async fn take(
    form: Form,
    room: &Room,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Accepted, Refusal> {
    let candidate = number(form, room, request, payload).await?;
    let ballot = ballot(room, request, candidate)?;
    let receipt = room.intake.submit(ballot).await?;
    Ok(Accepted {
        receipt,
        poll: ballot.poll,
        candidate,
    })
}

async fn number(
    form: Form,
    room: &Room,
    request: &HttpRequest,
    payload: Payload,
) -> Result<CandidateNumber, Refusal> {
    if form == Form::Body {
        request::check_is_json(request.headers())?;
    }
    let body = body::read(request, payload, room.options.request_timeout).await?;
    match form {
        Form::Body => request::number_of_body(&body),
        Form::Path => request::number_of_path(request.match_info().get("n").unwrap_or_default()),
    }
}

/// Fills in what the board knows. The board is let go before anything is waited for.
fn ballot(
    room: &Room,
    request: &HttpRequest,
    candidate: CandidateNumber,
) -> Result<Ballot, Refusal> {
    let board = room.board();
    let board = board.meant_by(request).ok_or(Refusal::UnknownPoll)?;
    if !board.has_candidate(candidate) {
        return Err(Refusal::UnknownCandidate);
    }
    let (source, key) = request::key_of(request.headers(), &board.poll.secret)?;
    Ok(Ballot {
        poll: board.poll.id,
        hours: board.poll.hours(),
        candidate,
        source,
        key,
    })
}

fn accepted(room: &Room, vote: &Accepted) -> HttpResponse {
    let board = room.board();
    let tail = board
        .by_id(vote.poll)
        .map_or(TAIL_WITHOUT_POLL, |board| &board.vote_tail);
    let receipt = vote.receipt.sign(&room.secret);
    let body = accepted_body(receipt.as_str(), vote.candidate, tail);
    let mut response = HttpResponse::new(StatusCode::OK);
    insert_static(response.headers_mut(), answer::JSON, answer::NO_STORE);
    response.set_body(BoxBody::new(body))
}

/// Exactly as long as it has to be, so that turning it into [`Bytes`] costs nothing.
fn accepted_body(receipt: &str, candidate: CandidateNumber, tail: &[u8]) -> Bytes {
    debug_assert_eq!(receipt.len(), RECEIPT_CHARS);
    let mut digits = itoa::Buffer::new();
    let number = digits.format(candidate.get());
    let parts = [
        BEFORE_RECEIPT,
        receipt.as_bytes(),
        BEFORE_NUMBER,
        number.as_bytes(),
        tail,
    ];
    let mut body = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| body.extend_from_slice(part));
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_written_by_hand_is_the_documented_one() {
        let tail = || VoteTail {
            parciais: Some(vec![VoteShare {
                numero: 12,
                percentual: "100.00".to_owned(),
            }]),
            dados_de: "2026-11-20T21:14:03.120-03:00".to_owned(),
        };
        let object = answer::json(&tail());
        let prepared = [b",", &object[1..]].concat();
        let receipt = "x".repeat(RECEIPT_CHARS);
        for number in [1, 12] {
            let candidate = CandidateNumber::try_from(number).unwrap();
            let body = accepted_body(&receipt, candidate, &prepared);
            let documented = VoteAnswer {
                recibo: &receipt,
                numero: candidate.get(),
                tail: tail(),
            };
            assert_eq!(body, answer::json(&documented));
        }
    }
}
