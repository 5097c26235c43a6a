//! What a store refuses becomes a dead letter and holds up nobody.

use super::*;
use crate::domain::{DeadLetter, Outcome, Payload, Rejection};

async fn letters(place: &impl Place) -> Vec<DeadLetter> {
    let letters = place.dead_letters().await;
    let mut all = vec![];
    for buried in letters.list(None, 1000).await.unwrap() {
        all.extend(letters.one(buried.position).await.unwrap());
    }
    all
}

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

    let dead = letters(place).await;
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
    assert_eq!(letters(place).await.len(), 2);
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
    assert_eq!(letters(place).await, [letter]);
    let dead = Some(Outcome::Dead("malformed".into()));
    assert_eq!(outcome(&store, at(0)).await, dead);
}

pub async fn dead_letters_are_listed_and_removed_by_position(place: &impl Place) {
    let mut store = place.open(Options::default()).await;
    let bad: Vec<Command> = (0..4).map(|id| create(id, "")).collect();
    store.apply(&mut batch_at(7, 0, &bad)).await.unwrap();
    let letters = place.dead_letters().await;
    let listed = async |after, limit| {
        let listed = letters.list(after, limit).await.unwrap();
        let offsets = listed.iter().map(|buried| buried.position.offset);
        offsets.collect::<Vec<u64>>()
    };
    assert_eq!(listed(None, 3).await, [0, 1, 2]);
    assert_eq!(listed(Some(at(2)), 3).await, [3]);
    let first = letters.list(None, 1).await.unwrap().remove(0);
    let letter = letters.one(at(0)).await.unwrap().unwrap();
    assert_eq!(first.user, "alice");
    assert_eq!(first.reason, letter.reason);
    assert_eq!(first.appended_at, Timestamp::from_micros(7));
    // One that is not there does no harm.
    letters.remove(&[at(1), at(3), at(9)]).await.unwrap();
    assert_eq!(listed(None, 9).await, [0, 2]);
    assert_eq!(letters.one(at(1)).await.unwrap(), None);
    letters.remove(&[]).await.unwrap();
    // What became of the command itself is on record as before.
    let dead = Some(Outcome::Dead(letter.reason));
    assert_eq!(outcome(&store, at(0)).await, dead);
    assert_eq!(
        letters.one(at(0)).await.unwrap().unwrap().payload,
        bad[0].encode()
    );
}
