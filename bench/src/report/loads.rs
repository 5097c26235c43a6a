//! What `load` saw, as Markdown and charts: writes, open loops, users.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use load::job::Latency;

use super::chart::{self, Bar};
use super::markdown::{figure, thousands};
use super::tails;
use crate::environment::QUIET_SHARE;
use crate::record::{Ceiling, LoadRun, Part};
use crate::stats::Median;

const WRITES: &str = "\
A write counts as good once it is acknowledged: durable, or with `waiting` also applied. \"Applied\" \
is the rate up to the moment when the last of them was. CPU µs is what every process named used per \
write, the client apart; latencies are of a closed loop, so they tell of queues and not of stalls.
";
const LATENCY: &str = "\
Requests are due at a rate, whatever the server does, and a latency counts from when its request was \
due (so no stall hides requests: coordinated omission). Where the client used more than half of its \
core (marked ●), part of the latency is the client's. Quantiles are medians over rounds; the ratio of \
p99.9 to the floor's is taken within a round.
";
const USERS: &str = "\
People with a connection each, who think between two requests. Good are answers below 400; what the \
limits refused (429) is counted apart. Afterwards every receipt was asked about, and all codes were \
compared.
";

/// All rounds of one scenario against one side.
pub struct Load<'a> {
    pub(super) first: &'a LoadRun,
    pub(super) rounds: Vec<&'a LoadRun>,
    pub(super) good: Median,
    applied: Option<Median>,
    pub(super) cpu: Median,
    pub(super) latency: Latency,
    /// p99.9 as a multiple of the floor's in the same round.
    pub(super) tail_to_floor: Option<Median>,
}

/// By scenario and side, in the order of their first runs.
pub fn summarise(runs: &[LoadRun]) -> Vec<Load<'_>> {
    let mut loads: Vec<Load<'_>> = Vec::new();
    for run in runs {
        let is_it = |other: &LoadRun| other.scenario == run.scenario && other.side == run.side;
        if loads.iter().any(|load| is_it(load.first)) {
            continue;
        }
        let rounds: Vec<_> = runs.iter().filter(|other| is_it(other)).collect();
        let to_floor = tails::to_floor(&rounds, runs);
        loads.extend(load(run, rounds, to_floor));
    }
    loads
}

fn load<'a>(
    first: &'a LoadRun,
    rounds: Vec<&'a LoadRun>,
    tail_to_floor: Option<Median>,
) -> Option<Load<'a>> {
    let median = |of: &dyn Fn(&LoadRun) -> f64| Median::of(rounds.iter().map(|run| of(run)));
    let quantile = |of: fn(&Latency) -> f64| {
        let median = median(&|run| run.latency().map_or(0.0, |latency| of(&latency)));
        median.map_or(0.0, |median| median.value)
    };
    let latency = Latency {
        p50: quantile(|latency| latency.p50),
        p90: quantile(|latency| latency.p90),
        p99: quantile(|latency| latency.p99),
        p999: quantile(|latency| latency.p999),
        max: quantile(|latency| latency.max),
        mean: quantile(|latency| latency.mean),
    };
    let writes = first.told.applied_seconds > 0.0;
    let applied = median(&|run| run.good() as f64 / run.told.applied_seconds);
    Some(Load {
        good: median(&|run| run.good() as f64 / run.told.seconds)?,
        applied: applied.filter(|_| writes),
        cpu: median(&LoadRun::cpu_us_per_good)?,
        latency,
        tail_to_floor,
        first,
        rounds,
    })
}

impl LoadRun {
    /// Of the kind that there was most of.
    pub(super) fn latency(&self) -> Option<Latency> {
        let kinds = self.told.kinds.iter();
        kinds.max_by_key(|kind| kind.good).map(|kind| kind.latency)
    }

    fn is_visible(&self) -> bool {
        self.scenario.starts_with("visible")
    }
}

