//! Rows of the tables, to and from the domain. Every statement is prepared once per connection.

use std::collections::BTreeSet;
use std::slice;
use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row, Statement, ToSql, params};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::domain::{
    Change, Changes, DeadLetter, Hash128, Issued, KeyRecord, Loaded, Needs, NewKey, Outcome, Range,
    Recorded, Timestamp, Todo,
};
use crate::store::judge::before;

const TODO_FROM: &str = include_str!("../../../sql/sqlite/todo_from.sql");
const TODOS: &str = "SELECT id, title, description, completed, user_id, created_at, updated_at
    FROM todos";
const PUT_TODO: &str = include_str!("../../../sql/sqlite/put_todo.sql");
const PUT_TODO_ROW: &str = "(?, ?, ?, ?, ?, ?, ?)";
/// Rows of one statement. It takes a seventh less time a row than one by one; more gain nothing.
const MANY: usize = 32;
static PUT_MANY_TODOS: LazyLock<String> =
    LazyLock::new(|| PUT_TODO.replace(PUT_TODO_ROW, &[PUT_TODO_ROW; MANY].join(", ")));
const DELETE_TODO: &str = "DELETE FROM todos WHERE id = ?1";

const KEY: &str = "SELECT fingerprint, outcome, appended_at FROM keys WHERE scope = ?1";
// REPLACE: what may be there has expired; the new row stands at the end again.
const PUT_KEY: &str = "REPLACE INTO keys (scope, fingerprint, outcome, appended_at)
    VALUES (?1, ?2, ?3, ?4)";

const GIFT_CODE: &str = "SELECT code FROM gift_codes WHERE user_id = ?1";
const PUT_GIFT_CODE: &str = "INSERT INTO gift_codes (user_id, code, issued_at) VALUES (?1, ?2, ?3)";
const ISSUED: &str = "SELECT issued FROM gift_stock";
const ISSUE: &str = "UPDATE gift_stock SET issued = issued + ?1";

const POSITIONS: &str = "SELECT next_offset FROM positions ORDER BY partition";
const MOVE_POSITION: &str = "UPDATE positions SET next_offset = ?3
    WHERE partition = ?1 AND next_offset = ?2";

const PUT_OUTCOME: &str =
    "INSERT INTO outcomes (partition, log_offset, user_id, outcome, appended_at)
    VALUES (?1, ?2, ?3, ?4, ?5)";
const PUT_DEAD_LETTER: &str =
    "INSERT INTO dead_letters (partition, log_offset, user_id, reason, payload, appended_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// Calls `sink` with every todo, until it takes no more.
pub(super) fn each_todo(connection: &Connection, sink: &mut dyn FnMut(Todo) -> bool) -> Result<()> {
    let mut statement = connection.prepare(TODOS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if !sink(todo(row)?) {
            break;
        }
    }
    Ok(())
}

/// The next offset per partition.
pub(super) fn positions(connection: &Connection) -> Result<Vec<u64>> {
    let next = |row: &Row<'_>| row.get(0).map(i64::cast_unsigned);
    connection
        .prepare_cached(POSITIONS)?
        .query_map([], next)?
        .collect()
}

/// Moves a partition's position over the range if it stands at its beginning.
pub(super) fn move_position(connection: &Connection, range: Range) -> Result<bool> {
    let Range {
        partition,
        from,
        to,
    } = range;
    let moved = connection.prepare_cached(MOVE_POSITION)?.execute(params![
        partition,
        from.cast_signed(),
        to.cast_signed()
    ])?;
    Ok(moved == 1)
}

/// Reads what a batch needs. Keys older than `key_retention` at `now` have expired.
pub(super) fn read(
    connection: &Connection,
    needs: &Needs,
    now: Timestamp,
    key_retention: Duration,
) -> Result<Loaded> {
    let mut loaded = Loaded {
        todos: read_todos(connection, &needs.todos)?,
        ..Loaded::default()
    };
    let mut find_key = connection.prepare_cached(KEY)?;
    let oldest = before(now, key_retention);
    for scope in &needs.keys {
        let found = find_key.query_row([scope.to_bytes()], key).optional()?;
        if let Some((record, appended_at)) = found
            && appended_at >= oldest
        {
            loaded.keys.push((*scope, record));
        }
    }
    if !needs.users.is_empty() {
        loaded.issued = connection
            .prepare_cached(ISSUED)?
            .query_row([], |row| row.get(0).map(i64::cast_unsigned))?;
    }
    let mut find_code = connection.prepare_cached(GIFT_CODE)?;
    for user in &needs.users {
        let found = find_code.query_row([user], |row| row.get(0)).optional()?;
        loaded.codes.extend(found.map(|code| (user.clone(), code)));
    }
    Ok(loaded)
}

