//! Reports: runs summed up by scenario and side, as Markdown tables and charts, and the crowds of
//! users as CSV and HTML.

mod beside;
mod chart;
mod compare;
mod cores;
mod figures;
mod limited;
mod loads;
mod markdown;
mod tails;
mod users;

use std::fs;
use std::path::Path;

use anyhow::Result;

pub use compare::compare;

use crate::record::{Raw, Run};
use crate::stats::Median;

/// The raw data's name in a directory of results.
pub const RAW: &str = "raw.jsonl";

/// Client use from which on requests/s is the client's limit and not the server's.
const SATURATED: f64 = 0.9;

/// What all runs of one scenario come to.
#[derive(Debug)]
struct Summary {
    scenario: String,
    about: String,
    /// In the order of their first run.
    sides: Vec<Sums>,
}

/// What one side's runs come to.
#[derive(Debug)]
struct Sums {
    side: String,
    runs: usize,
    /// CPU µs per request.
    cpu: Median,
    user: Median,
    system: Median,
    per_second: Median,
    /// Of an answer, with its head.
    bytes: Median,
    server_use: Median,
    client_use: Median,
    resident_mib: Median,
    /// CPU per request as a multiple of another side's in the same round.
    to_floor: Option<Median>,
    to_hyper: Option<Median>,
    errors: u64,
    /// Share of the machine that others used.
    busy: f64,
}

/// Writes `report.md`, the charts, and the tables of users into `directory`.
pub fn write(directory: &Path, raw: &Raw) -> Result<()> {
    let summaries = summarise(&raw.runs);
    let charts = chart::draw_all(directory, &summaries)?;
    let loads = loads::summarise(&raw.loads);
    let load_charts = loads::draw_all(directory, &loads)?;
    let mut report = markdown::report(raw, &summaries, &charts);
    report += &cores::section(&summaries);
    report += &loads::sections(&loads, &raw.ceilings, &load_charts);
    report += &figures::sections(raw);
    report += &markdown::lacking();
    fs::write(directory.join("report.md"), report)?;
    users::write(directory, raw)
}

/// What each side of a scenario costs more per request than `base`, in µs, within the same round.
pub fn differences(runs: &[Run], scenario: &str, base: &str) -> Vec<(String, Median)> {
    let of_it = || runs.iter().filter(|run| run.scenario == scenario);
    let mut found: Vec<(String, Median)> = Vec::new();
    for side in of_it().map(|run| &run.side).filter(|side| *side != base) {
        if found.iter().any(|(name, _)| name == side) {
            continue;
        }
        let pairs = of_it().filter(|run| run.side == *side).filter_map(|run| {
            let mut beside = of_it().filter(|run| run.side == base);
            let beside = beside.find(|beside| beside.round == run.round)?;
            Some(run.cpu_us_per_request() - beside.cpu_us_per_request())
        });
        found.extend(Median::of(pairs).map(|median| (side.clone(), median)));
    }
    found
}

fn summarise(runs: &[Run]) -> Vec<Summary> {
    let mut summaries: Vec<Summary> = Vec::new();
    for run in runs {
        if summaries
            .iter()
            .any(|summary| summary.scenario == run.scenario)
        {
            continue;
        }
        let of_it: Vec<&Run> = runs
            .iter()
            .filter(|other| other.scenario == run.scenario)
            .collect();
        summaries.push(Summary {
            scenario: run.scenario.clone(),
            about: run.about.clone(),
            sides: sums(&of_it),
        });
    }
    summaries
}

fn sums(runs: &[&Run]) -> Vec<Sums> {
    // The first round names the sides in their order.
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&run.side.as_str()) {
            names.push(&run.side);
        }
    }
    names
        .iter()
        .filter_map(|side| sums_of(runs, side))
        .collect()
}

fn sums_of(runs: &[&Run], side: &str) -> Option<Sums> {
    let its = || runs.iter().copied().filter(|run| run.side == side);
    let median = |of: fn(&Run) -> f64| Median::of(its().map(of));
    let to = |other: &str| {
        let pairs = its().filter_map(|run| {
            let beside = runs
                .iter()
                .find(|beside| beside.side == other && beside.round == run.round)?;
            Some(run.cpu_us_per_request() / beside.cpu_us_per_request())
        });
        Median::of(pairs)
    };
    Some(Sums {
        side: side.to_owned(),
        runs: its().count(),
        cpu: median(Run::cpu_us_per_request)?,
        user: median(|run| run.per_request(run.user_us))?,
        system: median(|run| run.per_request(run.system_us))?,
        per_second: median(Run::requests_per_second)?,
        bytes: median(|run| run.per_request(run.bytes as f64))?,
        server_use: median(|run| run.server_use)?,
        client_use: median(|run| run.client_use)?,
        resident_mib: median(|run| run.resident_bytes as f64 / f64::from(1 << 20))?,
        to_floor: to("floor"),
        to_hyper: to("hyper"),
        errors: its().map(|run| run.errors).sum(),
        busy: median(|run| run.busy)?.value,
    })
}

impl Sums {
    fn saturated_client(&self) -> bool {
        self.client_use.value >= SATURATED
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn run(side: &str, round: u32, micros: f64) -> Run {
        Run {
            scenario: "limit-100".to_owned(),
            about: "limit=100".to_owned(),
            side: side.to_owned(),
            round,
            seconds: 2.0,
            requests: 1_000,
            bytes: 1,
            errors: 0,
            user_us: micros * 400.0,
            system_us: micros * 600.0,
            server_use: 0.9,
            client_use: 0.5,
            companions_cores: None,
            resident_bytes: 10 << 20,
            p50_us: 1.0,
            p99_us: 2.0,
            load_average: 0.0,
            busy: 0.0,
            applied_per_second: None,
        }
    }

    #[test]
    fn a_difference_is_of_the_same_round() {
        let runs = [
            run("floor", 0, 6.0),
            run("slow", 0, 7.0),
            run("slow", 1, 13.0),
            run("floor", 1, 12.0),
        ];
        let found = differences(&runs, "limit-100", "floor");
        assert_eq!(found.len(), 1);
        assert!((found[0].1.low - 1.0).abs() < 1e-9 && (found[0].1.high - 1.0).abs() < 1e-9);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // The machine is twice as slow in the second round; the ratio is not.
        let runs = [
            run("millpond", 0, 8.0),
            run("floor", 0, 6.0),
            run("floor", 1, 12.0),
            run("millpond", 1, 16.0),
        ];
        let summaries = summarise(&runs);
        let millpond = &summaries[0].sides[0];
        assert_eq!(millpond.side, "millpond");
        let ratio = millpond.to_floor.unwrap();
        assert!((ratio.low - 8.0 / 6.0).abs() < 1e-9 && (ratio.high - ratio.low).abs() < 1e-9);
        assert!(millpond.to_hyper.is_none());
        assert!((millpond.user.value - 4.8).abs() < 1e-9);
    }
}
