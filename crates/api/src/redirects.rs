//! The addresses of the first version of this system, which printed matter still names.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};

use crate::answer;

/// Where a page is for good.
fn moved_to(location: &'static str) -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((LOCATION, location))
        .insert_header((CACHE_CONTROL, "public, max-age=86400"))
        .finish()
}

/// The vote page's old address.
#[utoipa::path(
    get,
    path = "/index.html",
    tag = "page",
    responses((status = 308, description = "Moved to `/`"))
)]
pub(crate) async fn index_html() -> HttpResponse {
    moved_to("/")
}

/// The results page's old address.
#[utoipa::path(
    get,
    path = "/resultado.html",
    tag = "page",
    responses((status = 308, description = "Moved to `/resultado`"))
)]
pub(crate) async fn resultado_html() -> HttpResponse {
    moved_to("/resultado")
}

/// The panel's old address.
///
/// Temporary, and kept by nobody: a deployment may not have a panel yet.
#[utoipa::path(
    get,
    path = "/painel.html",
    tag = "page",
    responses((status = 307, description = "For now at `/painel`", headers(("Cache-Control" = String, description = "`no-store`"))))
)]
pub(crate) async fn painel_html() -> HttpResponse {
    HttpResponse::TemporaryRedirect()
        .insert_header((LOCATION, "/painel"))
        .insert_header((CACHE_CONTROL, answer::NO_STORE))
        .finish()
}
