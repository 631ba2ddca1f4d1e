//! The addresses of the first version of this system, which printed matter still names.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};

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
#[utoipa::path(
    get,
    path = "/painel.html",
    tag = "page",
    responses((status = 308, description = "Moved to `/painel`"))
)]
pub(crate) async fn painel_html() -> HttpResponse {
    moved_to("/painel")
}
