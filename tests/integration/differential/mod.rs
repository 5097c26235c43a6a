//! The hot loop against hyper's own way: whatever bytes come, in whatever cuts, a server with the
//! loop and one without send the same bytes and end the connection at the same place.
//!
//! Both servers have the same todos and one core. What they may differ in is masked: the time and
//! the request ids that they make. Streams that only read are compared to the byte; where writes
//! change the list, ids, times and tags are masked as well.

mod clients;
mod corpus;
mod limited;
mod streams;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use rand::RngExt;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{
    Client, Dice, Launch, PATIENCE, Server, dice, eventually, get, head, number_from_env, post,
};
use streams::Known;

/// How many streams of each kind a run tries, unless told otherwise.
const STREAMS: u64 = 250;

/// Asks for more of them: the number.
const STREAMS_ASKED: &str = "MILLPOND_STREAMS";

/// Todos in the list: more than fit an answer that is kept whole.
const TODOS: usize = 300;

/// The request that ends a stream, and how its answer is known.
const LAST_ID: &str = "the-last-request";

fn last_request() -> Vec<u8> {
    format!("GET /health HTTP/1.1\r\nHost: h\r\nX-Request-Id: {LAST_ID}\r\n\r\n").into()
}

/// How a stream ends.
#[derive(Clone, Copy)]
enum Last {
    /// One more request is sent; the end is its answer, or the server's close before it.
    Request,
    /// The client sends no more.
    Finish,
}

/// A server with the loop and one without, and a connection to each that tells when what was sent
/// before has been read.
struct Pair {
    sides: [(Server, Client); 2],
    known: Known,
    _copy: TempDir,
}

impl Pair {
    fn start() -> Self {
        Self::with(&[])
    }

    /// Two servers with these settings.
    fn with(settings: &[(&str, &str)]) -> Self {
        let mut hot = Launch::new()
            .env("SERVER_CORES", "1")
            .env("HEAD_TIMEOUT", "60s")
            .env("BODY_TIMEOUT", "60s")
            .env("BODY_LIMIT_BYTES", "2048");
        for (name, value) in settings {
            hot = hot.env(name, value);
        }
        hot.seed(TODOS);
        let copy = hot.data_copied();
        let path = copy.path().display().to_string();
        let cold = hot.clone().env("DATA_DIR", &path).env("HOT_PATH", "off");
        let sides = [hot.start(), cold.start()].map(|server| {
            let probe = server.anyone();
            (server, probe)
        });
        let known = Known::of(&sides[0].0);
        let pair = Self {
            sides,
            known,
            _copy: copy,
        };
        pair.wait_for_codings();
        pair
    }

    /// Encodings follow a snapshot, some once they were asked for. What is there is compared, not
    /// when it comes.
    fn wait_for_codings(&self) {
        let servers = || self.sides.iter().map(|(server, _)| server);
        let codings = ["gzip", "br", "zstd"];
        let wants = || {
            streams::TARGETS
                .iter()
                .flat_map(|target| codings.map(|coding| (target, coding)))
        };
        let has = |server: &Server, target: &str, coding: &str| {
            let request = get(target)
                .with("Accept-Encoding", coding)
                .with("X-Forwarded-For", &clients::stranger());
            let response = server.anyone().ask(&request).expect(200);
            response.header("Content-Encoding") == Some(coding)
        };
        for (server, (target, coding)) in
            servers().flat_map(|server| wants().map(move |want| (server, want)))
        {
            has(server, target, coding);
        }
        eventually("all codings are made", PATIENCE, || {
            let mut all = servers().flat_map(|server| wants().map(move |want| (server, want)));
            all.all(|(server, (target, coding))| has(server, target, coding))
                .then_some(())
        });
    }

    /// What each side sends, until it or the client closes.
    fn exchange(&mut self, parts: &[&[u8]], last: Last) -> [Vec<u8>; 2] {
        self.sides
            .each_mut()
            .map(|(server, probe)| exchange(server.address(), probe, parts, last))
    }

