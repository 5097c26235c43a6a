//! Two runs side by side: whether the second found what the first did.

use std::fmt::Write;

use super::markdown::figure;
use super::{Summary, Sums, summarise};
use crate::record::Raw;
use crate::stats::Median;

const READING: &str = "\
Reads, where both runs have them. Two runs agree on a figure where the intervals that they state \
for it overlap, so wide intervals agree easily: look at them, too. CPU µs per request depend on the \
hour, which is the machine's; ratios are taken within a round, and are what has to agree.
";

/// What was counted of how many.
#[derive(Debug, Default)]
struct Tally {
    agree: usize,
    all: usize,
}

/// The reads that both runs measured, as Markdown.
pub fn compare(first: &Raw, second: &Raw) -> String {
    let mut text = format!("# Two runs compared\n\n{READING}\n");
    for raw in [first, second] {
        let its = &raw.environment;
        writeln!(
            text,
            "- {}: `{}`, commit {}",
            its.started, its.command, its.commit
        )
        .expect("a string takes all");
    }
    text += "\n| scenario | side | CPU µs | again | | × floor | again | |\n\
             |---|---|---|---|---|---|---|---|\n";
    let (mut cpu, mut ratios) = (Tally::default(), Tally::default());
    let (of_first, of_second) = (summarise(&first.runs), summarise(&second.runs));
    for summary in &of_first {
        let same = of_second
            .iter()
            .find(|other| other.scenario == summary.scenario);
        for (one, other) in same.into_iter().flat_map(|other| pairs(summary, other)) {
            let micros = cpu.cells(Some(one.cpu), Some(other.cpu));
            let (floor, floor_again) = (one.to_floor, other.to_floor);
            let is_floor = one.side == "floor";
            let ratio = if is_floor {
                " | |".to_owned()
            } else {
                ratios.cells(floor, floor_again)
            };
            writeln!(
                text,
                "| {} | {} | {micros} | {ratio} |",
                summary.scenario, one.side
            )
            .expect("a string takes all");
        }
    }
    let Tally { agree, all } = cpu;
    writeln!(
        text,
        "\nRatios agree in {} of {}, CPU µs in {agree} of {all}.",
        ratios.agree, ratios.all
    )
    .expect("a string takes all");
    for (only, other) in [(&of_first, &of_second), (&of_second, &of_first)] {
        let missing = unmatched(only, other);
        if !missing.is_empty() {
            writeln!(text, "\nOnly in one of them: {}.", missing.join(", "))
                .expect("a string takes all");
        }
    }
    text
}

fn pairs<'a>(one: &'a Summary, other: &'a Summary) -> impl Iterator<Item = (&'a Sums, &'a Sums)> {
    one.sides.iter().filter_map(|sums| {
        let same = other.sides.iter().find(|other| other.side == sums.side)?;
        Some((sums, same))
    })
}

/// Sides that `others` do not have.
fn unmatched(from: &[Summary], others: &[Summary]) -> Vec<String> {
    let sides = from
        .iter()
        .flat_map(|one| one.sides.iter().map(move |side| (one, side)));
    let missing = sides.filter(|(one, side)| {
        let mut same = others.iter().filter(|other| other.scenario == one.scenario);
        !same.any(|other| other.sides.iter().any(|it| it.side == side.side))
    });
    missing
        .map(|(one, side)| format!("{}: {}", one.scenario, side.side))
        .collect()
}

impl Tally {
    /// Both, and whether they agree: nothing where one of them is missing.
    fn cells(&mut self, one: Option<Median>, other: Option<Median>) -> String {
        let (Some(one), Some(other)) = (one, other) else {
            return " | |".to_owned();
        };
        let agree = one.low <= other.high && other.low <= one.high;
        self.all += 1;
        self.agree += usize::from(agree);
        format!(
            "{} | {} | {}",
            cell(one),
            cell(other),
            if agree { "✓" } else { "✗" }
        )
    }
}

fn cell(median: Median) -> String {
    let [value, low, high] = [median.value, median.low, median.high].map(figure);
    format!("{value} ({low}–{high})")
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;

    #[test]
    fn intervals_that_overlap_agree_and_others_do_not() {
        let median = |low, high| Median {
            value: f64::midpoint(low, high),
            low,
            high,
            confidence: 0.95,
        };
        let mut tally = Tally::default();
        let cells = tally.cells(Some(median(1.0, 2.0)), Some(median(2.0, 3.0)));
        assert!(cells.ends_with('✓'), "{cells}");
        let cells = tally.cells(Some(median(1.0, 2.0)), Some(median(2.1, 3.0)));
        assert!(cells.ends_with('✗'), "{cells}");
        tally.cells(None, Some(median(1.0, 2.0)));
        assert_eq!((tally.agree, tally.all), (1, 2));
    }

    #[test]
    fn sides_and_scenarios_are_found_by_name() {
        let runs = [run("floor", 0, 5.0), run("millpond", 0, 6.0)];
        let others = [run("millpond", 0, 6.0), run("hyper", 0, 7.0)];
        let (one, other) = (summarise(&runs), summarise(&others));
        let found: Vec<_> = pairs(&one[0], &other[0])
            .map(|(one, _)| &one.side)
            .collect();
        assert_eq!(found, ["millpond"]);
        assert_eq!(unmatched(&one, &other), ["limit-100: floor"]);
        assert_eq!(unmatched(&other, &one), ["limit-100: hyper"]);
    }
}
