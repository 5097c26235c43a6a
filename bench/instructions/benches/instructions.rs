//! Instructions of the product's inner parts, counted by Valgrind: the same on a busy machine as on
//! a quiet one, so a change of a few per cent is seen. They say nothing about the kernel, caches or
//! waiting; `make bench` does.

use std::hint::black_box;

use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group, main};
use hyper::header::{AUTHORIZATION, HeaderMap};
use millpond::domain::{
    Action, Applied, Change, Command, Decision, Hash128, Range, State, Timestamp, Todo, decide,
};
use millpond::http::auth::{Authenticator, Key, Options, sign};
use millpond::http::{Desk, Route, Tokens};
use millpond::snapshot::{Builder, Coding, Pin, Published, Slice, Snapshot, body};
use uuid::Uuid;

/// As many as `make bench` holds.
const TODOS: u32 = 10_000;
/// Changes of a batch.
const CHANGES: u32 = 100;

fn todo(nth: u32) -> Todo {
    let at = Timestamp::from_micros(1_760_000_000_000_000 + i64::from(nth));
    Todo {
        id: Uuid::from_u128(u128::from(nth) << 64 | 0x8000_0000_0000_0000),
        title: format!("Water the garden {nth}"),
        description: "Before the weekend, and not later than that.".to_owned(),
        completed: false,
        user_id: format!("user-{}", nth % 1_000),
        created_at: at,
        updated_at: at,
    }
}

fn snapshot() -> Snapshot {
    let mut builder = Builder::new();
    for nth in 0..TODOS {
        builder.push(&todo(nth));
    }
    builder.build(vec![0])
}

/// Never freed, so that freeing it is not counted.
fn pinned() -> &'static Pin {
    Box::leak(Box::new(Published::new(snapshot()).reader().current()))
}

fn command(action: &str) -> Command {
    let todo = todo(7);
    let action = match action {
        "create" => Action::Create {
            id: todo.id,
            title: todo.title,
            description: todo.description,
        },
        "update" => Action::Update {
            id: todo.id,
            title: todo.title,
            description: todo.description,
            completed: true,
            if_match: None,
        },
        _ => Action::Delete {
            id: todo.id,
            if_match: None,
        },
    };
    Command {
        user: todo.user_id,
        at: todo.created_at,
        key: None,
        action,
    }
}

fn command_and_state(action: &str) -> (Command, Option<Todo>) {
    (command(action), (action != "create").then(|| todo(7)))
}

fn changes() -> Vec<Change> {
    let change = |nth| Change {
        partition: 0,
        id: todo(nth * 90).id,
        was: Some(todo(nth * 90).created_at),
        now: Some(Todo {
            completed: true,
            ..todo(nth * 90)
        }),
    };
    (0..CHANGES).map(change).collect()
}

fn split(changes: &[Change]) -> Applied {
    let range = Range {
        partition: 0,
        from: 0,
        to: CHANGES.into(),
    };
    Applied::split(&[range], changes, &[]).remove(0)
}

fn applied() -> Applied {
    split(&changes())
}

#[library_benchmark]
#[bench::todos("/todos")]
#[bench::todo("/todos/019a0000-0000-7000-8000-000000000000")]
#[bench::unknown("/todo")]
fn route(path: &str) -> bool {
    Route::of(black_box(path)) == Route::Unknown
}

// One request, of which most came before on the core.
#[library_benchmark]
#[bench::first(args = ("/todos?limit=1", ""), setup = reading)]
#[bench::hundred(args = ("/todos?limit=100", ""), setup = reading)]
#[bench::all(args = ("/todos", ""), setup = reading)]
#[bench::not_modified(args = ("/todos?limit=1", "If-None-Match: *\r\n"), setup = reading)]
#[bench::anew(args = ("/todos?limit=1", ""), setup = reading_anew)]
fn hot_read((mut desk, requests): (Desk, String)) -> (usize, Desk, String) {
    (
        desk.rehearse(black_box(requests.as_bytes())),
        desk,
        requests,
    )
}

#[library_benchmark]
#[bench::first(setup = presenting)]
#[bench::again(setup = presenting_again)]
fn token(
    (authenticator, headers, mut tokens): (Authenticator, HeaderMap, Tokens),
) -> (bool, Tokens) {
    let user = authenticator.user(black_box(&headers), &mut tokens, now());
    (user.is_ok(), tokens)
}

#[library_benchmark]
#[bench::first(args = (1,), setup = with_pin)]
#[bench::hundred(args = (100,), setup = with_pin)]
#[bench::all(args = (usize::MAX,), setup = with_pin)]
fn slice_and_tag((pin, limit): (&Pin, usize)) -> (Slice, Hash128, Option<u64>) {
    let slice = pin.first(black_box(limit));
    (
        slice,
        pin.tag(&slice),
        pin.body_bytes(&slice, Coding::Identity),
    )
}

#[library_benchmark]
#[bench::first(args = (1,), setup = with_pin)]
#[bench::hundred(args = (100,), setup = with_pin)]
#[bench::all(args = (usize::MAX,), setup = with_pin)]
fn body_as_chunks((pin, limit): (&Pin, usize)) -> usize {
    let slice = pin.first(black_box(limit));
    body(pin, slice, Coding::Identity).map_or(0, Iterator::count)
}

