//! Everything that can be killed or stopped is, in an order that is drawn, under mixed load; then
//! all is healed, and what is left must be what the clients were told.

use std::iter;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::audit;
use super::load::{Crowd, under_load};
use super::replay::Replay;
use crate::harness::{Dice, Fleet, Server, Stack, Worker, dice, number_from_env, passes};

/// Lengthens the run: faults go on for this many seconds at least.
const SECONDS: &str = "MILLPOND_CHAOS_SECONDS";

const SERVERS: usize = 2;
const WORKERS: usize = 2;

/// How long a stopped process stays so: a server as long as clients wait for it, a worker until
/// others have taken its partitions (a session is 10 s at most).
const SERVER_STOPPED: Duration = Duration::from_secs(4);
const WORKER_STOPPED: Duration = Duration::from_secs(13);

/// Writes that are made durable between two faults: the fleet works again.
const DURABLE_BETWEEN: usize = 150;

/// Few: most clients wait for an outcome that does not come.
const DURABLE_WITHOUT_WORKERS: usize = 20;

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillWorker,
    StopWorker,
    EndWorker,
    KillServer,
    StopServer,
    KillDatabase,
    KillBroker,
    KillAllWorkers,
}

const FAULTS: [Fault; 8] = [
    Fault::KillWorker,
    Fault::StopWorker,
    Fault::EndWorker,
    Fault::KillServer,
    Fault::StopServer,
    Fault::KillDatabase,
    Fault::KillBroker,
    Fault::KillAllWorkers,
];

struct Chaos<'a> {
    stack: &'a Stack,
    fleet: &'a Fleet,
    crowd: &'a Crowd,
    servers: Vec<Server>,
    workers: Vec<Worker>,
    dice: Dice,
}

impl Chaos<'_> {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Server::address).collect()
    }

    fn inflict(&mut self, fault: Fault) {
        eprintln!("{fault:?}");
        match fault {
            Fault::KillWorker => {
                let at = self.dice.random_range(0..WORKERS);
                drop(self.workers.remove(at));
                self.durable(DURABLE_BETWEEN / 3);
                self.workers.push(self.fleet.worker());
            }
            Fault::KillAllWorkers => {
                self.workers.clear();
                self.durable(DURABLE_WITHOUT_WORKERS);
                self.workers
                    .extend(iter::repeat_with(|| self.fleet.worker()).take(WORKERS));
            }
            Fault::EndWorker => {
                let at = self.dice.random_range(0..WORKERS);
                self.workers.remove(at).stop();
                self.workers.push(self.fleet.worker());
            }
            Fault::StopWorker => {
                let worker = self.workers.choose(&mut self.dice).unwrap();
                worker.signal("STOP");
                passes(WORKER_STOPPED);
                worker.signal("CONT");
            }
            Fault::StopServer => {
                let server = self.servers.choose(&mut self.dice).unwrap();
                server.signal("STOP");
                passes(SERVER_STOPPED);
                server.signal("CONT");
            }
            Fault::KillServer => {
                let at = self.dice.random_range(0..SERVERS);
                drop(self.servers.remove(at));
                self.servers.push(self.fleet.server());
                *self.crowd.servers.write().unwrap() = self.addresses();
            }
            // SIGQUIT is PostgreSQL's immediate shutdown.
            Fault::KillDatabase => {
                self.stack.signal("postgres", "QUIT");
                self.stack.heal(&["postgres"]);
            }
            Fault::KillBroker => {
                self.stack.signal("kafka-1", "KILL");
                self.stack.heal(&["kafka"]);
            }
        }
    }

    /// Waits until so many more writes are durable.
    fn durable(&self, more: usize) {
        self.crowd.goes_on("between two faults", more);
    }

    fn run(&mut self, at_least: Duration) {
        let begun = Instant::now();
        loop {
            let mut faults = FAULTS;
            faults.shuffle(&mut self.dice);
            for fault in faults {
                self.durable(DURABLE_BETWEEN);
                self.inflict(fault);
            }
            self.durable(DURABLE_BETWEEN);
            if begun.elapsed() >= at_least {
                return;
            }
        }
    }
}

#[test]
fn whatever_is_killed_what_was_acknowledged_is_applied_once_and_in_order() {
    let mut dice = dice();
    let stack = Stack::up(&["postgres", "kafka"], 1);
    // Less than the patience of a client.
    let fleet = Fleet::on(&stack).env("KAFKA_GIFT_CODE_TIMEOUT", "5");
    let servers: Vec<Server> = iter::repeat_with(|| fleet.server()).take(SERVERS).collect();
    let crowd = Crowd::new(&fleet.launch, servers.iter().map(Server::address).collect());
    let mut chaos = Chaos {
        stack: &stack,
        fleet: &fleet,
        crowd: &crowd,
        servers,
        workers: iter::repeat_with(|| fleet.worker()).take(WORKERS).collect(),
        dice: Dice::seed_from_u64(dice.random()),
    };
    let at_least = Duration::from_secs(number_from_env(SECONDS).unwrap_or_default());
    let writes = under_load(&crowd, &mut dice, || chaos.run(at_least));
    fleet.drained();

    let replay = Replay::of(&fleet.topics.records());
    audit::log(&replay, &writes);
    audit::outcomes(&replay, &writes);
    audit::order(&writes);
    audit::database(&fleet, &replay);
    audit::servers(&fleet, &chaos.servers);
    audit::operations(&replay, &chaos.servers);
    eprintln!(
        "{} commands, {} todos",
        replay.ended.len(),
        replay.todos.len()
    );
}
