//! Rows of the tables, to and from the domain: columns as arrays, one statement per table however
//! many rows there are.
//!
//! A statement is sent when its future is polled first, so those that are joined go out in their
//! order and together. `try_join` it has to be: if one cannot be sent, none behind it is.

use futures_util::future::{try_join, try_join4};
use serde::de::DeserializeOwned;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::fault::Fault;
use super::outbox;
use super::session::Session;
use crate::domain::{
    Applied, Batch, Changes, DeadLetter, Hash128, Issued, KeyRecord, LastRecord, Loaded, Needs,
    NewKey, Outcome, Position, Range, Recorded, Stored, Timestamp, Todo,
};

fn signed(offset: u64) -> i64 {
    offset.cast_signed()
}

/// Moves the positions of a batch over its ranges; returns how many stood where they begin.
pub(super) async fn move_positions(session: &Session, batch: &Batch) -> Result<u64, Error> {
    let ranges = || batch.ranges.iter();
    let last = |range: &Range| {
        let mut last = batch.last.iter();
        last.find(|last| last.position.partition == range.partition)
    };
    let partitions: Vec<i32> = ranges().map(|range| range.partition.into()).collect();
    let from: Vec<i64> = ranges().map(|range| signed(range.from)).collect();
    let to: Vec<i64> = ranges().map(|range| signed(range.to)).collect();
    let offsets: Vec<Option<i64>> = ranges()
        .map(|range| Some(signed(last(range)?.position.offset)))
        .collect();
    let hashes: Vec<Option<Uuid>> = ranges()
        .map(|range| Some(uuid(last(range)?.hash)))
        .collect();
    let statement = &session.statements.move_positions;
    session
        .client()
        .execute(statement, &[&partitions, &from, &to, &offsets, &hashes])
        .await
}

pub(super) fn stored(row: &Row) -> Result<Stored, Error> {
    let partition = u16::try_from(row.try_get::<_, i32>(0)?).expect("the table checks it");
    let (offset, hash): (Option<i64>, Option<Uuid>) = (row.try_get(2)?, row.try_get(3)?);
    let last = offset.zip(hash).map(|(offset, hash)| LastRecord {
        position: Position {
            partition,
            offset: offset.cast_unsigned(),
        },
        hash: Hash128(hash.as_u128()),
    });
    Ok(Stored {
        partition,
        next_offset: row.try_get::<_, i64>(1)?.cast_unsigned(),
        last,
    })
}

/// The range in the first three columns of a row.
pub(super) fn range(row: &Row) -> Result<Range, Error> {
    Ok(Range {
        partition: u16::try_from(row.try_get::<_, i32>(0)?).expect("the program writes no other"),
        from: row.try_get::<_, i64>(1)?.cast_unsigned(),
        to: row.try_get::<_, i64>(2)?.cast_unsigned(),
    })
}

/// Reads what a batch needs. Keys that were appended before `oldest` have expired.
pub(super) async fn read(
    session: &Session,
    needs: &Needs,
    oldest: Timestamp,
) -> Result<Loaded, Fault> {
    let (todos, keys, codes, issued) = try_join4(
        read_todos(session, needs),
        read_keys(session, needs, oldest),
        read_codes(session, needs),
        read_issued(session, needs),
    )
    .await?;
    Ok(Loaded {
        todos,
        keys,
        codes,
        issued,
    })
}

async fn read_todos(session: &Session, needs: &Needs) -> Result<Vec<Todo>, Fault> {
    if needs.todos.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = needs.todos.iter().copied().collect();
    let statement = &session.statements.todos;
    let rows = session.client().query(statement, &[&ids]).await?;
    let todos: Result<Vec<Todo>, Error> = rows.iter().map(todo).collect();
    Ok(todos?)
}

pub(super) fn todo(row: &Row) -> Result<Todo, Error> {
    Ok(Todo {
        id: row.try_get(0)?,
        title: row.try_get(1)?,
        description: row.try_get(2)?,
        completed: row.try_get(3)?,
        user_id: row.try_get(4)?,
        created_at: Timestamp::from_micros(row.try_get(5)?),
        updated_at: Timestamp::from_micros(row.try_get(6)?),
    })
}

