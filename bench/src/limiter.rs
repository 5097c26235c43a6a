//! The limiter against a Redis of its own: `millpond limiter-check --bench`, whose figures are read
//! from what it prints for people.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::peers::{is_installed, redis};
use crate::process::pinned;
use crate::progress::Progress;
use crate::record::{Figure, Line, Table, Writer};
use crate::session::Session;

/// About what it takes: four comparisons of two seconds, and some single calls.
pub const SECONDS: u32 = 9;

/// The batcher has the server's core, Redis the client's: there is no client here.
pub fn run(session: &Session, raw: &mut Writer, progress: &Progress) -> Result<()> {
    if !is_installed("redis-server") {
        progress.note("redis-server is not installed: the limiter is left out");
        return Ok(());
    }
    progress.say("limiter-check --bench");
    let redis = redis(session, session.client_cores[0], "limiter")?;
    let binary: &Path = &session.reference.binary;
    let output = pinned(&[session.server_core], binary)
        .args(["limiter-check", "--bench"])
        .current_dir(session.fresh("data-limiter")?)
        .env("REDIS_URL", format!("redis://127.0.0.1:{}", redis.port))
        // On a machine with two cores Redis may have to wait for one.
        .env("LIMITER_TIMEOUT_MS", "1000")
        .output()
        .context("cannot run limiter-check")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "limiter-check failed:\n{said}{complained}"
    );
    let figures: Vec<Figure> = said.lines().flat_map(figures).collect();
    ensure!(!figures.is_empty(), "limiter-check gave no figure:\n{said}");
    for figure in figures {
        raw.put(Line::Figure(figure))?;
    }
    progress.advance(SECONDS);
    Ok(())
}

/// Of `what: 1234/s (…)` or `what: p50 1.2ms, p99 3µs`; none of other lines.
fn figures(line: &str) -> Vec<Figure> {
    let Some((row, found)) = line.split_once(": ") else {
        return Vec::new();
    };
    let put = |column: &str, value| Figure::of(Table::Limiter, row, column, value);
    let rate = found.split("/s").next();
    if let Some(rate) = rate.and_then(|rate| rate.parse().ok()) {
        return vec![put("decisions/s", rate)];
    }
    let quantiles = found.split(", ").filter_map(|quantile| {
        let (name, time) = quantile.split_once(' ')?;
        Some(put(&format!("{name} µs"), micros(time)?))
    });
    quantiles.collect()
}

/// As Rust prints a duration.
fn micros(time: &str) -> Option<f64> {
    let units = [("ns", 1e-3), ("µs", 1.0), ("ms", 1e3), ("s", 1e6)];
    let found = units.iter().find_map(|(unit, factor)| {
        let value: f64 = time.strip_suffix(unit)?.parse().ok()?;
        Some(value * factor)
    });
    found.filter(|micros| micros.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_quantiles_are_read_and_nothing_else() {
        let of = |line| {
            let found = figures(line).into_iter();
            let found = found.map(|it| (it.row, it.column, it.value));
            found.collect::<Vec<_>>()
        };
        let row = |row: &str, column: &str, value| (row.to_owned(), column.to_owned(), value);
        assert_eq!(
            of("batched, 100000 keys: 355000/s (4.3 times single, 2.5 times pipelined)"),
            [row("batched, 100000 keys", "decisions/s", 355_000.0)]
        );
        assert_eq!(
            of("a call: p50 54.5µs, p99 1.25ms"),
            [
                row("a call", "p50 µs", 54.5),
                row("a call", "p99 µs", 1_250.0)
            ]
        );
        assert_eq!(of("buckets: good"), []);
    }
}
