//! Clients that read slowly, or not at all.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::{DEADLINE, GONE, pause};
use crate::harness::{Connection, Launch, PATIENCE, Request, Server, eventually, get, post};

/// A connection whose receive buffer is so small that unread answers stay with the server.
fn narrow(server: &Server) -> Connection {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&server.address().into()).unwrap();
    Connection::of(TcpStream::from(socket), server.address()).unwrap()
}

#[test]
fn a_reader_that_stalls_is_closed_while_others_are_served() {
    let launch = Launch::new().env("WRITE_TIMEOUT", DEADLINE);
    launch.seed(20_000);
    let server = launch.start();
    let mut connection = narrow(&server);
    let authority = connection.authority();
    // More than the kernel buffers on its own.
    connection
        .send(get("/todos").bytes(&authority).repeat(8))
        .unwrap();
    server.anyone().ask(&get("/health")).expect(200);
    // Looks without reading, since that would end the stall.
    eventually("the server closes", GONE, || connection.send(b"\r\n").err());
    let whole = (0..8)
        .map_while(|_| connection.response("GET").ok())
        .count();
    assert!(whole < 8, "all was sent although nothing was read");
    server.anyone().ask(&get("/todos?limit=1")).expect(200);
}

/// What the readers below are given: more than all buffers of the kernel hold.
const LIST_BYTES: usize = 6 << 20;

/// The pace of a slow reader: it takes ten deadlines for the list, and more than one for what the
/// kernel lets drain of a full buffer before it says that there is room again.
const BYTES_A_SECOND: usize = 600_000;

/// A server whose clients may leave bytes unread for a second, with a long list.
fn server_with_a_long_list() -> Server {
    let server = Launch::new().env("WRITE_TIMEOUT", "1s").start();
    let mut alice = server.user("alice");
    // Characters of four bytes: todos as large as can be.
    let draft = json!({ "title": "t", "description": "\u{1f4a7}".repeat(10_000) });
    for _ in 0..=LIST_BYTES / 40_000 {
        alice.ask(&post("/todos", &draft)).expect(202);
    }
    alice.ask(&post("/todos", &draft).waiting()).expect(201);
    server
}

/// Reads `bytes` of the answer to a request for the list, no faster than [`BYTES_A_SECOND`].
fn read_slowly(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let started = Instant::now();
    let mut received = vec![];
    let mut buffer = vec![0; 16 * 1024];
    while received.len() < bytes {
        let room = buffer.len().min(bytes - received.len());
        let length = stream.read(&mut buffer[..room]).unwrap();
        assert_ne!(length, 0, "closed after {} bytes", received.len());
        received.extend(&buffer[..length]);
        // This is the slowness under test.
        while started.elapsed() * u32::try_from(BYTES_A_SECOND).unwrap()
            < Duration::from_secs(1) * u32::try_from(received.len()).unwrap()
        {
            pause();
        }
    }
    received
}

/// A plain read of the list, which the hot loop answers, and one that a handler does.
fn list_reads() -> [Request; 2] {
    let hot = get("/todos");
    [hot.clone(), hot.with("Consistency-Token", "0-0")]
}

fn asks_for_the_list(server: &Server, read: &Request) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.connect(&server.address().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&read.bytes("h")).unwrap();
    stream
}

#[test]
fn a_reader_that_is_slow_but_reads_gets_all() {
    let server = server_with_a_long_list();
    let expected = server.anyone().ask(&get("/todos")).expect(200).body;
    assert!(expected.len() > LIST_BYTES);
    let gets_all = |read: &Request| {
        let mut stream = asks_for_the_list(&server, read);
        let received = read_slowly(&mut stream, expected.len());
        let body = received.windows(4).position(|four| four == b"\r\n\r\n");
        let body = body.unwrap() + 4;
        let rest = read_slowly(&mut stream, body);
        assert!([&received[body..], &rest].concat() == expected, "{read:?}");
    };
    let [hot, handled] = &list_reads();
    thread::scope(|scope| {
        scope.spawn(|| gets_all(hot));
        gets_all(handled);
    });
}

#[test]
fn a_reader_that_stops_in_the_middle_is_closed() {
    let server = server_with_a_long_list();
    for read in &list_reads() {
        let mut stream = asks_for_the_list(&server, read);
        read_slowly(&mut stream, LIST_BYTES / 8);
        // Looks without reading. A closed connection refuses bytes in the end.
        eventually("the server closes", GONE, || {
            stream.write_all(b"\r\n").err()
        });
    }
    server.anyone().ask(&get("/todos?limit=1")).expect(200);
}

/// What a handler has answered with is sent to the end, whatever the signal.
#[test]
fn a_reader_that_is_slow_gets_all_of_a_server_that_ends() {
    let server = server_with_a_long_list();
    let expected = server.anyone().ask(&get("/todos")).expect(200).body;
    let [_, handled] = &list_reads();
    let mut stream = asks_for_the_list(&server, handled);
    let mut received = read_slowly(&mut stream, LIST_BYTES / 8);
    server.signal("TERM");
    let body = received.windows(4).position(|four| four == b"\r\n\r\n");
    let rest = body.unwrap() + 4 + expected.len() - received.len();
    received.extend(read_slowly(&mut stream, rest));
    assert!(received.ends_with(&expected));
    drop(stream);
    server.stop();
}
