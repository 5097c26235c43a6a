//! One decision after the other: what the worker asks of a fleet, and in which order.

use tokio::task::JoinHandle;

use super::world::{Asked, Fate, World, range};
use super::*;
use crate::domain::Timestamp;
use crate::worker::tests::world;

use Asked::{
    Acknowledge, Apply, Join, Leave, Positions, Publish, Published, Settle, Start, Unpublished,
};

pub(super) fn start(world: &World) -> (JoinHandle<Result<(), Fatal>>, CancellationToken) {
    let stop = CancellationToken::new();
    let worker = Worker {
        consumer: Consumer::Scripted(world::Consumer(world.clone())),
        store: Store::Scripted(world::Store(world.clone())),
        publisher: Publisher::Scripted(world::Publisher(world.clone())),
        clock: || Timestamp::from_micros(1),
        observe: |_| {},
        stop: stop.clone(),
    };
    (tokio::spawn(run(worker)), stop)
}

/// Runs a worker with all partitions until the log is drained, and returns what it asked for.
async fn asked(world: &World, applies: &[Fate]) -> Vec<Asked> {
    let partitions: Vec<u16> = world.state().ends.keys().copied().collect();
    world.state().applies = applies.iter().copied().collect();
    world.assign(&partitions);
    let (worker, stop) = start(world);
    world.until(world::State::is_drained).await;
    stop.cancel();
    assert_eq!(worker.await.unwrap(), Ok(()));
    let asked = world.state().asked.clone();
    without_idle_sweeps(asked)
}

/// The sweep of every second, where it found nothing, says nothing about a decision.
fn without_idle_sweeps(mut asked: Vec<Asked>) -> Vec<Asked> {
    while let Some(at) = asked
        .windows(2)
        .position(|pair| pair == [Unpublished, Settle])
    {
        asked.drain(at..at + 2);
    }
    asked
}

fn all(from: u64, to: u64) -> Vec<Asked> {
    vec![
        Apply(vec![range(0, from, to)]),
        Publish(vec![range(0, from, to)]),
        Acknowledge,
        Published(vec![range(0, from, to)]),
        Settle,
    ]
}

