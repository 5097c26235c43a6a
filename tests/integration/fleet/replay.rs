//! What the log says there should be: its commands, one after the other, by rules that fit on a
//! page and are not the program's own.

use std::collections::{BTreeMap, HashMap};

use millpond::domain::{Action, Command};
use uuid::Uuid;

use crate::harness::{Place, Record};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Todo {
    pub user: String,
    pub title: String,
    pub description: String,
    pub completed: bool,
    pub created_micros: i64,
    pub updated_micros: i64,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Applied,
    Code(String),
    /// With the status that its client was or would have been told.
    Rejected(u16),
    Dead,
}

#[derive(Default)]
pub struct Replay {
    pub todos: BTreeMap<Uuid, Todo>,
    /// By user.
    pub codes: BTreeMap<String, String>,
    /// Every command of the log, in its order per partition.
    pub ended: BTreeMap<Place, (Option<Command>, Ended)>,
    /// The first outcome under each idempotency key, and its fingerprint.
    pub keys: HashMap<String, (String, Ended)>,
}

impl Replay {
    /// Of records in the order of their partitions: what is about one todo is in one of them.
    pub fn of(records: &[Record]) -> Self {
        let mut replay = Self::default();
        for record in records {
            let command = Command::decode(&mut record.value.clone()).ok();
            let ended = match &command {
                Some(command) => replay.apply(command),
                None => Ended::Dead,
            };
            replay.ended.insert(record.place, (command, ended));
        }
        replay
    }

    fn apply(&mut self, command: &Command) -> Ended {
        let Some(key) = &command.key else {
            return self.take_effect(command);
        };
        let (scope, fingerprint) = (format!("{:?}", key.scope), format!("{:?}", key.fingerprint));
        match self.keys.get(&scope) {
            Some((first, ended)) if *first == fingerprint => ended.clone(),
            Some(_) => Ended::Rejected(422),
            None => {
                let ended = self.take_effect(command);
                self.keys.insert(scope, (fingerprint, ended.clone()));
                ended
            }
        }
    }

    fn take_effect(&mut self, command: &Command) -> Ended {
        let user = &command.user;
        match &command.action {
            Action::Create {
                id,
                title,
                description,
            } => {
                if self.todos.contains_key(id) {
                    return Ended::Rejected(409);
                }
                let todo = Todo {
                    user: user.clone(),
                    title: title.clone(),
                    description: description.clone(),
                    completed: false,
                    created_micros: command.at.as_micros(),
                    updated_micros: command.at.as_micros(),
                };
                self.todos.insert(*id, todo);
            }
            Action::Update {
                id,
                title,
                description,
                completed,
                ..
            } => {
                let todo = self.todos.get_mut(id).filter(|todo| todo.user == *user);
                let Some(todo) = todo else {
                    return Ended::Rejected(404);
                };
                todo.title.clone_from(title);
                todo.description.clone_from(description);
                todo.completed = *completed;
                todo.updated_micros = command.at.as_micros().max(todo.updated_micros + 1);
            }
            Action::Delete { id, .. } => {
                if self.todos.get(id).is_none_or(|todo| todo.user != *user) {
                    return Ended::Rejected(404);
                }
                self.todos.remove(id);
            }
            Action::ClaimGiftCode { code } => {
                let others = self.codes.iter().filter(|(other, _)| *other != user);
                if others.clone().any(|(_, other)| other == code) && !self.codes.contains_key(user)
                {
                    return Ended::Dead;
                }
                let code = self
                    .codes
                    .entry(user.clone())
                    .or_insert_with(|| code.clone());
                return Ended::Code(code.clone());
            }
        }
        Ended::Applied
    }
}
