//! Whatever happened, a snapshot is what a rebuild from its todos would be.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// What may happen to a todo: it is written at a time (few, so that many todos share one) with a
/// description, or deleted.
type Write = Option<(i64, String)>;
/// Batches of writes to numbered todos.
type History = Vec<Vec<(usize, Write)>>;

fn any_write() -> impl Strategy<Value = Write> {
    let length = prop_oneof![20 => 0..40_usize, 1 => 9_000..10_000_usize];
    let put = (0..20_i64, length).prop_map(|(at, length)| Some((at, "é\"x".repeat(length / 3))));
    prop_oneof![3 => put, 1 => Just(None)]
}

fn any_history(ids: usize) -> impl Strategy<Value = History> {
    let write = move || (0..ids, any_write());
    let batch = prop_oneof![
        proptest::collection::vec(write(), 0..5),
        proptest::collection::vec(write(), 0..60),
    ];
    proptest::collection::vec(batch, 1..12)
}

fn written((at, write): (usize, Write), ids: &[Uuid]) -> (Uuid, Option<Todo>) {
    let id = ids[at];
    let now = write.map(|(created_at, description)| Todo {
        description,
        ..todo(id, created_at)
    });
    (id, now)
}

fn check_history(ids: &[Uuid], history: History, full: bool) {
    let mut model = Model::default();
    let published = Published::new(model.build());
    let mut reader = published.reader();
    if full {
        let puts = ids
            .iter()
            .zip(0..)
            .map(|(id, at)| (*id, Some(todo(*id, at % 20))));
        let applied = model.apply(puts.collect());
        published.publish(published.snapshot().renew(&[applied]));
    }
    for batch in history {
        let before = reader.current();
        let was = before.tag(&before.all());
        let (first, second) = batch.split_at(batch.len() / 2);
        let applied = [first, second].map(|half| {
            // A batch has one change for a todo.
            let half: BTreeMap<_, _> = half.iter().cloned().collect();
            let puts = half.into_iter().map(|one| written(one, ids));
            model.apply(puts.collect())
        });
        let next = before.renew(&applied);
        check_finds(&next, &model, ids);
        published.publish(next);
        check_finds(&published.snapshot(), &model, ids);
        assert_eq!(before.tag(&before.all()), was);
    }
    let pin = reader.current();
    encode(&pin);
    check_same(&pin, &model.build());
    check_slices(&pin, &model.list());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_history_gives_what_a_rebuild_gives(history in any_history(2_000), full: bool) {
        let ids: Vec<Uuid> = (0..2_000).map(Uuid::from_u128).collect();
        check_history(&ids, history, full);
    }

    #[test]
    fn any_history_of_a_run_without_boundaries_gives_what_a_rebuild_gives(
        history in any_history(2_000),
    ) {
        check_history(&boundary_free_ids(2_000), history, true);
    }

    #[test]
    fn todos_may_be_built_from_in_any_order(
        order in Just((0..500).collect::<Vec<u32>>()).prop_shuffle(),
    ) {
        let todo = |at: &u32| todo(Uuid::from_u128((*at).into()), i64::from(at % 100));
        let todos: Vec<Todo> = order.iter().map(todo).collect();
        let mut model = Model::default();
        model.todos.extend(todos.iter().map(|todo| (todo.id, todo.clone())));
        check_same(&build(todos.iter(), 0), &model.build());
    }

    #[test]
    fn a_cursor_holds_its_place_when_its_todo_is_deleted(
        deleted in proptest::collection::hash_set(0..200_u128, 1..100),
        cursor in 0..200_u128,
    ) {
        let at = |id: u128| i64::try_from(id / 3).unwrap();
        let mut model = Model::default();
        let puts = (0..200).map(|id| (id, todo(Uuid::from_u128(id), at(id))));
        model.apply(puts.map(|(_, todo)| (todo.id, Some(todo))).collect());
        let full = model.build();
        let gone = deleted.iter().map(|id| (Uuid::from_u128(*id), None));
        let next = full.renew(&[model.apply(gone.collect())]);
        encode(&next);
        let pin = Pin::new(Arc::new(next));
        let key = todo(Uuid::from_u128(cursor), at(cursor)).key();
        let older: Vec<Todo> = model.list().into_iter().filter(|todo| todo.key() < key).collect();
        check(&pin, pin.after(key, usize::MAX), &older);
    }
}
