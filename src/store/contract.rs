//! What every store keeps to. Each back end runs the whole suite.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::{
    Action, Change, Command, DeadLetter, Fold, Hash128, Idempotency, Loaded, Outcome, Payload,
    Range, Record, Rejection, any_command,
};

/// Somewhere to keep one store, empty at first.
pub trait Place {
    /// Opens the store, again too, as after a restart.
    fn open(&self, options: Options) -> impl Future<Output = Store>;

    fn dead_letters(&self) -> impl Future<Output = Vec<DeadLetter>>;
}

/// Declares a test for each function of the suite, on a new place of the given kind.
macro_rules! suite {
    ($new_place:expr) => {
        $crate::store::contract::suite!($new_place,
            a_batch_is_applied_once,
            todos_are_there_after_opening_again,
            each_partition_gets_its_part,
            a_duplicate_gets_the_first_outcome_and_has_no_effect,
            a_key_expires_by_append_time,
            a_user_keeps_one_gift_code_and_the_stock_holds,
            a_refused_command_becomes_a_dead_letter_and_its_neighbours_are_applied,
            a_poisonous_batch_may_be_all_poison,
            bytes_that_are_no_command_are_kept,
            outcomes_are_known_until_forgotten,
            forgetting_is_bounded_and_comes_to_an_end,
        );

        #[test]
        fn random_batches_end_as_one_fold_does() {
            $crate::store::contract::random_batches_end_as_one_fold_does(|| $new_place);
        }
    };
    ($new_place:expr, $($name:ident,)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::store::contract::$name(&$new_place).await;
            }
        )+
    };
}
pub(crate) use suite;

const HOUR_MICROS: i64 = 3_600_000_000;

fn at(offset: u64) -> Position {
    Position {
        partition: 0,
        offset,
    }
}

fn range(partition: u16, from: u64, to: u64) -> Range {
    Range {
        partition,
        from,
        to,
    }
}

/// Commands one behind the other in partition 0, from `from`, appended at `micros`.
fn batch_at(micros: i64, from: u64, commands: &[Command]) -> Batch {
    let record = |(offset, command): (u64, &Command)| Record {
        position: at(offset),
        appended_at: Timestamp::from_micros(micros),
        payload: Payload::Command(command.clone()),
    };
    Batch {
        ranges: vec![range(0, from, from + commands.len() as u64)],
        records: (from..).zip(commands).map(record).collect(),
    }
}

fn batch(from: u64, commands: &[Command]) -> Batch {
    batch_at(0, from, commands)
}

fn by(user: &str, action: Action) -> Command {
    Command {
        user: user.into(),
        at: Timestamp::from_micros(5),
        key: None,
        action,
    }
}

fn create(id: u128, title: &str) -> Command {
    let action = Action::Create {
        id: Uuid::from_u128(id),
        title: title.into(),
        description: "d".into(),
    };
    by("alice", action)
}

fn delete(id: u128) -> Command {
    let id = Uuid::from_u128(id);
    by("alice", Action::Delete { id, if_match: None })
}

fn claim(user: &str, code: &str) -> Command {
    by(user, Action::ClaimGiftCode { code: code.into() })
}

fn keyed(scope: u128, fingerprint: u128, command: Command) -> Command {
    let key = Idempotency {
        scope: Hash128(scope),
        fingerprint: Hash128(fingerprint),
    };
    Command {
        key: Some(key),
        ..command
    }
}

async fn todos(store: &mut Store) -> HashMap<Uuid, Todo> {
    let mut todos = HashMap::new();
    store
        .load(&mut |todo| assert_eq!(todos.insert(todo.id, todo), None))
        .await
        .unwrap();
    todos
}

async fn positions(store: &mut Store) -> Vec<u64> {
    store.load(&mut |_| {}).await.unwrap()
}

/// What became of a position; `None` is plainly applied.
async fn outcome(store: &Store, position: Position) -> Option<Outcome> {
    match store.outcomes().find(position).await.unwrap() {
        Known::Applied => None,
        Known::Exceptional(recorded) => {
            assert_eq!(recorded.position, position);
            Some(recorded.outcome)
        }
        other => panic!("{position}: {other:?}"),
    }
}

async fn rejection(store: &Store, offset: u64) -> Option<Rejection> {
    match outcome(store, at(offset)).await? {
        Outcome::Rejected(rejection) => Some(rejection),
        other => panic!("{offset}: {other:?}"),
    }
}

