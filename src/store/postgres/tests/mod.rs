//! PostgreSQL runs the contract, and what only a server and a network can do to us.

mod database;
mod faults;
mod network;
mod opening;
mod outbox;
mod proxy;
mod session;

pub(crate) use database::Database;

use crate::domain::{
    Action, Batch, Command, Hash128, LastRecord, Payload, Position, Range, Record, Timestamp,
};
use crate::store::contract::suite;
use uuid::Uuid;

suite!(Database::new().await);

fn at(partition: u16, offset: u64) -> Position {
    Position { partition, offset }
}

/// Creates of todos `from..to` at the offsets of the same numbers.
fn creates(partition: u16, from: u64, to: u64) -> Batch {
    let record = |offset: u64| Record {
        position: at(partition, offset),
        appended_at: Timestamp::default(),
        payload: Payload::Command(create(partition, offset)),
    };
    let last = to.checked_sub(1).map(|offset| LastRecord {
        position: at(partition, offset),
        hash: Hash128::of(&offset.to_le_bytes()),
    });
    Batch {
        ranges: vec![Range {
            partition,
            from,
            to,
        }],
        records: (from..to).map(record).collect(),
        last: last.into_iter().collect(),
    }
}

fn create(partition: u16, offset: u64) -> Command {
    Command {
        user: "alice".into(),
        at: Timestamp::from_micros(offset.cast_signed()),
        key: None,
        action: Action::Create {
            id: Uuid::from_u64_pair(partition.into(), offset),
            title: format!("todo {offset}"),
            description: "d".repeat(100),
        },
    }
}