async fn read_keys(
    session: &Session,
    needs: &Needs,
    oldest: Timestamp,
) -> Result<Vec<(Hash128, KeyRecord)>, Fault> {
    if needs.keys.is_empty() {
        return Ok(Vec::new());
    }
    let scopes: Vec<Uuid> = needs.keys.iter().map(|scope| uuid(*scope)).collect();
    let statement = &session.statements.keys;
    let oldest = oldest.as_micros();
    let rows = session
        .client()
        .query(statement, &[&scopes, &oldest])
        .await?;
    rows.iter().map(key).collect()
}

fn key(row: &Row) -> Result<(Hash128, KeyRecord), Fault> {
    let hash = |column| -> Result<Hash128, Error> {
        Ok(Hash128(row.try_get::<_, Uuid>(column)?.as_u128()))
    };
    let outcome = match row.try_get::<_, Option<&str>>(2)? {
        Some(text) => from_json(text)?,
        None => Outcome::Applied,
    };
    let record = KeyRecord {
        fingerprint: hash(1)?,
        outcome,
    };
    Ok((hash(0)?, record))
}

async fn read_codes(session: &Session, needs: &Needs) -> Result<Vec<(String, String)>, Fault> {
    if needs.users.is_empty() {
        return Ok(Vec::new());
    }
    let users: Vec<&str> = needs.users.iter().map(String::as_str).collect();
    let statement = &session.statements.gift_codes;
    let rows = session.client().query(statement, &[&users]).await?;
    let pair = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(pair).collect()
}

async fn read_issued(session: &Session, needs: &Needs) -> Result<u64, Fault> {
    if needs.users.is_empty() {
        return Ok(0);
    }
    let row = session.client().query_one(&session.statements.issued, &[]);
    Ok(row.await?.try_get::<_, i64>(0)?.cast_unsigned())
}

/// Writes in the order of every transaction; `at` is what outcomes and dead letters are kept from.
pub(super) async fn write(
    session: &Session,
    changes: &Changes,
    at: Timestamp,
) -> Result<(), Error> {
    let todos = try_join(delete_todos(session, changes), put_todos(session, changes));
    let codes = try_join(
        put_codes(session, &changes.codes),
        issue(session, &changes.codes),
    );
    let rest = try_join(
        put_outcomes(session, &changes.outcomes, at),
        put_dead_letters(session, &changes.dead, at),
    );
    let written = try_join4(todos, put_keys(session, &changes.keys), codes, rest);
    written.await.map(drop)
}

