//! Streams of requests at random: plain ones in all their spellings, others, and damaged ones.

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::clients::{Clients, stranger};
use super::exchange::TARGETS;
use crate::harness::{Dice, Server, get};

/// A todo that is not there.
const ABSENT: &str = "/todos/01234567-89ab-7def-8123-456789abcdef";

/// What a client may know of the servers.
pub struct Known {
    /// Entity tags of the targets, in some codings.
    tags: Vec<String>,
    todo: String,
    token: String,
}

impl Known {
    pub fn of(server: &Server) -> Self {
        let mut anyone = server.anyone();
        let mut tag = |target: &&str| {
            let request = get(target).with("X-Forwarded-For", &stranger());
            let response = anyone.ask(&request).expect(200);
            let tag = response.must("ETag").to_owned();
            let coded = format!("{}-gzip\"", tag.trim_end_matches('"'));
            [coded, tag]
        };
        let tags = TARGETS.iter().flat_map(&mut tag).collect();
        let list = get("/todos").with("X-Forwarded-For", &stranger());
        let list = anyone.ask(&list).expect(200).list();
        let todo = list[0]["id"].as_str().unwrap().to_owned();
        Self {
            tags,
            todo,
            token: format!("Bearer {}", server.launch().token("alice")),
        }
    }
}

fn pick<'a, T: ?Sized>(dice: &mut Dice, from: &[&'a T]) -> &'a T {
    from.choose(dice).unwrap()
}

pub fn one_in(dice: &mut Dice, many: u32) -> bool {
    dice.random_ratio(1, many)
}

/// A head's fields, and how its lines end.
struct Head {
    line: String,
    fields: Vec<String>,
    end: &'static str,
}

impl Head {
    fn new(dice: &mut Dice, line: String) -> Self {
        let end = if one_in(dice, 12) { "\n" } else { "\r\n" };
        let host = pick(
            dice,
            &[
                "Host: h",
                "host: h:80",
                "HOST:h",
                "Host: \t[::1]:8080 ",
                "Host: 127.0.0.1",
            ],
        );
        Self {
            line,
            fields: vec![host.to_owned()],
            end,
        }
    }

    fn put(&mut self, dice: &mut Dice, field: String) {
        let at = dice.random_range(0..=self.fields.len());
        self.fields.insert(at, field);
    }

    fn bytes(&self) -> Vec<u8> {
        let lines = [self.line.clone()].into_iter().chain(self.fields.clone());
        let lines: Vec<String> = lines.map(|line| line + self.end).collect();
        (lines.concat() + self.end).into()
    }
}

/// Fields that a read may have without ceasing to be plain.
fn put_plain_fields(dice: &mut Dice, head: &mut Head, known: &Known, clients: &Clients) {
    const PASSED_OVER: [&str; 8] = [
        "Cookie: a=b; c=\"d\"",
        "Authorization: Bearer nonsense",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "Accept: */*",
        "Empty:",
        "X-Opaque: \u{e9}",
        "Prefer: wait=1",
        "Range: bytes=0-1",
    ];
    for _ in 0..dice.random_range(0..4) {
        let field = pick(dice, &PASSED_OVER).to_owned();
        head.put(dice, field);
    }
    for line in clients.lines(dice) {
        head.put(dice, line);
    }
    if one_in(dice, 2) {
        let codings = pick(
            dice,
            &[
                "gzip",
                "br",
                "zstd, gzip;q=0.5",
                "gzip, deflate, br",
                "*",
                "identity",
                "x",
                "",
                "gzip;q=0",
                "\u{e9}",
            ],
        );
        head.put(dice, format!("Accept-Encoding: {codings}"));
    }
    if one_in(dice, 2) {
        let tag = known.tags.choose(dice).unwrap();
        let list = match dice.random_range(0..7) {
            0 => format!("W/{tag}"),
            1 => format!("\"x\", {tag}"),
            2 => "*".to_owned(),
            3 => "nonsense".to_owned(),
            4 => format!("{tag}\u{e9}"),
            _ => tag.clone(),
        };
        head.put(dice, format!("If-None-Match: {list}"));
    }
    if one_in(dice, 3) {
        let long = "i".repeat(65);
        let id = pick(
            dice,
            &["abc", "a.b_c-9", "", "a b", "\u{e9}", &long, &long[1..]],
        );
        head.put(dice, format!("X-Request-Id: {id}"));
    }
    if one_in(dice, 6) {
        let option = pick(dice, &["keep-alive", "TE", "x, y", "closed", "upgrade", ""]);
        head.put(dice, format!("Connection: {option}"));
    }
    if one_in(dice, 40) {
        let option = pick(
            dice,
            &["close", "Close", "keep-alive, CLOSE", "x,\tclose ,y"],
        );
        head.put(dice, format!("connection: {option}"));
    }
}

