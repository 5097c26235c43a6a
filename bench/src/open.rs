//! Open loops: latency at a stated rate, counted from when a request was due.

use anyhow::{Context, Result};
use load::job::{What, Work};

use crate::deployment::Deployment;
use crate::loader::{self, Order};
use crate::proc;
use crate::progress::Progress;
use crate::record::{Line, LoadRun, Part, Writer};
use crate::scenario::Scenario;
use crate::session::Session;
use crate::sides::{self, Running, Side};
use crate::writes::Effort;

/// Reads a second. The highest is what a client on one core makes with half of it.
pub const READS: &[u32] = &[1_000, 10_000, 25_000];
/// Reads a second where limits are compared.
pub const LIMITED: &[u32] = &[25_000];
/// Creates a second.
pub const CREATES: &[u32] = &[100, 1_000, 3_000];
/// Enough that none waits for another to be answered by a server that keeps up.
pub const CONNECTIONS: u32 = 128;
/// Reads a second where the tail is compared with the floor's, and their connections: those of the
/// closed loops.
pub const TAIL: &[u32] = &[20_000];
pub const TAIL_CONNECTIONS: u32 = 64;

/// Reads of `scenario` at each rate, from each side in turn; each round begins with the next side.
pub fn reads(
    session: &Session,
    (scenario, sides): (&Scenario, &[Side]),
    (rates, connections): (&[u32], u32),
    effort: Effort,
    raw: &mut Writer,
    progress: &Progress,
) -> Result<()> {
    progress.say("open loop: starting");
    let running = sides::start_all(session, scenario, sides)?;
    let running = running.into_iter().map(|(_, started)| started);
    let running = running.collect::<Result<Vec<_>>>()?;
    for rate in rates {
        let name = format!("open-{}-at-{rate}", scenario.name);
        let path = scenario.limit.path();
        let about = format!("{path}; {rate} a second are due on {connections} connections");
        for round in 0..effort.rounds {
            for nth in 0..running.len() {
                let side = &running[(nth + round as usize) % running.len()];
                progress.say(&format!("{name}: {}", side.name));
                let asked = (*rate, connections);
                let loaded = ask(session, scenario, side, asked, effort.seconds);
                let loaded = loaded.with_context(|| format!("{} in {name}", side.name))?;
                let run = LoadRun::new(Part::Latency, (&name, &about), loaded);
                raw.put(Line::Load(run.at(*rate).of(&side.name, round)))?;
                progress.advance(effort.seconds);
            }
        }
    }
    Ok(())
}

fn ask(
    session: &Session,
    scenario: &Scenario,
    side: &Running,
    (rate, connections): (u32, u32),
    seconds: u32,
) -> Result<loader::Loaded> {
    let order = Order {
        servers: &[([127, 0, 0, 1], side.port).into()],
        work: Work::Open {
            what: What::Read(scenario.limit.path()),
            per_second: f64::from(rate),
            connections,
        },
        seconds: f64::from(seconds),
        clock: &|| Ok(vec![(side.name.clone(), proc::trees(&side.pids())?.cpu)]),
    };
    loader::carry_out(session, order)
}

/// Creates at each rate.
pub fn creates(
    session: &Session,
    deployment: &Deployment,
    rates: &[u32],
    effort: Effort,
    raw: &mut Writer,
    progress: &Progress,
) -> Result<()> {
    for rate in rates {
        let name = format!("open-creates-at-{rate}");
        let about = format!("creates, 202; {rate} a second are due");
        for round in 0..effort.rounds {
            progress.say(&name);
            let work = Work::Open {
                what: What::Create,
                per_second: f64::from(*rate),
                connections: CONNECTIONS,
            };
            let loaded = loader::run(session, deployment, work, f64::from(effort.seconds));
            let loaded = loaded.with_context(|| name.clone())?;
            let run = LoadRun::new(Part::Latency, (&name, &about), loaded);
            raw.put(Line::Load(run.at(*rate).of(&deployment.name, round)))?;
            progress.advance(effort.seconds);
        }
    }
    Ok(())
}
