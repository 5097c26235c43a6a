//! How long a server takes to be ready: from the start of its process until `/ready` answers 200.

use std::time::{Duration, Instant};

use anyhow::Result;
use postgres::{Client, NoTls};

use crate::ceilings::unnest;
use crate::deployment::Limits;
use crate::fleet::Fleet;
use crate::progress::Progress;
use crate::record::{Figure, Line, Table, Writer};
use crate::session::Session;

/// What the server has to load.
const TODOS: u32 = 100_000;
/// Seconds that a start takes at most on a machine as slow as any, for the plan.
pub const SECONDS: u32 = 1;

/// A single process over `SQLite`.
pub fn alone(session: &Session, rounds: u32, raw: &mut Writer, progress: &Progress) -> Result<()> {
    progress.say("seeding for starts");
    let product = &session.reference;
    let data = session.fresh("data-start")?;
    product.seed(&data, TODOS as usize)?;
    let settings = session.settings(Limits::None);
    let log = session.log("start");
    for _ in 0..rounds {
        let start = Instant::now();
        let server = product.start(&data, session.server_core, &log, &settings)?;
        put("alone, on one core", start.elapsed(), raw)?;
        drop(server);
        progress.advance(SECONDS);
    }
    Ok(())
}

/// A server of a fleet, with a database of as many todos.
pub fn fleet(session: &Session, rounds: u32, raw: &mut Writer, progress: &Progress) -> Result<()> {
    progress.say("fleet: seeding for starts");
    let fleet = Fleet::prepare(session, &session.reference, Limits::None)?;
    let mut client = Client::connect(&fleet.database.url(), NoTls)?;
    unnest::upsert(&mut client, TODOS)?;
    // The first one makes the topics.
    drop(fleet.start_server(0)?);
    for _ in 0..rounds {
        let start = Instant::now();
        let server = fleet.start_server(0)?;
        put("fleet, on all cores", start.elapsed(), raw)?;
        drop(server);
        progress.advance(SECONDS);
    }
    Ok(())
}

fn put(row: &str, took: Duration, raw: &mut Writer) -> Result<()> {
    let column = "s from exec to ready";
    let took = took.as_secs_f64();
    raw.put(Line::Figure(Figure::of(Table::Start, row, column, took)))
}
