//! The hot loop against hyper's own way: whatever bytes come, in whatever cuts, a server with the
//! loop and one without send the same bytes and end the connection at the same place.
//!
//! Both servers have the same todos and one core. What they may differ in is masked: the time and
//! the request ids that they make. Streams that only read are compared to the byte; where writes
//! change the list, ids, times and tags are masked as well.

mod clients;
mod corpus;
mod exchange;
mod limited;
mod streams;

use rand::RngExt;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{
    Client, Dice, Launch, PATIENCE, Server, dice, eventually, get, head, number_from_env, post,
};
use exchange::{CODED, CODINGS, Last, assert_alike, exchange, mask_time_and_ids};
use streams::Known;

/// How many streams of each kind a run tries, unless told otherwise.
const STREAMS: u64 = 250;

/// Asks for more of them: the number.
const STREAMS_ASKED: &str = "MILLPOND_STREAMS";

/// Todos in the list: more than fit an answer that is kept whole.
const TODOS: usize = 300;

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
        let wants = || {
            CODED
                .iter()
                .flat_map(|target| CODINGS.map(|coding| (target, coding)))
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
        self.sides.each_mut().map(|(server, probe)| {
            // One core takes its connections in turn: what was sent is read before the second of
            // these, though a new connection may be accepted behind the first.
            let settle = || {
                for _ in 0..2 {
                    probe.ask(&get("/health")).expect(200);
                }
            };
            exchange(server.address(), settle, parts, last)
        })
    }

    #[track_caller]
    fn compare(&mut self, parts: &[&[u8]], last: Last, mask: fn(&mut [u8])) {
        let mut sent = self.exchange(parts, last);
        for bytes in &mut sent {
            mask_time_and_ids(bytes);
            mask(bytes);
        }
        assert_alike(parts, &sent);
    }
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
    for kept in corpus::kept() {
        // Shown should it fail.
        eprintln!("{}", kept.name);
        for last in kept.lasts() {
            for parts in kept.cuts() {
                pair.compare(&parts, *last, nothing_more);
            }
        }
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
