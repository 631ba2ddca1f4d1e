//! Free ports for servers that cannot choose one themselves.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rand::RngExt;

/// Below the range from which the kernel gives client ports (32768 up, `ip_local_port_range`).
/// A client that connects to a server that is down, on a port of that range, can by chance be
/// given the very port it connects to, and then talks to itself.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

const TRIES: usize = 100;

/// An address on loopback that nobody listens on now.
pub fn free() -> io::Result<SocketAddr> {
    let mut dice = rand::rng();
    let mut last = io::Error::other("no port tried");
    for _ in 0..TRIES {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, dice.random_range(RANGE)));
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_listened_on_and_no_client_is_given_it() {
        let address = free().unwrap();
        assert!(RANGE.contains(&address.port()));
        assert!(TcpListener::bind(address).is_ok());
    }
}