#[library_benchmark]
#[bench::of_10000_todos(args = (7_777,), setup = with_pin_and_id)]
fn find_by_id((pin, id): (&Pin, Uuid)) -> usize {
    pin.find(black_box(id)).map_or(0, |item| item.json.len())
}

#[library_benchmark]
#[bench::batch_of_100(setup = renewing)]
fn renew_snapshot((snapshot, applied): (Snapshot, Vec<Applied>)) -> (Snapshot, Snapshot) {
    let next = snapshot.renew(black_box(&applied));
    (snapshot, next)
}

#[library_benchmark]
#[bench::create(args = ("create",), setup = command_and_state)]
#[bench::update(args = ("update",), setup = command_and_state)]
#[bench::delete(args = ("delete",), setup = command_and_state)]
fn decide_command((command, todo): (Command, Option<Todo>)) -> (Decision, Command, Option<Todo>) {
    let state = State {
        todo: todo.as_ref(),
        stock_left: true,
        ..State::default()
    };
    (decide(state, black_box(&command)), command, todo)
}

#[library_benchmark]
#[bench::create(args = ("create",), setup = command)]
fn command_encode(command: Command) -> (Vec<u8>, Command) {
    (black_box(&command).encode(), command)
}

#[library_benchmark]
#[bench::create(args = ("create",), setup = encoded_command)]
fn command_decode(mut bytes: Vec<u8>) -> (Command, Vec<u8>) {
    let command = Command::decode(black_box(&mut bytes)).expect("it was encoded");
    (command, bytes)
}

#[library_benchmark]
#[bench::batch_of_100(setup = applied)]
fn applied_encode(applied: Applied) -> (Vec<u8>, Applied) {
    (black_box(&applied).encode(), applied)
}

#[library_benchmark]
#[bench::batch_of_100(setup = encoded_applied)]
fn applied_decode(record: Bytes) -> (Applied, Bytes) {
    let applied = Applied::decode(black_box(&record)).expect("it was encoded");
    (applied, record)
}

// Each todo serialised and hashed.
#[library_benchmark]
#[bench::batch_of_100(setup = changes)]
fn applied_split(changes: Vec<Change>) -> (Applied, Vec<Change>) {
    (split(black_box(&changes)), changes)
}

fn request(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost:8080\r\n{fields}\r\n")
}

/// A desk that has answered such a request twice: once to make the answer, once to send it again.
fn reading(target: &str, fields: &str) -> (Desk, String) {
    let mut desk = Desk::of(pinned());
    let request = request(target, fields);
    for _ in 0..2 {
        assert_eq!(desk.rehearse(request.as_bytes()), 1);
    }
    (desk, request)
}

/// The same, and a request with other fields.
fn reading_anew(target: &str, fields: &str) -> (Desk, String) {
    let (desk, _) = reading(target, fields);
    (
        desk,
        request(target, "User-Agent: somebody/1.0\r\nAccept: */*\r\n"),
    )
}

/// Within what tokens are good for here.
fn now() -> Timestamp {
    millpond::clock::now()
}

/// Who has checked the token of somebody else.
fn presenting() -> (Authenticator, HeaderMap, Tokens) {
    let secret = b"a secret of thirty-two bytes, or";
    let options = Options {
        key: Key::Secret(secret.to_vec()),
        audience: None,
        issuer: None,
    };
    let ends_s = u64::try_from(now().as_micros()).expect("it is after 1970") / 1_000_000 + 3_600;
    let headers = |user| {
        let token = sign(secret, user, ends_s, &options).expect("a valid secret");
        let value = format!("Bearer {token}").parse().expect("a valid header");
        HeaderMap::from_iter([(AUTHORIZATION, value)])
    };
    let (others, own) = (headers("user-6"), headers("user-7"));
    let authenticator = Authenticator::new(options.clone(), &[]);
    let mut tokens = Tokens::default();
    let known = authenticator.user(&others, &mut tokens, now());
    assert!(known.is_ok(), "it is good");
    (authenticator, own, tokens)
}

fn presenting_again() -> (Authenticator, HeaderMap, Tokens) {
    let (authenticator, headers, mut tokens) = presenting();
    let user = authenticator.user(&headers, &mut tokens, now());
    assert!(user.is_ok(), "it is good");
    (authenticator, headers, tokens)
}

fn with_pin(limit: usize) -> (&'static Pin, usize) {
    (pinned(), limit)
}

fn with_pin_and_id(nth: u32) -> (&'static Pin, Uuid) {
    (pinned(), todo(nth).id)
}

fn renewing() -> (Snapshot, Vec<Applied>) {
    (snapshot(), vec![applied()])
}

fn encoded_command(action: &str) -> Vec<u8> {
    command(action).encode()
}

fn encoded_applied() -> Bytes {
    applied().encode().into()
}

library_benchmark_group!(
    name = requests;
    benchmarks = route, hot_read, token
);
library_benchmark_group!(
    name = reads;
    benchmarks = slice_and_tag, body_as_chunks, find_by_id
);
library_benchmark_group!(
    name = writes;
    benchmarks = renew_snapshot, decide_command
);
library_benchmark_group!(
    name = codecs;
    benchmarks = command_encode, command_decode, applied_split, applied_encode, applied_decode
);
main!(library_benchmark_groups = requests, reads, writes, codecs);
