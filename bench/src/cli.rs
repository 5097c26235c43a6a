//! The command line: what to run, against what, and where results go.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::environment::Environment;
use crate::measure::{self, Effort};
use crate::product::Product;
use crate::record::{self, Writer};
use crate::report;
use crate::scenario::{Cast, READS, Scenario};
use crate::session::Session;
use crate::sides::{PEERS, Side};

/// The product's name as a side.
const MILLPOND: &str = "millpond";

/// Measures Millpond beside a floor and its peers, and writes a report.
///
/// The server has one core, the client the others; the sides take turns. Counted is the CPU time
/// per request of the server's whole process tree, beside requests a second.
#[derive(Debug, Parser)]
#[command(name = "millpond-bench", version)]
struct Arguments {
    /// A few scenarios in under three minutes
    #[arg(long)]
    quick: bool,
    /// Scenarios to run, by name [default: all, or those of --quick]
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Sides to run, by name [default: by scenario; see --list]
    #[arg(long, value_delimiter = ',')]
    side: Vec<String>,
    /// The release build to measure
    #[arg(long, default_value = "target/release/millpond")]
    binary: PathBuf,
    /// Another build to measure beside it, such as one from before a change; repeatable
    #[arg(long, value_name = "NAME=PATH")]
    other: Vec<String>,
    /// Rounds in which every side has its turn; six are the fewest whose intervals reach 95 %
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..1_000))]
    rounds: u32,
    /// Seconds of a turn [default: 2, or 1 with --quick]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..600))]
    seconds: Option<u32>,
    /// Directory to write into [default: bench/results/<date>-<machine>]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Directory for data while it runs; writes go to its disk
    #[arg(long, default_value = "bench/target/scratch")]
    scratch: PathBuf,
    /// List the scenarios and sides, and end
    #[arg(long)]
    list: bool,
    /// Write the report of this directory's raw data anew, and end
    #[arg(long, value_name = "DIRECTORY")]
    report: Option<PathBuf>,
}

/// A scenario and who runs in it.
type Plan<'a> = Vec<(&'a Scenario, Vec<Side>)>;

pub fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.list {
        list();
        return Ok(());
    }
    if let Some(directory) = &arguments.report {
        let (environment, runs) = record::read(&directory.join(report::RAW))?;
        return report::write(directory, &environment, &runs);
    }
    run(&arguments)
}

/// A directory that holds no other run. What a busy machine gives is not kept among the results.
fn unused(environment: &Environment) -> PathBuf {
    let kept = Path::new(if environment.is_quiet() {
        "bench/results"
    } else {
        "bench/target/busy"
    });
    let slug = environment.slug();
    let later = (2..).map(|nth| format!("{slug}-{nth}"));
    let mut names = std::iter::once(slug.clone()).chain(later);
    let free = names.find(|name| !kept.join(name).exists());
    kept.join(free.unwrap_or(slug))
}

fn run(arguments: &Arguments) -> Result<()> {
    let millpond = Product::new(MILLPOND, &arguments.binary)?;
    let plan = plan(arguments, &millpond)?;
    std::fs::create_dir_all(&arguments.scratch)?;
    let environment = Environment::look(&arguments.scratch);
    if !environment.is_quiet() {
        let busy = environment.busy * 100.0;
        eprintln!("The machine is busy (others use {busy:.0} % of it): no figure is a result.");
    }
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| unused(&environment));
    std::fs::create_dir_all(&out)?;
    let mut raw = Writer::create(&out.join(report::RAW), &environment)?;
    let session = Session::start(&arguments.scratch, millpond)?;
    let effort = arguments.effort();
    let total = plan
        .iter()
        .map(|(_, sides)| effort.seconds_for(sides.len()));
    let bar = bar(total.sum());
    let mut runs = Vec::new();
    for (scenario, sides) in &plan {
        runs.extend(measure::rounds(
            &session, scenario, sides, effort, &mut raw, &bar,
        )?);
        // What there is so far can be looked at while the rest runs.
        report::write(&out, &environment, &runs)?;
    }
    bar.finish_and_clear();
    println!("{}", out.join("report.md").display());
    Ok(())
}

impl Arguments {
    fn effort(&self) -> Effort {
        let usual = if self.quick { 1 } else { 2 };
        Effort {
            rounds: self.rounds,
            seconds: self.seconds.unwrap_or(usual),
            warm_up_seconds: 1,
        }
    }

    fn scenarios(&self) -> Result<Vec<&'static Scenario>> {
        if self.scenario.is_empty() {
            let wanted = |scenario: &&Scenario| scenario.quick || !self.quick;
            return Ok(READS.iter().filter(wanted).collect());
        }
        let named = self.scenario.iter().map(|name| {
            let mut reads = READS.iter();
            reads
                .find(|scenario| scenario.name == name)
                .with_context(|| format!("there is no scenario {name:?}; see --list"))
        });
        named.collect()
    }
}

fn plan(arguments: &Arguments, millpond: &Product) -> Result<Plan<'static>> {
    let mut products = vec![Side::Millpond(millpond.clone())];
    for other in &arguments.other {
        let (name, path) = other.split_once('=').context("--other takes NAME=PATH")?;
        products.push(Side::Millpond(Product::new(name, Path::new(path))?));
    }
    let everyone = products.iter().cloned().chain([Side::Floor]);
    let everyone = everyone
        .chain(PEERS.iter().map(Side::Peer))
        .chain([Side::Nginx]);
    let everyone: Vec<Side> = everyone.collect();
    for name in &arguments.side {
        let known = everyone.iter().any(|side| side.name() == name);
        ensure!(known, "there is no side {name:?}; see --list");
    }
    let mut plan = Plan::new();
    for scenario in arguments.scenarios()? {
        let sides = everyone
            .iter()
            .filter(|side| arguments.casts(scenario, side));
        plan.push((scenario, sides.cloned().collect()));
    }
    if plan.iter().all(|(_, sides)| sides.is_empty()) {
        bail!("nobody is left to measure");
    }
    Ok(plan)
}

impl Arguments {
    fn casts(&self, scenario: &Scenario, side: &Side) -> bool {
        if !self.side.is_empty() {
            return self.side.iter().any(|name| name == side.name());
        }
        match side {
            Side::Millpond(_) | Side::Floor => true,
            Side::Peer(peer) if peer.name == "hyper" => true,
            Side::Peer(peer) if peer.name == "hyper-flush" => scenario.depth > 1,
            Side::Peer(_) | Side::Nginx => scenario.cast == Cast::Everyone && !self.quick,
        }
    }
}

fn list() {
    println!("Scenarios (* of --quick):");
    for scenario in READS {
        let mark = if scenario.quick { '*' } else { ' ' };
        println!("  {:<18}{mark} {}", scenario.name, scenario.description());
    }
    let peers = PEERS.iter().map(|peer| peer.name);
    let sides: Vec<_> = [MILLPOND, "floor"]
        .into_iter()
        .chain(peers)
        .chain(["nginx"])
        .collect();
    println!("Sides: {}", sides.join(", "));
}

fn bar(seconds: u64) -> ProgressBar {
    let style = "{bar:30} {percent:>3} % · {eta} left · {msg}";
    let style = ProgressStyle::with_template(style).expect("the template is right");
    let bar = ProgressBar::new(seconds).with_style(style);
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}
