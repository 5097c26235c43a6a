//! `PostgreSQL` under plain upserts: the product's own statement and schema, on one connection, and
//! nothing else in the transaction.

use std::time::Instant;

use anyhow::Result;
use postgres::Client;
use uuid::Uuid;

use super::{DESCRIPTION, ROWS, TITLE, USER};

const PUT: &str = include_str!("../../../sql/postgres/put_todos.sql");

/// Rows a second of upserting `rows`, in batches of [`ROWS`], each a transaction of its own.
pub fn upsert(client: &mut Client, rows: u32) -> Result<f64> {
    let put = client.prepare(PUT)?;
    let count = ROWS as usize;
    let (titles, descriptions) = (vec![TITLE; count], vec![DESCRIPTION; count]);
    let (users, completed) = (vec![USER; count], vec![false; count]);
    let start = Instant::now();
    let batches = rows / ROWS;
    for batch in 0..batches {
        // Ids that grow, as those of the product do.
        let ids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
        let at = i64::from(batch * ROWS)..i64::from((batch + 1) * ROWS);
        let at: Vec<i64> = at.collect();
        client.execute(
            &put,
            &[&ids, &titles, &descriptions, &completed, &users, &at, &at],
        )?;
    }
    Ok(f64::from(batches * ROWS) / start.elapsed().as_secs_f64())
}
