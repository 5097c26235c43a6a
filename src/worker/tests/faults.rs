//! Faults drawn at random: calls fail, replies are lost, partitions come and go, others commit and
//! die. Then all heals, and everything must be applied, published and forgotten by the outbox.

use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use super::decisions::start;
use super::world::{self, Asked, Fate, World};

const PARTITIONS: u16 = 3;
const RECORDS: u64 = 60;

/// Fails about every third call, as `seed` has it.
fn at_random(seed: u64) -> impl FnMut(&Asked) -> Fate + Send {
    let mut dice = SmallRng::seed_from_u64(seed);
    move |_| match dice.random_range(0..12) {
        0 | 1 => Fate::Fails,
        2 => Fate::DoneUnknown,
        3 => Fate::LostUnknown,
        _ => Fate::Good,
    }
}

/// One thing that happens in a fleet beside the worker.
fn happen(world: &World, dice: &mut SmallRng) {
    let partition = dice.random_range(0..PARTITIONS);
    let is_mine = world.state().assigned.contains_key(&partition);
    match dice.random_range(0..4) {
        0 if is_mine => world.revoke(&[partition]),
        1 if !is_mine && world.state().joined => world.assign(&[partition]),
        // An owner that was cut off commits late, or one that died had committed.
        2 => {
            let (stored, end) = {
                let state = world.state();
                (state.stored[&partition], state.ends[&partition])
            };
            if stored < end {
                world.another_commits(partition, stored + 1);
            }
        }
        _ => {}
    }
}

async fn live(seed: u64) {
    let mut dice = SmallRng::seed_from_u64(seed);
    let world = World::new(PARTITIONS, RECORDS);
    world.state().otherwise = Some(Box::new(at_random(seed)));
    let (worker, stop) = start(&world);
    world.assign(&[0, 1, 2]);
    for _ in 0..100 {
        sleep(Duration::from_millis(dice.random_range(1..200))).await;
        happen(&world, &mut dice);
    }
    world.state().otherwise = None;
    let missing: Vec<u16> = {
        let state = world.state();
        let is_missing = |one: &u16| !state.assigned.contains_key(one);
        (0..PARTITIONS).filter(is_missing).collect()
    };
    if world.state().joined && !missing.is_empty() {
        world.assign(&missing);
    }
    world.until(world::State::is_drained).await;
    for partition in 0..PARTITIONS {
        assert_eq!(world.state().feed_leads_to(partition), RECORDS);
    }
    stop.cancel();
    assert_eq!(worker.await.unwrap(), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_fails_everything_is_applied_and_published(seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(live(seed));
    }
}
