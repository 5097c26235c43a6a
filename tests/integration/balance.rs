//! Connections are spread evenly over the serving cores, however few there are.

use crate::harness::{Connection, Launch, PATIENCE, Server, eventually, get};

const CORES: usize = 4;

fn server() -> Server {
    Launch::new()
        .env("SERVER_CORES", &CORES.to_string())
        .start()
}

/// Connections, each of which is certain to be served by now.
fn connect(server: &Server, count: usize) -> Vec<Connection> {
    let connect = |_| {
        let mut connection = server.connect();
        connection.ask(&get("/todos")).unwrap().expect(200);
        connection
    };
    (0..count).map(connect).collect()
}

/// Open connections of each core, the one that asks included.
fn open(asks: &mut Connection) -> Vec<usize> {
    let text = asks.ask(&get("/metrics")).unwrap().expect(200).text();
    let of_core = |nth| {
        let name = format!("http_connections_open{{core=\"{nth}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap().parse().unwrap()
    };
    (0..CORES).map(of_core).collect()
}

#[test]
fn a_few_connections_are_spread_evenly() {
    let server = server();
    let mut connections = connect(&server, 6 * CORES);
    assert_eq!(open(&mut connections[0]), [6; CORES]);
    // The kernel alone would have had to be this lucky.
    let text = connections[0].ask(&get("/metrics")).unwrap().text();
    let passed_on = text
        .lines()
        .find_map(|line| line.strip_prefix("http_connections_passed_on_total "));
    assert_ne!(passed_on.unwrap(), "0");
}

#[test]
fn who_comes_later_fills_up_what_has_become_free() {
    let server = server();
    let mut connections = connect(&server, 6 * CORES);
    // One of three stays, wherever that is.
    let mut nth = 0;
    connections.retain(|_| {
        nth += 1;
        nth % 3 == 0
    });
    eventually("they are gone", PATIENCE, || {
        let open: usize = open(&mut connections[0]).iter().sum();
        (open == 2 * CORES).then_some(())
    });
    connections.append(&mut connect(&server, 4 * CORES));
    assert_eq!(open(&mut connections[0]), [6; CORES]);
}
