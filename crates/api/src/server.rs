//! The two servers: one for the public, one for metrics.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpServer};
use rustix::net::sockopt;

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

/// Binds the public server to a listener. It serves as soon as it is awaited, and stops only
/// through its handle: the program's own sequence decides when.
pub(crate) fn public(
    room: web::Data<Room>,
    listener: TcpListener,
) -> io::Result<(Server, ServerHandle)> {
    let options = room.options.clone();
    prepare(&listener, options.unread_timeout)?;
    let app = move || {
        // Runs once on every worker's thread.
        actix_web::rt::spawn(room.intake.answer_bell());
        App::new().configure(|config| configure(config, &room))
    };
    let server = HttpServer::new(app)
        .disable_signals()
        .workers(options.workers)
        .max_connections(per_worker(options.connections_max, options.workers))
        .keep_alive(options.keep_alive)
        .client_request_timeout(options.request_timeout)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .shutdown_timeout(options.stop_timeout.as_secs().max(1))
        .listen(listener)?
        .run();
    let handle = server.handle();
    Ok((server, handle))
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
    prepare(&listener, room.options.unread_timeout)?;
    let app = move || {
        App::new()
            .app_data(health.clone())
            .configure(configure_metrics)
    };
    let server = HttpServer::new(app)
        .disable_signals()
        .workers(1)
        .max_connections(METRICS_CONNECTIONS_MAX)
        .client_request_timeout(room.options.request_timeout)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .shutdown_timeout(1)
        .listen(listener)?
        .run();
    let handle = server.handle();
    Ok((server, handle))
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
