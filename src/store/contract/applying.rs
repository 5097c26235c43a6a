//! A batch takes effect once, whole, and for good.

use uuid::Uuid;

use super::*;
use crate::domain::{Action, Command, Outcome, Rejection};

pub async fn a_batch_is_applied_once(place: &impl Place) {
    let mut store = place.open(Options::default()).await;
    let first = batch(0, &[create(1, "one"), create(2, "two")]);
    let applied = store.apply(&mut first.clone()).await.unwrap();
    assert_eq!(applied[0].range, range(0, 0, 2));
    assert_eq!(applied[0].changes.len(), 2);
    let before = todos(&mut store).await;

    for mut wrong in [
        first,
        batch(1, &[delete(1)]),
        batch(3, &[delete(1)]),
        Batch {
            ranges: vec![range(0, 2, 3), range(9, 0, 1)],
            ..batch(2, &[delete(1)])
        },
    ] {
        let refused = store.apply(&mut wrong).await;
        assert_eq!(refused, Err(ApplyError::Moved(vec![2])));
    }
    assert_eq!(todos(&mut store).await, before);
    store.apply(&mut batch(2, &[delete(1)])).await.unwrap();
    assert_eq!(positions(&mut store).await, [3]);
}

pub async fn a_large_batch_is_stored_whole(place: &impl Place) {
    let mut store = place.open(Options::default()).await;
    let id = |nth: u128| nth.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let create = |nth: u128| create(id(nth), &format!("todo {nth}"));
    let new: Vec<Command> = (0..1000).map(create).collect();
    store.apply(&mut batch(0, &new)).await.unwrap();
    // New ones among old ones, and all kinds of changes in one batch.
    let update = |nth: u128| {
        let action = Action::Update {
            id: Uuid::from_u128(id(nth)),
            title: format!("changed {nth}"),
            description: String::new(),
            completed: true,
            if_match: None,
        };
        by("alice", action)
    };
    let mixed: Vec<Command> = (0..1000)
        .map(|nth| match nth % 3 {
            0 => create(1000 + nth),
            1 => update(nth),
            _ => delete(id(nth)),
        })
        .collect();
    let applied = store.apply(&mut batch(1000, &mixed)).await.unwrap();
    assert_eq!(
        (applied[0].changes.len(), applied[0].outcomes.len()),
        (1000, 0)
    );

    let todos = todos(&mut store).await;
    let title = |nth| Some(todos.get(&Uuid::from_u128(id(nth)))?.title.clone());
    for nth in 0..1000 {
        let (old, new) = (title(nth), title(1000 + nth));
        match nth % 3 {
            0 => assert_eq!(
                (old, new),
                (
                    Some(format!("todo {nth}")),
                    Some(format!("todo {}", 1000 + nth))
                )
            ),
            1 => assert_eq!((old, new), (Some(format!("changed {nth}")), None)),
            _ => assert_eq!((old, new), (None, None)),
        }
    }
}

pub async fn todos_are_there_after_opening_again(place: &impl Place) {
    let update = Action::Update {
        id: Uuid::from_u128(2),
        title: "zwei 漢".into(),
        description: String::new(),
        completed: true,
        if_match: None,
    };
    let before = {
        let mut store = place.open(Options::default()).await;
        let commands = [
            create(1, "one"),
            create(2, "two"),
            by("alice", update),
            delete(1),
            delete(7),
        ];
        store.apply(&mut batch(0, &commands)).await.unwrap();
        todos(&mut store).await
    };
    let mut store = place.open(Options::default()).await;
    assert_eq!(todos(&mut store).await, before);
    assert_eq!(positions(&mut store).await, [5]);
    assert_eq!(rejection(&store, 4).await, Some(Rejection::NotFound));
    let [todo] = before.into_values().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((todo.title.as_str(), todo.completed), ("zwei 漢", true));
    assert_eq!(
        (todo.created_at.as_micros(), todo.updated_at.as_micros()),
        (5, 6)
    );
}

pub async fn each_partition_gets_its_part(place: &impl Place) {
    let options = Options {
        partitions: 3,
        ..Options::default()
    };
    let mut store = place.open(options).await;
    let mut both = batch(0, &[create(1, "one"), delete(8), delete(9)]);
    for record in &mut both.records[..2] {
        record.position.partition = 2;
    }
    // Offset 2 of partition 0 is the third record; what lies before it holds no records.
    both.ranges = vec![range(2, 0, 2), range(0, 0, 3)];
    let applied = store.apply(&mut both).await.unwrap();
    assert_eq!(
        (applied[0].changes.len(), applied[0].outcomes.len()),
        (1, 1)
    );
    assert_eq!(
        (applied[1].changes.len(), applied[1].outcomes.len()),
        (0, 1)
    );
    assert_eq!(positions(&mut store).await, [3, 0, 2]);
    let find = async |partition, offset| {
        let position = Position { partition, offset };
        store.reader().find(position).await.unwrap()
    };
    assert_eq!(find(2, 0).await, Known::Applied);
    assert_eq!(find(1, 0).await, Known::Ahead);
    assert_eq!(find(2, 2).await, Known::Ahead);
    assert_eq!(find(3, 0).await, Known::Forgotten, "no such partition");
    assert_eq!(find(0, 0).await, Known::Applied);
}

pub async fn a_user_keeps_one_gift_code_and_the_stock_holds(place: &impl Place) {
    let options = Options {
        gift_stock: 2,
        ..Options::default()
    };
    let mut store = place.open(options.clone()).await;
    let first = [claim("alice", "A"), claim("alice", "B")];
    store.apply(&mut batch(0, &first)).await.unwrap();
    drop(store);
    let mut store = place.open(options).await;
    let rest = [claim("bob", "C"), claim("carol", "D"), claim("alice", "E")];
    store.apply(&mut batch(2, &rest)).await.unwrap();

    let code = |code: &str| Some(Outcome::GiftCode(code.into()));
    assert_eq!(outcome(&store, at(1)).await, code("A"));
    assert_eq!(outcome(&store, at(2)).await, code("C"));
    assert_eq!(rejection(&store, 3).await, Some(Rejection::SoldOut));
    assert_eq!(outcome(&store, at(4)).await, code("A"));
}