    #[track_caller]
    fn compare(&mut self, parts: &[&[u8]], last: Last, mask: fn(&mut [u8])) {
        let mut sent = self.exchange(parts, last);
        for bytes in &mut sent {
            mask_time_and_ids(bytes);
            mask(bytes);
        }
        let [hot, cold] = &sent;
        if hot != cold {
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
    }
}

/// Sends the parts, each after the one before has been read, and gives all that comes back.
fn exchange(address: SocketAddr, probe: &mut Client, parts: &[&[u8]], last: Last) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for part in parts {
        // A server that has closed refuses; what it said counts.
        drop(stream.write_all(part));
        // One core takes its connections in turn: the part is read before the second of these,
        // though a new connection may be accepted behind the first.
        for _ in 0..2 {
            probe.ask(&get("/health")).expect(200);
        }
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

/// `Date`, and the request ids (`UUIDv4`) that servers make.
fn mask_time_and_ids(bytes: &mut [u8]) {
    const DATE: &[u8] = b"\r\ndate: ";
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(DATE) {
            let value = at + DATE.len();
            let end = bytes.len().min(value + 29);
            bytes[value..end].fill(b'D');
        }
        if is_made_id(&bytes[at..]) {
            bytes[at..at + 36].fill(b'I');
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

/// Ids, times and tags of todos that were made by either server.
fn mask_todos(bytes: &mut [u8]) {
    for byte in bytes {
        if byte.is_ascii_hexdigit() {
            *byte = b'x';
        }
    }
}

fn nothing_more(_: &mut [u8]) {}

fn streams_asked() -> u64 {
    number_from_env(STREAMS_ASKED).unwrap_or(STREAMS)
}

/// Cuts the bytes at a few random places, or not at all.
fn cut<'a>(dice: &mut Dice, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let count = dice.random_range(0..4).max(1) - 1;
    let mut places: Vec<usize> = (0..count)
        .map(|_| dice.random_range(0..=bytes.len()))
        .collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|two| &bytes[two[0]..two[1]])
        .collect()
}

fn compare_kept(pair: &mut Pair) {
    for stream in corpus::streams() {
        pair.compare(&[&stream], Last::Request, nothing_more);
        let (first, second) = stream.split_at(stream.len() / 2);
        pair.compare(&[first, second], Last::Request, nothing_more);
    }
}

fn compare_any(pair: &mut Pair, streams: u64) {
    let mut dice = dice();
    for _ in 0..streams {
        let stream = streams::requests(&mut dice, &pair.known);
        let parts = cut(&mut dice, &stream);
        pair.compare(&parts, Last::Request, nothing_more);
    }
}

fn compare_damaged(pair: &mut Pair, streams: u64) {
    let mut dice = dice();
    for _ in 0..streams {
        let mut stream = streams::reads(&mut dice, &pair.known);
        streams::damage(&mut dice, &mut stream);
        let parts = cut(&mut dice, &stream);
        pair.compare(&parts, Last::Finish, nothing_more);
    }
}

#[test]
fn the_kept_streams_are_answered_alike() {
    compare_kept(&mut Pair::start());
}

#[test]
fn requests_of_any_kind_are_answered_alike() {
    compare_any(&mut Pair::start(), streams_asked());
}

#[test]
fn requests_that_were_damaged_are_answered_alike() {
    compare_damaged(&mut Pair::start(), streams_asked());
}

#[test]
fn a_stream_that_breaks_off_is_answered_alike() {
    let mut pair = Pair::start();
    let mut dice = dice();
    for _ in 0..streams_asked() / 4 {
        let mut stream = streams::reads(&mut dice, &pair.known);
        stream.truncate(dice.random_range(0..stream.len()));
        let parts = cut(&mut dice, &stream);
        pair.compare(&parts, Last::Finish, nothing_more);
    }
}

#[test]
fn reads_among_writes_are_answered_alike() {
    let mut pair = Pair::start();
    let mut dice = dice();
    for _ in 0..streams_asked() / 4 {
        let stream = streams::with_writes(&mut dice, &pair.known);
        let parts = cut(&mut dice, &stream);
        pair.compare(&parts, Last::Request, mask_todos);
    }
}

#[test]
fn plain_reads_are_hot_whatever_stands_between_them() {
    let server = Launch::new().start();
    let token = server.launch().token("alice");
    let write = post("/todos", &json!({ "title": "t" }))
        .with("Authorization", &format!("Bearer {token}"))
        .waiting();
    let mut connection = server.connect();
    for request in [
        get("/todos"),
        write,
        get("/health"),
        head("/todos?limit=1"),
        get("/todos?limit=0"),
    ] {
        connection.ask(&request).unwrap();
    }
    let metrics = server.anyone().ask(&get("/metrics")).expect(200).text();
    let count = |name: &str| metrics.lines().any(|line| line == name);
    assert!(count("http_hot_requests_total 2"), "{metrics}");
}

#[test]
fn a_list_is_the_same_to_a_reader_of_any_pace() {
    let mut pair = Pair::start();
    let ask = get("/todos").bytes("h").repeat(40);
    pair.compare(&[&ask], Last::Request, nothing_more);
}
