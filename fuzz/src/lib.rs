//! The hot loop against hyper's own way, for a fuzzer: two servers within the process, so that it
//! sees which of their code a stream has reached, and one stream at a time to both.
//!
//! A stream has no good token: no write of it changes the list, and the sides stay alike.

#[path = "../../tests/integration/differential/exchange.rs"]
pub mod exchange;
mod mutate;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use millpond::app::{self, App, DataDir};
use millpond::config::{Config, Purpose, Settings};
use millpond::http::auth::Authenticator;
use millpond::http::{self, Core, LimitHeaders, Shared, Surface};
use millpond::runtime::single_threaded_local;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

pub use mutate::mutate;

use exchange::{CODED, CODINGS, Last, assert_alike, exchange, mask_time_and_ids, parts};

/// Todos in the list: more than fit an answer that is kept whole.
const TODOS: u64 = 150;

/// What tokens are checked with; nobody is given one.
const SECRET: &[u8] = b"a secret of some length, for nobody";

/// As the command line has it.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

/// A server with the loop and one without.
pub struct Sides([Side; 2]);

impl Sides {
    /// Starts both with these flags, on the same todos.
    #[must_use]
    pub fn start(flags: &[&str]) -> Self {
        let directories = [(); 2].map(|()| tempfile::tempdir().expect("a directory can be made"));
        let [seeded, copy] = directories.each_ref().map(TempDir::path);
        seed(seeded);
        for file in fs::read_dir(seeded).expect("it is there") {
            let file = file.expect("it is there").path();
            if file.is_file() {
                let name = file.file_name().expect("a file has a name");
                fs::copy(&file, copy.join(name)).expect("there is room");
            }
        }
        let [hot, cold] = directories;
        let side = |directory, hot| Side::start(directory, &[flags, &["--hot-path", hot]].concat());
        let sides = [side(hot, "on"), side(cold, "off")];
        for side in &sides {
            side.wait_for_codings();
        }
        Self(sides)
    }

    /// # Panics
    /// Where the two answer differently.
    pub fn compare(&mut self, stream: &[u8]) {
        let parts = parts(stream);
        let sent = self.0.each_mut().map(|side| side.exchange(&parts));
        assert_alike(&parts, &sent);
    }
}

struct Side {
    address: SocketAddr,
    /// Tells when what was sent before on another connection has been read.
    probe: BufReader<TcpStream>,
    _app: App,
    _directory: TempDir,
}

impl Side {
    fn start(directory: TempDir, flags: &[&str]) -> Self {
        let config = configuration(directory.path(), flags);
        let app = opened(&config);
        let shared = shared(&config, &app);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("a socket can be so");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            let (place, newcomers) = http::places(1).remove(0);
            let metrics = shared.metrics.core(0);
            let core = Core::new(shared, Surface::Public, metrics, place);
            let runtime = single_threaded_local().expect("a runtime can be made");
            let served = runtime.block_on(http::serve(core, listener, newcomers));
            panic!("a server has ended: {served:?}");
        });
        Self {
            address,
            probe: connect(address),
            _app: app,
            _directory: directory,
        }
    }

    /// What the server sends until it closes.
    fn exchange(&mut self, parts: &[&[u8]]) -> Vec<u8> {
        // Twice, since a new connection may be accepted behind the first.
        let settle = || {
            for _ in 0..2 {
                let head = ask(&mut self.probe, "/health", "");
                assert!(head.starts_with("http/1.1 200"), "{head}");
            }
        };
        let mut sent = exchange(self.address, settle, parts, Last::Finish);
        mask_time_and_ids(&mut sent);
        sent
    }

    /// Has all made that is made once it is asked for.
    fn wait_for_codings(&self) {
        let has = |target: &str, coding: &str| {
            let fields = format!(
                "Accept-Encoding: {coding}\r\nX-Forwarded-For: {}\r\n",
                stranger()
            );
            let head = ask(&mut connect(self.address), target, &fields);
            head.contains(&format!("content-encoding: {coding}\r\n"))
        };
        let all = || {
            CODED
                .iter()
                .flat_map(|target| CODINGS.map(|coding| (target, coding)))
        };
        let deadline = Instant::now() + Duration::from_mins(1);
        // Each is asked for before one is waited for.
        while all()
            .filter(|(target, coding)| !has(target, coding))
            .count()
            > 0
        {
            assert!(Instant::now() < deadline, "not all codings are made");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A client that has not asked before: where reads pay, it can.
fn stranger() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = u32::from(Ipv4Addr::new(172, 16, 0, 0));
    Ipv4Addr::from(first + NEXT.fetch_add(1, Ordering::Relaxed))
}

fn configuration(directory: &Path, flags: &[&str]) -> Config {
    let directory = directory.display().to_string();
    let usual = [
        "fuzz",
        "--data-dir",
        &directory,
        "--server-cores",
        "1",
        "--body-limit-bytes",
        "2048",
    ];
    let line = Line::parse_from(usual.iter().chain(flags));
    let config = line.settings.check(Purpose::Serve);
    config.expect("the flags are good")
}

/// A server behind its HTTP side.
fn opened(config: &Config) -> App {
    let directory = DataDir::open(&config.data_dir).expect("it is nobody else's");
    let options = app::Options {
        store: config.store.clone(),
        log: config.log.clone(),
        serving_threads: 1,
    };
    let app = app::open(directory, options).expect("nothing is in its way");
    runtime().block_on(app.loaded());
    app
}

fn seed(directory: &Path) {
    let app = opened(&configuration(directory, &[]));
    let seeded = runtime().block_on(app.seeder().seed(TODOS, |_| ()));
    seeded.expect("the log takes writes");
    let closed = app.close(Duration::from_secs(1));
    closed.expect("the todos were loaded");
}

fn shared(config: &Config, app: &App) -> Arc<Shared> {
    let limiter = app::limiter(&config.limits, &app.metrics).expect("it is in memory");
    Arc::new(Shared {
        limit_headers: LimitHeaders::new(limiter.options().rate, limiter.options().slots_max),
        limiter,
        options: config.http.clone(),
        auth: Authenticator::new(config.auth.clone(), SECRET).into(),
        published: Arc::clone(&app.published),
        marks: Arc::clone(&app.marks),
        log: app.log.clone(),
        reader: app.reader.clone(),
        links: Vec::new(),
        metrics: Arc::clone(&app.metrics),
        stage: app.stage.clone(),
        crowded: AtomicBool::new(false),
    })
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime can be made")
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("a socket can be so");
    BufReader::new(stream)
}

/// The head of what is answered, in lower case; the body is read as well.
fn ask(connection: &mut BufReader<TcpStream>, target: &str, fields: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let stream = connection.get_mut();
    let written = stream.write_all(request.as_bytes());
    written.expect("the server keeps the connection");
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let length = connection.read_line(&mut head).expect("a head is text");
        assert_ne!(length, 0, "the server has closed after {head:?}");
    }
    let head = head.to_ascii_lowercase();
    let (_, length) = head.split_once("content-length: ").expect("it has one");
    let length = length
        .split_once('\r')
        .and_then(|(digits, _)| digits.parse().ok());
    let mut body = vec![0; length.expect("it is a number")];
    connection.read_exact(&mut body).expect("the body is whole");
    head
}
