//! Everything that can be killed or stopped is, in an order that is drawn, under mixed load; then
//! all is healed, and what is left must be what the clients were told.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{iter, thread};

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::audit;
use super::load::{CLIENTS, Crowd, Write, Writer};
use super::replay::Replay;
use crate::harness::{
    Dice, Fleet, PATIENCE, Server, Stack, Worker, dice, eventually, number_from_env,
};

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
                self.durable(DURABLE_BETWEEN);
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
        let so_far = || self.crowd.durable.load(std::sync::atomic::Ordering::SeqCst);
        let enough = so_far() + more;
        eventually("writes go on", PATIENCE, || {
            (so_far() >= enough).then_some(())
        });
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

/// What is waited for here is time itself.
fn passes(time: Duration) {
    let begun = Instant::now();
    eventually("time passes", time * 2, || {
        (begun.elapsed() >= time).then_some(())
    });
}

/// Lets writers loose while `chaos` runs; gives all that they wrote.
fn under_load(chaos: &mut Chaos, seeds: &mut Dice) -> Vec<Write> {
    let at_least = Duration::from_secs(number_from_env(SECONDS).unwrap_or_default());
    let crowd = chaos.crowd;
    thread::scope(|scope| {
        let writers = (0..CLIENTS).map(|number| {
            let mut writer = Writer::new(crowd, number, Dice::seed_from_u64(seeds.random()));
            scope.spawn(move || {
                writer.work();
                writer.settle();
                writer.writes
            })
        });
        let writers: Vec<_> = writers.collect();
        let over = Over(crowd);
        chaos.run(at_least);
        drop(over);
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect()
    })
}

/// Ends the load, also where the test fails: the writers would go on for ever.
struct Over<'a>(&'a Crowd);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn whatever_is_killed_what_was_acknowledged_is_applied_once_and_in_order() {
    let mut dice = dice();
    let stack = Stack::up(&["postgres", "kafka"], 1);
    let fleet = Fleet::on(&stack);
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
    let writes = under_load(&mut chaos, &mut dice);
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
