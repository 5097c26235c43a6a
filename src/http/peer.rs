//! Whose request it is, as addresses go: the peer's, or what proxies that are trusted say.
//!
//! Each proxy appends the address that it was asked from, so `X-Forwarded-For` is read from the
//! right, for as long as the one that wrote an address is trusted. What stands further left was
//! written by the client and can say anything.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

use super::core::Core;
use super::service::Call;
use super::socket::Socket;

pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of a request's client.
pub fn client(call: &Call) -> IpAddr {
    let lines = call.headers().get_all(X_FORWARDED_FOR).iter();
    let trusted = trusted(&call.core, &call.socket);
    let lines = lines.map(HeaderValue::as_bytes);
    forwarded(of(&call.socket), lines, trusted)
}

/// Whose word counts on whom a connection's requests are from. On one whose proxy has named nobody it
/// is no proxy that wrote them.
pub fn trusted<'a>(core: &'a Core, socket: &Socket) -> &'a [IpNet] {
    if socket.is_unnamed() {
        return &[];
    }
    &core.shared.options.admission.trusted_proxies
}

/// The address that a connection is from. One that is gone by now has none, and needs none.
pub fn of(socket: &Socket) -> IpAddr {
    socket.peer().unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}

/// Whether an address is one of `networks`.
pub fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The address of the client of a request with these lines of `X-Forwarded-For`.
pub fn forwarded<'a>(
    peer: IpAddr,
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut client = peer.to_canonical();
    let entries = lines
        .rev()
        .flat_map(|line| line.rsplit(|&byte| byte == b','));
    for entry in entries {
        if !is_in(trusted, client) {
            break;
        }
        match address(entry) {
            Some(address) => client = address,
            // From here on there is nothing to rely on.
            None => break,
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:8080`, `2001:db8::1` or `[2001:db8::1]:8080`.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    address
        .or_else(with_port)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let lines = lines.iter().map(|line| line.as_bytes());
        forwarded(peer.parse().unwrap(), lines, &trusted).to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
    }

    #[test]
    fn trusted_proxies_are_walked_from_the_right() {
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, 198.51.100.7,10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1", "198.51.100.7", "10.9.9.9"]),
            "198.51.100.7"
        );
        assert_eq!(
            client("::ffff:10.0.0.1", &["[2001:db8::1]:443"]),
            "2001:db8::1"
        );
        assert_eq!(client("fd00::1", &["198.51.100.7:80"]), "198.51.100.7");
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        assert_eq!(
            client("10.0.0.1", &["198.51.100.7, unknown, 10.0.0.2"]),
            "10.0.0.2"
        );
        assert_eq!(client("10.0.0.1", &[""]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }
}