pub async fn a_batch_is_applied_once(place: &impl Place) {
    let mut store = place.open(Options::default()).await;
    let first = batch(0, &[create(1, "one"), create(2, "two")]);
    let applied = store.apply(first.clone()).await.unwrap();
    assert_eq!(applied[0].range, range(0, 0, 2));
    assert_eq!(applied[0].changes.len(), 2);
    let before = todos(&mut store).await;

    for wrong in [
        first,
        batch(1, &[delete(1)]),
        batch(3, &[delete(1)]),
        Batch {
            ranges: vec![range(0, 2, 3), range(9, 0, 1)],
            ..batch(2, &[delete(1)])
        },
    ] {
        let refused = store.apply(wrong).await;
        assert_eq!(refused, Err(ApplyError::Moved(vec![2])));
    }
    assert_eq!(todos(&mut store).await, before);
    store.apply(batch(2, &[delete(1)])).await.unwrap();
    assert_eq!(positions(&mut store).await, [3]);
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
        store.apply(batch(0, &commands)).await.unwrap();
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
    let applied = store.apply(both).await.unwrap();
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
        store.outcomes().find(position).await.unwrap()
    };
    assert_eq!(find(2, 0).await, Known::Applied);
    assert_eq!(find(1, 0).await, Known::Ahead);
    assert_eq!(find(2, 2).await, Known::Ahead);
    assert_eq!(find(3, 0).await, Known::Forgotten, "no such partition");
    assert_eq!(find(0, 0).await, Known::Applied);
}

pub async fn a_duplicate_gets_the_first_outcome_and_has_no_effect(place: &impl Place) {
    let mut store = place.open(Options::default()).await;
    let first = keyed(1, 1, create(1, "one"));
    let missing = keyed(2, 1, delete(7));
    let commands = [first.clone(), first.clone(), missing.clone()];
    store.apply(batch(0, &commands)).await.unwrap();
    store.apply(batch(3, &[delete(1)])).await.unwrap();
    let late = [
        first.clone(),
        keyed(1, 2, create(1, "another")),
        create(7, "now it is there"),
        missing,
    ];
    store.apply(batch(4, &late)).await.unwrap();

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
    store.apply(batch_at(0, 0, again)).await.unwrap();
    store.apply(batch_at(HOUR_MICROS, 1, again)).await.unwrap();
    // Expired: judged anew, and on record anew from here.
    let late = HOUR_MICROS + 1;
    store.apply(batch_at(late, 2, again)).await.unwrap();
    store
        .apply(batch_at(late + HOUR_MICROS, 3, &[first.clone(), delete(1)]))
        .await
        .unwrap();
    store
        .apply(batch_at(late + HOUR_MICROS + 1, 5, again))
        .await
        .unwrap();

    assert_eq!(outcome(&store, at(1)).await, None);
    assert_eq!(rejection(&store, 2).await, Some(Rejection::IdTaken));
    assert_eq!(rejection(&store, 3).await, Some(Rejection::IdTaken));
    assert_eq!(outcome(&store, at(5)).await, None);
    assert_eq!(todos(&mut store).await.len(), 1);
}

pub async fn a_user_keeps_one_gift_code_and_the_stock_holds(place: &impl Place) {
    let options = Options {
        gift_stock: 2,
        ..Options::default()
    };
    let mut store = place.open(options.clone()).await;
    let first = [claim("alice", "A"), claim("alice", "B")];
    store.apply(batch(0, &first)).await.unwrap();
    drop(store);
    let mut store = place.open(options).await;
    let rest = [claim("bob", "C"), claim("carol", "D"), claim("alice", "E")];
    store.apply(batch(2, &rest)).await.unwrap();

    let code = |code: &str| Some(Outcome::GiftCode(code.into()));
    assert_eq!(outcome(&store, at(1)).await, code("A"));
    assert_eq!(outcome(&store, at(2)).await, code("C"));
    assert_eq!(rejection(&store, 3).await, Some(Rejection::SoldOut));
    assert_eq!(outcome(&store, at(4)).await, code("A"));
}

