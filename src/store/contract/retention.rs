//! Keys and outcomes are remembered as long as promised, and forgotten after.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::domain::{Command, Rejection};

pub async fn a_duplicate_gets_the_first_outcome_and_has_no_effect(place: &impl Place) {
    let mut store = place.open(Options::default()).await;
    let first = keyed(1, 1, create(1, "one"));
    let missing = keyed(2, 1, delete(7));
    let commands = [first.clone(), first.clone(), missing.clone()];
    store.apply(&mut batch(0, &commands)).await.unwrap();
    store.apply(&mut batch(3, &[delete(1)])).await.unwrap();
    let late = [
        first.clone(),
        keyed(1, 2, create(1, "another")),
        create(7, "now it is there"),
        missing,
    ];
    store.apply(&mut batch(4, &late)).await.unwrap();

    assert_eq!(outcome(&store, at(1)).await, None);
    assert_eq!(outcome(&store, at(4)).await, None, "deleted since");
    assert_eq!(rejection(&store, 5).await, Some(Rejection::KeyReused));
    assert_eq!(rejection(&store, 7).await, Some(Rejection::NotFound));
    let left: Vec<Uuid> = todos(&mut store).await.into_keys().collect();
    assert_eq!(left, [Uuid::from_u128(7)]);
}

pub async fn a_key_expires_by_append_time(place: &impl Place) {
    let options = Options {
        key_retention: Duration::from_hours(1),
        ..Options::default()
    };
    let mut store = place.open(options).await;
    let first = keyed(1, 1, create(1, "one"));
    let again = std::slice::from_ref(&first);
    store.apply(&mut batch_at(0, 0, again)).await.unwrap();
    store
        .apply(&mut batch_at(HOUR_MICROS, 1, again))
        .await
        .unwrap();
    // Expired: judged anew, and on record anew from here.
    let late = HOUR_MICROS + 1;
    store.apply(&mut batch_at(late, 2, again)).await.unwrap();
    store
        .apply(&mut batch_at(
            late + HOUR_MICROS,
            3,
            &[first.clone(), delete(1)],
        ))
        .await
        .unwrap();
    store
        .apply(&mut batch_at(late + HOUR_MICROS + 1, 5, again))
        .await
        .unwrap();

    assert_eq!(outcome(&store, at(1)).await, None);
    assert_eq!(rejection(&store, 2).await, Some(Rejection::IdTaken));
    assert_eq!(rejection(&store, 3).await, Some(Rejection::IdTaken));
    assert_eq!(outcome(&store, at(5)).await, None);
    assert_eq!(todos(&mut store).await.len(), 1);
}

pub async fn outcomes_are_known_until_forgotten(place: &impl Place) {
    let options = Options {
        outcome_retention: Duration::from_hours(2),
        ..Options::default()
    };
    let mut store = place.open(options).await;
    let commands = [create(1, "one"), delete(8), create(2, "two")];
    store.apply(&mut batch_at(0, 0, &commands)).await.unwrap();
    let later = [delete(9), create(3, "three")];
    store
        .apply(&mut batch_at(HOUR_MICROS, 3, &later))
        .await
        .unwrap();

    let at_hours = |hours| Timestamp::from_micros(hours * HOUR_MICROS);
    store.forget(at_hours(2)).await.unwrap();
    assert_eq!(rejection(&store, 1).await, Some(Rejection::NotFound));
    store.forget(at_hours(3)).await.unwrap();
    let outcomes = store.reader();
    for offset in [0, 1] {
        assert_eq!(outcomes.find(at(offset)).await, Ok(Known::Forgotten));
    }
    assert_eq!(outcomes.find(at(2)).await, Ok(Known::Applied));
    assert_eq!(rejection(&store, 3).await, Some(Rejection::NotFound));
    store.forget(at_hours(4)).await.unwrap();
    assert_eq!(outcomes.find(at(3)).await, Ok(Known::Forgotten));
    assert_eq!(outcomes.find(at(4)).await, Ok(Known::Applied));
    assert_eq!(outcomes.find(at(5)).await, Ok(Known::Ahead));
    assert_eq!(todos(&mut store).await.len(), 3);
}

pub async fn forgetting_is_bounded_and_comes_to_an_end(place: &impl Place) {
    let mut store = place.open(Options::default()).await;
    let many = 12_000;
    let rejected = |nth: u64| keyed(nth.into(), 1, delete(nth.into()));
    let commands: Vec<Command> = (0..many).map(rejected).collect();
    store.apply(&mut batch(0, &commands)).await.unwrap();
    let later = Timestamp::from_micros(24 * 8 * HOUR_MICROS);
    let mut calls = 1;
    while store.forget(later).await.unwrap() {
        calls += 1;
    }
    assert!((2..100).contains(&calls), "{calls} calls");
    let last = store.reader().find(at(many - 1)).await;
    assert_eq!(last, Ok(Known::Forgotten));
    // The keys are gone as well.
    store
        .apply(&mut batch_at(
            1,
            many,
            &[create(3, "three"), commands[3].clone()],
        ))
        .await
        .unwrap();
    assert_eq!(outcome(&store, at(many + 1)).await, None);
}
