//! A worker's share of what its database can take: one worker catches up with a backlog, and a plain
//! loop upserts as many rows of the same shape into the same PostgreSQL.
//!
//! The servers acknowledge creates while no worker runs; then one worker starts. The loop runs before
//! each of these, into a database of its own with the same schema that grows alike. With the
//! servers following, they read the feed and serialise what the worker applies on the same cores;
//! stopped, they do not.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use load::job::Work;
use postgres::{Client, NoTls};

use crate::ceilings::unnest;
use crate::deployment::Limits;
use crate::fleet::Fleet;
use crate::loader;
use crate::product::Product;
use crate::progress::Progress;
use crate::record::{Figure, Line, Table, Writer};
use crate::session::Session;

/// Connections that fill the backlog.
const CONNECTIONS: u32 = 250;
/// Time for the backlog to be acknowledged, and again for it to be applied.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Commands that the worker has applied: the log holds nothing else.
const APPLIED: &str = "SELECT coalesce(sum(next_offset), 0)::bigint FROM positions";

#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: u32,
    /// Of the backlog.
    pub rows: u32,
}

/// How fast the backlog went.
struct CaughtUp {
    from_start: f64,
    from_first_commit: f64,
}

impl Effort {
    /// Roughly, for a machine of two cores.
    pub fn seconds(self) -> u32 {
        let each = self.rows / 10_000 + 3;
        self.rounds * each * 2
    }
}

pub fn rounds(
    session: &Session,
    product: &Product,
    effort: Effort,
    raw: &mut Writer,
    progress: &Progress,
) -> Result<()> {
    let beside = Fleet::prepare(session, product, Limits::None)?;
    let mut ceiling = connect(&beside.database.url())?;
    let mut fleet = Fleet::prepare(session, product, Limits::None)?;
    let mut client = connect(&fleet.database.url())?;
    for servers_follow in [true, false] {
        let row = if servers_follow {
            "two servers follow"
        } else {
            "no server follows"
        };
        for round in 0..effort.rounds {
            progress.say(&format!("{row}: {}/{}", round + 1, effort.rounds));
            let most = unnest::upsert(&mut ceiling, effort.rows)?;
            let target = applied(&mut client)? + fill(session, &mut fleet, effort.rows)?;
            if !servers_follow {
                fleet.stop_servers();
            }
            let caught_up = catch_up(&mut fleet, &mut client, target)?;
            fleet.stop_workers();
            fleet.stop_servers();
            let CaughtUp {
                from_start,
                from_first_commit,
            } = caught_up;
            for (column, value) in [
                ("upserts, rows/s", most),
                ("worker from its start, rows/s", from_start),
                ("share", from_start / most),
                ("from its first commit, rows/s", from_first_commit),
                ("its share", from_first_commit / most),
            ] {
                raw.put(Line::Figure(Figure::of(Table::CatchUp, row, column, value)))?;
            }
            progress.advance(effort.seconds() / effort.rounds / 2);
        }
    }
    Ok(())
}

/// Has the servers acknowledge `rows` creates; how many commands that put into the log.
fn fill(session: &Session, fleet: &mut Fleet<'_>, rows: u32) -> Result<i64> {
    fleet.start_servers()?;
    let work = Work::Backlog {
        rows,
        connections: CONNECTIONS,
    };
    let loaded = loader::run(session, &fleet.deployment(), work, PATIENCE.as_secs_f64())?;
    let told = loaded.told;
    let failed: u64 = told.kinds.iter().map(|kind| kind.failed).sum();
    ensure!(failed == 0 && told.lost == 0, "no clean backlog: {told:?}");
    let good: u64 = told.kinds.iter().map(|kind| kind.good).sum();
    i64::try_from(good).context("a count of rows")
}

/// Starts one worker and looks until it has applied as much as `target`.
fn catch_up(fleet: &mut Fleet<'_>, client: &mut Client, target: i64) -> Result<CaughtUp> {
    let before = applied(client)?;
    let start = Instant::now();
    fleet.start_workers(1)?;
    let mut first = None;
    loop {
        let at = applied(client)?;
        let now = Instant::now();
        if at > before {
            first.get_or_insert((at, now));
        }
        if at >= target {
            break;
        }
        ensure!(start.elapsed() < PATIENCE, "the worker does not catch up");
        std::thread::sleep(LOOK_AGAIN);
    }
    let (at, since) = first.context("the backlog was not empty")?;
    ensure!(target > at, "the backlog was gone at the first look");
    let rate = |rows: i64, since: Instant| rows as f64 / since.elapsed().as_secs_f64();
    Ok(CaughtUp {
        from_start: rate(target - before, start),
        from_first_commit: rate(target - at, since),
    })
}

fn applied(client: &mut Client) -> Result<i64> {
    Ok(client.query_one(APPLIED, &[])?.get(0))
}

fn connect(url: &str) -> Result<Client> {
    Client::connect(url, NoTls).context("cannot connect to the fleet's PostgreSQL")
}
