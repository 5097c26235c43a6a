//! The listener of `ADMIN_PORT`: for those who look after a server, also when it is full.

use std::net::{SocketAddr, TcpListener};

use serde_json::json;

use crate::harness::{Client, Connection, Ended, Launch, Server, get, post};

/// A server with an admin listener, and its address.
fn with_admin(launch: Launch) -> (Server, SocketAddr) {
    // Nothing tells which port the server took, so it is told one that was free just now.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let server = launch
        .env("ADMIN_PORT", &address.port().to_string())
        .start();
    (server, address)
}

#[test]
fn the_admin_listener_has_the_metrics_and_the_public_one_has_not() {
    let (server, admin) = with_admin(Launch::new());
    for target in ["/metrics", "/dashboard", "/dashboard/points"] {
        server.anyone().ask(&get(target)).problem(404);
    }
    server.anyone().ask(&get("/todos")).expect(200);
    let mut admin = Client::new(admin, None);
    for target in [
        "/health",
        "/livez",
        "/ready",
        "/readyz",
        "/metrics",
        "/dashboard",
        "/dashboard/points",
        "/dashboard/uplot.js",
    ] {
        admin.ask(&get(target)).expect(200);
    }
    admin.ask(&get("/todos")).problem(404);
}

#[test]
fn the_admin_listener_serves_when_the_public_one_is_full() {
    let (server, admin) = with_admin(Launch::new().env("MAX_CONNECTIONS", "4"));
    let token = format!("Bearer {}", server.launch().token("alice"));
    let request = post("/todos", &json!({ "title": "t" }))
        .with("Authorization", &token)
        .with("Expect", "100-continue");
    let bytes = request.bytes("h");
    let (head, body) = bytes.split_at(bytes.len() - request.body.unwrap().len());
    let mut busy: Vec<Connection> = (0..4).map(|_| server.connect()).collect();
    for connection in &mut busy {
        connection.send(head).unwrap();
        // Only now it is certain that the connection is busy.
        connection.response("POST").unwrap().expect(100);
    }
    for target in ["/health", "/ready", "/metrics"] {
        match server.connect().ask(&get("/health")) {
            Ok(response) => drop(response.problem(503)),
            Err(ended) => assert_ne!(ended, Ended::TimedOut),
        }
        Client::new(admin, None).ask(&get(target)).expect(200);
    }
    for connection in &mut busy {
        connection.send(body).unwrap();
        connection.response("POST").unwrap().expect(202);
    }
}
