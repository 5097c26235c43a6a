//! More clients than `MAX_CONNECTIONS`: idle ones make room, the others are refused.

use std::time::Duration;

use crate::harness::{Connection, Ended, Launch, PATIENCE, Server, eventually, get};

/// A second and what a busy machine adds to it; an idle connection stays open for 75 s otherwise.
const SOON: Duration = Duration::from_secs(15);

/// When what is not answered is left waiting: longer than a busy machine takes for an answer.
const LEFT: Duration = Duration::from_secs(5);

/// Whether the connection is served now. What is not is refused with 503, closed or left waiting.
fn is_served(connection: &mut Connection) -> bool {
    connection.patience(LEFT);
    match connection.ask(&get("/health")) {
        Ok(response) if response.status == 200 => true,
        Ok(response) => {
            response.problem(503);
            false
        }
        Err(Ended::Garbled(bytes)) => panic!("{bytes:?}"),
        Err(Ended::Closed | Ended::Reset | Ended::TimedOut) => false,
    }
}

#[test]
fn no_more_connections_than_the_limit_are_served_at_once() {
    let server = Launch::new().env("MAX_CONNECTIONS", "8").start();
    let mut held: Vec<Connection> = (0..16).map(|_| server.connect()).collect();
    // Once to be let in or not, and once more: an idle one may have been given up for another.
    for connection in &mut held {
        is_served(connection);
    }
    let answers = held.iter_mut().map(is_served);
    let at_once = answers.filter(|served| *served).count();
    assert!((1..=8).contains(&at_once), "{at_once} are served at once");
    drop(held);
    served_again(&server);
}

#[test]
fn an_idle_connection_makes_room_for_the_first_newcomer() {
    let launch = Launch::new()
        .env("MAX_CONNECTIONS", "8")
        .env("SERVER_CORES", "1");
    let server = launch.start();
    let mut held: Vec<Connection> = (0..8).map(|_| server.connect()).collect();
    for connection in &mut held {
        connection.ask(&get("/health")).unwrap().expect(200);
    }
    let mut newcomer = server.connect();
    newcomer.ask(&get("/health")).unwrap().expect(200);
    let others = held.iter_mut().map(is_served);
    let kept = others.filter(|served| *served).count();
    assert_eq!(kept, 7, "one made room");
    newcomer.ask(&get("/health")).unwrap().expect(200);
}

#[test]
fn an_idle_connection_of_another_core_makes_room_soon() {
    let launch = Launch::new()
        .env("MAX_CONNECTIONS", "1")
        .env("SERVER_CORES", "2");
    let server = launch.start();
    let mut held = server.connect();
    held.ask(&get("/health")).unwrap().expect(200);
    // Each comes to the other core: that one has no connection, and so none to end.
    for _ in 0..8 {
        held = eventually("a newcomer is served", SOON, || {
            let mut newcomer = server.connect();
            is_served(&mut newcomer).then_some(newcomer)
        });
    }
    drop(held);
}

fn served_again(server: &Server) {
    eventually("a new connection is served", PATIENCE, || {
        let mut connection = Connection::try_open(server.address()).ok()?;
        connection.patience(Duration::from_secs(1));
        let response = connection.ask(&get("/health")).ok()?;
        (response.status == 200).then_some(())
    });
}
