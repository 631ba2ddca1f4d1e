//! The two servers: one for the public, one for metrics.
//!
//! They are what `actix_web::HttpServer` makes, put together here so that every connection can be
//! watched from below HTTP (see [`crate::patience`]).

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, Server, ServerHandle, fn_service};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, ServiceConfig};
use rustix::net::sockopt;

use crate::options::ApiOptions;
use crate::patience::{self, Limits, Patience};
use crate::problem::Problem;
use crate::room::Room;
use crate::vote::Worker;
use crate::{operator, routes, show};

/// Connections that wait to be accepted: a spike of voters arrives within a second. The kernel
/// lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 16_384;
/// How long a connection that was answered without reading its request to the end is kept, so
/// that the client can read the answer.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections to the metrics port.
const METRICS_CONNECTIONS_MAX: usize = 64;

/// How large a server is.
struct Size {
    workers: usize,
    connections_max: usize,
    stop_timeout: Duration,
}

/// Binds the public server to a listener. It serves as soon as it is awaited, and stops only
/// through its handle: the program's own sequence decides when.
pub(crate) fn public(
    room: web::Data<Room>,
    listener: TcpListener,
) -> io::Result<(Server, ServerHandle)> {
    let options = room.options.clone();
    let size = Size {
        workers: options.workers,
        connections_max: per_worker(options.connections_max, options.workers),
        stop_timeout: options.stop_timeout,
    };
    serve(listener, &options, &size, move |config| {
        configure(config, &room);
    })
}

/// Every public route, on the thread of the worker that will serve them.
fn configure(config: &mut ServiceConfig, room: &web::Data<Room>) {
    config
        .app_data(room.clone())
        .app_data(web::Data::new(room.health.clone()));
    routes::configure(config, &Rc::new(Worker::new(room.clone())));
}

/// Binds the metrics server to a listener.
pub(crate) fn metrics(
    room: &web::Data<Room>,
    listener: TcpListener,
) -> io::Result<(Server, ServerHandle)> {
    let health = web::Data::new(room.health.clone());
    let size = Size {
        workers: 1,
        connections_max: METRICS_CONNECTIONS_MAX,
        stop_timeout: Duration::ZERO,
    };
    serve(listener, &room.options, &size, move |config| {
        config.app_data(health.clone());
        configure_metrics(config);
    })
}

fn configure_metrics(config: &mut ServiceConfig) {
    let refused = || async { Problem::method_not_allowed("GET").response() };
    let get = |path, route| {
        web::resource(path)
            .route(route)
            .default_service(web::to(refused))
    };
    config
        .service(get("/metrics", web::get().to(operator::metrics_text)))
        .service(get("/live", web::get().to(operator::live)))
        .service(get("/ready", web::get().to(operator::ready)))
        .service(get("/version", web::get().to(operator::version)))
        .default_service(web::to(
            |request| async move { show::nothing_here(&request) },
        ));
}

/// A server of what `configure` says, called once on every worker's thread.
fn serve(
    listener: TcpListener,
    options: &ApiOptions,
    size: &Size,
    configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> io::Result<(Server, ServerHandle)> {
    prepare(&listener, options.unread_timeout)?;
    let address = listener.local_addr()?;
    let limits = Limits::of(options);
    let (keep_alive, request_timeout) = (options.keep_alive, options.request_timeout);
    let builder = Server::build()
        .disable_signals()
        .workers(size.workers)
        .max_concurrent_connections(size.connections_max)
        .shutdown_timeout(size.stop_timeout.as_secs().max(1));
    let stop = builder.graceful_shutdown_signal();
    let server = builder.listen(address.to_string(), listener, move || {
        let stop = stop.clone();
        let app = App::new().configure(&configure).into_factory();
        let app = app.map_err(|error| error.error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stop = stop.clone();
                async move { stop.notified().await }
            })
            .keep_alive(keep_alive)
            .client_request_timeout(request_timeout)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .local_addr(address)
            .finish(map_config(app, |()| AppConfig::default()));
        let patience = Patience::begin(limits);
        fn_service(move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            let watched = patience.watch(stream);
            async move { Ok((watched, Protocol::Http1, peer)) }
        })
        .and_then(http)
        .map_err(|error| patience::count(&error))
    })?;
    let server = server.run();
    let handle = server.handle();
    Ok((server, handle))
}

/// Sets what accepted connections inherit.
///
/// The standard library listens with a backlog of 128; listening again on Linux only changes it.
/// `TCP_USER_TIMEOUT` (tcp(7)) also covers data that cannot be sent because the reader's window is
/// closed: without it a stream that nobody reads would live for ever.
fn prepare(listener: &TcpListener, unread_timeout: Duration) -> io::Result<()> {
    let millis = u32::try_from(unread_timeout.as_millis()).unwrap_or(u32::MAX);
    rustix::net::listen(listener, BACKLOG)?;
    sockopt::set_tcp_user_timeout(listener, millis)?;
    sockopt::set_tcp_nodelay(listener, true)?;
    Ok(())
}

fn per_worker(connections_max: usize, workers: usize) -> usize {
    connections_max.div_ceil(workers.max(1)).max(1)
}
