//! A batch of commands folded through `decide`: what to read before, what to write after.
//!
//! A store reads what [`Needs`] names, starts a [`Fold`] from it, gives it every record in order,
//! and writes the [`Changes`] in one transaction. Commands of a batch see each other's effects.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Action, Command, DeadLetter, Decision, Effect, Hash128, KeyRecord, Outcome, Position, State,
    Timestamp, Todo, decide,
};

/// What deciding a batch has to know of the store.
#[derive(Debug, Default)]
pub struct Needs {
    pub todos: BTreeSet<Uuid>,
    pub keys: BTreeSet<Hash128>,
    /// Users who claim a gift code. If there are any, the number of codes issued is needed too.
    pub users: BTreeSet<String>,
}

impl Needs {
    #[must_use]
    pub fn of<'a>(commands: impl IntoIterator<Item = &'a Command>) -> Self {
        let mut needs = Self::default();
        for command in commands {
            needs.todos.extend(command.todo_id());
            needs.keys.extend(command.key.map(|key| key.scope));
            if matches!(command.action, Action::ClaimGiftCode { .. }) {
                needs.users.insert(command.user.clone());
            }
        }
        needs
    }
}

/// What a store read for a batch.
#[derive(Debug, Default)]
pub struct Loaded {
    pub todos: Vec<Todo>,
    /// Only records that have not expired at the batch's append time.
    pub keys: Vec<(Hash128, KeyRecord)>,
    /// User and gift code.
    pub codes: Vec<(String, String)>,
    /// Gift codes issued so far.
    pub issued: u64,
}

/// What became of one todo over a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub id: Uuid,
    /// Where the commands about this todo stand: all of them in one partition of the log.
    pub partition: u16,
    /// `created_at` of the version that was there before; `None` where there was none.
    pub was: Option<Timestamp>,
    /// The version that is there now; `None` where it was deleted.
    pub now: Option<Todo>,
}

/// An idempotency key to put on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    pub scope: Hash128,
    pub record: KeyRecord,
    /// When its command was appended to the log: expiry counts from here.
    pub appended_at: Timestamp,
}

/// A gift code to enter in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub user: String,
    pub code: String,
    pub at: Timestamp,
}

/// An exceptional outcome to store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    pub position: Position,
    /// Who may see it; empty where the command could not be read.
    pub user: String,
    pub outcome: Outcome,
}

/// What a store has to write for a batch, in one transaction.
#[derive(Debug, Default)]
pub struct Changes {
    pub todos: Vec<Change>,
    pub keys: Vec<NewKey>,
    pub codes: Vec<Issued>,
    pub outcomes: Vec<Recorded>,
    pub dead: Vec<DeadLetter>,
}

/// The state of a batch while it is folded.
pub struct Fold {
    todos: HashMap<Uuid, Slot>,
    keys: HashMap<Hash128, KeyRecord>,
    codes: HashMap<String, String>,
    /// Gift codes that may still be issued.
    stock: u64,
    /// Ids, with their partition, in the order of their first change.
    changed: Vec<(Uuid, u16)>,
    changes: Changes,
}

#[derive(Default)]
struct Slot {
    was: Option<Timestamp>,
    now: Option<Todo>,
    changed: bool,
}

impl Fold {
    /// `stock` is the number of gift codes there are in all; 0 means no limit.
    #[must_use]
    pub fn new(loaded: Loaded, stock: u64) -> Self {
        let slot = |todo: Todo| {
            let was = Some(todo.created_at);
            (
                todo.id,
                Slot {
                    was,
                    now: Some(todo),
                    changed: false,
                },
            )
        };
        let stock = if stock == 0 {
            u64::MAX
        } else {
            stock.saturating_sub(loaded.issued)
        };
        Self {
            todos: loaded.todos.into_iter().map(slot).collect(),
            keys: loaded.keys.into_iter().collect(),
            codes: loaded.codes.into_iter().collect(),
            stock,
            changed: Vec::new(),
            changes: Changes::default(),
        }
    }

    /// Decides the next command. One that makes `decide` panic becomes a dead letter and has no
    /// effect: its neighbours go on.
    pub fn apply(&mut self, position: Position, appended_at: Timestamp, command: &Command) {
        let state = State {
            todo: command
                .todo_id()
                .and_then(|id| self.todos.get(&id)?.now.as_ref()),
            key: command.key.and_then(|key| self.keys.get(&key.scope)),
            code: self.codes.get(&command.user).map(String::as_str),
            stock_left: self.stock > 0,
        };
        match catch_unwind(AssertUnwindSafe(|| decide(state, command))) {
            Ok(decision) => self.take(position, appended_at, command, decision),
            Err(_) => self.bury(DeadLetter {
                position,
                user: command.user.clone(),
                reason: "deciding the command panicked".to_owned(),
                payload: command.encode(),
            }),
        }
    }

    /// Enters a record that cannot be decided as a dead letter.
    pub fn bury(&mut self, mut letter: DeadLetter) {
        letter.cut_reason();
        self.changes.outcomes.push(Recorded {
            position: letter.position,
            user: letter.user.clone(),
            outcome: Outcome::Dead(letter.reason.clone()),
        });
        self.changes.dead.push(letter);
    }

