//! The pages as answers: which page an address shows, and with which headers.

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;

use crate::assets;
use crate::board::{Board, PollBoard};
use crate::pages::{self, CandidateView, OtherPoll, PollView};
use crate::problem::{Problem, ProblemType};
use crate::room::Room;

const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");

type Page = Result<String, askama::Error>;

/// The vote page.
#[utoipa::path(
    get,
    path = "/",
    tag = "page",
    responses(
        (status = 200, description = "The page, whatever the poll's state", body = String, content_type = "text/html"),
        (status = 404, description = "A page that says that there is no such poll", body = String, content_type = "text/html"),
    )
)]
pub(crate) async fn home(room: web::Data<Room>, request: HttpRequest) -> HttpResponse {
    poll_page(&room, &request, pages::vote)
}

/// The results page; its numbers are there without JavaScript too.
#[utoipa::path(
    get,
    path = "/resultado",
    tag = "page",
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 404, description = "A page that says that there is no such poll", body = String, content_type = "text/html"),
    )
)]
pub(crate) async fn results(room: web::Data<Room>, request: HttpRequest) -> HttpResponse {
    poll_page(&room, &request, pages::results)
}

fn poll_page(
    room: &Room,
    request: &HttpRequest,
    render: fn(&PollView<'_>) -> Page,
) -> HttpResponse {
    let board = room.board();
    let Some(poll) = board.meant_by(request) else {
        let is_named = request.match_info().get("poll").is_some();
        let page = if is_named {
            pages::not_found()
        } else {
            pages::no_poll()
        };
        return html(StatusCode::NOT_FOUND, page);
    };
    html(StatusCode::OK, render(&view(room, &board, poll)))
}

fn view<'a>(room: &Room, board: &'a Board, shown: &'a PollBoard) -> PollView<'a> {
    let poll = &shown.poll;
    let now = room.clock.now();
    let numbers = shown.shares.iter().zip(&shown.votes);
    let candidates = poll.candidates.iter().zip(numbers);
    PollView {
        slug: &poll.slug,
        title: &poll.title,
        state: poll.state(now),
        candidates: candidates
            .map(|(candidate, (&percentage, &votes))| CandidateView {
                number: candidate.number.get(),
                name: &candidate.name,
                percentage,
                votes,
            })
            .collect(),
        opens_at: poll.opens_at,
        closes_at: poll.closes_at,
        data_as_of: shown.as_of,
        now,
        offset: poll.utc_offset,
        occasion: room.options.occasion,
        elsewhere: board.open_besides(poll.id, now).map(|other| OtherPoll {
            slug: &other.poll.slug,
            title: &other.poll.title,
        }),
    }
}

fn html(status: StatusCode, page: Page) -> HttpResponse {
    match page {
        Ok(page) => page_headers(status).body(page),
        Err(error) => {
            tracing::error!(event = "page_not_rendered", %error);
            Problem::from(ProblemType::Internal).response()
        }
    }
}

fn page_headers(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response
        .insert_header((CONTENT_TYPE, pages::CONTENT_TYPE))
        .insert_header((CACHE_CONTROL, pages::CACHE_CONTROL))
        .insert_header((CONTENT_SECURITY_POLICY, pages::CONTENT_SECURITY_POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "same-origin"))
        .insert_header((CROSS_ORIGIN_OPENER_POLICY, "same-origin"));
    response
}

/// A file of the pages.
#[utoipa::path(
    get,
    path = "/static/{file}",
    tag = "page",
    params(("file" = String, Path, description = "As the pages name it")),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream", headers(("ETag" = String), ("Cache-Control" = String))),
        (status = 304, description = "The browser has it already"),
        (status = 404, description = "`not-found`", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn static_file(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = request.match_info().get("file").unwrap_or_default();
    let found = assets::find(path).ok_or(ProblemType::NotFound)?;
    let sent = found
        .asset
        .representation(text_of(&request, &ACCEPT_ENCODING));
    let is_known = text_of(&request, &IF_NONE_MATCH).is_some_and(|tags| sent.is_named_by(tags));
    let status = if is_known {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    };
    let mut response = HttpResponse::build(status);
    response
        .insert_header((CONTENT_TYPE, found.asset.content_type))
        .insert_header((CACHE_CONTROL, found.cache_control))
        .insert_header((ETAG, sent.etag.as_str()))
        .insert_header((VARY, "Accept-Encoding"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if let Some(encoding) = sent.content_encoding {
        response.insert_header((CONTENT_ENCODING, encoding));
    }
    Ok(if is_known {
        response.finish()
    } else {
        response.body(Bytes::from_static(&sent.bytes))
    })
}

/// The value of a header, if it is text.
fn text_of<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// Whatever no route matches: a page for whoever asks for one, else a problem document.
pub(crate) fn nothing_here(request: &HttpRequest) -> HttpResponse {
    if wants_html(request) {
        html(StatusCode::NOT_FOUND, pages::not_found())
    } else {
        Problem::from(ProblemType::NotFound).response()
    }
}

/// Browsers name `text/html` when somebody goes to an address, and not when a script asks.
fn wants_html(request: &HttpRequest) -> bool {
    text_of(request, &ACCEPT).is_some_and(|accept| {
        let mut ranges = accept
            .split(',')
            .filter_map(|range| range.split(';').next());
        ranges.any(|range| range.trim().eq_ignore_ascii_case("text/html"))
    })
}
