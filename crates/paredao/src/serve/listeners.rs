//! The addresses that are served.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::config::Config;
use crate::failure::Misuse;

/// Both listeners, bound.
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

/// Binds both addresses.
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
    let wrong = |error| Misuse::of(key, format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    Ok((listener, bound))
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