fn begin(next: u64) -> Vec<Asked> {
    vec![Positions, Start(vec![(0, next)])]
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_applied_published_acknowledged_and_settled() {
    let asked = asked(&World::new(1, 3), &[]).await;
    assert_eq!(asked, [begin(0), all(0, 3), vec![Leave]].concat());
}

/// A batch, and behind it another one that is there already.
fn two(publish_second: &[Asked]) -> Vec<Asked> {
    let (first, second) = (vec![range(0, 0, 3)], vec![range(0, 3, 6)]);
    let both = vec![
        Apply(first.clone()),
        Acknowledge,
        Apply(second),
        Publish(first.clone()),
        Published(first),
    ];
    [&both, publish_second].concat()
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_published_while_the_next_is_applied_and_settled_with_it() {
    let asked = asked(&World::new(1, 6), &[]).await;
    let last = &all(3, 6)[1..];
    assert_eq!(asked, [begin(0), two(last), vec![Leave]].concat());
}

#[tokio::test(start_paused = true)]
async fn what_became_of_the_next_batch_takes_nothing_from_the_one_before() {
    for next in [Fate::Fails, Fate::LostUnknown, Fate::DoneUnknown] {
        let world = World::new(1, 6);
        let asked = asked(&world, &[Fate::Good, next]).await;
        assert!(
            asked.starts_with(&[begin(0), two(&[])].concat()),
            "{asked:?}"
        );
        let state = world.state();
        assert_eq!(state.feed, [range(0, 0, 3), range(0, 3, 6)], "{next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_feed_refused_is_in_it_before_the_batch_applied_meanwhile() {
    let nexts = [
        Fate::Good,
        Fate::Fails,
        Fate::LostUnknown,
        Fate::DoneUnknown,
    ];
    // Once alone, and then also when it is swept.
    for (next, refusals) in nexts.into_iter().flat_map(|next| [(next, 1), (next, 2)]) {
        let world = World::new(1, 6);
        let mut left = refusals;
        world.state().otherwise = Some(Box::new(move |asked| match asked {
            Publish(_) if left > 0 => {
                left -= 1;
                Fate::Fails
            }
            _ => Fate::Good,
        }));
        asked(&world, &[Fate::Good, next]).await;
        let state = world.state();
        assert!(
            state.feed.is_sorted_by_key(|one| one.from),
            "{:?}",
            state.feed
        );
        assert_eq!(state.feed_leads_to(0), 6, "{next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_lies_in_the_outbox_is_handed_on_before_anything_is_read() {
    let world = World::new(1, 3);
    world.another_commits(0, 2);
    let asked = asked(&world, &[]).await;
    let swept = vec![
        Positions,
        Unpublished,
        Publish(vec![range(0, 0, 2)]),
        Published(vec![range(0, 0, 2)]),
        Settle,
        Start(vec![(0, 2)]),
    ];
    assert_eq!(asked, [swept, all(2, 3), vec![Leave]].concat());
}

#[tokio::test(start_paused = true)]
async fn what_was_certainly_not_applied_is_tried_again() {
    let asked = asked(&World::new(1, 3), &[Fate::Fails, Fate::Fails]).await;
    let failed = vec![Apply(vec![range(0, 0, 3)]); 2];
    assert_eq!(asked, [begin(0), failed, all(0, 3), vec![Leave]].concat());
}

#[tokio::test(start_paused = true)]
async fn after_an_unknown_end_the_store_says_where_to_go_on() {
    let failed = vec![Apply(vec![range(0, 0, 3)])];
    let not_done = asked(&World::new(1, 3), &[Fate::LostUnknown]).await;
    let again = [begin(0), failed.clone(), begin(0), all(0, 3), vec![Leave]];
    assert_eq!(not_done, again.concat());

    let done = asked(&World::new(1, 3), &[Fate::DoneUnknown]).await;
    let swept = vec![
        Positions,
        Unpublished,
        Publish(vec![range(0, 0, 3)]),
        Published(vec![range(0, 0, 3)]),
        Settle,
        Start(vec![(0, 3)]),
        Leave,
    ];
    assert_eq!(done, [begin(0), failed, swept].concat());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_another_moved_is_begun_where_it_is_now() {
    let world = World::new(1, 3);
    world.assign(&[0]);
    let (worker, stop) = start(&world);
    let started = |state: &world::State| state.asked.contains(&Start(vec![(0, 0)]));
    world.state().ends.insert(0, 0);
    world.until(started).await;
    world.state().ends.insert(0, 3);
    world.another_commits(0, 1);
    world.until(world::State::is_drained).await;
    stop.cancel();
    assert_eq!(worker.await.unwrap(), Ok(()));
    let state = world.state();
    assert!(
        state.asked.contains(&Start(vec![(0, 1)])),
        "{:?}",
        state.asked
    );
    assert_eq!(state.feed_leads_to(0), 3);
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_partition_is_revoked_is_forgotten() {
    let world = World::new(2, 3);
    world.state().otherwise = Some(Box::new(|asked| match asked {
        Apply(ranges) if ranges.len() == 2 => Fate::Fails,
        _ => Fate::Good,
    }));
    world.assign(&[0, 1]);
    let (worker, stop) = start(&world);
    let tried = |state: &world::State| state.asked.iter().any(|one| matches!(one, Apply(_)));
    world.until(tried).await;
    world.revoke(&[1]);
    world
        .until(|state| state.stored[&0] == 3 && state.outbox.is_empty())
        .await;
    stop.cancel();
    assert_eq!(worker.await.unwrap(), Ok(()));
    assert_eq!(world.state().stored[&1], 0, "it is another's");
}

#[tokio::test(start_paused = true)]
async fn after_half_a_minute_without_a_commit_others_get_the_partitions() {
    let world = World::new(1, 3);
    let fails = |asked: &Asked| match asked {
        Apply(_) | Positions => Fate::Fails,
        _ => Fate::Good,
    };
    world.assign(&[0]);
    let (worker, stop) = start(&world);
    let begun = |state: &world::State| state.asked.contains(&Settle);
    world.until(begun).await;
    world.state().ends.insert(0, 6);
    world.state().otherwise = Some(Box::new(fails));
    world.until(|state| state.asked.contains(&Leave)).await;
    assert!(
        !world.state().asked.contains(&Join),
        "the store does not answer"
    );
    world.state().otherwise = None;
    world.until(world::State::is_drained).await;
    stop.cancel();
    assert_eq!(worker.await.unwrap(), Ok(()));
    assert!(world.state().asked.contains(&Join));
}

#[tokio::test(start_paused = true)]
async fn what_the_feed_refuses_waits_in_the_outbox_and_keeps_its_order() {
    let world = World::new(1, 60);
    let refuses = |asked: &Asked| match asked {
        Publish(_) => Fate::Fails,
        _ => Fate::Good,
    };
    world.state().otherwise = Some(Box::new(refuses));
    world.assign(&[0]);
    let (worker, stop) = start(&world);
    world.until(|state| state.stored == state.ends).await;
    assert!(world.state().feed.is_empty());
    world.state().otherwise = None;
    world.until(world::State::is_drained).await;
    stop.cancel();
    assert_eq!(worker.await.unwrap(), Ok(()));
    let state = world.state();
    assert!(
        state.feed.is_sorted_by_key(|one| one.from),
        "{:?}",
        state.feed
    );
    assert_eq!(state.feed_leads_to(0), 60);
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_refuses_for_long_stops_the_applying() {
    let world = World::new(1, 100_000);
    let refuses = |asked: &Asked| match asked {
        Publish(_) => Fate::Fails,
        _ => Fate::Good,
    };
    world.state().otherwise = Some(Box::new(refuses));
    world.assign(&[0]);
    let (worker, stop) = start(&world);
    world.until(|state| state.asked.contains(&Leave)).await;
    assert!(world.state().outbox.len() <= UNPUBLISHED_MAX + 1);
    stop.cancel();
    assert_eq!(worker.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_another_left_behind_is_found_on_a_quiet_partition() {
    let world = World::new(1, 0);
    world.assign(&[0]);
    let (worker, stop) = start(&world);
    world
        .until(|state| state.asked.contains(&Start(vec![(0, 0)])))
        .await;
    world.state().ends.insert(0, 2);
    world.state().assigned.insert(0, None);
    world.another_commits(0, 2);
    world.until(world::State::is_drained).await;
    stop.cancel();
    assert_eq!(worker.await.unwrap(), Ok(()));
    assert_eq!(world.state().feed, [range(0, 0, 2)]);
}

#[tokio::test(start_paused = true)]
async fn another_log_stops_the_worker() {
    let world = World::new(1, 3);
    world.state().strange = true;
    world.assign(&[0]);
    let (worker, _stop) = start(&world);
    let strange = Strange("another log".into());
    assert_eq!(worker.await.unwrap(), Err(Fatal::Log(strange)));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_the_store_does_not_know_stops_the_worker() {
    let world = World::new(1, 3);
    world.state().ends.insert(1, 3);
    world.assign(&[0, 1]);
    let (worker, _stop) = start(&world);
    let fatal = worker.await.unwrap().unwrap_err();
    assert!(matches!(fatal, Fatal::Log(_)), "{fatal}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_store_that_is_away() {
    let world = World::new(1, 3);
    world.state().otherwise = Some(Box::new(|_| Fate::Fails));
    world.assign(&[0]);
    let (worker, stop) = start(&world);
    world.until(|state| state.asked.len() > 5).await;
    stop.cancel();
    assert_eq!(worker.await.unwrap(), Ok(()));
    assert_eq!(world.state().asked.last(), Some(&Leave));
}
