//! Problem documents: what every refusal of a JSON route looks like (RFC 9457).
//!
//! A type's slug is part of the public contract: clients branch on it. Titles and details are
//! Portuguese, because voters' pages show them.

use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use bytes::Bytes;
use rand::RngExt as _;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{self, insert_static};

/// Media type of problem documents.
pub(crate) const CONTENT_TYPE_PROBLEM: &str = "application/problem+json";

/// Shortest time a client is asked to wait. `Retry-After` has whole seconds, so less says nothing.
const RETRY_AFTER_MS_MIN: u64 = 1_000;
/// Longest: everybody who was refused at once comes back spread over the time between.
const RETRY_AFTER_MS_END: u64 = 3_000;

/// Every type of problem there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemType {
    /// The body is not JSON.
    Malformed,
    /// The body is JSON and not a vote.
    InvalidVote,
    /// The body did not come in time.
    RequestTimeout,
    /// The poll has no candidate of that number.
    UnknownCandidate,
    /// There is no poll of that name, or none at all.
    UnknownPoll,
    /// No receipt of this deployment.
    UnknownReceipt,
    /// Nothing is at this address.
    NotFound,
    /// Something is at this address, but does not take this method.
    MethodNotAllowed,
    /// The poll takes no votes now.
    PollNotOpen,
    /// The body is over the limit.
    PayloadTooLarge,
    /// The body is of another content type.
    UnsupportedMediaType,
    /// The `Idempotency-Key` breaks its rules.
    InvalidKey,
    /// Not for everybody.
    Forbidden,
    /// More receipts were asked for than are looked up.
    ReceiptRateLimited,
    /// As many event streams are open as may.
    TooManyStreams,
    /// As many votes wait as may.
    Overloaded,
    /// The vote log takes nothing at present.
    LogUnavailable,
    /// The vote log did not confirm in time.
    OutcomeUnknown,
    /// The process is stopping.
    ShuttingDown,
    /// The store cannot be asked at present.
    StoreUnavailable,
    /// The process should get no requests at present.
    NotReady,
    /// A fault of ours.
    Internal,
}

/// Whether the same request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// It would be refused again.
    Never,
    /// After a while.
    Later,
}

impl ProblemType {
    /// All of them, for documentation and tests.
    pub const ALL: [Self; 22] = [
        Self::Malformed,
        Self::InvalidVote,
        Self::RequestTimeout,
        Self::UnknownCandidate,
        Self::UnknownPoll,
        Self::UnknownReceipt,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::PollNotOpen,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidKey,
        Self::Forbidden,
        Self::ReceiptRateLimited,
        Self::TooManyStreams,
        Self::Overloaded,
        Self::LogUnavailable,
        Self::OutcomeUnknown,
        Self::ShuttingDown,
        Self::StoreUnavailable,
        Self::NotReady,
        Self::Internal,
    ];