/// A chart of writes a second, and one of the tail of latencies per rate.
pub fn draw_all(directory: &Path, loads: &[Load<'_>]) -> Result<Vec<(Part, String)>> {
    let mut charts = Vec::new();
    let writes = of_part(loads, Part::Writes);
    let rates: Vec<Bar> = writes
        .filter(|load| !load.first.is_visible())
        .map(|load| {
            let name = format!("{} ({})", load.first.scenario, load.first.side);
            let note = format!("{} /s", thousands(load.good.value));
            Bar::plain(name, load.good, note)
        })
        .collect();
    if !rates.is_empty() {
        let file = "writes.svg".to_owned();
        chart::draw_plain(
            &directory.join(&file),
            "Writes acknowledged a second",
            &rates,
        )?;
        charts.push((Part::Writes, file));
    }
    let tails: Vec<Bar> = of_part(loads, Part::Latency)
        .filter_map(|load| {
            let p99 = load.rounds.iter().filter_map(|run| run.latency());
            let p99 = Median::of(p99.map(|latency| latency.p99 / 1e3))?;
            // All of them are open loops, and the room for names is small.
            let scenario = load.first.scenario.trim_start_matches("open-");
            let name = format!("{scenario} ({})", load.first.side);
            Some(Bar::plain(name, p99, format!("{} ms", figure(p99.value))))
        })
        .collect();
    if !tails.is_empty() {
        let file = "latency.svg".to_owned();
        chart::draw_plain(&directory.join(&file), "Open loop: p99 in ms", &tails)?;
        charts.push((Part::Latency, file));
    }
    Ok(charts)
}

fn of_part<'a, 'b>(
    loads: &'b [Load<'a>],
    part: Part,
) -> impl Iterator<Item = &'b Load<'a>> + use<'a, 'b> {
    loads.iter().filter(move |load| load.first.part == part)
}

