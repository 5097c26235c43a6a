//! Allocations per request: the kernel counts calls of the allocator's functions (uprobes) in a run
//! of its own. The product and the peers in Rust have mimalloc linked in, whose functions have names.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::client::{self, Call};
use crate::sides::Running;

/// What Rust's `alloc`, `alloc_zeroed` and `realloc` come to.
const FUNCTIONS: [&str; 3] = [
    "mi_malloc_aligned",
    "mi_zalloc_aligned",
    "mi_realloc_aligned",
];

/// Probes in a binary, removed when dropped.
struct Probes {
    group: String,
}

/// Runs the client once.
pub fn per_request(side: &Running, call: Call<'_>, summary: &Path) -> Result<f64> {
    let pids: Vec<String> = side.pids().iter().map(ToString::to_string).collect();
    let first = pids.first().context("a side has a process")?;
    let binary = std::fs::read_link(format!("/proc/{first}/exe"))?;
    let probes = Probes::set(&binary)?;
    let counter = [
        "perf",
        "stat",
        "-x,",
        "-e",
        &probes.events(),
        "-p",
        &pids.join(","),
        "-o",
    ];
    let mut counter: Vec<PathBuf> = counter.iter().map(PathBuf::from).collect();
    counter.extend([summary.to_owned(), PathBuf::from("--")]);
    let seen = client::run(Call {
        counter: &counter,
        ..call
    })?;
    let text = std::fs::read_to_string(summary)?;
    let counts: Vec<u64> = text.lines().filter_map(count).collect();
    ensure!(counts.len() == FUNCTIONS.len(), "perf counted:\n{text}");
    Ok(counts.iter().sum::<u64>() as f64 / seen.requests as f64)
}

/// Of a line of `perf stat -x,`: the count comes first.
fn count(line: &str) -> Option<u64> {
    line.split(',').next()?.parse().ok()
}

impl Probes {
    fn set(binary: &Path) -> Result<Self> {
        let group = format!("bench_{}", std::process::id());
        let probes = Self { group };
        let mut command = Command::new("perf");
        command.args(["probe", "-q", "-x"]).arg(binary);
        for function in FUNCTIONS {
            command.arg("--add");
            command.arg(format!("{}:{function}={function}", probes.group));
        }
        let output = command.output().context("perf is needed for that")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "perf probe: {}", said.trim());
        Ok(probes)
    }

    fn events(&self) -> String {
        let events = FUNCTIONS.map(|function| format!("{}:{function}", self.group));
        events.join(",")
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        let mut command = Command::new("perf");
        command.args(["probe", "-q", "-d", &format!("{}:*", self.group)]);
        // Where none could be set there is none to remove.
        drop(command.output());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_comes_first_and_a_word_is_none() {
        assert_eq!(
            count("19249,,bench_1:mi_malloc_aligned,495945068,100.00,,"),
            Some(19_249)
        );
        assert_eq!(
            count("<not counted>,,bench_1:mi_malloc_aligned,0,0.00,,"),
            None
        );
        assert_eq!(count("# started on Tue"), None);
    }
}