    /// The last part of its URI, stable for ever.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::InvalidVote => "invalid-vote",
            Self::RequestTimeout => "request-timeout",
            Self::UnknownCandidate => "unknown-candidate",
            Self::UnknownPoll => "unknown-poll",
            Self::UnknownReceipt => "unknown-receipt",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::PollNotOpen => "poll-not-open",
            Self::PayloadTooLarge => "payload-too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::InvalidKey => "invalid-key",
            Self::Forbidden => "forbidden",
            Self::ReceiptRateLimited => "receipt-rate-limited",
            Self::TooManyStreams => "too-many-streams",
            Self::Overloaded => "overloaded",
            Self::LogUnavailable => "log-unavailable",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::ShuttingDown => "shutting-down",
            Self::StoreUnavailable => "store-unavailable",
            Self::NotReady => "not-ready",
            Self::Internal => "internal",
        }
    }

    /// Its status code.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::InvalidKey => StatusCode::BAD_REQUEST,
            Self::InvalidVote => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UnknownCandidate | Self::UnknownPoll | Self::UnknownReceipt | Self::NotFound => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PollNotOpen => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::ReceiptRateLimited
            | Self::TooManyStreams
            | Self::Overloaded
            | Self::LogUnavailable
            | Self::OutcomeUnknown
            | Self::ShuttingDown
            | Self::StoreUnavailable
            | Self::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Malformed => "Pedido ilegível",
            Self::InvalidVote => "Isto não é um voto",
            Self::RequestTimeout => "O pedido demorou demais",
            Self::UnknownCandidate => "Candidato desconhecido",
            Self::UnknownPoll => "Votação desconhecida",
            Self::UnknownReceipt => "Recibo desconhecido",
            Self::NotFound => "Endereço desconhecido",
            Self::MethodNotAllowed => "Método não permitido",
            Self::PollNotOpen => "A votação não está aberta",
            Self::PayloadTooLarge => "Pedido grande demais",
            Self::UnsupportedMediaType => "Formato não aceito",
            Self::InvalidKey => "Chave de voto inválida",
            Self::Forbidden => "Acesso restrito",
            Self::ReceiptRateLimited => "Consultas demais",
            Self::TooManyStreams => "Muita gente acompanhando agora",
            Self::Overloaded => "Muita gente votando agora",
            Self::LogUnavailable => "Votação momentaneamente fora do ar",
            Self::OutcomeUnknown => "Não sabemos se o voto foi registrado",
            Self::ShuttingDown => "Servidor em troca",
            Self::StoreUnavailable => "Consulta momentaneamente fora do ar",
            Self::NotReady => "Servidor ainda não está pronto",
            Self::Internal => "Falha nossa",
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::Malformed => "O corpo do pedido não é JSON válido.",
            Self::InvalidVote => "O voto é um objeto JSON com um número inteiro: {\"voto\":1}.",
            Self::RequestTimeout => "O corpo do pedido não chegou a tempo. Nada foi registrado.",
            Self::UnknownCandidate => "Não há candidato com este número nesta votação.",
            Self::UnknownPoll => "Não há votação com este nome.",
            Self::UnknownReceipt => "Este recibo não foi emitido aqui.",
            Self::NotFound => "Não há nada neste endereço.",
            Self::MethodNotAllowed => "Este endereço não aceita este método.",
            Self::PollNotOpen => {
                "A votação ainda não abriu ou já foi encerrada. O voto não foi registrado."
            }
            Self::PayloadTooLarge => "O corpo de um voto tem no máximo 1 KiB.",
            Self::UnsupportedMediaType => "Envie o voto como application/json.",
            Self::InvalidKey => "Idempotency-Key tem de 16 a 128 caracteres ASCII visíveis.",
            Self::Forbidden => "Os números exatos são reservados à produção.",
            Self::ReceiptRateLimited => {
                "Há consultas de recibo demais agora. Tente de novo em instantes."
            }
            Self::TooManyStreams => {
                "Não há lugar para mais uma transmissão ao vivo. Os mesmos números estão em /parcial."
            }
            Self::Overloaded | Self::LogUnavailable | Self::ShuttingDown => {
                "O voto não foi registrado. Tente de novo em instantes, com a mesma chave."
            }
            Self::OutcomeUnknown => {
                "O voto pode ter sido registrado. Tente de novo com a mesma chave: ele não será contado duas vezes."
            }
            Self::StoreUnavailable => "A consulta não pôde ser feita. Tente de novo em instantes.",
            Self::NotReady => "Tente de novo em instantes.",
            Self::Internal => "Algo falhou do nosso lado. Tente de novo em instantes.",
        }
    }

    fn retry(self) -> Retry {
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE => Retry::Later,
            _ => Retry::Never,
        }
    }
}

/// A problem document as clients read it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemDocument {
    /// `/problemas/{slug}`: what kind of problem it is. Branch on this, not on the texts.
    #[serde(rename = "type")]
    #[schema(example = "/problemas/poll-not-open")]
    problem_type: String,
    /// In a few words, in Portuguese.
    title: &'static str,
    /// The status code again.
    #[schema(example = 409)]
    status: u16,
    /// What it means and what to do, in Portuguese.
    detail: &'static str,
    /// With 503: milliseconds to wait before sending the same request again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// One refusal, on its way to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    kind: ProblemType,
    allow: Option<&'static str>,
}