pub async fn a_refused_command_becomes_a_dead_letter_and_its_neighbours_are_applied(
    place: &impl Place,
) {
    let mut store = place.open(Options::default()).await;
    store.apply(batch(0, &[claim("alice", "A")])).await.unwrap();
    let commands = [
        create(1, "one"),
        claim("bob", "A"),
        create(2, &"x".repeat(201)),
        delete(1),
        delete(2),
        claim("bob", "B"),
    ];
    let applied = store.apply(batch(1, &commands)).await.unwrap();
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
    store.apply(batch(0, &[bad.clone(), bad])).await.unwrap();
    assert_eq!(place.dead_letters().await.len(), 2);
    assert_eq!(positions(&mut store).await, [2]);
    // Poison leaves no key behind.
    let good = keyed(1, 2, create(1, "one"));
    store.apply(batch(2, &[good])).await.unwrap();
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
    let applied = store.apply(mixed).await.unwrap();
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

pub async fn outcomes_are_known_until_forgotten(place: &impl Place) {
    let options = Options {
        outcome_retention: Duration::from_hours(2),
        ..Options::default()
    };
    let mut store = place.open(options).await;
    let commands = [create(1, "one"), delete(8), create(2, "two")];
    store.apply(batch_at(0, 0, &commands)).await.unwrap();
    let later = [delete(9), create(3, "three")];
    store.apply(batch_at(HOUR_MICROS, 3, &later)).await.unwrap();

    let at_hours = |hours| Timestamp::from_micros(hours * HOUR_MICROS);
    store.forget(at_hours(2)).await.unwrap();
    assert_eq!(rejection(&store, 1).await, Some(Rejection::NotFound));
    store.forget(at_hours(3)).await.unwrap();
    let outcomes = store.outcomes();
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
    store.apply(batch(0, &commands)).await.unwrap();
    let later = Timestamp::from_micros(24 * 8 * HOUR_MICROS);
    let mut calls = 1;
    while store.forget(later).await.unwrap() {
        calls += 1;
    }
    assert!((2..100).contains(&calls), "{calls} calls");
    let last = store.outcomes().find(at(many - 1)).await;
    assert_eq!(last, Ok(Known::Forgotten));
    // The keys are gone as well.
    store
        .apply(batch_at(
            1,
            many,
            &[create(3, "three"), commands[3].clone()],
        ))
        .await
        .unwrap();
    assert_eq!(outcome(&store, at(many + 1)).await, None);
}

/// Any commands, cut into any batches.
fn history() -> impl Strategy<Value = (Vec<Command>, Vec<usize>, u64)> {
    let commands = proptest::collection::vec(any_command(), 0..60);
    let cuts = proptest::collection::vec(1..12usize, 60);
    (commands, cuts, 0..3u64).prop_map(|(mut commands, cuts, stock)| {
        for (nth, command) in commands.iter_mut().enumerate() {
            if let Action::ClaimGiftCode { code } = &mut command.action {
                // The same code for two users is poison; here none is wanted.
                *code = format!("GIFT-{nth}");
            }
        }
        (commands, cuts, stock)
    })
}

pub fn random_batches_end_as_one_fold_does<P: Place>(new_place: impl Fn() -> P) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut runner = prop::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    let ran = runner.run(&history(), |(commands, cuts, stock)| {
        runtime.block_on(same_as_one_fold(&new_place(), &commands, cuts, stock));
        Ok(())
    });
    ran.unwrap();
}

async fn same_as_one_fold(place: &impl Place, commands: &[Command], cuts: Vec<usize>, stock: u64) {
    let mut fold = Fold::new(Loaded::default(), stock);
    for (offset, command) in (0..).zip(commands) {
        fold.apply(at(offset), Timestamp::default(), command);
    }
    let whole = fold.finish();

    let options = Options {
        gift_stock: stock,
        ..Options::default()
    };
    let mut store = place.open(options).await;
    let (mut rest, mut from, mut fed) = (commands, 0, HashMap::new());
    for cut in cuts {
        let (now, later) = rest.split_at(cut.min(rest.len()));
        let applied = store.apply(batch(from, now)).await.unwrap();
        follow(&mut fed, applied);
        rest = later;
        from += now.len() as u64;
    }

    let living = whole.todos.into_iter().filter_map(|change| change.now);
    let expected: HashMap<Uuid, Todo> = living.map(|todo| (todo.id, todo)).collect();
    assert_eq!(todos(&mut store).await, expected);
    assert_eq!(fed, expected, "who follows the feed has the same");
    let mut exceptional: HashMap<u64, Outcome> = whole
        .outcomes
        .into_iter()
        .map(|one| (one.position.offset, one.outcome))
        .collect();
    for offset in 0..from {
        assert_eq!(
            outcome(&store, at(offset)).await,
            exceptional.remove(&offset)
        );
    }
}

fn follow(fed: &mut HashMap<Uuid, Todo>, applied: Vec<Applied>) {
    for Change { id, was, now, .. } in applied.into_iter().flat_map(|one| one.changes) {
        let before = fed.remove(&id);
        assert_eq!(before.map(|todo| todo.created_at), was);
        fed.extend(now.map(|todo| (id, todo)));
    }
}
