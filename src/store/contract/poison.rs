//! What a store refuses becomes a dead letter and holds up nobody.

use super::*;
use crate::domain::{DeadLetter, Outcome, Payload, Rejection};

pub async fn a_refused_command_becomes_a_dead_letter_and_its_neighbours_are_applied(
    place: &impl Place,
) {
    let mut store = place.open(Options::default()).await;
    store
        .apply(&mut batch(0, &[claim("alice", "A")]))
        .await
        .unwrap();
    let commands = [
        create(1, "one"),
        claim("bob", "A"),
        create(2, &"x".repeat(201)),
        delete(1),
        delete(2),
        claim("bob", "B"),
    ];
    let applied = store.apply(&mut batch(1, &commands)).await.unwrap();
    assert_eq!(applied[0].range, range(0, 1, 7));
    let exceptional: Vec<u64> = applied[0]
        .outcomes
        .iter()
        .map(|one| one.position.offset)
        .collect();
    assert_eq!(exceptional, [2, 3, 5, 6]);

    let dead = place.dead_letters().await;
    for (letter, offset) in dead.iter().zip([2, 3]) {
        let command = &commands[usize::try_from(offset).unwrap() - 1];
        assert_eq!(letter.position, at(offset));
        assert_eq!(letter.user, command.user);
        assert_eq!(letter.payload, command.encode());
        let reason = Outcome::Dead(letter.reason.clone());
        assert_eq!(outcome(&store, at(offset)).await, Some(reason));
    }
    assert_eq!(dead.len(), 2);
    assert_eq!(outcome(&store, at(4)).await, None);
    assert_eq!(rejection(&store, 5).await, Some(Rejection::NotFound));
    let code = Some(Outcome::GiftCode("B".into()));
    assert_eq!(outcome(&store, at(6)).await, code);
    assert!(todos(&mut store).await.is_empty());
}

pub async fn a_poisonous_batch_may_be_all_poison(place: &impl Place) {
    let mut store = place.open(Options::default()).await;
    let bad = keyed(1, 1, create(1, ""));
    store
        .apply(&mut batch(0, &[bad.clone(), bad]))
        .await
        .unwrap();
    assert_eq!(place.dead_letters().await.len(), 2);
    assert_eq!(positions(&mut store).await, [2]);
    // Poison leaves no key behind.
    let good = keyed(1, 2, create(1, "one"));
    store.apply(&mut batch(2, &[good])).await.unwrap();
    assert_eq!(outcome(&store, at(2)).await, None);
}

pub async fn bytes_that_are_no_command_are_kept(place: &impl Place) {
    let mut store = place.open(Options::default()).await;
    let mut mixed = batch(0, &[create(1, "one"), create(2, "two")]);
    mixed.records[0].payload = Payload::Poison {
        user: String::new(),
        bytes: b"\xff\0no command".to_vec(),
        reason: "malformed".into(),
    };
    let applied = store.apply(&mut mixed).await.unwrap();
    assert_eq!(applied[0].changes.len(), 1);
    let letter = DeadLetter {
        position: at(0),
        user: String::new(),
        reason: "malformed".into(),
        payload: b"\xff\0no command".to_vec(),
    };
    assert_eq!(place.dead_letters().await, [letter]);
    let dead = Some(Outcome::Dead("malformed".into()));
    assert_eq!(outcome(&store, at(0)).await, dead);
}
