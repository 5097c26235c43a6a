//! A process whose services are not there answers from its start on: it lives, it is not ready, and
//! it says what it waits for. It goes on by itself when they come, and ends when it is told.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::harness::{
    Client, Fleet, Gate, Launch, PATIENCE, Process, Server, Worker, delete, eventually, get,
    passes, post, put,
};

/// From a signal to the end of a process that waits.
const SOON: Duration = Duration::from_secs(1);

/// An address where a listener takes connections and answers nothing, for as long as it is held.
fn silence() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// An address where nobody listens, nor will, for as long as the socket is held.
fn refusal() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address.to_string())
}

/// The variable that says where the service is, the same with `address` in it, and the service's
/// name.
fn away(address: &str) -> [(&'static str, String, &'static str); 2] {
    let url = format!("postgres://millpond@{address}/millpond");
    [
        ("DATABASE_URL", url, "PostgreSQL"),
        ("KAFKA_BROKERS", address.to_owned(), "Kafka"),
    ]
}

/// Lives, is not ready, and names what it waits for.
#[track_caller]
fn waits(client: &mut Client, service: &str) {
    client.ask(&get("/health")).expect(200);
    eventually("readiness names what is missing", PATIENCE, || {
        let ready = client.ask(&get("/ready"));
        let problem = ready.problem(503);
        assert!(!ready.must("Retry-After").is_empty());
        let detail = problem["detail"].as_str().unwrap();
        detail.contains(service).then_some(())
    });
    let away = format!("{}_up 0", service.to_lowercase());
    eventually("the metrics say so, too", PATIENCE, || {
        let metrics = client.ask(&get("/metrics")).expect(200).text();
        let has = |wanted| metrics.lines().any(|line| line == wanted);
        assert!(has("ready 0"));
        has(&away).then_some(())
    });
}

#[track_caller]
fn serves_nothing(client: &mut Client) {
    let todo = json!({ "title": "too early" });
    for read in ["/todos", "/todos?limit=10", "/todos/x", "/operations/0-0"] {
        let refused = client.ask(&get(read));
        let problem = refused.problem(503);
        assert!(problem.get("outcome").is_none(), "{problem}");
        assert!(!refused.must("Retry-After").is_empty());
    }
    for write in [
        post("/todos", &todo),
        put("/todos/x", &todo),
        delete("/todos/x"),
        post("/gift-codes", &json!({})),
    ] {
        let refused = client.ask(&write);
        assert_eq!(refused.problem(503)["outcome"], "not_enqueued");
        assert!(!refused.must("Retry-After").is_empty());
    }
}

fn server_waits(launch: &Launch, service: &str, signal: &str) {
    let mut server = Server::waiting(launch);
    waits(&mut server.anyone(), service);
    serves_nothing(&mut server.user("alice"));
    assert_eq!(server.stdout(), "", "it does not serve yet");
    // One that never says anything holds up nobody.
    let _idle = server.connect();
    let told = Instant::now();
    server.signal(signal);
    let status = server.wait(PATIENCE);
    let took = told.elapsed();
    assert_eq!(status.code(), Some(0), "{}", server.stderr());
    assert!(took < SOON, "ended after {took:?}: {}", server.stderr());
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
}

fn worker_waits(launch: &Launch, service: &str, signal: &str) {
    let mut worker = Worker::waiting(launch);
    waits(&mut worker.client(), service);
    let told = Instant::now();
    worker.signal(signal);
    let status = worker.wait(PATIENCE);
    let took = told.elapsed();
    assert_eq!(status.code(), Some(0), "{}", worker.stderr());
    assert!(took < SOON, "ended after {took:?}: {}", worker.stderr());
}

#[test]
fn a_process_that_waits_lives_says_what_for_and_ends_when_told() {
    let fleet = Fleet::new();
    let (listener, address) = silence();
    for (name, value, service) in away(&address) {
        let launch = fleet.launch.clone().env(name, &value);
        server_waits(&launch, service, "TERM");
        worker_waits(&launch, service, "INT");
    }
    // Refused instead of taken.
    drop(listener);
    for (name, value, service) in away(&address) {
        let launch = fleet.launch.clone().env(name, &value);
        server_waits(&launch, service, "INT");
        worker_waits(&launch, service, "TERM");
    }
}

/// Says what it waits for, and ends by a signal.
fn tool_waits(mut tool: Process, variable: &str, signal: impl FnOnce(&Process)) -> ExitStatus {
    eventually("it says what it waits for", PATIENCE, || {
        let told = tool.stderr();
        (told.contains("cannot start yet") && told.contains(variable)).then_some(())
    });
    signal(&tool);
    tool.wait(PATIENCE)
}

