//! The self-test: whether the bench sees what it is there for. The floor, and the product, run beside
//! themselves with a spin of one microsecond per request, and the difference has to be found.
//!
//! A difference that is there has to be seen, and one that is not must not be: a third side is the
//! same again, unchanged. The product with a spin is a build of its own, with the feature `spin`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::environment::Environment;
use crate::measure::{self, Effort};
use crate::product::Product;
use crate::progress::Progress;
use crate::record::Writer;
use crate::report;
use crate::scenario::{READS, Scenario};
use crate::session::Session;
use crate::sides::Side;

/// With the rounds of each: at depth 1 a microsecond is a seventh of the whole, and a machine's noise
/// is as much; at depth 16 it is most of it.
const SCENARIOS: [(&str, u32); 2] = [("limit-1", 30), ("limit-1-depth-16", 12)];
/// What is found may be this much off the microsecond that was put in: a spin reads the clock, and
/// it keeps a core warm.
const TOLERANCE_US: f64 = 0.5;

/// Where the product with a spin is built; what is released lies elsewhere.
const SPINNING: &str = "bench/target/spin";

/// Unchanged, again unchanged, and spinning.
type Trio = [Side; 3];

pub fn run(session: &Session, spinning: Option<&Path>) -> Result<()> {
    let floors = [Side::Floor, Side::FloorAgain, Side::FloorSpinning];
    let trios = [floors, products(session, spinning)?];
    let working = session.fresh("self-test")?;
    let environment = Environment::look(&working);
    let mut raw = Writer::create(&working.join(report::RAW), &environment)?;
    let scenarios = SCENARIOS.map(|(name, rounds)| {
        let mut reads = READS.iter();
        let found = reads.find(|scenario| scenario.name == name);
        let effort = Effort {
            rounds,
            seconds: 1,
            warm_up_seconds: 1,
        };
        (found.expect("is in the table"), effort)
    });
    let each = scenarios.map(|(scenario, effort)| effort.seconds_for(scenario, trios.len() * 3));
    let progress = Progress::of(each.iter().sum());
    for (scenario, effort) in scenarios {
        for trio in &trios {
            progress.part(&format!("{}: {}", scenario.name, trio[0].name()));
            measure::rounds(session, scenario, trio, effort, &mut raw, &progress)?;
        }
    }
    progress.end();
    println!("A spin of 1 µs per request:");
    let mut all_seen = true;
    for trio in &trios {
        for (scenario, _) in scenarios {
            all_seen &= judge(scenario, trio, &raw);
        }
    }
    ensure!(
        all_seen,
        "the bench does not see a microsecond on this machine now"
    );
    Ok(())
}

fn products(session: &Session, spinning: Option<&Path>) -> Result<Trio> {
    let spinning = spinning.map_or_else(build, |path| Ok(path.to_owned()))?;
    let as_it_is = &session.reference.binary;
    let side = |label, binary| anyhow::Ok(Side::Millpond(Product::new(label, binary)?));
    Ok([
        Side::Millpond(session.reference.clone()),
        side("millpond again", as_it_is)?,
        side("millpond + 1 µs", &spinning)?,
    ])
}

fn build() -> Result<PathBuf> {
    eprintln!("Building the product with a spin in {SPINNING}");
    let status = Command::new("cargo")
        .args(["build", "--locked", "--release", "--bin", "millpond"])
        .args(["--features", "spin", "--target-dir", SPINNING])
        .status()
        .context("cargo builds the product with a spin")?;
    ensure!(status.success(), "the product with a spin is not built");
    Ok(Path::new(SPINNING).join("release/millpond"))
}

fn judge(scenario: &Scenario, [base, again, spinning]: &Trio, raw: &Writer) -> bool {
    let found = report::differences(&raw.raw.runs, scenario.name, base.name());
    let of = |side: &Side| {
        let mut found = found.iter();
        let found = found.find(|(name, _)| name == side.name());
        found.map(|(_, median)| *median)
    };
    let (Some(again), Some(spinning)) = (of(again), of(spinning)) else {
        return false;
    };
    // As everywhere: what differs is what has an interval that leaves no difference out.
    let seen = spinning.low > 0.0;
    let right = (spinning.value - 1.0).abs() < TOLERANCE_US;
    let none = again.low <= 0.0 && again.high >= 0.0 || again.value.abs() < TOLERANCE_US / 2.0;
    println!(
        "  {:<9} {:<18} with it {:+.2} µs ({:+.2} to {:+.2}), unchanged {:+.2} µs ({:+.2} to {:+.2}): {}",
        base.name(),
        scenario.name,
        spinning.value,
        spinning.low,
        spinning.high,
        again.value,
        again.low,
        again.high,
        if seen && right && none {
            "seen"
        } else {
            "NOT SEEN"
        },
    );
    seen && right && none
}
