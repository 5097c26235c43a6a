//! Measuring: one run of one side, and the rounds that alternate them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use load::token;

use crate::beside::{self, Writing};
use crate::client::{self, Call, Seen};
use crate::environment::load_average;
use crate::metrics::{self, Reads};
use crate::proc::{self, Machine, Ticks};
use crate::progress::Progress;
use crate::record::{Failure, Figure, Line, Run, Table, Writer};
use crate::scenario::{Cast, Scenario};
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
    /// Longer where there are many connections: a turn begins with opening them.
    fn of(self, scenario: &Scenario) -> Self {
        let least = scenario.connections / CONNECTIONS_A_SECOND;
        Self {
            seconds: self.seconds.max(least),
            warm_up_seconds: self.warm_up_seconds.max(least),
            ..self
        }
    }

    /// Seconds that a scenario takes, without starting its sides.
    pub fn seconds_for(self, scenario: &Scenario, sides: usize) -> u64 {
        let Self {
            rounds,
            seconds,
            warm_up_seconds,
        } = self.of(scenario);
        let each = rounds * seconds + warm_up_seconds;
        let beside = match scenario.cast {
            Cast::Written => beside::SAMPLE_SECONDS,
            _ => 0,
        };
        u64::from(each) * sides as u64 + u64::from(beside)
    }
}

/// Connections that a turn needs another second for.
const CONNECTIONS_A_SECOND: u32 = 2_000;

/// One run of the client and what the server used meanwhile.
#[derive(Debug)]
pub struct Measured {
    pub seen: Seen,
    pub cpu: Ticks,
    /// That were busy with what the side needs and is not measured.
    pub companions_cores: f64,
    pub resident_bytes: u64,
    /// Share of the machine that others used.
    pub busy: f64,
    /// Of the product, where one request is not like the other: what share of reads was hot.
    pub hot: Option<f64>,
    /// Of a side that was written to: writes that were applied a second.
    pub applied_per_second: Option<f64>,
}

/// Measures `scenario` on `sides`, each in every round, and writes the runs to `raw`.
///
/// All sides are there from the beginning to the end; those whose turn it is not are idle. Each
/// round begins with the next side, so that none always follows the same one. A peer that fails is
/// left out of the rest of the scenario and named in the report; where the product or the floor
/// fails, nothing is left to say.
pub fn rounds(
    session: &Session,
    scenario: &Scenario,
    sides: &[Side],
    effort: Effort,
    raw: &mut Writer,
    progress: &Progress,
) -> Result<()> {
    let effort = effort.of(scenario);
    progress.say(&format!("{}: starting", scenario.name));
    let mut running = Vec::new();
    for (side, started) in sides::start_all(session, scenario, sides)? {
        match started {
            Ok(started) => running.push((side, started)),
            Err(error) => give_up(scenario, side, &error, raw, progress)?,
        }
    }
    let turns = std::iter::once((None, effort.warm_up_seconds));
    let turns = turns.chain((0..effort.rounds).map(|round| (Some(round), effort.seconds)));
    for (round, seconds) in turns {
        let mut failed = Vec::new();
        for nth in 0..running.len() {
            let at = (nth + round.unwrap_or(0) as usize) % running.len();
            let (side, started) = &running[at];
            progress.say(&turn(scenario, started, round, effort));
            match twice(|| once(session, scenario, started, seconds)) {
                Ok(measured) => {
                    if let Some(round) = round {
                        let hot = measured.hot;
                        raw.put(Line::Run(measured.record(scenario, &started.name, round)))?;
                        put_hot(scenario, started, hot, raw)?;
                    }
                }
                Err(error) => {
                    give_up(scenario, side, &error, raw, progress)?;
                    failed.push(started.name.clone());
                }
            }
            progress.advance(seconds);
        }
        running.retain(|(_, started)| !failed.contains(&started.name));
    }
    for (_, started) in running.iter().filter(|(_, started)| started.is_written) {
        progress.say(&format!("{}: gzip", scenario.name));
        let script = write_script(session, scenario, started)?;
        let for_seconds = (&*script, beside::SAMPLE_SECONDS);
        let call = call(session, scenario, started, for_seconds);
        beside::sample(session, scenario, started, call, raw)?;
        progress.advance(beside::SAMPLE_SECONDS);
    }
    Ok(())
}

fn put_hot(scenario: &Scenario, side: &Running, hot: Option<f64>, raw: &mut Writer) -> Result<()> {
    let Some(hot) = hot else {
        return Ok(());
    };
    let row = format!("{}: {}", scenario.name, side.name);
    let column = "share of list reads answered hot";
    raw.put(Line::Figure(Figure::of(Table::Hot, &row, column, hot)))
}

