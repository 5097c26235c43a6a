//! How evenly connections are spread over serving threads, by what each of these had to do.
//!
//! A connection stays with the thread that got it. Under a load that is the same on each connection
//! the busiest thread is full first, so the busiest by the mean is what unevenness costs at the most.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::client::{self, Call};
use crate::deployment::Limits;
use crate::process::Server;
use crate::product::Product;
use crate::progress::Progress;
use crate::record::{Figure, Line, Table, Writer};
use crate::scenario::Scenario;
use crate::session::Session;

/// Threads to spread over: more than this machine may have cores, which does not matter for who
/// gets which connection.
const THREADS: usize = 8;
/// Their name, up to its number.
const THREAD: &str = "serve-";
const CONNECTIONS: [u32; 3] = [16, 64, 1_000];
/// Each round has connections of its own.
const ROUNDS: u32 = 6;
const SECONDS_OF_ROUND: u32 = 1;
/// Of each product.
pub const SECONDS: u32 = 3 * ROUNDS * SECONDS_OF_ROUND;

pub fn run(
    session: &Session,
    (scenario, products): (&Scenario, &[Product]),
    raw: &mut Writer,
    progress: &Progress,
) -> Result<()> {
    for product in products {
        let server = start(session, product)?;
        let script = session.path("wrk.lua");
        fs::write(&script, client::script(scenario, server.port, None))?;
        for connections in CONNECTIONS {
            progress.say(&format!("{connections} connections: {}", product.label));
            for _ in 0..ROUNDS {
                let before = threads(server.pid())?;
                client::run(Call {
                    cores: &session.client_cores,
                    script: &script,
                    connections,
                    port: server.port,
                    seconds: SECONDS_OF_ROUND,
                    counter: &[],
                })?;
                let after = threads(server.pid())?;
                let used = after
                    .iter()
                    .zip(before)
                    .map(|(after, before)| after - before);
                put(&product.label, connections, busiest_by_mean(used), raw)?;
                progress.advance(SECONDS_OF_ROUND);
            }
        }
    }
    Ok(())
}

fn start(session: &Session, product: &Product) -> Result<Server> {
    let label = &product.label;
    let mut settings = session.settings(Limits::None);
    settings.push(("SERVER_CORES".to_owned(), THREADS.to_string()));
    let data = session.data(label)?;
    product.start(&data, session.server_core, &session.log(label), &settings)
}

/// Nanoseconds of CPU that each serving thread has used (`/proc/PID/task/TID/schedstat`), in a steady order.
fn threads(pid: u32) -> Result<Vec<f64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path();
        let name = fs::read_to_string(path.join("comm"))?;
        if let Some(nth) = name.trim_end().strip_prefix(THREAD) {
            let nth: usize = nth.parse().context("a serving thread has a number")?;
            let stat = fs::read_to_string(path.join("schedstat"))?;
            let used = stat.split_ascii_whitespace().next();
            found.push((nth, used.context("schedstat is empty")?.parse()?));
        }
    }
    ensure!(found.len() == THREADS, "{} serving threads", found.len());
    found.sort_by_key(|(nth, _)| *nth);
    Ok(found.into_iter().map(|(_, used)| used).collect())
}

fn busiest_by_mean(used: impl Iterator<Item = f64>) -> f64 {
    let used: Vec<f64> = used.collect();
    let busiest = used.iter().copied().fold(0.0, f64::max);
    busiest * used.len() as f64 / used.iter().sum::<f64>()
}

fn put(row: &str, connections: u32, value: f64, raw: &mut Writer) -> Result<()> {
    let column = format!("{connections} connections");
    raw.put(Line::Figure(Figure::of(Table::Spread, row, &column, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_is_as_busy_as_the_mean_where_all_are_alike() {
        assert!((busiest_by_mean([3.0; 8].into_iter()) - 1.0).abs() < 1e-9);
        assert!((busiest_by_mean([4.0, 0.0, 0.0, 0.0].into_iter()) - 4.0).abs() < 1e-9);
    }
}
