//! One connection with a server: what is sent on it and in which parts, and what comes back, with
//! what two servers may differ in masked. The fuzz targets build this file as well: it knows
//! nothing of who starts the servers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Prefixes that streams ask for often.
pub const TARGETS: [&str; 4] = [
    "/todos?limit=1",
    "/todos?limit=7",
    "/todos?limit=100",
    "/todos",
];

/// What is asked for in all codings before streams are compared: as many as a snapshot keeps in brotli
/// and zstd. Another one then stays gzip, or one side might have it made before the other.
pub const CODED: [&str; 8] = [
    TARGETS[0],
    TARGETS[1],
    TARGETS[2],
    TARGETS[3],
    "/todos?limit=2",
    "/todos?limit=3",
    "/todos?limit=4",
    "/todos?limit=5",
];

pub const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

/// A kept stream pauses where this byte stands, until what comes before it has been read; the byte
/// is not sent. Bytes like it, which mean nothing in a head, there are enough besides.
pub const PAUSE: u8 = 0xfe;

/// Longer than any answer takes, and than what a server waits for by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// The request that ends a stream, and how its answer is known.
const LAST_ID: &str = "the-last-request";

fn last_request() -> Vec<u8> {
    format!("GET /health HTTP/1.1\r\nHost: h\r\nX-Request-Id: {LAST_ID}\r\n\r\n").into()
}

/// How a stream ends.
#[derive(Clone, Copy)]
pub enum Last {
    /// One more request is sent; the end is its answer, or the server's close before it.
    Request,
    /// The client sends no more.
    Finish,
}

/// The parts of a kept stream.
#[must_use]
pub fn parts(stream: &[u8]) -> Vec<&[u8]> {
    stream.split(|byte| *byte == PAUSE).collect()
}

/// Sends the parts and gives all that comes back. `settle` returns when the server has read what was
/// sent before.
pub fn exchange(
    address: SocketAddr,
    mut settle: impl FnMut(),
    parts: &[&[u8]],
    last: Last,
) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for part in parts {
        // A server that has closed refuses; what it said counts.
        drop(stream.write_all(part));
        settle();
    }
    match last {
        Last::Request => drop(stream.write_all(&last_request())),
        Last::Finish => drop(stream.shutdown(Shutdown::Write)),
    }
    let mut received = vec![];
    let mut buffer = [0; 16 << 10];
    while !is_answer_to_last(&received) {
        match stream.read(&mut buffer) {
            Ok(0) => {
                received.extend(b"[closed]");
                break;
            }
            Ok(length) => received.extend(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                received.extend(b"[closed]");
                break;
            }
            Err(error) => panic!("{error}, after {:?}", String::from_utf8_lossy(&received)),
        }
    }
    received
}

fn is_answer_to_last(received: &[u8]) -> bool {
    let tail = &received[received.len().saturating_sub(400)..];
    let tail = String::from_utf8_lossy(tail);
    tail.contains(LAST_ID) && tail.ends_with("\r\n\r\nOK")
}

/// `Date`, and the request ids (`UUIDv4`) that servers make, in a head or a problem.
pub fn mask_time_and_ids(bytes: &mut [u8]) {
    const DATE: &[u8] = b"date: ";
    /// A longer line is a list.
    const LINE_BYTES_MAX: usize = 2_048;
    for line in bytes.split_mut(|byte| *byte == b'\n') {
        if line.starts_with(DATE) {
            line[DATE.len()..].fill(b'D');
        } else if line.len() <= LINE_BYTES_MAX {
            for at in 0..line.len() {
                if is_made_id(&line[at..]) {
                    line[at..at + 36].fill(b'I');
                }
            }
        }
    }
}

fn is_made_id(bytes: &[u8]) -> bool {
    let Some(id) = bytes.get(..36) else {
        return false;
    };
    let is_right = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        14 => *byte == b'4',
        _ => byte.is_ascii_hexdigit(),
    };
    id.iter().enumerate().all(is_right)
}

/// # Panics
/// Where the sides differ: the message shows the stream, and each side around the first difference.
#[track_caller]
pub fn assert_alike(parts: &[&[u8]], [hot, cold]: &[Vec<u8>; 2]) {
    if hot == cold {
        return;
    }
    let at = hot.iter().zip(cold).take_while(|(a, b)| a == b).count();
    let shown = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.saturating_sub(200)..])
            .chars()
            .take(600)
            .collect::<String>()
    };
    let parts: Vec<_> = parts
        .iter()
        .map(|part| String::from_utf8_lossy(part))
        .collect();
    panic!(
        "for {parts:?}\nthe loop sends {} bytes, hyper {}; around byte {at}\n\
         the loop: {:?}\n   hyper: {:?}",
        hot.len(),
        cold.len(),
        shown(hot),
        shown(cold)
    );
}