#[test]
fn a_tool_that_waits_says_what_for_and_ends_when_told() {
    let fleet = Fleet::new();
    // Before there is a position nothing is asked of the log.
    fleet.worker().stop();
    let (_nobody, address) = refusal();
    let [(database, url, _), (brokers, there, _)] = away(&address);
    let without_database = fleet.launch.clone().env(database, &url);
    let without_brokers = fleet.launch.clone().env(brokers, &there);
    for (launch, variable, arguments) in [
        (&without_database, database, &["migrate"][..]),
        (&without_database, database, &["dead-letters"]),
        (&without_database, database, &["redrive", "--all"]),
        (&without_brokers, brokers, &["redrive", "--all"]),
        (&without_brokers, brokers, &["seed", "--todos", "1"]),
    ] {
        let tool = Process::start_unready("millpond", launch.command(arguments));
        let ended = tool_waits(tool, variable, |tool| tool.signal("TERM"));
        // So that a shell ends its loop, too.
        assert_eq!(ended.signal(), Some(15), "{arguments:?}: {ended}");
    }
}

/// The system ends that one for no signal that it does not take itself.
#[test]
fn a_tool_that_is_a_containers_first_process_ends_when_told() {
    let possible = Command::new("unshare")
        .args(["--pid", "--fork", "true"])
        .status();
    let is_possible = possible.is_ok_and(|status| status.success());
    assert!(
        is_possible,
        "a container has to be made, which root alone may"
    );
    let (_nobody, address) = refusal();
    let [(database, url, _), _] = away(&address);
    let launch = Fleet::new().launch.env(database, &url);
    let tool = launch.command(&["migrate"]);
    let mut container = Command::new("unshare");
    container
        .args(["--pid", "--fork", "--kill-child"])
        .arg(tool.get_program())
        .args(tool.get_args())
        .env_clear()
        .envs(
            tool.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(launch.home())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = tool_waits(
        Process::start_unready("unshare", container),
        database,
        |container| container.signal_children("TERM"),
    );
    assert_eq!(ended.code(), Some(143), "{ended}");
}

#[test]
fn the_admin_listener_answers_while_the_server_waits() {
    let (_listener, address) = silence();
    let [(name, value, service), _] = away(&address);
    let launch = Fleet::new().launch.env(name, &value);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = free.local_addr().unwrap();
    drop(free);
    let server = Server::waiting(&launch.env("ADMIN_PORT", &admin.port().to_string()));
    waits(&mut Client::new(admin, None), service);
    server.anyone().ask(&get("/metrics")).problem(404);
    server.anyone().ask(&get("/ready")).problem(503);
}

/// A server and a worker start while the service is silent; it comes, and they go on.
fn comes_later(fleet: &Fleet, launch: &Launch, gate: &Gate, service: &str) {
    let (server, mut worker) = (Server::waiting(launch), Worker::waiting(launch));
    waits(&mut server.anyone(), service);
    waits(&mut worker.client(), service);
    // Opened now, and used when it is ready.
    let mut early = server.connect();
    gate.open();
    for mut client in [server.anyone(), worker.client()] {
        eventually("it is ready", PATIENCE, || {
            (client.ask(&get("/ready")).status == 200).then_some(())
        });
    }
    early.ask(&get("/todos")).unwrap().expect(200);
    eventually("the one line on standard output", PATIENCE, || {
        let line = format!("listening on http://{}\n", server.address());
        (server.stdout() == line).then_some(())
    });
    let todo = server.user("alice").create("at once");
    assert_eq!(server.anyone().todos(), [todo]);
    fleet.drained();
    assert!(worker.runs());
    worker.stop();
    server.stop();
}

#[test]
fn a_database_that_comes_later_is_found_without_a_restart() {
    let fleet = Fleet::new();
    let (role, rest) = fleet.database.url().split_once('@').unwrap();
    let (place, name) = rest.split_once('/').unwrap();
    let gate = Gate::silent_before(place);
    let url = format!("{role}@{}/{name}", gate.address());
    let launch = fleet.launch.clone().env("DATABASE_URL", &url);
    comes_later(&fleet, &launch, &gate, "PostgreSQL");
}

#[test]
fn brokers_that_come_later_are_found_without_a_restart() {
    let fleet = Fleet::new();
    let gate = Gate::silent_before(&fleet.topics.brokers);
    let launch = fleet.launch.clone().env("KAFKA_BROKERS", &gate.address());
    comes_later(&fleet, &launch, &gate, "Kafka");
}

#[test]
fn a_server_that_waits_leaves_the_port_to_the_one_that_serves() {
    let fleet = Fleet::new();
    let first = fleet.server();
    let (_listener, address) = silence();
    let [(name, value, _), _] = away(&address);
    let port = first.address().port().to_string();
    let launch = fleet.launch.clone().env("HTTP_PORT", &port);
    let second = Server::beside(&launch.env(name, &value), first.address());
    eventually("the second one waits", PATIENCE, || {
        second.stderr().contains("cannot start yet").then_some(())
    });
    for _ in 0..100 {
        first.anyone().ask(&get("/ready")).expect(200);
    }
    second.stop();
    first.anyone().ask(&get("/ready")).expect(200);
}

#[test]
fn a_start_with_all_services_there_warns_of_nothing() {
    let fleet = Fleet::new();
    let (server, worker) = (fleet.server(), fleet.worker());
    // Nothing is written, which would have it look for a broker at once. What it knows of brokers is
    // looked at once a second.
    passes(Duration::from_secs(4));
    for stderr in [server.stderr(), worker.stderr()] {
        assert!(!stderr.contains("does not answer"), "{stderr}");
    }
    worker.stop();
    server.stop();
}
