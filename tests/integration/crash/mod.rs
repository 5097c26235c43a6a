//! SIGKILL, again and again, under writes of several users: every 202 is there exactly once, per
//! todo in the order of acknowledgement, and nothing is there in part.
//!
//! [`ledger`] is what the writers know, [`writer`] writes until the server is gone, [`audit`]
//! compares the ledgers with the server and with the disk.

mod audit;
mod ledger;
mod writer;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rand::{RngExt, SeedableRng};

use crate::harness::{Dice, Launch, PATIENCE, Server, dice, eventually, number_from_env};
use ledger::Ledger;
use writer::Writer;

/// Lengthens the run.
const ROUNDS: &str = "MILLPOND_CRASH_ROUNDS";
const ROUNDS_DEFAULT: u64 = 12;

const USERS: usize = 4;
/// Two a user: todos of one user change through several connections at once.
const WRITERS: usize = 8;

/// Acknowledged writes after which the server is killed, drawn anew each round.
const ACKNOWLEDGED: std::ops::Range<usize> = 20..400;

/// Lets all writers loose on the server and kills it in the middle.
fn round(server: Server, ledgers: &mut [Ledger], dice: &mut Dice) -> Launch {
    let acknowledged = AtomicUsize::new(0);
    let enough = dice.random_range(ACKNOWLEDGED);
    thread::scope(|scope| {
        for ledger in ledgers {
            let writer = Writer {
                client: server.user(&ledger.user),
                launch: server.launch(),
                address: server.address(),
                ledger,
                dice: Dice::seed_from_u64(dice.random()),
                acknowledged: &acknowledged,
            };
            scope.spawn(move || writer.write_until_the_server_is_gone());
        }
        let so_far = || acknowledged.load(Ordering::Relaxed);
        eventually("enough is acknowledged", PATIENCE, || {
            (so_far() >= enough).then_some(())
        });
        server.signal("KILL");
    });
    server.kill()
}

#[test]
fn every_202_survives_sigkill_exactly_once_and_in_order() {
    let mut dice = dice();
    let rounds = number_from_env(ROUNDS).unwrap_or(ROUNDS_DEFAULT);
    let mut ledgers: Vec<Ledger> = (0..WRITERS).map(|n| Ledger::new(n, n % USERS)).collect();
    let mut server = Launch::new().start();
    for n in 0..rounds {
        let launch = round(server, &mut ledgers, &mut dice);
        let on_disk = audit::disk(&launch);
        server = launch.start();
        let listed = audit::server(&server, &mut ledgers);
        assert_eq!(on_disk.todos, listed, "todos on disk and listed, round {n}");
        audit::gift_codes(&on_disk, &ledgers);
    }
    audit::positions(&ledgers);
    let launch = server.stop();
    let on_disk = audit::disk(&launch);
    audit::gift_codes(&on_disk, &ledgers);
}

/// Bytes in the files of a directory.
fn bytes_in(launch: &Launch) -> u64 {
    let Ok(entries) = fs::read_dir(launch.data()) else {
        return 0;
    };
    let metadata = entries.flatten().filter_map(|entry| entry.metadata().ok());
    metadata.map(|file| file.len()).sum()
}

#[test]
fn a_seed_that_was_killed_is_completed_by_the_next() {
    const TODOS: usize = 20_000;
    let launch = Launch::new();
    let mut seed = launch
        .command(&["seed", "--todos", &TODOS.to_string()])
        .spawn()
        .unwrap();
    eventually("something is written", PATIENCE, || {
        (bytes_in(&launch) > 500_000 || seed.try_wait().unwrap().is_some()).then_some(())
    });
    seed.kill().unwrap();
    seed.wait().unwrap();
    audit::disk(&launch);
    launch.seed(TODOS);
    let server = launch.start();
    assert_eq!(server.anyone().todos().len(), TODOS);
}
