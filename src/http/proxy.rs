//! The PROXY protocol, versions 1 and 2: what a proxy says about a connection before its first byte.
//!
//! It is read from trusted peers only, and there it must stand: the protocol forbids to guess, since
//! a client could write such a header, too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::socket::{End, Socket};

/// Bytes of a header, at most. Version 1 has no more than 107; in version 2 proxies add up to some
/// hundred bytes of their own.
const HEADER_BYTES_MAX: usize = 2 << 10;
/// Bytes of a first version's line, at most.
const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes in front of the addresses of version 2.
const FRONT_BYTES: usize = 16;

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
enum Front {
    /// More must come.
    Part,
    /// A header of so many bytes, and whom it is from: `None` is the proxy itself.
    Whole(usize, Option<IpAddr>),
    /// No header of the protocol, or more than will be read.
    Malformed,
}

/// Reads the header off the socket, which knows its client from then on. `false` where there is none.
///
/// # Errors
/// The end of the connection from outside, its deadlines included.
pub async fn read(socket: &Socket) -> Result<bool, End> {
    let mut bytes = Vec::new();
    loop {
        match front(&bytes) {
            Front::Whole(length, client) => {
                bytes.drain(..length);
                socket.proxied(client, bytes);
                return Ok(true);
            }
            Front::Malformed => return Ok(false),
            Front::Part => {}
        }
        if socket.read_front(&mut bytes).await? == 0 {
            return Ok(false);
        }
    }
}

fn front(bytes: &[u8]) -> Front {
    let begins = |with: &[u8]| bytes.len().min(with.len());
    if bytes[..begins(SIGNATURE)] == SIGNATURE[..begins(SIGNATURE)] {
        return second_version(bytes);
    }
    let word = b"PROXY ";
    if bytes[..begins(word)] == word[..begins(word)] {
        return first_version(bytes);
    }
    Front::Malformed
}

fn first_version(bytes: &[u8]) -> Front {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < LINE_BYTES_MAX {
            Front::Part
        } else {
            Front::Malformed
        };
    };
    let line = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words[..] {
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", "TCP4", source, to, from_port, to_port] => {
            let addresses = source
                .parse::<Ipv4Addr>()
                .ok()
                .zip(to.parse::<Ipv4Addr>().ok());
            ports(from_port, to_port)
                .and(addresses)
                .map(|(source, _)| Some(source.into()))
        }
        ["PROXY", "TCP6", source, to, from_port, to_port] => {
            let addresses = source
                .parse::<Ipv6Addr>()
                .ok()
                .zip(to.parse::<Ipv6Addr>().ok());
            ports(from_port, to_port)
                .and(addresses)
                .map(|(source, _)| Some(source.into()))
        }
        _ => None,
    };
    match client {
        Some(client) if end + 2 <= LINE_BYTES_MAX => Front::Whole(end + 2, client),
        _ => Front::Malformed,
    }
}

fn ports(from: &str, to: &str) -> Option<(u16, u16)> {
    from.parse().ok().zip(to.parse().ok())
}

fn second_version(bytes: &[u8]) -> Front {
    let Some((front, rest)) = bytes.split_at_checked(FRONT_BYTES) else {
        return Front::Part;
    };
    let (version_command, family) = (front[12], front[13]);
    let length = usize::from(u16::from_be_bytes([front[14], front[15]]));
    if FRONT_BYTES + length > HEADER_BYTES_MAX {
        return Front::Malformed;
    }
    let Some((addresses, _)) = rest.split_at_checked(length) else {
        return Front::Part;
    };
    let whole = |client| Front::Whole(FRONT_BYTES + length, client);
    match (version_command, family) {
        (0x21, 0x11) => match addresses.first_chunk::<4>() {
            Some(source) if length >= 12 => whole(Some(Ipv4Addr::from(*source).into())),
            _ => Front::Malformed,
        },
        (0x21, 0x21) => match addresses.first_chunk::<16>() {
            Some(source) if length >= 36 => whole(Some(Ipv6Addr::from(*source).into())),
            _ => Front::Malformed,
        },
        // LOCAL, which is the proxy itself and whether we live, or an address that means nothing
        // here: an unknown one, a datagram's or a Unix socket's.
        (0x20, _) | (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => whole(None),
        _ => Front::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[0x20 | command, family][..], &length, addresses].concat()
    }

    fn whole(length: usize, client: Option<&str>) -> Front {
        Front::Whole(length, client.map(|client| client.parse().unwrap()))
    }

    #[test]
    fn both_versions_name_the_client() {
        let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 80\r\nGET / HTTP/1.1\r\n";
        assert_eq!(front(line), whole(40, Some("192.0.2.7")));
        let line = b"PROXY TCP6 2001:db8::7 fd00::1 40000 80\r\n";
        assert_eq!(front(line), whole(line.len(), Some("2001:db8::7")));
        let four = v2(
            1,
            0x11,
            &[192, 0, 2, 7, 10, 0, 0, 1, 156, 64, 0, 80, 0x04, 0, 1, 9],
        );
        assert_eq!(front(&four), whole(32, Some("192.0.2.7")));
        let mut addresses = [0; 36];
        addresses[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(
            front(&v2(1, 0x21, &addresses)),
            whole(52, Some("2001:db8::7"))
        );
    }

    #[test]
    fn a_proxy_may_speak_for_itself() {
        assert_eq!(front(b"PROXY UNKNOWN\r\n"), whole(15, None));
        assert_eq!(front(&v2(0, 0, &[])), whole(16, None));
        assert_eq!(front(&v2(1, 0x31, &[0; 216])), whole(232, None));
    }

    #[test]
    fn a_header_may_come_in_parts() {
        let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 80\r\n".to_vec();
        let binary = v2(1, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 156, 64, 0, 80]);
        for header in [line, binary] {
            for end in 0..header.len() {
                assert_eq!(front(&header[..end]), Front::Part, "{end}");
            }
            assert!(matches!(front(&header), Front::Whole(..)));
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n",
            b"PROXY TCP4 2001:db8::7 10.0.0.1 40000 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 70000\r\n",
            &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat(),
            &v2(1, 0x11, &[192, 0, 2]),
            &v2(2, 0x11, &[0; 12]),
            &v2(1, 0x11, &[0; HEADER_BYTES_MAX]),
        ] {
            assert_eq!(front(bytes), Front::Malformed, "{bytes:?}");
        }
    }
}
