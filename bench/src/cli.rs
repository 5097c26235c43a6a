//! The command line: what to run, against what, and where results go.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;

use crate::course;
use crate::environment::Environment;
use crate::measure::Effort;
use crate::peers::PEERS;
use crate::plan::{MILLPOND, Part, Plan, VARIANTS};
use crate::product::Product;
use crate::progress::Progress;
use crate::record::{self, Writer};
use crate::report;
use crate::scenario::READS;
use crate::selftest;
use crate::session::Session;
use crate::sides::Side;
use crate::writes::{self, WRITES};

/// Measures Millpond beside a floor and its peers, and writes a report.
///
/// The server has one core, the client the others; the sides take turns. Counted is the CPU time
/// per request of the server's whole process tree, beside requests a second.
#[derive(Debug, Parser)]
#[command(name = "millpond-bench", version)]
pub struct Arguments {
    /// A few scenarios in under three minutes
    #[arg(long)]
    pub quick: bool,
    /// Parts to run [default: all; --quick leaves limits, idle, spread, start and users out]
    #[arg(long, value_delimiter = ',')]
    pub part: Vec<Part>,
    /// Scenarios to run, by name [default: all of the parts, or those of --quick]
    #[arg(long, value_delimiter = ',')]
    pub scenario: Vec<String>,
    /// Sides to run, by name [default: by scenario; see --list]
    #[arg(long, value_delimiter = ',')]
    pub side: Vec<String>,
    /// The release build to measure
    #[arg(long, default_value = "target/release/millpond")]
    binary: PathBuf,
    /// Another build to measure beside it, such as one from before a change; repeatable
    #[arg(long, value_name = "NAME=PATH")]
    pub other: Vec<String>,
    /// Measure a fleet beside it, over the services that this file names, as `make up` writes it
    #[arg(long, value_name = "FILE")]
    fleet: Option<PathBuf>,
    /// Rounds in which every side has its turn; six are the fewest whose intervals reach 95 %
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..1_000))]
    rounds: u32,
    /// Seconds of a turn [default: 1]
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
    /// Say where two kept runs agree within their intervals, and end
    #[arg(long, num_args = 2, value_names = ["DIRECTORY", "DIRECTORY"])]
    compare: Vec<PathBuf>,
    /// See whether one microsecond more per request is seen, in the floor and the product, and end
    #[arg(long)]
    self_test: bool,
    /// The product built with the feature `spin`, for --self-test [default: built by it]
    #[arg(long, value_name = "PATH", requires = "self_test")]
    spinning: Option<PathBuf>,
}

pub fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.list {
        list();
        return Ok(());
    }
    if let Some(directory) = &arguments.report {
        return report::write(directory, &record::read(&directory.join(report::RAW))?);
    }
    if let [first, second] = &*arguments.compare {
        let read = |directory: &Path| record::read(&directory.join(report::RAW));
        print!("{}", report::compare(&read(first)?, &read(second)?));
        return Ok(());
    }
    let millpond = Product::new(MILLPOND, &arguments.binary)?;
    let mut session = Session::start(&arguments.scratch, millpond)?;
    session.stack.clone_from(&arguments.fleet);
    if arguments.self_test {
        return selftest::run(&session, arguments.spinning.as_deref());
    }
    run(&arguments, &session)
}

fn run(arguments: &Arguments, session: &Session) -> Result<()> {
    let plan = Plan::new(arguments, session)?;
    let environment = Environment::look(&arguments.scratch);
    if !environment.is_quiet() {
        let busy = environment.busy * 100.0;
        eprintln!("The machine is busy (others use {busy:.0} % of it): no figure is a result.");
    }
    // Where it goes is known at the end: a machine may become busy on the way.
    let working = session.fresh("report")?;
    let mut raw = Writer::create(&working.join(report::RAW), &environment)?;
    let progress = Progress::of(plan.seconds());
    let carried_out = course::carry_out(&plan, session, &mut raw, &progress);
    progress.end();
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| unused(&environment, raw.raw.is_quiet()));
    // What there is of a run that failed is kept with the rest, and never called a result.
    let out = match carried_out {
        Ok(()) => out,
        Err(_) => broken(&out),
    };
    report::write(&working, &raw.raw)?;
    keep(&working, &out)?;
    println!("{}", out.join("report.md").display());
    if !raw.raw.is_quiet() {
        eprintln!("The machine was busy: this is no result, and is not kept among them.");
    }
    carried_out
}

/// A directory that holds no other run. What a busy machine gives is not kept among the results.
fn unused(environment: &Environment, quiet: bool) -> PathBuf {
    let kept = Path::new(if quiet {
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

fn broken(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    Path::new("bench/target/broken").join(&*name)
}

/// Copies the files of `working` into `out`.
fn keep(working: &Path, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out)?;
    for entry in std::fs::read_dir(working)? {
        let entry = entry?;
        let to = out.join(entry.file_name());
        std::fs::copy(entry.path(), &to)
            .with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

impl Arguments {
    pub fn effort(&self) -> Effort {
        Effort {
            rounds: self.rounds,
            seconds: self.seconds.unwrap_or(1),
            warm_up_seconds: 1,
        }
    }

    /// A tail is of few requests, so its turns are longer.
    pub fn effort_of_tails(&self) -> writes::Effort {
        writes::Effort {
            rounds: self.rounds,
            seconds: self.seconds.unwrap_or(3),
        }
    }

    /// Writes pile up, so their turns are longer and fewer.
    pub fn effort_of_load(&self) -> writes::Effort {
        let (rounds, seconds) = if self.quick { (1, 2) } else { (3, 4) };
        writes::Effort {
            rounds: rounds.min(self.rounds),
            seconds: self.seconds.unwrap_or(seconds),
        }
    }
}

fn list() {
    println!("Scenarios of reads (* of --quick):");
    for scenario in READS {
        let mark = if scenario.quick { '*' } else { ' ' };
        println!("  {:<22}{mark} {}", scenario.name, scenario.description());
    }
    println!("Scenarios of writes:");
    for scenario in WRITES {
        let mark = if scenario.quick { '*' } else { ' ' };
        println!("  {:<22}{mark} {}", scenario.name, scenario.about);
    }
    let peers = PEERS.iter().map(|peer| peer.name);
    let sides: Vec<_> = [MILLPOND, "floor"]
        .into_iter()
        .chain(peers)
        .chain(["nginx"])
        .chain(VARIANTS.iter().map(Side::name))
        .collect();
    println!("Sides: {}", sides.join(", "));
}
