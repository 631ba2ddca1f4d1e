//! Every route, in the order in which addresses are compared with them.

use std::rc::Rc;
use std::time::Instant;

use actix_web::dev::{Service as _, ServiceRequest, ServiceResponse, fn_service};
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder};
use paredao_telemetry::metrics::{Label as _, Route, StatusClass, metrics};

use crate::problem::Problem;
use crate::vote::Worker;
use crate::{events, openapi, operator, receipts, redirects, results, show, total, vote};

/// Every route that is served, the ones in a hurry first.
pub const SERVED: [Route; 25] = [
    Route::Vote,
    Route::VoteNumber,
    Route::PollVote,
    Route::PollVoteNumber,
    Route::Home,
    Route::Partials,
    Route::Events,
    Route::Results,
    Route::Receipt,
    Route::Total,
    Route::Static,
    Route::PollHome,
    Route::PollPartials,
    Route::PollEvents,
    Route::PollResults,
    Route::PollReceipt,
    Route::PollTotal,
    Route::Live,
    Route::Ready,
    Route::Version,
    Route::OpenApi,
    Route::Swagger,
    Route::OldHome,
    Route::OldResults,
    Route::OldPanel,
];

/// Which methods a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Only POST.
    Post,
    /// Only GET: a stream has no end, so nothing of it is known without reading it.
    Get,
    /// GET and HEAD.
    GetAndHead,
}

impl Methods {
    /// As the header `Allow` names them.
    pub fn allow(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
            Self::GetAndHead => "GET, HEAD",
        }
    }
}

/// Which methods a route takes.
pub fn methods(route: Route) -> Methods {
    match route {
        Route::Vote | Route::VoteNumber | Route::PollVote | Route::PollVoteNumber => Methods::Post,
        Route::Events | Route::PollEvents => Methods::Get,
        _ => Methods::GetAndHead,
    }
}

/// Registers every route, and what answers where there is none.
pub(crate) fn configure(config: &mut ServiceConfig, worker: &Rc<Worker>) {
    for route in SERVED {
        register(config, route, worker);
    }
    config.default_service(web::to(nothing_here));
}

async fn nothing_here(request: HttpRequest) -> HttpResponse {
    let started = Instant::now();
    let response = show::nothing_here(&request);
    record(Route::Unmatched, &response, started);
    response
}

fn register(config: &mut ServiceConfig, route: Route, worker: &Rc<Worker>) {
    let resource = web::resource(patterns(route));
    match route {
        Route::Vote | Route::PollVote => votes(config, route, worker, vote::vote_in_body),
        Route::VoteNumber | Route::PollVoteNumber => {
            votes(config, route, worker, vote::vote_in_path);
        }
        Route::Home | Route::PollHome => reads(config, route, resource, show::home),
        Route::Partials | Route::PollPartials => reads(config, route, resource, results::partial),
        Route::Results | Route::PollResults => reads(config, route, resource, show::results),
        Route::Receipt | Route::PollReceipt => reads(config, route, resource, receipts::receipt),
        Route::Total | Route::PollTotal => reads(config, route, resource, total::total),
        Route::Events | Route::PollEvents => {
            measured(config, route, resource.route(web::get().to(events::events)));
        }
        Route::Static => reads(config, route, resource, show::static_file),
        Route::Live => reads(config, route, resource, operator::live),
        Route::Ready => reads(config, route, resource, operator::ready),
        Route::Version => reads(config, route, resource, operator::version),
        Route::OpenApi => reads(config, route, resource, openapi::document),
        Route::Swagger => reads(config, route, resource, openapi::swagger),
        Route::OldHome => reads(config, route, resource, redirects::index_html),
        Route::OldResults => reads(config, route, resource, redirects::resultado_html),
        Route::OldPanel => reads(config, route, resource, redirects::painel_html),
        // Not served yet, and what is counted where nothing is.
        Route::Panel | Route::Admin | Route::Unmatched => {}
    }
}

/// The patterns of a route: its name in the metrics, or what that name stands for.
fn patterns(route: Route) -> Vec<&'static str> {
    match route {
        Route::Static => vec!["/static/{file:.*}"],
        Route::Swagger => vec!["/swagger/{file:.*}", "/swagger"],
        Route::PollHome => vec!["/p/{poll}/", "/p/{poll}"],
        named => vec![named.value()],
    }
}

/// A route of votes: nothing before the handler, which looks at the method and counts itself.
fn votes<F, Answer>(config: &mut ServiceConfig, route: Route, worker: &Rc<Worker>, handler: F)
where
    F: Fn(Rc<Worker>, Route, ServiceRequest) -> Answer + Copy + 'static,
    Answer: Future<Output = Result<ServiceResponse, actix_web::Error>> + 'static,
{
    let worker = Rc::clone(worker);
    let service = move |request| handler(Rc::clone(&worker), route, request);
    config.service(web::service(patterns(route)).finish(fn_service(service)));
}

/// A route that is read.
fn reads<F, Args>(config: &mut ServiceConfig, route: Route, resource: Resource, handler: F)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let resource = resource
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler));
    measured(config, route, resource);
}

/// Counts every answer of a route, and answers other methods.
fn measured(config: &mut ServiceConfig, route: Route, resource: Resource) {
    let refused =
        move || async move { Problem::method_not_allowed(methods(route).allow()).response() };
    let counted = resource
        .default_service(web::to(refused))
        .wrap_fn(move |request, service| {
            let started = Instant::now();
            let call = service.call(request);
            async move {
                let answered = call.await?;
                record(route, answered.response(), started);
                Ok(answered)
            }
        });
    config.service(counted);
}

/// Counts one answered request.
pub(crate) fn record<B>(route: Route, response: &HttpResponse<B>, started: Instant) {
    let class = StatusClass::of(response.status().as_u16());
    metrics().http_requests.of(route).of(class).inc();
    let seconds = started.elapsed().as_secs_f64();
    metrics().http_request_seconds.of(route).observe(seconds);
}
