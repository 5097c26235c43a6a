//! The self-test: whether the bench sees what it is there for. The floor runs beside itself with a
//! spin of one microsecond per request, and the difference has to be found.
//!
//! A difference that is there has to be seen, and one that is not must not be: a third side is the
//! floor again, unchanged.

use anyhow::{Result, ensure};

use crate::environment::Environment;
use crate::measure::{self, Effort};
use crate::plan::MILLPOND;
use crate::progress::Progress;
use crate::record::Writer;
use crate::report;
use crate::scenario::{READS, Scenario};
use crate::session::Session;
use crate::sides::Side;

/// At depth 1 a microsecond is a seventh of the whole, at depth 16 it is most of it.
const SCENARIOS: [&str; 2] = ["limit-1", "limit-1-depth-16"];
/// Twelve rounds leave out the two lowest and the two highest of each side.
const EFFORT: Effort = Effort {
    rounds: 12,
    seconds: 1,
    warm_up_seconds: 1,
};
/// What is found may be this much off the microsecond that was put in: a spin reads the clock, and
/// it keeps a core warm.
const TOLERANCE_US: f64 = 0.5;

pub fn run(session: &Session) -> Result<()> {
    let working = session.fresh("self-test")?;
    let environment = Environment::look(&working);
    let mut raw = Writer::create(&working.join(report::RAW), &environment)?;
    let sides = [Side::Floor, Side::FloorAgain, Side::FloorSpinning];
    let scenarios = SCENARIOS.map(|name| {
        let mut reads = READS.iter();
        let found = reads.find(|scenario| scenario.name == name);
        found.expect("is in the table")
    });
    let each = scenarios.map(|scenario| EFFORT.seconds_for(scenario, sides.len()));
    let progress = Progress::of(each.iter().sum());
    for scenario in scenarios {
        progress.part(scenario.name);
        measure::rounds(session, scenario, &sides, EFFORT, &mut raw, &progress)?;
    }
    progress.end();
    println!("A spin of 1 µs per request, in {MILLPOND}'s floor:");
    let mut all_seen = true;
    for scenario in scenarios {
        all_seen &= judge(scenario, &raw);
    }
    ensure!(
        all_seen,
        "the bench does not see a microsecond on this machine now"
    );
    Ok(())
}

fn judge(scenario: &Scenario, raw: &Writer) -> bool {
    let found = report::differences(&raw.raw.runs, scenario.name, Side::Floor.name());
    let of = |side: &Side| {
        let mut found = found.iter();
        let found = found.find(|(name, _)| name == side.name());
        found.map(|(_, median)| *median)
    };
    let (Some(again), Some(spinning)) = (of(&Side::FloorAgain), of(&Side::FloorSpinning)) else {
        return false;
    };
    let seen = spinning.low > again.high.max(0.0);
    let right = (spinning.value - 1.0).abs() < TOLERANCE_US;
    let none = again.low <= 0.0 && again.high >= 0.0 || again.value.abs() < TOLERANCE_US / 2.0;
    println!(
        "  {:<18} with it {:+.2} µs ({:+.2} to {:+.2}), unchanged {:+.2} µs ({:+.2} to {:+.2}): {}",
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
