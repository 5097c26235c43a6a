//! System calls and allocations per request, counted in runs of their own: a server that strace looks
//! at is several times slower, and makes the same calls.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::allocations;
use crate::client;
use crate::measure;
use crate::progress::Progress;
use crate::record::{Figure, Line, Table, Writer};
use crate::scenario::{READS, Scenario};
use crate::session::Session;
use crate::sides::{self, Running, Side};

const SCENARIOS: [&str; 2] = ["limit-100", "limit-100-depth-16"];
/// Of each count.
pub const SECONDS: u32 = 1;
const ALL: &str = "system calls";
const ALLOCATIONS: &str = "allocations";
/// What is made more rarely than this is opening and closing connections.
const RARE: f64 = 0.01;

/// Both are counted of each side.
pub fn runs(sides: &[Side]) -> u32 {
    u32::try_from(SCENARIOS.len() * sides.len() * 2).unwrap_or(u32::MAX)
}

pub fn count(
    session: &Session,
    sides: &[Side],
    raw: &mut Writer,
    progress: &Progress,
) -> Result<()> {
    for scenario in READS.iter().filter(|it| SCENARIOS.contains(&it.name)) {
        for (side, started) in sides::start_all(session, scenario, sides)? {
            progress.say(&format!("system calls: {}", side.name()));
            let started = started?;
            let mut found = Vec::new();
            match traced(session, scenario, &started) {
                Ok(calls) => {
                    found.push((ALL.to_owned(), calls.iter().map(|(_, count)| count).sum()));
                    found.extend(calls.into_iter().filter(|(_, count)| *count >= RARE));
                }
                Err(error) => progress.note(&format!("system calls are not counted: {error:#}")),
            }
            match allocations(session, scenario, &started) {
                Ok(each) => found.insert(found.len().min(1), (ALLOCATIONS.to_owned(), each)),
                Err(error) => progress.note(&format!("allocations are not counted: {error:#}")),
            }
            put(scenario, &started, &found, raw)?;
            progress.advance(SECONDS * 2);
        }
    }
    Ok(())
}

fn put(
    scenario: &Scenario,
    side: &Running,
    figures: &[(String, f64)],
    raw: &mut Writer,
) -> Result<()> {
    let row = format!("{}: {}", scenario.name, side.name);
    for (column, value) in figures {
        raw.put(Line::Figure(Figure::of(Table::Calls, &row, column, *value)))?;
    }
    Ok(())
}

fn allocations(session: &Session, scenario: &Scenario, side: &Running) -> Result<f64> {
    let script = measure::write_script(session, scenario, side)?;
    let call = measure::call(session, scenario, side, (&script, SECONDS));
    allocations::per_request(side, call, &session.path("allocations"))
}

/// Calls per request by name.
fn traced(session: &Session, scenario: &Scenario, side: &Running) -> Result<Vec<(String, f64)>> {
    let script = measure::write_script(session, scenario, side)?;
    let summary = session.path("strace");
    let tracer = Tracer::attach(&side.pids(), &summary)?;
    let seen = client::run(measure::call(session, scenario, side, (&script, SECONDS)));
    tracer.end()?;
    let requests = seen?.requests as f64;
    let text = std::fs::read_to_string(&summary)?;
    let calls = text.lines().filter_map(line);
    let calls: Vec<_> = calls
        .map(|(name, count)| (name, count / requests))
        .collect();
    ensure!(!calls.is_empty(), "strace counted nothing:\n{text}");
    Ok(calls)
}

/// Of a line of the summary, `% time, seconds, usecs/call, calls, [errors], name`.
fn line(text: &str) -> Option<(String, f64)> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    words.first()?.parse::<f64>().ok()?;
    let name = words.last().filter(|name| **name != "total")?;
    Some(((*name).to_owned(), words.get(3)?.parse().ok()?))
}

struct Tracer(Child);

impl Tracer {
    /// Returns once every thread of the processes is traced.
    fn attach(pids: &[u32], summary: &Path) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-o"]).arg(summary);
        for pid in pids {
            command.arg("-p").arg(pid.to_string());
        }
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run strace")?;
        let errors = child.stderr.take().context("strace has an error output")?;
        let tracer = Self(child);
        let mut errors = BufReader::new(errors);
        for pid in pids {
            let mut line = String::new();
            errors.read_line(&mut line)?;
            let is_attached = line.contains(&pid.to_string()) && line.contains("attached");
            ensure!(is_attached, "strace: {}", line.trim_end());
        }
        // It says more when processes come and go, and must not stand still for that.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        Ok(tracer)
    }

    /// Lets go of the processes and has the summary written.
    fn end(mut self) -> Result<()> {
        let pid = self.0.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It has ended, or nobody waits for its summary any more.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_count_with_and_without_errors() {
        let of = |text| line(text).unwrap();
        let plain = " 51.20    0.012345           3      4000           writev";
        let failing = " 20.00    0.002000           1      2000       100 recvfrom";
        assert_eq!(of(plain), ("writev".to_owned(), 4_000.0));
        assert_eq!(of(failing), ("recvfrom".to_owned(), 2_000.0));
        assert_eq!(
            line("% time     seconds  usecs/call     calls    errors syscall"),
            None
        );
        assert_eq!(
            line("------ ----------- ----------- --------- --------- -------"),
            None
        );
        assert_eq!(
            line("100.00    0.014345           2      6000       100 total"),
            None
        );
    }
}