/// A list read as it usually is.
fn plain(dice: &mut Dice, known: &Known, clients: &Clients) -> Vec<u8> {
    let method = pick(dice, &["GET", "GET", "GET", "HEAD"]);
    let limit = dice.random_range(1..400);
    let limit = format!("/todos?limit={limit}");
    let target = pick(
        dice,
        &[TARGETS[0], TARGETS[1], TARGETS[2], TARGETS[3], &limit],
    );
    let mut head = Head::new(dice, format!("{method} {target} HTTP/1.1"));
    put_plain_fields(dice, &mut head, known, clients);
    head.bytes()
}

/// Targets that are not plain; `ID` is a todo's.
const ODD_TARGETS: [&str; 21] = [
    "/todos?limit=0",
    "/todos?limit=1000001",
    "/todos?limit=007",
    "/todos?limit=",
    "/todos?",
    "/todos?limit=+7",
    "/todos?limit=7&limit=7",
    "/todos?x=y&limit=7",
    "/todos?limit=7#x",
    "/todos?limit=7&after=x",
    "/todos/",
    "/todos/x",
    "/todos/ID",
    "/TODOS",
    "//todos",
    "/health",
    "/x",
    "http://h/todos?limit=7",
    "http://h/health",
    "*",
    "/todos?limit=7\u{e9}",
];

/// Fields that are not plain, in some heads.
const ODD_FIELDS: [&str; 14] = [
    "Host: h",
    "Host: a b",
    "If-None-Match: \"x\"",
    "Accept-Encoding: br",
    "X-Request-Id: second",
    "Consistency-Token: 0-0",
    "Consistency-Token: x",
    "Content-Length: 0",
    "Content-Length: x",
    "Content-Length: 0\r\nContent-Length: 0",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "Connection: keep-alive",
    "TE: trailers",
];

/// A request line that is odd, or not.
fn odd_line(dice: &mut Dice, known: &Known) -> String {
    let version = pick(
        dice,
        &["1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.0"],
    );
    if one_in(dice, 2) {
        return format!("GET /todos?limit=7 HTTP/{version}");
    }
    let target = pick(dice, &ODD_TARGETS).replace("ID", &known.todo);
    let methods = [
        "GET", "GET", "HEAD", "OPTIONS", "DELETE", "PATCH", "get", "TRACE",
    ];
    let method = pick(dice, &methods);
    format!("{method} {target} HTTP/{version}")
}

/// A read that is not plain in one way or another.
fn odd(dice: &mut Dice, known: &Known, clients: &Clients, filler_bytes: usize) -> Vec<u8> {
    let line = odd_line(dice, known);
    let mut head = Head::new(dice, line);
    put_plain_fields(dice, &mut head, known, clients);
    let many = "X: y\r\n".repeat(dice.random_range(50..110)) + "X: y";
    let long = format!("X: {}", "y".repeat(filler_bytes));
    for _ in 0..dice.random_range(0..3) {
        let field = match dice.random_range(0..16) {
            0 => many.clone(),
            1 => long.clone(),
            _ => pick(dice, &ODD_FIELDS).to_owned(),
        };
        head.put(dice, field);
    }
    if one_in(dice, 10) {
        let is_host = |field: &String| field.to_ascii_lowercase().starts_with("host");
        head.fields.retain(|field| !is_host(field));
    }
    let mut bytes = head.bytes();
    if one_in(dice, 8) {
        bytes.splice(0..0, *b"\r\n\n");
    }
    bytes
}