/// The living todos among `ids`. New todos have the highest ids so far (version 7), and knowing which
/// todo comes next tells of all ids before it that they are free: a batch of creates takes one
/// look, not one per id.
fn read_todos(connection: &Connection, ids: &BTreeSet<Uuid>) -> Result<Vec<Todo>> {
    let mut todos = Vec::new();
    let mut find = connection.prepare_cached(TODO_FROM)?;
    let mut free_below = Uuid::nil();
    for id in ids {
        if *id < free_below {
            continue;
        }
        let mut rows = find.query([id.as_bytes()])?;
        let Some(row) = rows.next()? else { break };
        free_below = Uuid::from_bytes(row.get(0)?);
        if free_below == *id {
            todos.push(todo(row)?);
        }
    }
    Ok(todos)
}

/// Writes what a batch changed.
pub(super) fn write(connection: &Connection, changes: &Changes, now: Timestamp) -> Result<()> {
    put_todos(connection, &changes.todos)?;
    put_keys(connection, &changes.keys)?;
    put_codes(connection, &changes.codes)?;
    put_outcomes(connection, &changes.outcomes, now)?;
    put_dead_letters(connection, &changes.dead, now)
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

fn todo(row: &Row<'_>) -> Result<Todo> {
    Ok(Todo {
        id: Uuid::from_bytes(row.get(0)?),
        title: row.get(1)?,
        description: row.get(2)?,
        completed: row.get(3)?,
        user_id: row.get(4)?,
        created_at: Timestamp::from_micros(row.get(5)?),
        updated_at: Timestamp::from_micros(row.get(6)?),
    })
}

fn put_todos(connection: &Connection, changes: &[Change]) -> Result<()> {
    let mut delete = connection.prepare_cached(DELETE_TODO)?;
    let mut todos = Vec::with_capacity(changes.len());
    for Change { id, now, .. } in changes {
        match now {
            None => drop(delete.execute([id.as_bytes()])?),
            Some(todo) => todos.push(todo),
        }
    }
    let (many, rest) = todos.as_chunks::<MANY>();
    let mut put_many = connection.prepare_cached(&PUT_MANY_TODOS)?;
    for chunk in many {
        put(&mut put_many, chunk)?;
    }
    let mut put_one = connection.prepare_cached(PUT_TODO)?;
    for todo in rest {
        put(&mut put_one, slice::from_ref(todo))?;
    }
    Ok(())
}

/// Binds the columns of `put_todo.sql`, row after row, and executes.
fn put(statement: &mut Statement<'_>, todos: &[&Todo]) -> Result<()> {
    let mut next = 1..;
    for todo in todos {
        let row: [&dyn ToSql; 7] = [
            todo.id.as_bytes(),
            &todo.title,
            &todo.description,
            &todo.completed,
            &todo.user_id,
            &todo.created_at.as_micros(),
            &todo.updated_at.as_micros(),
        ];
        for (value, at) in row.into_iter().zip(next.by_ref()) {
            statement.raw_bind_parameter(at, value)?;
        }
    }
    statement.raw_execute()?;
    Ok(())
}

fn key(row: &Row<'_>) -> Result<(KeyRecord, Timestamp)> {
    let outcome = match row.get_ref(1)?.as_str_or_null()? {
        Some(text) => from_json(text)?,
        None => Outcome::Applied,
    };
    let record = KeyRecord {
        fingerprint: Hash128::from_bytes(row.get(0)?),
        outcome,
    };
    Ok((record, Timestamp::from_micros(row.get(2)?)))
}

fn put_keys(connection: &Connection, keys: &[NewKey]) -> Result<()> {
    let mut put = connection.prepare_cached(PUT_KEY)?;
    for key in keys {
        let outcome = &key.record.outcome;
        put.execute(params![
            key.scope.to_bytes(),
            key.record.fingerprint.to_bytes(),
            outcome.is_exceptional().then(|| json(outcome)),
            key.appended_at.as_micros(),
        ])?;
    }
    Ok(())
}

fn put_codes(connection: &Connection, codes: &[Issued]) -> Result<()> {
    if codes.is_empty() {
        return Ok(());
    }
    let mut put = connection.prepare_cached(PUT_GIFT_CODE)?;
    for issued in codes {
        put.execute(params![issued.user, issued.code, issued.at.as_micros()])?;
    }
    let count = (codes.len() as u64).cast_signed();
    connection.prepare_cached(ISSUE)?.execute([count])?;
    Ok(())
}

fn put_outcomes(connection: &Connection, outcomes: &[Recorded], now: Timestamp) -> Result<()> {
    let mut put = connection.prepare_cached(PUT_OUTCOME)?;
    for recorded in outcomes {
        put.execute(params![
            recorded.position.partition,
            recorded.position.offset.cast_signed(),
            recorded.user,
            json(&recorded.outcome),
            now.as_micros(),
        ])?;
    }
    Ok(())
}

fn put_dead_letters(connection: &Connection, dead: &[DeadLetter], now: Timestamp) -> Result<()> {
    let mut put = connection.prepare_cached(PUT_DEAD_LETTER)?;
    for letter in dead {
        put.execute(params![
            letter.position.partition,
            letter.position.offset.cast_signed(),
            letter.user,
            letter.reason,
            letter.payload,
            now.as_micros(),
        ])?;
    }
    Ok(())
}

fn json(outcome: &Outcome) -> String {
    serde_json::to_string(outcome).expect("an outcome serialises")
}
