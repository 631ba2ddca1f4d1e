//! The addresses that are served.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind as bind_socket, socket_with, sockopt,
};

use crate::config::Config;
use crate::failure::Misuse;

/// Both listeners, bound and not listening yet.
pub(super) struct Listeners {
    /// For voters and production.
    pub(super) public: TcpListener,
    /// For metrics.
    pub(super) metrics: TcpListener,
    /// Where they are.
    pub(super) addresses: Addresses,
}

/// Where a process is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// By voters and production.
    pub(crate) listen: SocketAddr,
    /// For metrics.
    pub(crate) metrics: SocketAddr,
}

/// Takes both addresses, so that one in use is known before anything is opened. Nobody is let in:
/// a client that comes while the log is read is refused at once, where it would otherwise wait.
pub(super) fn bind(config: &Config) -> Result<Listeners, Misuse> {
    let (public, listen) = bind_one("listen", config.listen)?;
    let (metrics, metrics_listen) = bind_one("metrics_listen", config.metrics_listen)?;
    let addresses = Addresses {
        listen,
        metrics: metrics_listen,
    };
    Ok(Listeners {
        public,
        metrics,
        addresses,
    })
}

fn bind_one(key: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Misuse> {
    let wrong = |error| refusal(key, address, &error);
    let listener = bind_silent(address).map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    Ok((listener, bound))
}

/// What `TcpListener::bind` does, without its listen(2).
fn bind_silent(address: SocketAddr) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connections of a process that ended moments ago do not keep its address (socket(7)).
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind_socket(&socket, &address)?;
    Ok(TcpListener::from(socket))
}

/// Why an address cannot be served.
pub(super) fn refusal(key: &str, address: SocketAddr, error: &io::Error) -> Misuse {
    Misuse::of(key, format!("cannot listen on {address}: {error}"))
}

/// An address as a browser on this machine can use it: "every interface" is none.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
