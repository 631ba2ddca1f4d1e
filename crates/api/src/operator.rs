//! What operators and their machines ask: alive, ready, which version, metrics.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use paredao_telemetry::health::{Health, Report};
use paredao_telemetry::metrics;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::problem::{Problem, ProblemDocument, ProblemType};

/// The text format of Prometheus.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The answer of `/live`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Live {
    /// Always true: whoever answers lives.
    live: bool,
}

/// The answer of `/version`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Version {
    #[schema(example = "paredao")]
    name: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// Whether the process may be sent votes, and what it is made of.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    ready: bool,
    /// Whether it is on its way out.
    stopping: bool,
    components: Vec<Part>,
}

/// A part of the process.
#[derive(Serialize, ToSchema)]
pub(crate) struct Part {
    #[schema(example = "snapshot")]
    name: &'static str,
    /// `ready`, `unready`, `ended` or `died`.
    #[schema(example = "ready")]
    state: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A readiness that is none: the problem document, and the parts.
#[derive(Serialize, ToSchema)]
pub(crate) struct NotReady {
    #[serde(flatten)]
    problem: ProblemDocument,
    #[serde(flatten)]
    readiness: Readiness,
}

impl From<Report> for Readiness {
    fn from(report: Report) -> Self {
        let parts = report.components.iter().map(|component| Part {
            name: component.name,
            state: component.state.name(),
            reason: component.state.reason().map(str::to_owned),
        });
        Self {
            ready: report.ready,
            stopping: report.stopping,
            components: parts.collect(),
        }
    }
}

/// Whether the process lives.
#[utoipa::path(
    get,
    path = "/live",
    tag = "operator",
    responses((status = 200, description = "It does", body = Live))
)]
pub(crate) async fn live() -> HttpResponse {
    answer::with_json(StatusCode::OK, answer::json(&Live { live: true }))
}

/// Whether the process may be sent votes.
///
/// Turns 503 as soon as a stop begins, while votes are still served for some seconds.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "operator",
    responses(
        (status = 200, description = "It may", body = Readiness),
        (status = 503, description = "`not-ready`: names the parts that are not", body = NotReady, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds, with jitter"))),
    )
)]
pub(crate) async fn ready(health: web::Data<Health>) -> HttpResponse {
    let report = health.report();
    if report.ready {
        let body = answer::json(&Readiness::from(report));
        return answer::with_json(StatusCode::OK, body);
    }
    Problem::from(ProblemType::NotReady).response_with(|problem| {
        answer::json(&NotReady {
            problem,
            readiness: report.into(),
        })
    })
}

/// Which release this is.
#[utoipa::path(
    get,
    path = "/version",
    tag = "operator",
    responses((status = 200, description = "Name and version", body = Version))
)]
pub(crate) async fn version() -> HttpResponse {
    let body = answer::json(&Version {
        name: "paredao",
        version: env!("CARGO_PKG_VERSION"),
    });
    answer::with_json(StatusCode::OK, body)
}

/// Every metric; on the metrics port only.
pub(crate) async fn metrics_text() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, METRICS_TEXT))
        .insert_header((CACHE_CONTROL, answer::NO_STORE))
        .body(metrics::gather_text())
}