impl Problem {
    /// 405, with the methods that would have been right.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            kind: ProblemType::MethodNotAllowed,
            allow: Some(allow),
        }
    }

    /// What it is.
    pub fn kind(&self) -> ProblemType {
        self.kind
    }

    /// The answer.
    pub fn response(self) -> HttpResponse {
        self.response_with(|document| answer::json(&document))
    }

    /// The answer, with a body made of the document and more.
    pub(crate) fn response_with(self, body: impl FnOnce(ProblemDocument) -> Bytes) -> HttpResponse {
        let retry_after = match self.kind.retry() {
            Retry::Never => None,
            Retry::Later => Some(jittered()),
        };
        let mut response = HttpResponse::new(self.kind.status());
        let headers = response.headers_mut();
        insert_static(headers, CONTENT_TYPE_PROBLEM, answer::NO_STORE);
        if let Some(wait) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response.set_body(BoxBody::new(body(self.document(retry_after))))
    }

    fn document(self, retry_after: Option<Duration>) -> ProblemDocument {
        ProblemDocument {
            problem_type: format!("/problemas/{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: self.kind.detail(),
            retry_after_ms: retry_after.map(millis),
        }
    }
}

impl From<ProblemType> for Problem {
    fn from(kind: ProblemType) -> Self {
        Self { kind, allow: None }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind.slug())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}

fn jittered() -> Duration {
    Duration::from_millis(rand::rng().random_range(RETRY_AFTER_MS_MIN..RETRY_AFTER_MS_END))
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3), rounded up: never sooner than the milliseconds.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use actix_web::body::to_bytes;
    use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
    use serde_json::Value;

    use super::*;

    async fn document(problem: Problem) -> (HttpResponse<()>, Value) {
        let (head, body) = problem.response().into_parts();
        let body = to_bytes(body).await.unwrap();
        (head, serde_json::from_slice(&body).unwrap())
    }

    #[actix_web::test]
    async fn every_problem_says_its_type_its_status_and_what_to_do() {
        let mut slugs = HashSet::new();
        for kind in ProblemType::ALL {
            let (head, body) = document(kind.into()).await;
            assert!(slugs.insert(kind.slug()), "{} stands twice", kind.slug());
            assert_eq!(body["type"], format!("/problemas/{}", kind.slug()));
            assert_eq!(body["status"], head.status().as_u16());
            assert!(body["title"].as_str().unwrap().len() > 4);
            assert!(body["detail"].as_str().unwrap().ends_with(['.', '}']));
            assert_eq!(
                head.headers().get(CONTENT_TYPE).unwrap(),
                CONTENT_TYPE_PROBLEM
            );
            assert_eq!(head.headers().get(CACHE_CONTROL).unwrap(), "no-store");
        }
    }

    #[actix_web::test]
    async fn whoever_may_come_back_is_told_when_and_not_all_at_once() {
        let mut waits = HashSet::new();
        for _ in 0..50 {
            let (head, body) = document(ProblemType::Overloaded.into()).await;
            let ms = body["retry_after_ms"].as_u64().unwrap();
            let seconds: u64 = head
                .headers()
                .get(RETRY_AFTER)
                .unwrap()
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!(seconds >= 1 && seconds * 1000 >= ms && seconds * 1000 < ms + 1000);
            waits.insert(ms);
        }
        assert!(waits.len() > 10, "all at once: {waits:?}");
        let (head, body) = document(ProblemType::PollNotOpen.into()).await;
        assert!(body.get("retry_after_ms").is_none() && !head.headers().contains_key(RETRY_AFTER));
    }

    #[actix_web::test]
    async fn a_wrong_method_is_told_the_right_ones() {
        let (head, body) = document(Problem::method_not_allowed("POST")).await;
        assert_eq!(
            (
                head.headers().get(ALLOW).unwrap().as_bytes(),
                &body["status"]
            ),
            (&b"POST"[..], &405.into())
        );
    }
}
