//! The raw data: one JSON object a line, first the environment, then a line per run.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use load::job::{Audit, Told};
use serde::{Deserialize, Serialize};

use crate::environment::{Environment, QUIET_SHARE};
use crate::loader::Loaded;
use crate::proc::Ticks;
use crate::stats::Median;

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
    /// Cores that were busy with what the side needs and is not counted: a Redis, a proxy.
    #[serde(default)]
    pub companions_cores: Option<f64>,
    pub resident_bytes: u64,
    /// Of a closed loop: it hides stalls.
    pub p50_us: f64,
    pub p99_us: f64,
    pub load_average: f64,
    /// Share of the machine that others used meanwhile.
    #[serde(default)]
    pub busy: f64,
    /// Of a side that was written to: writes that were applied a second.
    #[serde(default)]
    pub applied_per_second: Option<f64>,
}

/// One run of `load` against one side or deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadRun {
    pub part: Part,
    pub scenario: String,
    pub about: String,
    pub side: String,
    pub round: u32,
    /// Requests a second that were due, in an open loop.
    pub rate: Option<u32>,
    pub told: Told,
    pub audit: Option<Audit>,
    pub used: Vec<Used>,
    pub client_use: f64,
    pub busy: f64,
}

/// Where a run of `load` belongs in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Writes,
    Latency,
    Users,
}

/// CPU time of one member of a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Used {
    pub name: String,
    pub user_us: f64,
    pub system_us: f64,
}

/// What a database takes from a plain loop, here and now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ceiling {
    pub name: String,
    pub rows_per_second: f64,
}

/// One value of one of the report's smaller tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub table: Table,
    pub row: String,
    /// With its unit.
    pub column: String,
    pub value: f64,
}

/// The smaller tables, in their order in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    WarmUp,
    CatchUp,
    Start,
    Limiter,
    Hot,
    Gzip,
    Calls,
    Idle,
    Spread,
}

/// What a fleet was made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FleetSetting {
    pub servers: usize,
    pub workers: usize,
    /// Those on this machine, whose time is counted.
    pub services: Vec<String>,
    pub brokers: usize,
    pub partitions: u32,
    /// Whether the last two runs that warmed it were alike.
    pub is_warm: bool,
}

/// A side that did not do what a scenario asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub scenario: String,
    pub side: String,
    pub because: String,
}

/// A line of the raw data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    Environment(Environment),
    Run(Run),
    Load(LoadRun),
    Ceiling(Ceiling),
    Failure(Failure),
    Figure(Figure),
    Fleet(FleetSetting),
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Raw {
    pub environment: Environment,
    pub runs: Vec<Run>,
    pub loads: Vec<LoadRun>,
    pub ceilings: Vec<Ceiling>,
    pub failures: Vec<Failure>,
    pub figures: Vec<Figure>,
    pub fleet: Option<FleetSetting>,
}

/// Writes lines as they come, so that a run that is broken off leaves what it has, and keeps them.
#[derive(Debug)]
pub struct Writer {
    file: File,
    pub raw: Raw,
}

impl Raw {
    fn new(environment: Environment) -> Self {
        Self {
            environment,
            runs: Vec::new(),
            loads: Vec::new(),
            ceilings: Vec::new(),
            failures: Vec::new(),
            figures: Vec::new(),
            fleet: None,
        }
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Environment(environment) => self.environment = environment,
            Line::Run(run) => self.runs.push(run),
            Line::Load(load) => self.loads.push(load),
            Line::Ceiling(ceiling) => self.ceilings.push(ceiling),
            Line::Failure(failure) => self.failures.push(failure),
            Line::Figure(figure) => self.figures.push(figure),
            Line::Fleet(fleet) => self.fleet = Some(fleet),
        }
    }

    /// Share of the machine that others used: before anything began, and in the median run.
    pub fn others(&self) -> [f64; 2] {
        let runs = self.runs.iter().map(|run| run.busy);
        let busy = runs.chain(self.loads.iter().map(|load| load.busy));
        let median = Median::of(busy).map_or(0.0, |median| median.value);
        [self.environment.busy, median]
    }

    /// Whether any of this may be called a result.
    pub fn is_quiet(&self) -> bool {
        self.others().iter().all(|share| *share < QUIET_SHARE)
    }
}

impl Figure {
    pub fn of(table: Table, row: &str, column: &str, value: f64) -> Self {
        Self {
            table,
            row: row.to_owned(),
            column: column.to_owned(),
            value,
        }
    }
}

impl LoadRun {
    pub fn new(part: Part, (scenario, about): (&str, &str), loaded: Loaded) -> Self {
        Self {
            part,
            scenario: scenario.to_owned(),
            about: about.to_owned(),
            side: String::new(),
            round: 0,
            rate: None,
            told: loaded.told,
            audit: loaded.audit,
            used: loaded.used,
            client_use: loaded.client_use,
            busy: loaded.busy,
        }
    }

    pub fn of(self, side: &str, round: u32) -> Self {
        let side = side.to_owned();
        Self {
            side,
            round,
            ..self
        }
    }

    pub fn at(self, rate: u32) -> Self {
        Self {
            rate: Some(rate),
            ..self
        }
    }

    pub fn good(&self) -> u64 {
        self.told.kinds.iter().map(|kind| kind.good).sum()
    }

    /// CPU µs of every process involved, per good answer.
    pub fn cpu_us_per_good(&self) -> f64 {
        let used = self.used.iter().map(|used| used.user_us + used.system_us);
        used.sum::<f64>() / self.good().max(1) as f64
    }
}

impl Used {
    pub fn of((name, ticks): (String, Ticks)) -> Self {
        Self {
            name,
            user_us: Ticks::micros(ticks.user),
            system_us: Ticks::micros(ticks.system),
        }
    }
}

impl Run {
    pub fn cpu_us_per_request(&self) -> f64 {
        self.per_request(self.user_us + self.system_us)
    }

    pub fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    pub fn per_request(&self, micros: f64) -> f64 {
        micros / self.requests as f64
    }
}

impl Writer {
    pub fn create(path: &Path, environment: &Environment) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let raw = Raw::new(environment.clone());
        let mut writer = Self { file, raw };
        writer.put(Line::Environment(environment.clone()))?;
        Ok(writer)
    }

    pub fn put(&mut self, line: Line) -> Result<()> {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.raw.take(line);
        Ok(())
    }
}

/// Reads raw data back.
pub fn read(path: &Path) -> Result<Raw> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut raw: Option<Raw> = None;
    for line in BufReader::new(file).lines() {
        let line = serde_json::from_str(&line?)?;
        match (&mut raw, line) {
            (Some(raw), line) => raw.take(line),
            (None, Line::Environment(environment)) => raw = Some(Raw::new(environment)),
            (None, _) => bail!("raw data without an environment"),
        }
    }
    raw.context("no raw data")
}
