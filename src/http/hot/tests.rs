//! The loop on a socket: that it allocates nothing for a request, and holds nothing between two.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Buf;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::time::timeout;
use uuid::Uuid;

use super::ready::Behind;
use super::*;
use crate::domain::{Timestamp, Todo};
use crate::http;
use crate::http::auth::{self, Authenticator};
use crate::http::response::Problem;
use crate::http::{Admission, LimitHeaders, Options, RateScope, Shared, SlotScope, Surface, Told};
use crate::limit::{self, Limiter, OnFailure, Rule};
use crate::log::{self, Appender};
use crate::marks::Marks;
use crate::metrics::Metrics;
use crate::snapshot::{self, Chunk, Published};
use crate::stage::{At, Stage};
use crate::store::Reader;
use crate::store::sqlite::tests::Directory;

/// More than fit an answer that is kept in one piece, however often it is read.
const TODOS: i64 = 8_000;

fn published() -> Arc<Published> {
    let mut builder = snapshot::Builder::new();
    for nth in 0..TODOS {
        let time = Timestamp::from_micros(nth);
        builder.push(&Todo {
            id: Uuid::from_u128(nth.unsigned_abs().into()),
            title: "Feed the ducks".to_owned(),
            description: String::new(),
            completed: false,
            user_id: "alice".to_owned(),
            created_at: time,
            updated_at: time,
        });
    }
    Published::new(builder.build(vec![0]))
}

fn core(rate: RateScope) -> Rc<Core> {
    let time = Duration::from_mins(1);
    let options = Options {
        head_bytes_max: 16 << 10,
        body_bytes_max: 64 << 10,
        connections_max: 8,
        head_timeout: time,
        body_timeout: time,
        idle_timeout: time,
        write_timeout: time,
        gift_code_timeout: time,
        todos_max: usize::MAX,
        cache_control: "no-cache".parse().unwrap(),
        hot_path: true,
        admission: Admission {
            rate,
            slots: SlotScope::GiftCodes,
            shadow: false,
            told: Told {
                x: true,
                draft: true,
            },
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            proxy_protocol: false,
        },
        metrics_apart: false,
    };
    let auth = auth::Options {
        key: auth::Key::Kept,
        audience: None,
        issuer: None,
    };
    let stage = Stage::default();
    stage.advance(At::Serving);
    let metrics = Arc::new(Metrics::new(1));
    let cells = metrics.core(0);
    let (place, _) = http::places(1).remove(0);
    let store = Directory::new().open().unwrap();
    let (log, _) = log::embedded::open(log::Options::default(), 0, crate::clock::now);
    let limits = limit::Options {
        // More than is asked for.
        rate: Rule {
            capacity: limit::TOKENS_MAX,
            rate: 1,
        },
        slots_max: 1,
        bucket_prefix: String::new(),
        on_failure: OnFailure::Closed,
        timeout: time,
    };
    let shared = Shared {
        limit_headers: LimitHeaders::new(limits.rate, limits.slots_max),
        limiter: Limiter::Local(Arc::new(limit::Local::new(limits))),
        options,
        auth: Authenticator::new(auth, b"a secret of some length").into(),
        published: published(),
        marks: Arc::new(Marks::new(&[0], 1)),
        log: Appender::Embedded(log),
        reader: Reader::Sqlite(store.reader()),
        links: vec![],
        metrics,
        stage,
        crowded: AtomicBool::new(false),
    };
    Rc::new(Core::new(Arc::new(shared), Surface::Public, cells, place))
}

/// Serves one connection to its end; gives the number of allocations that this took.
fn allocations(core: &Rc<Core>, client: impl FnOnce(SocketAddr) + Send + 'static) -> u64 {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || client(address));
    let info = allocation_counter::measure(|| {
        runtime.block_on(async {
            let (stream, _) = listener.accept().await.unwrap();
            let socket = Rc::new(Socket::new(stream, Rc::default()));
            assert!(matches!(serve(core, &socket).await, Passed::Over(None)));
            assert_eq!(socket.unread.borrow().capacity(), 0);
        });
    });
    client.join().unwrap();
    info.count_total
}

