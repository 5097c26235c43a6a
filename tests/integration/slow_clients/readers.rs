//! Clients that read slowly, or not at all.

use std::net::TcpStream;

use socket2::{Domain, Socket, Type};

use super::{DEADLINE, GONE};
use crate::harness::{Connection, Launch, Server, eventually, get};

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

#[test]
fn a_reader_that_is_slow_but_reads_gets_all() {
    let launch = Launch::new().env("WRITE_TIMEOUT", "60s");
    launch.seed(20_000);
    let server = launch.start();
    let expected = server.anyone().ask(&get("/todos")).expect(200).body;
    let mut connection = narrow(&server);
    let response = connection.ask(&get("/todos")).unwrap().expect(200);
    assert!(response.body == expected);
}
