//! The report as Markdown: the environment, a table per scenario, who lacks what.

use std::fmt::Write;

use super::chart::Chart;
use super::{Summary, Sums};
use super::{beside, limited};
use crate::environment::{Environment, QUIET_SHARE};
use crate::peers::{ALL_LACK, FLOOR_LACKS, NGINX_LACKS, PEERS};
use crate::record::Raw;
use crate::stats::Median;

const READING: &str = "\
CPU µs is what the server's whole process tree used per request, user and system together; the \
parts beside it are sampled by the kernel and rougher. Every figure is the median over rounds in \
which the sides took turns, with the interval that the true median lies in; ratios are taken \
within a round. \"Busy\" is the share of its core (cores) that the server (client) used: where \
the client is above 90 % (marked ●), requests/s is the client's limit, and the CPU time remains \
the measure.
";

pub fn report(raw: &Raw, summaries: &[Summary], charts: &[Chart]) -> String {
    let mut text = String::from("# Millpond measured\n\n");
    if !raw.is_quiet() {
        let [before, meanwhile] = raw.others().map(|share| share * 100.0);
        put(
            &mut text,
            &format!(
                "> **No result.** Others used {before:.0} % of the machine before the first run \
                 and {meanwhile:.0} % in the median run; {:.0} % is the most that figures are \
                 worth keeping at.\n\n",
                QUIET_SHARE * 100.0
            ),
        );
    }
    put(&mut text, &machine(&raw.environment));
    if !summaries.is_empty() {
        put(&mut text, READING);
    }
    for summary in summaries {
        put(&mut text, &section(summary, charts));
        put(&mut text, &beside::remark(&raw.runs, &summary.scenario));
        put(&mut text, &limited::remark(&raw.runs, &summary.scenario));
        for failure in &raw.failures {
            if failure.scenario == summary.scenario {
                let (side, because) = (&failure.side, failure.because.lines().next());
                let because = because.unwrap_or_default();
                put(&mut text, &format!("\n{side} failed here: `{because}`.\n"));
            }
        }
    }
    text
}

fn machine(environment: &Environment) -> String {
    let mut text = String::from("| | |\n|---|---|\n");
    let mut row = |name: &str, value: &str| {
        let value = if value.is_empty() { "unknown" } else { value };
        put(&mut text, &format!("| {name} | {value} |\n"));
    };
    row("started", &environment.started);
    row("commit", &environment.commit);
    row("command", &format!("`{}`", environment.command));
    row(
        "CPU",
        &format!("{}, {} cores", environment.cpu, environment.cores),
    );
    row("memory", &format!("{} MiB", environment.memory_mib));
    row("kernel", &environment.kernel);
    row("congestion control", &environment.congestion_control);
    row("file system", &environment.file_system);
    row(
        "load average before",
        &format!("{:.2}", environment.load_average),
    );
    for (tool, version) in &environment.tools {
        row(tool, version);
    }
    text.push('\n');
    text
}

fn section(summary: &Summary, charts: &[Chart]) -> String {
    let mut text = format!("\n## {}\n\n{}", summary.scenario, summary.about);
    if let Some(first) = summary.sides.first() {
        let (runs, confidence) = (first.runs, first.cpu.confidence * 100.0);
        put(
            &mut text,
            &format!("; {runs} rounds, intervals at {confidence:.0} %"),
        );
    }
    text.push_str(".\n\n");
    for chart in charts
        .iter()
        .filter(|chart| chart.scenario == summary.scenario)
    {
        put(
            &mut text,
            &format!("![CPU per request]({})\n\n", chart.file),
        );
    }
    text.push_str(
        "| side | CPU µs | user | system | × floor | × hyper | requests/s | server busy \
         | client busy | MiB |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for side in &summary.sides {
        put(&mut text, &row(side));
    }
    let busy = summary.sides.iter().map(|side| side.busy);
    let busy = busy.fold(0.0, f64::max);
    if busy >= QUIET_SHARE {
        let busy = busy * 100.0;
        put(
            &mut text,
            &format!("\n**No result**: others used {busy:.0} % of the machine meanwhile.\n"),
        );
    }
    for side in summary.sides.iter().filter(|side| side.errors > 0) {
        let (name, errors) = (&side.side, side.errors);
        put(
            &mut text,
            &format!("\nThe client met {errors} errors with {name}.\n"),
        );
    }
    text
}

fn row(side: &Sums) -> String {
    let Sums {
        side: name,
        cpu,
        user,
        system,
        per_second,
        server_use,
        client_use,
        resident_mib,
        ..
    } = side;
    let mark = if side.saturated_client() { " ●" } else { "" };
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {:.0} % | {:.0} %{mark} | {:.0} |\n",
        interval(cpu),
        figure(user.value),
        figure(system.value),
        side.to_floor.as_ref().map_or_else(String::new, ratio),
        side.to_hyper.as_ref().map_or_else(String::new, ratio),
        thousands(per_second.value),
        server_use.value * 100.0,
        client_use.value * 100.0,
        resident_mib.value,
    )
}

pub fn lacking() -> String {
    let mut text = format!(
        "\n## What the others lack\n\nEvery side sends the bodies that Millpond sends. All of \
         them lack {ALL_LACK}.\n\n- floor: {FLOOR_LACKS}\n"
    );
    for peer in PEERS {
        put(&mut text, &format!("- {}: {}\n", peer.name, peer.lacks));
    }
    put(&mut text, &format!("- nginx: {NGINX_LACKS}\n"));
    text
}

fn interval(median: &Median) -> String {
    let Median {
        value, low, high, ..
    } = *median;
    format!("**{}** ({}–{})", figure(value), figure(low), figure(high))
}

pub fn ratio(median: &Median) -> String {
    let Median {
        value, low, high, ..
    } = *median;
    format!("{value:.2} ({low:.2}–{high:.2})")
}

/// Three significant digits, without an exponent.
pub fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn put(text: &mut String, more: &str) {
    text.write_str(more).expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{summarise, tests::run};

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(figure(0.4711), "0.471");
        assert_eq!(figure(6.4321), "6.43");
        assert_eq!(figure(2345.6), "2346");
    }

    #[test]
    fn a_table_has_a_row_per_side() {
        let summaries = summarise(&[run("millpond", 0, 8.0), run("floor", 0, 6.0)]);
        let text = section(&summaries[0], &[]);
        assert!(
            text.contains("| millpond | **8.00** (8.00–8.00) | 3.20 | 4.80 | 1.33 (1.33–1.33)")
        );
        assert!(text.contains("| floor | **6.00**"));
    }
}
