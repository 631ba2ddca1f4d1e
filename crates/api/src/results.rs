//! What voters read of a result: percentages, and exact numbers once it is final.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use paredao_domain::PollState;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::board::PollBoard;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::room::Room;

/// Where a poll stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Estado {
    /// Not yet open.
    Agendado,
    /// Taking votes.
    Aberto,
    /// Past its end; the last votes are being checked.
    Encerrado,
    /// The result no longer changes.
    Final,
}

impl From<PollState> for Estado {
    fn from(state: PollState) -> Self {
        match state {
            PollState::Scheduled => Self::Agendado,
            PollState::Open => Self::Aberto,
            PollState::Closed => Self::Encerrado,
            PollState::Final => Self::Final,
        }
    }
}

/// A candidate's share.
#[derive(Serialize, ToSchema)]
pub(crate) struct Share<'a> {
    #[schema(example = 1)]
    numero: u8,
    #[schema(example = "Ana Clara")]
    nome: &'a str,
    /// Two decimals; all together are exactly 100.00, or all 0.00 without votes.
    #[schema(example = "56.73")]
    percentual: String,
    /// Exact number of votes; only in the event `final`.
    #[serde(skip_serializing_if = "Option::is_none")]
    votos: Option<u64>,
}

/// The percentages of a poll.
#[derive(Serialize, ToSchema)]
pub(crate) struct Partial<'a> {
    /// The poll's name in addresses.
    #[schema(example = "paredao-1")]
    poll: &'a str,
    titulo: &'a str,
    estado: Estado,
    parciais: Vec<Share<'a>>,
    /// Exact number of all votes; only in the event `final`.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// When it closes (RFC 3339, the poll's offset), if that is known.
    #[schema(example = "2026-11-20T23:00:00.000-03:00")]
    encerra_em: Option<String>,
    /// The instant the numbers are of.
    #[schema(example = "2026-11-20T21:14:03.120-03:00")]
    dados_de: String,
}

/// Whether exact numbers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exactness {
    /// Percentages only.
    Shares,
    /// Votes as well.
    Votes,
}

impl<'a> Partial<'a> {
    pub(crate) fn new(board: &'a PollBoard, exactness: Exactness) -> Self {
        let poll = &board.poll;
        let told = |votes: u64| (exactness == Exactness::Votes).then_some(votes);
        let numbers = board.shares.iter().zip(&board.votes);
        let shares = poll
            .candidates
            .iter()
            .zip(numbers)
            .map(|(candidate, (share, &votes))| Share {
                numero: candidate.number.get(),
                nome: &candidate.name,
                percentual: share.to_string(),
                votos: told(votes),
            });
        Self {
            poll: poll.slug.as_str(),
            titulo: &poll.title,
            estado: board.state.into(),
            parciais: shares.collect(),
            total: told(board.votes.iter().sum()),
            encerra_em: poll.closes_at.map(|at| at.rfc3339(poll.utc_offset)),
            dados_de: board.as_of.rfc3339(poll.utc_offset),
        }
    }
}

/// The body of `/parcial`.
pub(crate) fn partial_body(board: &PollBoard) -> Bytes {
    answer::json(&Partial::new(board, Exactness::Shares))
}

/// Percentages of the counted votes.
///
/// Read from a snapshot that is refreshed every second and says how old it is (`dados_de`).
#[utoipa::path(
    get,
    path = "/parcial",
    tag = "voter",
    responses(
        (status = 200, description = "The percentages", body = Partial),
        (status = 404, description = "`unknown-poll`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn partial(
    room: web::Data<Room>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let board = room.board();
    let poll = board.meant_by(&request).ok_or(ProblemType::UnknownPoll)?;
    Ok(answer::with_json(
        StatusCode::OK,
        Bytes::clone(&poll.partial),
    ))
}
