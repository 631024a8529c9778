//! Free ports of the loopback address.
//!
//! They are taken below the range from which the kernel gives out the ports of outgoing connections. A server that
//! is stopped and started again on its own port would otherwise now and then find a client sitting there.

use std::{
    collections::{BTreeSet, hash_map::RandomState},
    hash::BuildHasher,
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    sync::{Mutex, PoisonError},
};

/// Below 32768, where Linux begins to hand out ports to outgoing connections, and above the well-known servers.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// Collisions are rare even on a busy machine; this many in a row means that something else is wrong.
const ATTEMPTS: u16 = 200;

/// A port that nobody listens on now: `preferred` if it is free, else one chosen at random.
pub(crate) fn free(preferred: Option<u16>) -> io::Result<u16> {
    if let Some(port) = preferred.filter(|port| is_free(*port)) {
        return Ok(port);
    }
    let width = u64::from(RANGE.end - RANGE.start);
    let start = RandomState::new().hash_one(std::process::id()) % width;
    (0..ATTEMPTS)
        .map(|attempt| (start + u64::from(attempt) * 61) % width)
        .filter_map(|offset| u16::try_from(offset).ok())
        .map(|offset| RANGE.start + offset)
        .find(|port| is_free(*port) && is_first_asked(*port))
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, "no free port on 127.0.0.1"))
}

/// Whether this process has not given the port to anybody: who got it may not listen there yet.
fn is_first_asked(port: u16) -> bool {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_kept() {
        let port = free(None).unwrap();
        assert_eq!(free(Some(port)).unwrap(), port);
    }

    #[test]
    fn a_taken_port_is_replaced() {
        let port = free(None).unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let other = free(Some(port)).unwrap();
        assert_ne!(other, port);
        assert!(RANGE.contains(&other));
    }
}