/// A write that is refused before it comes to the log: even a rejected command makes a new snapshot,
/// whose encodings are then to be made anew.
fn refused(dice: &mut Dice, known: &Known) -> Vec<u8> {
    let (method, target) = *[
        ("POST", "/todos"),
        ("PUT", ABSENT),
        ("DELETE", ABSENT),
        ("GET", "/todos?limit=7"),
    ]
    .choose(dice)
    .unwrap();
    let mut head = Head::new(dice, format!("{method} {target} HTTP/1.1"));
    if !one_in(dice, 6) {
        head.put(dice, format!("Authorization: {}", known.token));
    }
    if !one_in(dice, 6) {
        head.put(dice, "Content-Type: application/json".to_owned());
    }
    head.put(dice, "X-Request-Id: a-write".to_owned());
    head.put(dice, "If-Match: nonsense".to_owned());
    let long = format!(
        "{{\"title\":\"{}\"}}",
        "t".repeat(dice.random_range(1_900..2_200))
    );
    let title = if method == "POST" { "" } else { "t" };
    let good = format!("{{\"title\":\"{title}\"}}");
    let body = pick(
        dice,
        &[
            good.as_str(),
            &good,
            "",
            "{",
            "{\"title\":1}",
            "null",
            &long,
        ],
    );
    put_body(dice, head, body)
}

fn put_body(dice: &mut Dice, mut head: Head, body: &str) -> Vec<u8> {
    if one_in(dice, 5) {
        head.put(dice, "Transfer-Encoding: chunked".to_owned());
        let chunk = format!("{:x}\r\n{body}\r\n", body.len());
        let chunks = if body.is_empty() { "" } else { &chunk };
        return [head.bytes(), format!("{chunks}0\r\n\r\n").into()].concat();
    }
    if one_in(dice, 12) {
        head.put(dice, "Expect: 100-continue".to_owned());
    }
    head.put(dice, format!("Content-Length: {}", body.len()));
    [head.bytes(), body.into()].concat()
}

/// Requests of all kinds that leave the list as it is.
pub fn requests(dice: &mut Dice, known: &Known) -> Vec<u8> {
    let count = dice.random_range(1..8);
    let clients = Clients::new(dice);
    let mut request = || match dice.random_range(0..8) {
        0 | 1 => {
            let filler_bytes = dice.random_range(15_000..17_000);
            odd(dice, known, &clients, filler_bytes)
        }
        2 => refused(dice, known),
        _ => plain(dice, known, &clients),
    };
    (0..count).flat_map(|_| request()).collect()
}

/// Reads only, which are answered at once. All fit a read of hyper's: where in a longer head it finds
/// the damage depends on how it reads.
pub fn reads(dice: &mut Dice, known: &Known) -> Vec<u8> {
    let count = dice.random_range(1..5);
    let clients = Clients::new(dice);
    let mut request = || match dice.random_range(0..4) {
        0 => odd(dice, known, &clients, 100),
        _ => plain(dice, known, &clients),
    };
    (0..count).flat_map(|_| request()).collect()
}

/// Reads among creates that wait, each read one that shows the last create.
pub fn with_writes(dice: &mut Dice, known: &Known) -> Vec<u8> {
    let count = dice.random_range(1..6);
    let mut request = || {
        let write = one_in(dice, 3);
        let limit = dice.random_range(1..20);
        let read = format!("GET /todos?limit={limit} HTTP/1.1");
        let line = if write { write_line(dice) } else { read };
        let mut head = Head::new(dice, line);
        let id = dice.random_range(0..100);
        head.put(dice, format!("X-Request-Id: id-{id}"));
        if !write {
            return head.bytes();
        }
        for field in ["Content-Type: application/json", "Prefer: wait=30"] {
            head.put(dice, field.to_owned());
        }
        head.put(dice, format!("Authorization: {}", known.token));
        put_body(dice, head, "{\"title\":\"a new one\"}")
    };
    (0..count).flat_map(|_| request()).collect()
}

/// A create, or a write to what is not there.
fn write_line(dice: &mut Dice) -> String {
    let (method, target) = match dice.random_range(0..3) {
        0 => ("PUT", ABSENT),
        _ => ("POST", "/todos"),
    };
    format!("{method} {target} HTTP/1.1")
}

/// Changes, drops, doubles or puts in a few bytes.
pub fn damage(dice: &mut Dice, stream: &mut Vec<u8>) {
    const BYTES: &[u8] = b"\0\t\n\r !\"#%,-/0159:;=?@ACGHTX[]_afhkpx{|}~\x7f\x80\xff";
    for _ in 0..dice.random_range(1..4) {
        let at = dice.random_range(0..stream.len());
        let byte = *BYTES.choose(dice).unwrap();
        match dice.random_range(0..5) {
            0 | 1 => stream[at] = byte,
            2 => stream.insert(at, byte),
            3 => drop(stream.remove(at)),
            _ => {
                let end = stream.len().min(at + dice.random_range(1..40));
                let part = stream[at..end].to_vec();
                stream.splice(at..at, part);
            }
        }
    }
}