/// The sections of all parts that were run.
pub fn sections(loads: &[Load<'_>], ceilings: &[Ceiling], charts: &[(Part, String)]) -> String {
    let mut text = String::new();
    let of = |part| of_part(loads, part).collect::<Vec<_>>();
    let picture = |part| {
        let mut files = charts.iter().filter(move |(its, _)| *its == part);
        let file = files.next();
        file.map_or_else(String::new, |(_, file)| format!("![{file}]({file})\n\n"))
    };
    let writes = of(Part::Writes);
    if !writes.is_empty() || !ceilings.is_empty() {
        let picture = picture(Part::Writes);
        put(
            &mut text,
            format_args!("\n## Writes\n\n{WRITES}\n{picture}"),
        );
        text += &rates(&writes);
        text += &visible(&writes);
        text += &ceiling_table(ceilings);
        text += &remarks(&writes);
    }
    let latency = of(Part::Latency);
    if !latency.is_empty() {
        let picture = picture(Part::Latency);
        put(
            &mut text,
            format_args!("\n## Open loops\n\n{LATENCY}\n{picture}"),
        );
        text += &tails::table(&latency);
        text += &remarks(&latency);
    }
    let users = of(Part::Users);
    if !users.is_empty() {
        put(&mut text, format_args!("\n## Users\n\n{USERS}\n"));
        text += &people(&users);
        text += &remarks(&users);
    }
    text
}

fn rates(writes: &[&Load<'_>]) -> String {
    let mut text = String::from(
        "| scenario | on | acknowledged/s | applied/s | CPU µs a write | of these | p50 ms | p99 ms \
         | client busy |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for load in writes.iter().filter(|load| !load.first.is_visible()) {
        let applied = load
            .applied
            .map_or_else(String::new, |it| thousands(it.value));
        put(
            &mut text,
            format_args!(
                "| {} | {} | **{}** ({}–{}) | {applied} | {} | {} | {} | {} | {:.0} % |\n",
                load.first.about,
                load.first.side,
                thousands(load.good.value),
                thousands(load.good.low),
                thousands(load.good.high),
                figure(load.cpu.value),
                members(load),
                millis(load.latency.p50),
                millis(load.latency.p99),
                load.first.client_use * 100.0,
            ),
        );
    }
    text
}

/// CPU µs per good answer by process, user and system apart.
fn members(load: &Load<'_>) -> String {
    let good = load.first.good().max(1) as f64;
    let members = load.first.used.iter().map(|used| {
        let (user, system) = (used.user_us / good, used.system_us / good);
        format!("{} {}+{}", used.name, figure(user), figure(system))
    });
    members.collect::<Vec<_>>().join(", ")
}

fn visible(writes: &[&Load<'_>]) -> String {
    let mut text = String::new();
    for load in writes.iter().filter(|load| load.first.is_visible()) {
        if text.is_empty() {
            text.push_str(
                "\n| from a write to | on | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|\n",
            );
        }
        for kind in &load.first.told.kinds {
            let of = |of: fn(&Latency) -> f64| {
                let rounds = load.rounds.iter().flat_map(|run| &run.told.kinds);
                let same = rounds.filter(|other| other.name == kind.name);
                let median = Median::of(same.map(|kind| of(&kind.latency)));
                millis(median.map_or(0.0, |median| median.value))
            };
            put(
                &mut text,
                format_args!(
                    "| {} ({}) | {} | {} | {} | {} |\n",
                    kind.name,
                    load.first.about,
                    load.first.side,
                    of(|latency| latency.p50),
                    of(|latency| latency.p99),
                    of(|latency| latency.max),
                ),
            );
        }
    }
    text
}

fn ceiling_table(ceilings: &[Ceiling]) -> String {
    if ceilings.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n| plain loop of inserts | rows/s |\n|---|---|\n");
    for ceiling in ceilings {
        let rows = thousands(ceiling.rows_per_second);
        put(&mut text, format_args!("| {} | {rows} |\n", ceiling.name));
    }
    text
}

fn people(loads: &[&Load<'_>]) -> String {
    let mut text = String::from(
        "| users | on | good/s | 429 | failed | p50 ms | p99 ms | receipts | applied | codes | twice \
         |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for load in loads {
        let kinds = &load.first.told.kinds;
        let limited: u64 = kinds.iter().map(|kind| kind.limited).sum();
        let failed: u64 = kinds.iter().map(|kind| kind.failed).sum();
        let audit = load.first.audit.clone().unwrap_or_default();
        put(
            &mut text,
            format_args!(
                "| {} | {} | {} | {limited} | {failed} | {} | {} | {} | {} | {} | {} |\n",
                load.first.scenario,
                load.first.side,
                thousands(load.good.value),
                millis(load.latency.p50),
                millis(load.latency.p99),
                audit.acknowledged,
                audit.applied,
                audit.codes,
                audit.codes_twice + audit.users_twice,
            ),
        );
    }
    text + "\nBy kind of request: [users.html](users.html), [users.csv](users.csv).\n"
}

/// What must not be overlooked: failures, lost answers, broken promises, a busy machine.
fn remarks(loads: &[&Load<'_>]) -> String {
    let mut text = String::new();
    for run in loads.iter().flat_map(|load| &load.rounds) {
        let about = format!("{} ({}, round {})", run.scenario, run.side, run.round + 1);
        for kind in run.told.kinds.iter().filter(|kind| kind.failed > 0) {
            let with = kind.failed_with.as_deref().unwrap_or_default();
            let (name, failed) = (&kind.name, kind.failed);
            put(
                &mut text,
                format_args!("\n{about}: {failed} of {name} failed, the first with `{with}`.\n"),
            );
        }
        if run.told.lost > 0 {
            let because = run.told.lost_because.as_deref().unwrap_or_default();
            let lost = run.told.lost;
            put(
                &mut text,
                format_args!("\n{about}: {lost} answers were lost: {because}.\n"),
            );
        }
        if run.audit.as_ref().is_some_and(|audit| !audit.is_clean()) {
            let audit = &run.audit;
            put(
                &mut text,
                format_args!("\n**{about}: the audit failed**: {audit:?}.\n"),
            );
        }
    }
    text + &busy(loads)
}

/// In one line, since a busy machine mostly stays so.
fn busy(loads: &[&Load<'_>]) -> String {
    let runs = || loads.iter().flat_map(|load| &load.rounds);
    let most = runs().map(|run| run.busy).fold(0.0, f64::max);
    let busy = runs().filter(|run| run.busy >= QUIET_SHARE).count();
    if busy == 0 {
        return String::new();
    }
    let (all, most) = (runs().count(), most * 100.0);
    format!(
        "\n**No result** in {busy} of {all} runs: others used up to {most:.0} % of the machine.\n"
    )
}

pub(super) fn millis(micros: f64) -> String {
    figure(micros / 1e3)
}

fn put(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a string takes all");
}
