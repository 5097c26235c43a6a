//! SIGTERM and SIGINT lose no request that was received.

mod load;
mod waiting;

use std::time::{Duration, Instant};

use crate::harness::{Connection, Ended, Launch, PATIENCE, Server, eventually, get};

/// Long enough for all that is under way, short enough to tell an end from a hang.
const GRACE: &str = "20s";

/// What orderly ends are asked for with.
const SIGNALS: [&str; 2] = ["TERM", "INT"];

/// With enough cores for most connections to be passed on from one to another.
fn server() -> Server {
    Launch::new()
        .env("SHUTDOWN_GRACE", GRACE)
        .env("SERVER_CORES", "4")
        .start()
}

/// Waits until the server takes no more connections: it has seen the signal by then.
fn until_it_listens_no_more(server: &Server) {
    eventually("connections are refused", PATIENCE, || {
        Connection::try_open(server.address()).err()
    });
}

/// Exit code 0, long before the grace ends.
#[track_caller]
fn ends_well(server: &mut Server) {
    let status = server.wait(Duration::from_secs(15));
    assert_eq!(status.code(), Some(0), "{}", server.stderr());
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
}

#[test]
fn a_server_without_work_ends_at_once() {
    for signal in SIGNALS {
        let mut server = server();
        server.anyone().ask(&get("/health")).expect(200);
        server.signal(signal);
        ends_well(&mut server);
        let expected = format!("listening on http://{}\n", server.address());
        assert_eq!(server.stdout(), expected, "standard output is one line");
    }
}

#[test]
fn an_idle_connection_gets_one_last_answer() {
    for signal in SIGNALS {
        let mut server = server();
        let mut connection = server.connect();
        let first = connection.ask(&get("/todos")).unwrap().expect(200);
        assert!(!first.closes());
        server.signal(signal);
        until_it_listens_no_more(&server);
        assert!(server.runs(), "an idle connection is kept");
        let last = connection.ask(&get("/todos")).unwrap().expect(200);
        assert!(last.closes());
        assert_eq!(connection.end(), Ended::Closed);
        ends_well(&mut server);
    }
}

#[test]
fn an_idle_connection_is_kept_no_longer_than_the_grace() {
    let mut server = Launch::new().env("SHUTDOWN_GRACE", "1s").start();
    let mut connection = server.connect();
    connection.ask(&get("/health")).unwrap().expect(200);
    server.signal("TERM");
    ends_well(&mut server);
    assert!(matches!(connection.end(), Ended::Closed | Ended::Reset));
}

#[test]
fn readiness_fails_first_while_requests_are_served() {
    let launch = Launch::new()
        .env("SHUTDOWN_DELAY", "5s")
        .env("SHUTDOWN_GRACE", GRACE);
    let mut server = launch.start();
    server.anyone().ask(&get("/ready")).expect(200);
    server.signal("TERM");
    eventually("/ready is 503", Duration::from_secs(4), || {
        let response = server.anyone().ask(&get("/ready"));
        (response.status != 200).then(|| response.problem(503))
    });
    server.anyone().ask(&get("/readyz")).problem(503);
    server.anyone().ask(&get("/health")).expect(200);
    server.anyone().ask(&get("/todos")).expect(200);
    let todo = server.user("alice").create("during the delay");
    assert!(server.anyone().todos().contains(&todo));
    ends_well(&mut server);
    assert_eq!(server.launch().start().anyone().todos(), [todo]);
}

#[test]
fn a_second_start_finds_all_that_the_first_left() {
    let server = server();
    let todo = server.user("alice").create("kept");
    let launch = server.stop();
    let server = launch.start();
    assert_eq!(server.anyone().todos(), [todo]);
}

#[test]
fn a_second_signal_ends_the_wait_for_an_idle_connection() {
    for signal in SIGNALS {
        let mut server = server();
        let mut connection = server.connect();
        connection.ask(&get("/health")).unwrap().expect(200);
        server.signal("TERM");
        until_it_listens_no_more(&server);
        assert!(server.runs(), "an idle connection is kept");
        server.signal(signal);
        server.wait(Duration::from_secs(3));
        assert!(matches!(connection.end(), Ended::Closed | Ended::Reset));
    }
}

#[test]
fn senders_of_garbage_do_not_outlast_the_grace() {
    /// From one sender's first bytes to those of the next.
    const STEP: Duration = Duration::from_millis(100);
    /// Enough of them that the last one begins long after the grace.
    const SENDERS: u32 = 100;
    /// The grace, and what a busy machine adds to it.
    const MOST: Duration = Duration::from_secs(5);
    let mut server = Launch::new().env("SHUTDOWN_GRACE", "2s").start();
    let mut connections: Vec<Connection> = (0..SENDERS).map(|_| server.connect()).collect();
    for connection in &mut connections {
        connection.ask(&get("/health")).unwrap().expect(200);
    }
    let started = Instant::now();
    server.signal("TERM");
    eventually("the process ends", PATIENCE, || {
        let begun = started.elapsed().div_duration_f64(STEP);
        let senders = connections.iter_mut().zip(0_u32..);
        for (connection, _) in senders.filter(|(_, nth)| f64::from(*nth) < begun) {
            drop(connection.send("garbage\r\n\r\n"));
        }
        (!server.runs()).then_some(())
    });
    let lasted = started.elapsed();
    assert!(lasted < MOST, "ended after {lasted:?}");
}
