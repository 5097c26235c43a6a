//! What every store keeps to. Each back end runs the whole suite.

mod applying;
mod history;
mod poison;
mod retention;

use std::collections::HashMap;

use uuid::Uuid;

pub use applying::*;
pub use history::*;
pub use poison::*;
pub use retention::*;

use super::{ApplyError, DeadLetters, Known, Options, Store};
use crate::domain::{
    Action, Batch, Command, Hash128, Idempotency, Outcome, Payload, Position, Range, Record,
    Rejection, Timestamp, Todo,
};

/// Somewhere to keep one store, empty at first.
pub trait Place {
    /// Opens the store, again too, as after a restart.
    fn open(&self, options: Options) -> impl Future<Output = Store>;

    /// Makes it empty again; nothing is open.
    fn clear(&self) -> impl Future<Output = ()>;

    fn dead_letters(&self) -> impl Future<Output = DeadLetters>;
}

/// Declares a test for each function of the suite, on a new place of the given kind.
macro_rules! suite {
    ($new_place:expr) => {
        $crate::store::contract::suite!($new_place;
            a_batch_is_applied_once,
            a_large_batch_is_stored_whole,
            todos_are_there_after_opening_again,
            each_partition_gets_its_part,
            a_duplicate_gets_the_first_outcome_and_has_no_effect,
            a_key_expires_by_append_time,
            a_user_keeps_one_gift_code_and_the_stock_holds,
            a_refused_command_becomes_a_dead_letter_and_its_neighbours_are_applied,
            a_poisonous_batch_may_be_all_poison,
            bytes_that_are_no_command_are_kept,
            dead_letters_are_listed_and_removed_by_position,
            outcomes_are_known_until_forgotten,
            forgetting_is_bounded_and_comes_to_an_end,
        );

        #[test]
        fn random_batches_end_as_one_fold_does() {
            $crate::store::contract::random_batches_end_as_one_fold_does(async { $new_place });
        }
    };
    ($new_place:expr; $($name:ident,)+) => {
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
        last: Vec::new(),
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
        .reader()
        .load(&mut |todo| assert_eq!(todos.insert(todo.id, todo), None))
        .await
        .unwrap();
    todos
}

async fn positions(store: &mut Store) -> Vec<u64> {
    store.reader().load(&mut |_| {}).await.unwrap()
}

/// What became of a position; `None` is plainly applied.
async fn outcome(store: &Store, position: Position) -> Option<Outcome> {
    match store.reader().find(position).await.unwrap() {
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
