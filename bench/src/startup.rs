//! How long a server takes to be ready: from the start of its process until `/ready` answers 200.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use captured::Answer;
use postgres::{Client, NoTls};

use crate::ceilings::unnest;
use crate::deployment::Limits;
use crate::fleet::Fleet;
use crate::http::exchange;
use crate::progress::Progress;
use crate::record::{Figure, Line, Table, Writer};
use crate::session::Session;

/// What the server has to load.
const TODOS: u32 = 100_000;
const READY_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
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
        put("alone, on one core", ready_since(start, server.port)?, raw)?;
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
        let took = ready_since(start, server.port)?;
        put("fleet, on all cores", took, raw)?;
        progress.advance(SECONDS);
    }
    Ok(())
}

fn put(row: &str, took: Duration, raw: &mut Writer) -> Result<()> {
    let column = "s from exec to ready";
    let took = took.as_secs_f64();
    raw.put(Line::Figure(Figure::of(Table::Start, row, column, took)))
}

fn ready_since(start: Instant, port: u16) -> Result<Duration> {
    let request = format!("GET /ready HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    loop {
        let answer = exchange(port, &request)?;
        if Answer::parse(&answer)?.status == 200 {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < READY_MAX, "the server does not get ready");
        std::thread::sleep(LOOK_AGAIN);
    }
}