fn turn(scenario: &Scenario, side: &Running, round: Option<u32>, effort: Effort) -> String {
    let (scenario, side) = (scenario.name, &side.name);
    match round {
        Some(round) => format!("{scenario}: {side} {}/{}", round + 1, effort.rounds),
        None => format!("{scenario}: {side} warms up"),
    }
}

/// A busy machine may let a client starve once.
fn twice<T>(run: impl Fn() -> Result<T>) -> Result<T> {
    run().or_else(|_| run())
}

/// Puts the failure of a peer on record; of the product or the floor it is the run's.
fn give_up(
    scenario: &Scenario,
    side: &Side,
    error: &anyhow::Error,
    raw: &mut Writer,
    progress: &Progress,
) -> Result<()> {
    if !side.is_peer() {
        bail!("{error:#}");
    }
    progress.note(&format!("{error:#}: left out of the rest of the scenario"));
    raw.put(Line::Failure(Failure {
        scenario: scenario.name.to_owned(),
        side: side.name().to_owned(),
        because: format!("{error:#}"),
    }))
}

fn once(session: &Session, scenario: &Scenario, side: &Running, seconds: u32) -> Result<Measured> {
    let about = || format!("{} in {}", side.name, scenario.name);
    let script = write_script(session, scenario, side)?;
    let call = call(session, scenario, side, (&script, seconds));
    let writing = || Writing::begin(session, side, seconds);
    let writing = side.is_written.then(writing).transpose()?;
    let before = scenario.has_writes.then(|| Reads::look(side.port));
    let before = before.transpose()?;
    let writer = writing.as_ref().map(Writing::pid);
    let mut measured = measure(side, writer, call).with_context(about)?;
    if let Some(writing) = writing {
        measured.applied_per_second = Some(writing.applied_per_second()?);
        writing.end().with_context(about)?;
    }
    if let Some(before) = before {
        measured.hot = Some(Reads::look(side.port)?.hot_since(before));
    }
    if scenario.cast == Cast::Limited {
        let alone = metrics::of(side.port)?.sum("limiter_without_redis_total");
        ensure!(alone == 0.0, "{}: Redis was too slow", about());
    }
    check(scenario, side, &measured.seen).with_context(about)?;
    Ok(measured)
}

/// What the client is told for a turn of so many seconds.
pub fn call<'a>(
    session: &'a Session,
    scenario: &Scenario,
    side: &Running,
    (script, seconds): (&'a Path, u32),
) -> Call<'a> {
    Call {
        cores: &session.client_cores,
        script,
        connections: scenario.connections,
        port: side.port,
        seconds,
        counter: &[],
    }
}

/// Runs the client and looks at the server's processes before and after.
fn measure(side: &Running, writer: Option<u32>, call: Call<'_>) -> Result<Measured> {
    let pids = side.pids();
    let of_companions = || proc::trees(&side.companions()).map(|usage| usage.cpu);
    let of_writer = || proc::trees(writer.as_slice()).map(|usage| usage.cpu);
    let (machine, before, client) = (Machine::look(), proc::trees(&pids)?, proc::reaped()?);
    let (companions_before, writer_before) = (of_companions()?, of_writer()?);
    let seen = client::run(call)?;
    let client = proc::reaped()? - client;
    let after = proc::trees(&pids)?;
    let cpu = after.cpu - before.cpu;
    let companions = of_companions()? - companions_before;
    let ours = cpu + client + companions + (of_writer()? - writer_before);
    Ok(Measured {
        companions_cores: companions.seconds() / seen.seconds(),
        seen,
        cpu,
        resident_bytes: after.resident_bytes,
        busy: Machine::look().others_since(machine, ours),
        hot: None,
        applied_per_second: None,
    })
}

/// Has wrk told what to ask.
pub fn write_script(session: &Session, scenario: &Scenario, side: &Running) -> Result<PathBuf> {
    let path = session.path("wrk.lua");
    let script = if scenario.has_writes {
        client::mixed(scenario, side.port, &token("bench", &session.secret))
    } else {
        client::script(scenario, side.port, side.tag.as_deref())
    };
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
            companions_cores,
            resident_bytes,
            busy,
            hot: _,
            applied_per_second,
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
            companions_cores: Some(companions_cores),
            resident_bytes,
            p50_us: seen.p50_us,
            p99_us: seen.p99_us,
            load_average: load_average(),
            busy,
            applied_per_second,
        }
    }
}