    fn take(
        &mut self,
        position: Position,
        appended_at: Timestamp,
        command: &Command,
        decision: Decision,
    ) {
        let Decision {
            effect,
            outcome,
            remember,
        } = decision;
        match effect {
            Effect::None => {}
            Effect::Put(todo) => self.change(position, todo.id, Some(todo)),
            Effect::Delete(id) => self.change(position, id, None),
            Effect::Issue(code) => self.issue(command, code),
        }
        if let (true, Some(key)) = (remember, command.key) {
            let record = KeyRecord {
                fingerprint: key.fingerprint,
                outcome: outcome.clone(),
            };
            self.keys.insert(key.scope, record.clone());
            self.changes.keys.push(NewKey {
                scope: key.scope,
                record,
                appended_at,
            });
        }
        if outcome.is_exceptional() {
            self.changes.outcomes.push(Recorded {
                position,
                user: command.user.clone(),
                outcome,
            });
        }
    }

    fn change(&mut self, position: Position, id: Uuid, now: Option<Todo>) {
        let slot = self.todos.entry(id).or_default();
        slot.now = now;
        if !slot.changed {
            slot.changed = true;
            self.changed.push((id, position.partition));
        }
    }

    fn issue(&mut self, command: &Command, code: String) {
        self.stock = self.stock.saturating_sub(1);
        self.codes.insert(command.user.clone(), code.clone());
        self.changes.codes.push(Issued {
            user: command.user.clone(),
            code,
            at: command.at,
        });
    }

    /// What is to be written. A todo that came and went within the batch leaves no change.
    #[must_use]
    pub fn finish(mut self) -> Changes {
        for (id, partition) in self.changed {
            let Some(Slot { was, now, .. }) = self.todos.remove(&id) else {
                continue;
            };
            if was.is_some() || now.is_some() {
                self.changes.todos.push(Change {
                    id,
                    partition,
                    was,
                    now,
                });
            }
        }
        self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::tests::command;
    use proptest::prelude::*;

    /// Todos, exceptional outcomes and gift codes.
    type Folded = (
        HashMap<Uuid, Todo>,
        Vec<(Position, Outcome)>,
        HashMap<String, String>,
    );

    fn fold(commands: &[Command], cut_every: usize, stock: u64) -> Folded {
        let mut todos = HashMap::<Uuid, Todo>::new();
        let mut keys = HashMap::new();
        let mut codes = HashMap::new();
        let mut outcomes = Vec::new();
        for (nth, batch) in commands.chunks(cut_every).enumerate() {
            let loaded = Loaded {
                todos: todos.values().cloned().collect(),
                keys: keys.clone().into_iter().collect(),
                codes: codes.clone().into_iter().collect(),
                issued: codes.len() as u64,
            };
            let mut fold = Fold::new(loaded, stock);
            for (at, command) in batch.iter().enumerate() {
                let offset = (nth * cut_every + at) as u64;
                fold.apply(
                    Position {
                        partition: 0,
                        offset,
                    },
                    Timestamp::default(),
                    command,
                );
            }
            let changes = fold.finish();
            for Change { id, was, now, .. } in changes.todos {
                let before = todos.remove(&id);
                assert_eq!(before.map(|todo| todo.created_at), was);
                todos.extend(now.map(|todo| (id, todo)));
            }
            keys.extend(changes.keys.into_iter().map(|key| (key.scope, key.record)));
            codes.extend(
                changes
                    .codes
                    .into_iter()
                    .map(|issued| (issued.user, issued.code)),
            );
            outcomes.extend(
                changes
                    .outcomes
                    .into_iter()
                    .map(|one| (one.position, one.outcome)),
            );
        }
        (todos, outcomes, codes)
    }

    proptest! {
        #[test]
        fn where_batches_are_cut_makes_no_difference(
            commands in proptest::collection::vec(command(), 0..40),
            cut_every in 1..10usize,
            stock in 0..3u64,
        ) {
            let whole = fold(&commands, commands.len().max(1), stock);
            prop_assert_eq!(&fold(&commands, cut_every, stock), &whole);
            if stock > 0 {
                prop_assert!(whole.2.len() as u64 <= stock);
            }
        }

        #[test]
        fn sending_everything_keyed_twice_changes_nothing(
            commands in proptest::collection::vec(command(), 0..20),
        ) {
            let keyed: Vec<Command> = commands
                .into_iter()
                .enumerate()
                .map(|(nth, mut command)| {
                    let scope = Hash128(nth as u128);
                    command.key = Some(crate::domain::Idempotency { scope, fingerprint: scope });
                    command
                })
                .collect();
            let once = fold(&keyed, 7, 0);
            let twice = fold(&[keyed.clone(), keyed].concat(), 7, 0);
            prop_assert_eq!(once.0, twice.0);
            prop_assert_eq!(once.2, twice.2);
        }
    }

    #[test]
    fn a_todo_that_came_and_went_leaves_no_change() {
        let id = Uuid::from_u128(1);
        let by = |action| Command {
            user: "a".into(),
            at: Timestamp::default(),
            key: None,
            action,
        };
        let create = by(Action::Create {
            id,
            title: "t".into(),
            description: String::new(),
        });
        let delete = by(Action::Delete { id, if_match: None });
        let mut fold = Fold::new(Loaded::default(), 0);
        for (offset, command) in [create, delete].iter().enumerate() {
            fold.apply(
                Position {
                    partition: 0,
                    offset: offset as u64,
                },
                Timestamp::default(),
                command,
            );
        }
        assert_eq!(fold.finish().todos, []);
    }
}
