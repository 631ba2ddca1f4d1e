//! `GET /recibo/{receipt}`: what became of a vote. Never for whom.
//!
//! The MAC comes first: it costs a microsecond, and only who holds a receipt of ours has a share in
//! the look-ups. Their limit protects the store and not from this client: so it is 503.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use paredao_domain::{Account, PollId, PollState, Receipt};
use paredao_store::{Fate, StoreError};
use paredao_telemetry::metrics::metrics;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::answer;
use crate::board::Board;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::room::Room;

/// How long the store may take for one look-up.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(1);

/// What became of a vote.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReceiptAnswer<'a> {
    /// The receipt that was asked for.
    #[schema(example = "h1H6BhYyR0QAAQAAAAAAAADy1s2ZkQe0")]
    recibo: &'a str,
    estado: ReceiptState,
    /// Only when the result is final: before, bots would learn from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    resultado: Option<ReceiptResult>,
}

/// How far a vote has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReceiptState {
    /// In the ledger.
    Registrado,
    /// Durable, and not in the ledger yet.
    ACaminho,
    /// Confirmed and never come: an alarm of ours.
    Perdido,
    /// Neither in the ledger nor in the log: files are lost, or an older copy was put back.
    Desconhecido,
}

/// How a vote was booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReceiptResult {
    /// In the total.
    Contado,
    /// A copy of one that stands.
    Duplicado,
    /// A copy of one that stands, for another candidate.
    ConflitoDeChave,
    /// Set aside.
    Separado,
}

impl From<Account> for ReceiptResult {
    fn from(account: Account) -> Self {
        match account {
            Account::Counted => Self::Contado,
            Account::Duplicate => Self::Duplicado,
            Account::KeyConflict => Self::ConflitoDeChave,
            Account::AfterClose | Account::Late => Self::Separado,
        }
    }
}

/// What became of a vote.
///
/// `recibo` is what the vote was answered with.
#[utoipa::path(
    get,
    path = "/recibo/{receipt}",
    tag = "voter",
    params(("receipt" = String, Path, description = "32 characters of base64url")),
    responses(
        (status = 200, description = "How far it has come", body = ReceiptAnswer, headers(("Cache-Control" = String, description = "`no-store`"))),
        (status = 404, description = "`unknown-receipt`: not issued here. `unknown-poll`", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`receipt-rate-limited`: more are asked for than are looked up, by all together. `store-unavailable`", body = ProblemDocument, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds, with jitter"))),
    )
)]
pub(crate) async fn receipt(
    room: web::Data<Room>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let asked_for = named_poll(&room, &request)?;
    let text = request.match_info().get("receipt").unwrap_or_default();
    let receipt = Receipt::verify(text, &room.secret).ok_or(ProblemType::UnknownReceipt)?;
    room.receipts
        .check()
        .map_err(|_| ProblemType::ReceiptRateLimited)?;
    let fate = fate(&room, &receipt).await?;
    let (estado, resultado) = told(fate, asked_for, &room.board())?;
    let body = answer::json(&ReceiptAnswer {
        recibo: text,
        estado,
        resultado,
    });
    Ok(answer::with_json(StatusCode::OK, body))
}

/// What became of the vote. One that the ledger does not know is on its way as long as the log
/// keeps batches of whoever took it; else it may have come between the two looks, or nobody has it.
async fn fate(room: &Room, receipt: &Receipt) -> Result<Option<Fate>, Problem> {
    let fate = look_up(room, receipt).await?;
    if fate != Fate::NotSeen || may_be_in_log(room, receipt).await {
        return Ok(Some(fate));
    }
    let fate = look_up(room, receipt).await?;
    if fate != Fate::NotSeen {
        return Ok(Some(fate));
    }
    metrics().receipts_of_nobody.inc();
    if room.nobodys.chooses() {
        tracing::error!(
            event = "receipt_of_nobody",
            batch = %receipt.batch,
            "a vote that was answered with success is neither in the ledger nor in the log: was an older copy of the data put back?",
        );
    }
    Ok(None)
}

/// A log that does not answer may hold anything.
async fn may_be_in_log(room: &Room, receipt: &Receipt) -> bool {
    match timeout(LOOK_UP_LIMIT, room.log.status(receipt.batch.lane)).await {
        Ok(Ok(status)) => status
            .cut
            .iter()
            .any(|(incarnation, _)| *incarnation == receipt.batch.incarnation),
        Ok(Err(_)) | Err(_) => true,
    }
}

/// The outage itself is logged by whoever reads the store every second; here it would be a line for
/// every voter who asks.
async fn look_up(room: &Room, receipt: &Receipt) -> Result<Fate, Problem> {
    let fate = timeout(
        LOOK_UP_LIMIT,
        room.store.fate(receipt.batch, receipt.position),
    );
    let too_slow = |_| StoreError::Unavailable(format!("no answer within {LOOK_UP_LIMIT:?}"));
    fate.await.map_err(too_slow).flatten().map_err(|error| {
        tracing::debug!(event = "receipt_not_looked_up", %error);
        ProblemType::StoreUnavailable.into()
    })
}

/// The poll that the path names, if it names one.
fn named_poll(room: &Room, request: &HttpRequest) -> Result<Option<PollId>, Problem> {
    let Some(slug) = request.match_info().get("poll") else {
        return Ok(None);
    };
    let board = room.board();
    let poll = board.by_slug(slug).ok_or(ProblemType::UnknownPoll)?;
    Ok(Some(poll.poll.id))
}

/// What a voter is told of a fate, or of a vote that is nowhere.
fn told(
    fate: Option<Fate>,
    asked_for: Option<PollId>,
    board: &Board,
) -> Result<(ReceiptState, Option<ReceiptResult>), Problem> {
    let Some(fate) = fate else {
        return Ok((ReceiptState::Desconhecido, None));
    };
    match fate {
        Fate::Recorded { poll, .. } if asked_for.is_some_and(|asked| asked != poll) => {
            Err(ProblemType::UnknownReceipt.into())
        }
        Fate::Recorded { poll, account } => {
            let is_final = board
                .by_id(poll)
                .is_some_and(|b| b.state == PollState::Final);
            Ok((ReceiptState::Registrado, is_final.then(|| account.into())))
        }
        Fate::DeadLettered | Fate::NotSeen => Ok((ReceiptState::ACaminho, None)),
        Fate::Missing => Ok((ReceiptState::Perdido, None)),
        Fate::NoSuchVote => Err(ProblemType::UnknownReceipt.into()),
    }
}
