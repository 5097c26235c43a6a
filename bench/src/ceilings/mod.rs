//! Ceilings: what the databases take from a plain loop on this machine, on the disk that the writes
//! go to. A server that stores each write durably cannot be faster than the loop with as many rows
//! in a transaction.

mod postgres;
mod sqlite;
pub mod unnest;

use std::time::Duration;

use anyhow::Result;

use crate::progress::Progress;
use crate::record::{Ceiling, Line, Writer};
use crate::session::Session;

/// Rows of a transaction in the loops that make many.
const ROWS: u32 = 1_000;

/// What both are filled with: as long as what the product is given in its scenarios.
const TITLE: &str = "Water the garden 12345";
const DESCRIPTION: &str = "Before the weekend, and not later than that.";
const USER: &str = "user-1-1234";

/// Runs all loops, for `seconds` each.
pub fn run(session: &Session, seconds: u32, raw: &mut Writer, progress: &Progress) -> Result<()> {
    progress.part("ceilings");
    let each = Duration::from_secs(seconds.into());
    for rows in [1, ROWS] {
        let rows_per_second = sqlite::insert(&session.fresh("ceiling")?, rows, each)?;
        raw.put(Line::Ceiling(Ceiling {
            name: format!("SQLite, WAL, synchronous=FULL, {rows} a transaction"),
            rows_per_second,
        }))?;
    }
    let server = match postgres::start(session) {
        Ok(Some(server)) => server,
        Ok(None) => {
            progress.note("PostgreSQL is not installed: its ceiling is left out");
            return Ok(());
        }
        Err(error) => {
            progress.note(&format!("PostgreSQL's ceiling is left out: {error:#}"));
            return Ok(());
        }
    };
    for (clients, rows) in [(1, 1), (64, 1), (1, ROWS)] {
        let rows_per_second = server.insert(session, clients, rows, seconds)?;
        raw.put(Line::Ceiling(Ceiling {
            name: format!(
                "PostgreSQL, synchronous_commit=on, pgbench with {clients} clients, {rows} a \
                 transaction"
            ),
            rows_per_second,
        }))?;
    }
    Ok(())
}
