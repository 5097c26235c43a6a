//! Three brokers of which two must have a write: without one of them it goes on, without two of
//! them nothing is acknowledged.

use std::time::Duration;

use super::audit;
use super::load::{Crowd, under_load};
use super::replay::Replay;
use crate::harness::{Fleet, Stack, dice, get, passes};
use crate::services;

/// After which nothing that was sent before is on its way any more.
const SETTLED: Duration = Duration::from_secs(7);

/// In which nobody gets a 202.
const WITHOUT: Duration = Duration::from_secs(8);

const DURABLE: usize = 200;

#[test]
fn one_dead_broker_of_three_holds_up_nobody_and_two_stop_every_202() {
    let mut dice = dice();
    let stack = Stack::up(&["kafka"], 3);
    let fleet = Fleet::at(&services::database_url(), &stack.setting("KAFKA_BROKERS"))
        .env("KAFKA_REPLICATION", "3")
        .env("KAFKA_MIN_INSYNC", "2");
    let servers = [fleet.server()];
    let worker = fleet.worker();
    let crowd = Crowd::new(&fleet.launch, vec![servers[0].address()]);
    let writes = under_load(&crowd, &mut dice, || {
        crowd.goes_on("with three brokers", DURABLE);
        stack.signal("kafka-2", "KILL");
        crowd.goes_on("with two brokers", 2 * DURABLE);
        stack.signal("kafka-3", "KILL");
        passes(SETTLED);
        let before = crowd.durable();
        passes(WITHOUT);
        assert_eq!(
            crowd.durable(),
            before,
            "acknowledged by one broker of three"
        );
        servers[0].anyone().ask(&get("/todos?limit=1")).expect(200);
        servers[0].anyone().ask(&get("/ready")).expect(200);
        stack.heal(&["kafka"]);
        crowd.goes_on("with three brokers again", DURABLE);
    });
    fleet.drained();
    let replay = Replay::of(&fleet.topics.records());
    audit::log(&replay, &writes);
    audit::outcomes(&replay, &writes);
    audit::order(&writes);
    audit::database(&fleet, &replay);
    audit::servers(&fleet, &servers);
    worker.stop();
}