/// Sends the requests, again and again, and reads as many answers each time.
fn ask(address: SocketAddr, requests: &str, count: usize, times: usize) {
    let stream = TcpStream::connect(address).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..times {
        (&stream).write_all(requests.as_bytes()).unwrap();
        for _ in 0..count {
            skip_answer(&mut answers);
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(answers.read(&mut [0]).unwrap(), 0);
}

fn skip_answer(answers: &mut BufReader<TcpStream>) {
    let mut length = 0;
    let mut line = String::new();
    while answers.read_line(&mut line).unwrap() > 2 {
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body).unwrap();
}

/// All that is answered on a connection that sends this and no more.
fn answers(core: &Rc<Core>, requests: String) -> Vec<u8> {
    let (sender, answered) = mpsc::channel();
    allocations(core, move |address| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(requests.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).unwrap();
        sender.send(answers).unwrap();
    });
    answered.recv().unwrap()
}

#[test]
fn a_request_that_comes_again_gets_the_same_answer() {
    let core = core(RateScope::Writes);
    let requests = [
        "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "HEAD /todos?limit=1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nX-Request-Id: i\r\n\r\n",
        "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\n\r\n",
        "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n",
        "GET /todos?limit=100 HTTP/1.1\r\nHost: h\r\nX-Request-Id: i\r\n\r\n",
        "GET /todos?limit=2000 HTTP/1.1\r\nHost: h\r\n\r\n",
    ];
    let once = requests.map(|request| answers(&core, request.to_owned()));
    for (one, answer) in requests.iter().zip(&once) {
        for (other, other_answer) in requests.iter().zip(&once) {
            let stream = [one.repeat(4), (*other).to_owned(), one.repeat(2)].concat();
            let expected = [answer.repeat(4), other_answer.clone(), answer.repeat(2)].concat();
            let answered = answers(&core, stream);
            assert!(answered == expected, "{one:?}, {other:?}");
        }
    }
    let last = "GET /todos?limit=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answer = answers(&core, last.to_owned());
    assert_eq!(answers(&core, last.repeat(2)), answer, "one, and the end");
    let counted = format!("http_hot_requests_total {}\n", 7 + 49 * 7 + 2);
    assert!(core.shared.metrics.text().contains(&counted));
}

#[test]
fn small_answers_are_copied_again_and_no_others() {
    let core = core(RateScope::Writes);
    let desk = &mut *core.desk.borrow_mut();
    desk.answers.follow(&core.snapshot());
    let is_copied = [1, 100, 2_000].map(|limit| {
        let ready = desk.answers.to(Some(limit), None);
        let begin = desk.output.copies_end();
        desk.output.put_found(ready, Own::default());
        let copied = desk.output.copied_since(begin);
        desk.output.clear();
        copied.is_some()
    });
    assert_eq!(is_copied, [true, false, false]);
}

#[test]
fn who_comes_as_the_grace_ends_is_not_waited_for() {
    let core = Rc::into_inner(core(RateScope::Writes)).unwrap();
    core.shared.stage.advance(At::Over);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    // It says nothing, and would be idle for a minute.
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_, newcomers) = http::places(1).remove(0);
    let runtime = crate::runtime::single_threaded_local().unwrap();
    let served = runtime.block_on(async {
        let serving = http::serve(core, listener, newcomers);
        timeout(Duration::from_secs(20), serving).await
    });
    served.expect("it ends by itself").unwrap();
}

#[test]
fn what_a_slow_client_makes_wait_is_bounded() {
    let mut output = Output::default();
    let mut answers = 0;
    while output.has_room() {
        let small = Problem::refusal(StatusCode::BAD_REQUEST).into_response("somebody");
        output.put_made(small, Own::default(), true, "then");
        answers += 1;
        // Each has some hundred bytes.
        assert!(answers < 1_000, "more than was meant waits");
    }
    assert!(answers > 16, "a pipelined batch takes more than one write");
}

