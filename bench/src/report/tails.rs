//! Open loops as a table, with how the tail compares with the floor's.

use std::fmt::Write;

use load::job::Latency;

use super::loads::{Load, millis};
use super::markdown::{figure, ratio, thousands};
use crate::record::LoadRun;
use crate::stats::Median;

/// Client use up to which a latency is the server's.
const IDLE_CLIENT: f64 = 0.5;

/// p99.9 of `rounds` as a multiple of the floor's among `runs`, each within its round; none where the
/// floor had no such round.
pub fn to_floor(rounds: &[&LoadRun], runs: &[LoadRun]) -> Option<Median> {
    let tail = |run: &LoadRun| run.latency().map(|latency| latency.p999);
    let pairs = rounds.iter().filter_map(|run| {
        let floor = runs.iter().find(|other| {
            let is_beside = other.scenario == run.scenario && other.round == run.round;
            is_beside && other.side == "floor"
        });
        Some(tail(run)? / tail(floor?)?)
    });
    Median::of(pairs)
}

pub fn table(loads: &[&Load<'_>]) -> String {
    let mut text = String::from(
        "| due | from | answered/s | p50 ms | p99 ms | p99.9 ms | × floor | max ms | CPU µs \
         | client busy |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for load in loads {
        let client = load.rounds.iter().map(|run| run.client_use);
        let client = Median::of(client).map_or(0.0, |median| median.value);
        let mark = if client > IDLE_CLIENT { " ●" } else { "" };
        let Latency {
            p50,
            p99,
            p999,
            max,
            ..
        } = load.latency;
        let to_floor = load.tail_to_floor.as_ref();
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.0} %{mark} |",
            load.first.about,
            load.first.side,
            thousands(load.good.value),
            millis(p50),
            millis(p99),
            millis(p999),
            to_floor.map_or_else(String::new, ratio),
            millis(max),
            figure(load.cpu.value),
            client * 100.0,
        )
        .expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use load::job::{Kind, Told};

    use super::*;
    use crate::record::Part;
    use crate::report::loads::summarise;

    fn run(side: &str, round: u32, p999: f64) -> LoadRun {
        let kind = Kind {
            good: 100,
            latency: Latency {
                p999,
                ..Latency::default()
            },
            ..Kind::default()
        };
        LoadRun {
            part: Part::Latency,
            scenario: "open".to_owned(),
            about: "due".to_owned(),
            side: side.to_owned(),
            round,
            rate: Some(1),
            told: Told {
                seconds: 1.0,
                kinds: vec![kind],
                ..Told::default()
            },
            audit: None,
            used: Vec::new(),
            client_use: 0.1,
            busy: 0.0,
        }
    }

    #[test]
    fn a_tail_is_compared_with_the_floors_of_its_round() {
        let runs = [
            run("millpond", 0, 300.0),
            run("floor", 0, 200.0),
            run("floor", 1, 2_000.0),
            run("millpond", 1, 3_000.0),
            run("millpond", 2, 9_000.0),
        ];
        let loads = summarise(&runs);
        let text = table(&loads.iter().collect::<Vec<_>>());
        assert!(
            text.contains("| due | millpond | 100 | 0.000 | 0.000 | 3.00 | 1.50 (1.50–1.50) |")
        );
        let alone = summarise(&runs[4..]);
        assert!(alone[0].tail_to_floor.is_none());
    }
}
