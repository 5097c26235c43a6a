//! A signal in the middle of many writers: no request on an open connection is left unanswered.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use super::{SIGNALS, ends_well, server};
use crate::harness::{Connection, PATIENCE, Server, eventually, post};

const WRITERS: usize = 8;

/// Writes on one connection until the server announces its end, and gives the titles it has
/// acknowledged.
fn write_until_told_to_close(server: &Server, writer: usize, count: &AtomicUsize) -> Vec<String> {
    let token = format!(
        "Bearer {}",
        server.launch().token(&format!("writer {writer}"))
    );
    let mut connection: Connection = server.connect();
    let mut titles = vec![];
    loop {
        let title = format!("{writer}-{}", titles.len());
        let request = post("/todos", &json!({ "title": title })).with("Authorization", &token);
        let response = connection.ask(&request).unwrap().expect(202);
        titles.push(title);
        count.fetch_add(1, Ordering::Relaxed);
        if response.closes() {
            return titles;
        }
    }
}

#[test]
fn a_signal_under_load_loses_nothing() {
    for signal in SIGNALS {
        let mut server = server();
        let count = AtomicUsize::new(0);
        let titles: HashSet<String> = thread::scope(|scope| {
            let (server, count) = (&server, &count);
            let write = |n| scope.spawn(move || write_until_told_to_close(server, n, count));
            let writers: Vec<_> = (0..WRITERS).map(write).collect();
            let so_far = || count.load(Ordering::Relaxed);
            eventually("writes are under way", PATIENCE, || {
                (so_far() > 200).then_some(())
            });
            server.signal(signal);
            writers
                .into_iter()
                .flat_map(|writer| writer.join().unwrap())
                .collect()
        });
        ends_well(&mut server);
        let todos = server.launch().start().anyone().todos();
        assert_eq!(todos.len(), titles.len());
        assert!(
            todos
                .iter()
                .all(|todo| titles.contains(todo["title"].as_str().unwrap()))
        );
    }
}
