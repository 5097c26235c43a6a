//! The raw data: one JSON object a line, first the environment, then a line per run.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::environment::Environment;

/// One measured run of one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub scenario: String,
    /// The scenario in words.
    pub about: String,
    pub side: String,
    pub round: u32,
    pub seconds: f64,
    pub requests: u64,
    /// Bytes that the client read, heads included.
    pub bytes: u64,
    /// Of the client: connects, reads, writes and time-outs that failed.
    pub errors: u64,
    /// CPU time of the server's whole process tree.
    pub user_us: f64,
    pub system_us: f64,
    /// Share of its core that the server used, and of its cores that the client used.
    pub server_use: f64,
    pub client_use: f64,
    pub resident_bytes: u64,
    /// Of a closed loop: it hides stalls.
    pub p50_us: f64,
    pub p99_us: f64,
    pub load_average: f64,
}

/// A line of the raw data.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    Environment(Environment),
    Run(Run),
}

/// Writes lines as they come, so that a run that is broken off leaves what it has.
#[derive(Debug)]
pub struct Writer(File);

impl Run {
    pub fn cpu_us_per_request(&self) -> f64 {
        self.per_request(self.user_us + self.system_us)
    }

    pub fn per_request(&self, micros: f64) -> f64 {
        micros / self.requests as f64
    }
}

impl Writer {
    pub fn create(path: &Path, environment: &Environment) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut writer = Self(file);
        writer.put(&Line::Environment(environment.clone()))?;
        Ok(writer)
    }

    pub fn put(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        Ok(self.0.write_all(&text)?)
    }
}

/// Reads raw data back.
pub fn read(path: &Path) -> Result<(Environment, Vec<Run>)> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut environment = None;
    let mut runs = Vec::new();
    for line in BufReader::new(file).lines() {
        match serde_json::from_str(&line?)? {
            Line::Environment(its) => environment = Some(its),
            Line::Run(run) => runs.push(run),
        }
    }
    let environment = environment.context("raw data without an environment")?;
    Ok((environment, runs))
}
