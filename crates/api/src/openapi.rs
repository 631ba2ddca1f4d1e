//! The API's own description: `/openapi.json`, and `/swagger/` to read it.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, Required};
use utoipa_swagger_ui::{Config, SwaggerFile};

use crate::answer;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::{events, operator, receipts, redirects, results, show, total, vote};

/// What the pages of Swagger UI may load. Its styles are set by script, its pictures are in its
/// style sheet; everything else comes from here.
const SWAGGER_CSP: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Addresses that also exist for each poll by name.
const OF_EVERY_POLL: [&str; 8] = [
    "/",
    "/votar",
    "/votar/{n}",
    "/parcial",
    "/resultado",
    "/eventos",
    "/recibo/{receipt}",
    "/total",
];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Paredão",
        description = "Votes, counted exactly once.\n\n\
            Every address without `/p/{poll}` means the principal poll of the moment: who shows \
            a poll to somebody names it in what is sent for them. Refusals are problem \
            documents (RFC 9457); branch on `type`. Equal `Idempotency-Key`s are one vote for \
            `key_life_s` seconds after the first acceptance (180 unless the poll says otherwise).\n\n\
            What is no HTTP request never reaches an address and is answered without a body, on a \
            connection that is then closed: 400 (unreadable), 408 (its head did not come in time), \
            431 (its head is too large). A connection on which a later request stops halfway is \
            closed without an answer."
    ),
    paths(
        vote::vote_in_body,
        vote::vote_in_path,
        show::home,
        results::partial,
        show::results,
        events::events,
        receipts::receipt,
        total::total,
        show::static_file,
        operator::live,
        operator::ready,
        operator::version,
        document,
        swagger,
        redirects::index_html,
        redirects::resultado_html,
        redirects::painel_html,
    ),
    tags(
        (name = "voter", description = "Voting and reading results"),
        (name = "production", description = "Exact numbers"),
        (name = "operator", description = "Running it"),
        (name = "page", description = "What browsers show"),
        (name = "developer", description = "This description"),
    )
)]
struct Described;

/// The whole description.
pub fn description() -> OpenApi {
    let mut description = Described::openapi();
    for path in OF_EVERY_POLL {
        if let Some(item) = description.paths.paths.get(path) {
            let named = of_named_poll(item.clone());
            description
                .paths
                .paths
                .insert(format!("/p/{{poll}}{path}"), named);
        }
    }
    description
}

/// The same for a poll by its name.
fn of_named_poll(mut item: PathItem) -> PathItem {
    for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
        add_poll(operation);
    }
    item
}

fn add_poll(operation: &mut Operation) {
    let id = operation.operation_id.take().unwrap_or_default();
    operation.operation_id = Some(format!("{id}_of_poll"));
    operation
        .parameters
        .get_or_insert_default()
        .insert(0, poll_parameter().into());
}

fn poll_parameter() -> Parameter {
    ParameterBuilder::new()
        .name("poll")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(
            "The poll's name: 1 to 40 characters of a-z, 0-9 and '-'",
        ))
        .schema(Some(utoipa::schema!(String)))
        .build()
}

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| answer::json(&description()));

static SWAGGER: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    // Without a validator: the page asks nobody but this server.
    Arc::new(
        Config::from("/openapi.json")
            .validator_url("none")
            .try_it_out_enabled(true),
    )
});

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "developer",
    responses((status = 200, description = "OpenAPI", content_type = "application/json"))
)]
pub(crate) async fn document() -> HttpResponse {
    answer::with_json(StatusCode::OK, Bytes::clone(&DOCUMENT))
}

/// Swagger UI.
#[utoipa::path(
    get,
    path = "/swagger/{file}",
    tag = "developer",
    params(("file" = String, Path, description = "Empty for the page itself")),
    responses(
        (status = 200, description = "The page or one of its files", content_type = "text/html"),
        (status = 308, description = "`/swagger` moved to `/swagger/`"),
        (status = 404, description = "`not-found`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn swagger(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let Some(path) = request.match_info().get("file") else {
        return Ok(HttpResponse::PermanentRedirect()
            .insert_header((LOCATION, "/swagger/"))
            .finish());
    };
    match utoipa_swagger_ui::serve(path, Arc::clone(&SWAGGER)) {
        Ok(Some(file)) => Ok(swagger_file(file)),
        Ok(None) => Err(ProblemType::NotFound.into()),
        Err(error) => {
            tracing::error!(event = "swagger_not_served", %error);
            Err(ProblemType::Internal.into())
        }
    }
}

fn swagger_file(file: SwaggerFile<'static>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, file.content_type))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, SWAGGER_CSP))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if file.gzpipped {
        response.insert_header((CONTENT_ENCODING, "gzip"));
    }
    match file.bytes {
        Cow::Borrowed(bytes) => response.body(Bytes::from_static(bytes)),
        Cow::Owned(bytes) => response.body(bytes),
    }
}
