//! Several servers, one Redis, one user who asks them all as fast as they answer: over them all
//! together no more passes than the burst and the rate, whatever their clocks say and whatever
//! happens to Redis, which may forget all it knew: then the burst passes once more.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{limited, passed, write};
use crate::harness::redis::RedisServer;
use crate::harness::{Client, Launch, Server, passes, token};

/// Two seconds' worth: servers that get no time for so long lose nothing that is due to them.
const CAPACITY: u32 = 200;
const RATE: u32 = 100;
/// Long enough for the rate to be most of what passes.
const HAMMERED: Duration = Duration::from_secs(5);
/// Connections to each server.
const CLIENTS: usize = 4;

fn launch(redis: &RedisServer) -> Launch {
    limited(CAPACITY, RATE)
        .env("JWT_SECRET", "of all servers: one secret of one fleet")
        .env("REDIS_URL", &redis.url())
        // A busy machine is not to be taken for an outage.
        .env("LIMITER_TIMEOUT_MS", "5000")
}

/// A client whose token is good whatever the time is said to be.
fn client(server: &Server) -> Client {
    let secret = server.launch().secret();
    let claims = json!({ "sub": "alice", "exp": token::now() + 7 * 86_400 });
    Client::new(server.address(), Some(token::with_claims(&claims, secret)))
}

/// What passed, and in which time at most.
struct Hammered {
    passed: u32,
    /// Answers of servers that had not asked Redis.
    alone: u32,
    longest: Duration,
}

/// Has all servers asked by all clients, while `meanwhile` does what it does.
fn hammer(servers: &[Server], meanwhile: impl FnOnce()) -> Hammered {
    let over = AtomicBool::new(false);
    let clients = servers
        .iter()
        .flat_map(|server| (0..CLIENTS).map(move |_| client(server)));
    let mut clients: Vec<Client> = clients.collect();
    let started = Instant::now();
    let (passed, alone) = thread::scope(|scope| {
        let ask = |client: &mut Client| {
            let (mut count, mut alone) = (0, 0);
            loop {
                let is_over = over.load(Ordering::Relaxed);
                let response = client.ask(&write());
                let has_passed = passed(&response);
                count += u32::from(has_passed);
                alone += u32::from(response.header("X-RateLimit-Source").is_some());
                // What is there when the time is over is taken, too.
                if is_over && !has_passed {
                    break;
                }
            }
            (count, alone)
        };
        let threads: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(move || ask(client)))
            .collect();
        meanwhile();
        over.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    Hammered {
        passed,
        alone,
        longest: started.elapsed(),
    }
}

impl Hammered {
    /// Invariant of the fleet: at most the burst, as often as Redis began anew, and the rate.
    #[track_caller]
    fn is_within(&self, bursts: u32) {
        let most = f64::from(CAPACITY * bursts) + f64::from(RATE) * self.longest.as_secs_f64();
        let passed = f64::from(self.passed);
        assert!(passed <= most, "{passed} passed, and {most} may");
    }

    /// Demand was always there, so nearly all that may pass has passed.
    #[track_caller]
    fn is_nearly_all(&self) {
        let most = f64::from(CAPACITY) + f64::from(RATE) * HAMMERED.as_secs_f64();
        assert!(
            f64::from(self.passed) >= 0.98 * most,
            "{} passed of {most}",
            self.passed
        );
    }
}

#[test]
fn over_all_servers_the_limit_is_that_of_one() {
    let redis = RedisServer::start();
    let servers = [0; 3].map(|_| launch(&redis).start());
    let hammered = hammer(&servers, || passes(HAMMERED));
    hammered.is_within(1);
    hammered.is_nearly_all();
}

/// Where Debian's package `faketime` puts its library, whatever the architecture.
fn faketime() -> String {
    let places = fs::read_dir("/usr/lib").unwrap().map(Result::unwrap);
    let library = |place: fs::DirEntry| place.path().join("faketime/libfaketime.so.1");
    let found = places.map(library).find(|path| path.exists());
    let found = found.expect("libfaketime is not there (apt-get install faketime)");
    found.display().to_string()
}

#[test]
fn servers_whose_clocks_are_hours_apart_share_one_limit() {
    let faketime = faketime();
    let redis = RedisServer::start();
    let servers = ["-5h", "+0", "+7h"].map(|offset| {
        launch(&redis)
            .env("LD_PRELOAD", &faketime)
            .env("FAKETIME", offset)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .start()
    });
    let hammered = hammer(&servers, || passes(HAMMERED));
    hammered.is_within(1);
    hammered.is_nearly_all();
}

#[test]
fn scripts_that_are_flushed_and_clients_that_are_paused_change_nothing() {
    let redis = RedisServer::start();
    let servers = [0; 2].map(|_| launch(&redis).start());
    let hammered = hammer(&servers, || {
        for _ in 0..3 {
            passes(HAMMERED / 6);
            redis.command(&["SCRIPT", "FLUSH"]);
            passes(HAMMERED / 6);
            redis.command(&["CLIENT", "PAUSE", "200"]);
        }
    });
    hammered.is_within(1);
    hammered.is_nearly_all();
    assert_eq!(hammered.alone, 0, "decided without Redis");
}

#[test]
fn a_redis_that_forgets_gives_each_key_its_burst_once_more() {
    let redis = RedisServer::start();
    let servers = [0; 2].map(|_| launch(&redis).start());
    let hammered = hammer(&servers, || {
        for _ in 0..2 {
            passes(HAMMERED / 3);
            redis.command(&["FLUSHALL"]);
        }
        passes(HAMMERED / 3);
    });
    hammered.is_within(3);
    hammered.is_nearly_all();
    assert_eq!(hammered.alone, 0, "decided without Redis");
}

#[test]
fn a_restart_of_redis_is_two_more_bursts_at_most() {
    let mut redis = RedisServer::start();
    let servers = [0; 2].map(|_| launch(&redis).start());
    let hammered = hammer(&servers, || {
        passes(HAMMERED / 2);
        redis.kill();
        redis.start_again();
        passes(HAMMERED / 2);
    });
    // One while each server decides by its share of the burst, and one from the Redis that is new.
    hammered.is_within(3);
}
