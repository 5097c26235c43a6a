//! `millpond seed`, with and without a server, and what a second server may not share.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::harness::{Launch, Server, get};

/// Checks that the list is the seed of so many, newest on top, and nothing else.
#[track_caller]
fn is_seed(server: &Server, todos: usize) {
    let list = server.anyone().todos();
    assert_eq!(list.len(), todos);
    for (todo, n) in list.iter().zip((1..=todos).rev()) {
        assert_eq!(todo["title"], format!("Todo {n}"));
        assert_eq!(todo["description"], format!("Description for todo {n}"));
        assert_eq!(todo["user_id"], "seed-user");
        assert_eq!(todo["completed"], false);
    }
}

#[test]
fn ten_thousand_todos_are_seeded_without_a_server() {
    let launch = Launch::new();
    launch.seed(10_000);
    let server = launch.start();
    is_seed(&server, 10_000);
    let page = server
        .anyone()
        .ask(&get("/todos?limit=3"))
        .expect(200)
        .list();
    assert_eq!(page[0]["title"], "Todo 10000");
}

#[test]
fn a_running_server_shows_a_seed_at_once() {
    let server = Launch::new().start();
    server.launch().seed(10_000);
    is_seed(&server, 10_000);
    server.user("alice").create("on top");
    assert_eq!(server.anyone().todos()[0]["title"], "on top");
    let server = server.kill().start();
    assert_eq!(server.anyone().todos().len(), 10_001);
}

#[test]
fn seeding_again_doubles_nothing() {
    let launch = Launch::new();
    launch.seed(50);
    launch.seed(50);
    let server = launch.start();
    is_seed(&server, 50);
    launch.seed(50);
    is_seed(&server, 50);
    launch.seed(80);
    assert_eq!(server.anyone().todos().len(), 80);
    launch.seed(20);
    assert_eq!(server.anyone().todos().len(), 80);
    let server = server.stop().start();
    assert_eq!(server.anyone().todos().len(), 80);
}

#[test]
fn a_seed_that_makes_no_sense_is_refused() {
    let launch = Launch::new();
    for todos in ["-1", "many", "", "1e4"] {
        let output = launch.run(&["seed", "--todos", todos]);
        assert!(!output.status.success(), "{todos:?}");
        assert!(!output.stderr.is_empty(), "{todos:?}");
    }
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let server = Launch::new().start();
    let Err(exited) = server.launch().try_start() else {
        panic!("two servers write to one directory");
    };
    assert!(!exited.status.success());
    let directory = server.launch().data().display().to_string();
    let clear = exited.stderr.contains(&directory) || exited.stderr.contains("DATA_DIR");
    assert!(clear, "{}", exited.stderr);
    // The first one goes on, and its end frees the directory.
    server.user("alice").create("t");
    let server = server.kill().start();
    assert_eq!(server.anyone().todos().len(), 1);
}

#[test]
fn a_second_server_on_the_same_port_is_refused() {
    let server = Launch::new().start();
    let port = server.address().port().to_string();
    let Err(exited) = Launch::new().env("HTTP_PORT", &port).try_start() else {
        panic!("two servers share one port");
    };
    assert!(!exited.status.success());
    let named = exited.stderr.contains(&port) || exited.stderr.contains("HTTP_PORT");
    assert!(named, "{}", exited.stderr);
    for _ in 0..10 {
        server.anyone().ask(&get("/health")).expect(200);
    }
}

#[test]
fn a_silent_client_of_the_control_socket_holds_a_seed_up_for_seconds_only() {
    let server = Launch::new().start();
    let silent = UnixStream::connect(server.launch().data().join("control.sock")).unwrap();
    let started = Instant::now();
    server.launch().seed(10);
    let lasted = started.elapsed();
    assert!(lasted < Duration::from_secs(8), "seeded after {lasted:?}");
    is_seed(&server, 10);
    drop(silent);
}