async fn delete_todos(session: &Session, changes: &Changes) -> Result<(), Error> {
    let gone = changes.todos.iter().filter(|change| change.now.is_none());
    let ids: Vec<Uuid> = gone.map(|change| change.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let statement = &session.statements.delete_todos;
    session.execute(statement, &[&ids]).await
}

async fn put_todos(session: &Session, changes: &Changes) -> Result<(), Error> {
    let todos = || {
        changes
            .todos
            .iter()
            .filter_map(|change| change.now.as_ref())
    };
    let ids: Vec<Uuid> = todos().map(|todo| todo.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let titles: Vec<&str> = todos().map(|todo| todo.title.as_str()).collect();
    let descriptions: Vec<&str> = todos().map(|todo| todo.description.as_str()).collect();
    let completed: Vec<bool> = todos().map(|todo| todo.completed).collect();
    let users: Vec<&str> = todos().map(|todo| todo.user_id.as_str()).collect();
    let created: Vec<i64> = todos().map(|todo| todo.created_at.as_micros()).collect();
    let updated: Vec<i64> = todos().map(|todo| todo.updated_at.as_micros()).collect();
    let statement = &session.statements.put_todos;
    session
        .execute(
            statement,
            &[
                &ids,
                &titles,
                &descriptions,
                &completed,
                &users,
                &created,
                &updated,
            ],
        )
        .await
}

async fn put_keys(session: &Session, keys: &[NewKey]) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let scopes: Vec<Uuid> = keys.iter().map(|key| uuid(key.scope)).collect();
    let fingerprints: Vec<Uuid> = keys
        .iter()
        .map(|key| uuid(key.record.fingerprint))
        .collect();
    let outcomes: Vec<Option<String>> = keys
        .iter()
        .map(|key| {
            let outcome = &key.record.outcome;
            outcome.is_exceptional().then(|| json(outcome))
        })
        .collect();
    let times: Vec<i64> = keys.iter().map(|key| key.appended_at.as_micros()).collect();
    let statement = &session.statements.put_keys;
    session
        .execute(statement, &[&scopes, &fingerprints, &outcomes, &times])
        .await
}

async fn put_codes(session: &Session, codes: &[Issued]) -> Result<(), Error> {
    if codes.is_empty() {
        return Ok(());
    }
    let users: Vec<&str> = codes.iter().map(|issued| issued.user.as_str()).collect();
    let texts: Vec<&str> = codes.iter().map(|issued| issued.code.as_str()).collect();
    let times: Vec<i64> = codes.iter().map(|issued| issued.at.as_micros()).collect();
    let statement = &session.statements.put_gift_codes;
    session.execute(statement, &[&users, &texts, &times]).await
}

async fn issue(session: &Session, codes: &[Issued]) -> Result<(), Error> {
    let count = signed(codes.len() as u64);
    if count == 0 {
        return Ok(());
    }
    let statement = &session.statements.issue;
    session.execute(statement, &[&count]).await
}

async fn put_outcomes(
    session: &Session,
    outcomes: &[Recorded],
    at: Timestamp,
) -> Result<(), Error> {
    let positions = || outcomes.iter().map(|one| one.position);
    let partitions: Vec<i32> = positions().map(|at| at.partition.into()).collect();
    if partitions.is_empty() {
        return Ok(());
    }
    let offsets: Vec<i64> = positions().map(|at| signed(at.offset)).collect();
    let users: Vec<String> = outcomes.iter().map(|one| storable(&one.user)).collect();
    let texts: Vec<String> = outcomes.iter().map(|one| json(&one.outcome)).collect();
    let statement = &session.statements.put_outcomes;
    session
        .execute(
            statement,
            &[&partitions, &offsets, &users, &texts, &at.as_micros()],
        )
        .await
}

async fn put_dead_letters(
    session: &Session,
    dead: &[DeadLetter],
    at: Timestamp,
) -> Result<(), Error> {
    if dead.is_empty() {
        return Ok(());
    }
    let positions = || dead.iter().map(|letter| letter.position);
    let partitions: Vec<i32> = positions().map(|at| at.partition.into()).collect();
    let offsets: Vec<i64> = positions().map(|at| signed(at.offset)).collect();
    let users: Vec<String> = dead.iter().map(|letter| storable(&letter.user)).collect();
    let reasons: Vec<String> = dead.iter().map(|letter| storable(&letter.reason)).collect();
    let payloads: Vec<&[u8]> = dead.iter().map(|letter| &letter.payload[..]).collect();
    let statement = &session.statements.put_dead_letters;
    let at = at.as_micros();
    session
        .execute(
            statement,
            &[&partitions, &offsets, &users, &reasons, &payloads, &at],
        )
        .await
}

pub(super) async fn put_outbox(session: &Session, applied: &[Applied]) -> Result<(), Error> {
    let ranges = || applied.iter().map(|part| part.range);
    let partitions: Vec<i32> = ranges().map(|range| range.partition.into()).collect();
    let from: Vec<i64> = ranges().map(|range| signed(range.from)).collect();
    let to: Vec<i64> = ranges().map(|range| signed(range.to)).collect();
    let payloads: Vec<Vec<u8>> = applied.iter().map(outbox::pack).collect();
    let statement = &session.statements.put_outbox;
    session
        .execute(statement, &[&partitions, &from, &to, &payloads])
        .await
}

pub(super) async fn delete_outbox(session: &Session, ranges: &[Range]) -> Result<(), Error> {
    if ranges.is_empty() {
        return Ok(());
    }
    let partitions: Vec<i32> = ranges.iter().map(|range| range.partition.into()).collect();
    let from: Vec<i64> = ranges.iter().map(|range| signed(range.from)).collect();
    let statement = &session.statements.published;
    session.execute(statement, &[&partitions, &from]).await
}

/// PostgreSQL takes no NUL in a text. What is kept of poison has to fit all the same; its bytes
/// are kept as they were.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn uuid(hash: Hash128) -> Uuid {
    Uuid::from_u128(hash.0)
}

fn json(outcome: &Outcome) -> String {
    serde_json::to_string(outcome).expect("an outcome serialises")
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| {
        Fault::Failed(format!(
            "a row that this program cannot have written: {error}"
        ))
    })
}
