//! Measuring: one run of one side, and the rounds that alternate them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::client::{self, Call, Seen};
use crate::environment::load_average;
use crate::proc::{self, Machine, Ticks};
use crate::progress::Progress;
use crate::record::{Line, Run, Writer};
use crate::scenario::Scenario;
use crate::session::Session;
use crate::sides::{self, Running, Side};

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: u32,
    pub seconds: u32,
    pub warm_up_seconds: u32,
}

impl Effort {
    /// Seconds that one scenario takes, without starting its sides.
    pub fn seconds_for(&self, sides: usize) -> u64 {
        let each = self.rounds * self.seconds + self.warm_up_seconds;
        u64::from(each) * sides as u64
    }
}

/// One run of the client and what the server used meanwhile.
#[derive(Debug)]
pub struct Measured {
    pub seen: Seen,
    pub cpu: Ticks,
    pub resident_bytes: u64,
    /// Share of the machine that others used.
    pub busy: f64,
}

/// Measures `scenario` on `sides`, each in every round, and writes the runs to `raw`.
///
/// All sides are there from the beginning to the end; those whose turn it is not are idle. Each
/// round begins with the next side, so that none always follows the same one.
pub fn rounds(
    session: &Session,
    scenario: &Scenario,
    sides: &[Side],
    effort: Effort,
    raw: &mut Writer,
    progress: &Progress,
) -> Result<()> {
    progress.say(&format!("{}: starting", scenario.name));
    let running = sides::start_all(session, scenario, sides)?;
    for side in &running {
        progress.say(&format!("{}: {} warms up", scenario.name, side.name));
        once(session, scenario, side, effort.warm_up_seconds)?;
        progress.advance(effort.warm_up_seconds);
    }
    for round in 0..effort.rounds {
        for nth in 0..running.len() {
            let side = &running[(nth + round as usize) % running.len()];
            let turn = round + 1;
            progress.say(&format!(
                "{}: {} {turn}/{}",
                scenario.name, side.name, effort.rounds
            ));
            let measured = once(session, scenario, side, effort.seconds)?;
            raw.put(Line::Run(measured.record(scenario, &side.name, round)))?;
            progress.advance(effort.seconds);
        }
    }
    Ok(())
}

fn once(session: &Session, scenario: &Scenario, side: &Running, seconds: u32) -> Result<Measured> {
    let about = || format!("{} in {}", side.name, scenario.name);
    let script = write_script(session, scenario, side)?;
    let call = Call {
        cores: &session.client_cores,
        script: &script,
        connections: scenario.connections,
        port: side.server.port,
        seconds,
    };
    let measured = measure(&side.pids(), call).with_context(about)?;
    check(scenario, side, &measured.seen).with_context(about)?;
    Ok(measured)
}

/// Runs the client and looks at the server's processes before and after.
fn measure(pids: &[u32], call: Call<'_>) -> Result<Measured> {
    let (machine, before, client) = (Machine::look(), proc::trees(pids)?, proc::reaped()?);
    let seen = client::run(call)?;
    let client = proc::reaped()? - client;
    let after = proc::trees(pids)?;
    let cpu = after.cpu - before.cpu;
    Ok(Measured {
        seen,
        cpu,
        resident_bytes: after.resident_bytes,
        busy: Machine::look().others_since(machine, cpu + client),
    })
}

fn write_script(session: &Session, scenario: &Scenario, side: &Running) -> Result<PathBuf> {
    let path = session.path("wrk.lua");
    let script = client::script(scenario, side.server.port, side.tag.as_deref());
    std::fs::write(&path, script)?;
    Ok(path)
}

/// That every answer was what was asked for: none refused, none of another length.
fn check(scenario: &Scenario, side: &Running, seen: &Seen) -> Result<()> {
    ensure!(
        seen.refused == 0,
        "{} answers of {} were refusals",
        seen.refused,
        seen.requests
    );
    let Some(bytes) = side.response_bytes else {
        return Ok(());
    };
    // What was under way at the end was read but is no response yet.
    let unfinished = u64::from(scenario.connections * scenario.depth) + 1;
    let expected = seen.requests * bytes as u64;
    let most = expected + unfinished * bytes as u64;
    // A date or a header of another length is not what this looks for.
    let range = expected - expected / 50..=most + most / 50;
    ensure!(
        range.contains(&seen.bytes),
        "{} answers should be {expected} bytes and were {}",
        seen.requests,
        seen.bytes
    );
    Ok(())
}

impl Measured {
    fn record(self, scenario: &Scenario, side: &str, round: u32) -> Run {
        let Self {
            seen,
            cpu,
            resident_bytes,
            busy,
        } = self;
        Run {
            scenario: scenario.name.to_owned(),
            about: scenario.description(),
            side: side.to_owned(),
            round,
            seconds: seen.seconds(),
            requests: seen.requests,
            bytes: seen.bytes,
            errors: seen.errors,
            user_us: Ticks::micros(cpu.user),
            system_us: Ticks::micros(cpu.system),
            server_use: cpu.seconds() / seen.seconds(),
            client_use: seen.use_share,
            resident_bytes,
            p50_us: seen.p50_us,
            p99_us: seen.p99_us,
            load_average: load_average(),
            busy,
        }
    }
}
