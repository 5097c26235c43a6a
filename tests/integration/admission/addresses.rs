//! Whose address counts: the peer's, unless a trusted proxy says otherwise.

use super::limited;
use crate::harness::{Connection, Ended, Launch, Server, get};

/// Reads are limited by address, to two for ever.
fn by_address() -> Launch {
    limited(2, 0).env("RATE_LIMIT_SCOPE", "all")
}

fn read_as(server: &Server, forwarded: &str) -> u16 {
    let read = get("/todos").with("X-Forwarded-For", forwarded);
    server.anyone().ask(&read).status
}

#[test]
fn a_stranger_cannot_choose_an_address() {
    let server = by_address().start();
    let statuses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|from| read_as(&server, from));
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn behind_a_trusted_proxy_each_client_has_a_bucket() {
    let server = by_address()
        .env("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")
        .start();
    for client in ["192.0.2.1", "192.0.2.2", "9.9.9.9, 192.0.2.3, 10.0.0.1"] {
        let statuses = [0; 3].map(|_| read_as(&server, client));
        assert_eq!(statuses, [200, 200, 429], "{client}");
    }
    // What the third client wrote itself counts for nothing.
    assert_eq!(read_as(&server, "8.8.8.8, 192.0.2.3, 10.0.0.1"), 429);
}

#[test]
fn a_network_of_ipv6_is_one_client() {
    let server = by_address().env("TRUSTED_PROXIES", "127.0.0.1").start();
    let statuses = ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:0:1::"]
        .map(|client| read_as(&server, client));
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(read_as(&server, "2001:db8:0:1::1"), 200);
}

/// The status of a read on a connection that begins with `front`, cut into two at every byte in
/// turn.
fn read_behind(server: &Server, front: &[u8], cut: usize) -> u16 {
    let mut connection = Connection::open(server.address());
    let read = get("/todos").bytes(&connection.authority());
    let bytes = [front, &read].concat();
    connection.send(&bytes[..cut]).unwrap();
    connection.send(&bytes[cut..]).unwrap();
    connection.response("GET").unwrap().status
}

#[test]
fn a_proxy_header_names_the_client() {
    let server = by_address()
        .env("TRUSTED_PROXIES", "127.0.0.1")
        .env("PROXY_PROTOCOL", "on")
        .start();
    let line = b"PROXY TCP4 192.0.2.1 127.0.0.1 40000 80\r\n";
    let statuses = [1, 20, line.len() + 5].map(|cut| read_behind(&server, line, cut));
    assert_eq!(statuses, [200, 200, 429]);
    let signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    let binary = [
        &signature[..],
        &[192, 0, 2, 2, 127, 0, 0, 1, 156, 64, 0, 80],
    ]
    .concat();
    let statuses = [3, 14, binary.len()].map(|cut| read_behind(&server, &binary, cut));
    assert_eq!(statuses, [200, 200, 429]);
    // The proxy looks whether we live, and is a client of its own then.
    assert_eq!(read_behind(&server, b"PROXY UNKNOWN\r\n", 3), 200);
}

#[test]
fn behind_a_proxy_that_names_nobody_a_client_cannot_choose_an_address() {
    let unix = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\0";
    for (front, hot_path) in [
        (&b"PROXY UNKNOWN\r\n"[..], "on"),
        (b"PROXY UNKNOWN\r\n", "off"),
        (unix, "on"),
    ] {
        let server = by_address()
            .env("TRUSTED_PROXIES", "127.0.0.1")
            .env("PROXY_PROTOCOL", "on")
            .env("HOT_PATH", hot_path)
            .start();
        let statuses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|from| {
            let mut connection = server.connect();
            let read = get("/todos").with("X-Forwarded-For", from);
            let read = read.bytes(&connection.authority());
            connection.send([front, &read].concat()).unwrap();
            connection.response("GET").unwrap().status
        });
        assert_eq!(statuses, [200, 200, 429], "{front:?} {hot_path}");
    }
}

#[test]
fn a_trusted_peer_without_its_header_is_refused_and_a_strangers_header_is_no_request() {
    let launch = |trusted| {
        by_address()
            .env("PROXY_PROTOCOL", "on")
            .env("TRUSTED_PROXIES", trusted)
            .start()
    };
    let trusting = launch("127.0.0.1");
    let mut connection = trusting.connect();
    let answer = connection.ask(&get("/todos")).unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(connection.end(), Ended::Closed);
    let strange = launch("192.0.2.0/24");
    let line = b"PROXY TCP4 192.0.2.1 127.0.0.1 40000 80\r\n";
    assert_eq!(read_behind(&strange, line, 4), 400);
    assert_eq!(strange.anyone().ask(&get("/todos")).status, 200);
}