#[test]
fn what_a_panic_left_on_the_desk_is_sent_to_nobody() {
    let core = core(RateScope::Writes);
    let left = Problem::refusal(StatusCode::BAD_REQUEST).into_response("somebody");
    let desk = &core.desk;
    desk.borrow_mut()
        .output
        .put_made(left, Own::default(), true, "then");
    let request = "GET /todos?limit=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // One answer, and the end behind it.
    allocations(&core, move |address| ask(address, request, 1, 1));
}

#[test]
fn a_large_body_that_is_sent_again_and_again_is_kept_in_one_piece() {
    let core = core(RateScope::Writes);
    let answers = &mut core.desk.borrow_mut().answers;
    answers.follow(&core.snapshot());
    let limit = Some(2_000);
    let Behind::Pages(in_pages) = answers.to(limit, None).behind() else {
        panic!("it is too large to be kept at once");
    };
    let in_pages: Vec<u8> = in_pages.flat_map(|page| page.chunk().to_vec()).collect();
    let is_joined = |behind| matches!(behind, Behind::Joined(_));
    // To be asked for what one has already does not count.
    let sent = [(); 5].map(|()| {
        answers.to(limit, None);
        is_joined(answers.to(limit, None).behind())
    });
    assert_eq!(sent, [false, false, false, true, true]);
    let Behind::Joined(whole) = answers.to(limit, None).behind() else {
        panic!("it stays");
    };
    assert_eq!(whole.chunk(), in_pages);
    let is_kept = |limit| {
        let sent = [(); 8].map(|()| is_joined(answers.to(limit, None).behind()));
        sent.contains(&true)
    };
    let kept = [None, Some(2_500), Some(2_499)].map(is_kept);
    assert_eq!(kept, [false, true, false], "there is room for so much");
}

/// Whether the list is sent in one piece before long, and what was sent of it.
fn sent_in_one_piece(answers: &mut Answers) -> (bool, Vec<Chunk>) {
    let sent = (0..8).map(|_| answers.to(Some(2_400), None).behind());
    let whole = |behind| match behind {
        Behind::Joined(whole) => Some(whole),
        _ => None,
    };
    let sent: Vec<Chunk> = sent.filter_map(whole).collect();
    (!sent.is_empty(), sent)
}

#[test]
fn what_slow_clients_have_not_taken_leaves_less_room_for_bodies_in_one_piece() {
    let core = core(RateScope::Writes);
    let answers = &mut core.desk.borrow_mut().answers;
    let mut being_sent = Vec::new();
    let in_one_piece = [(); 3].map(|()| {
        answers.follow(&published().reader().current());
        let (is_whole, sent) = sent_in_one_piece(answers);
        being_sent.extend(sent);
        is_whole
    });
    assert_eq!(in_one_piece, [true, true, false]);
    being_sent.clear();
    assert!(sent_in_one_piece(answers).0);
}

#[test]
fn a_request_allocates_nothing_whether_it_pays_or_not() {
    for rate in [RateScope::Writes, RateScope::All] {
        allocates_nothing(&core(rate));
    }
}

fn allocates_nothing(core: &Rc<Core>) {
    let get = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: localhost:8080\r\n{fields}\r\n")
    };
    let small = get("/todos?limit=1", "");
    let large = get("/todos", "");
    let tagged = get(
        "/todos?limit=10",
        "If-None-Match: \"x\", W/\"y\"\r\nCookie: a=b\r\n",
    );
    let had = get(
        "/todos?limit=10",
        "If-None-Match: *\r\nX-Request-Id: one\r\n",
    );
    let coded = get(
        "/todos?limit=10",
        "Accept-Encoding: gzip;q=0.3, br;q=0.25, *;q=0\r\n",
    );
    let forwarded = get("/todos?limit=1", "X-Forwarded-For: 192.0.2.1\r\n");
    let mixed = [&*small, &tagged, &had, &coded, &forwarded].concat();
    for (requests, count) in [(small.repeat(16), 16), (large, 1), (mixed, 5)] {
        let allocations = |times| {
            let requests = requests.clone();
            allocations(core, move |address| ask(address, &requests, count, times))
        };
        // What a connection allocates, and what is made once, is the same for many as for few.
        allocations(10);
        let (few, many) = (allocations(10), allocations(500));
        assert_eq!(few, many, "for {requests:?}");
    }
}
