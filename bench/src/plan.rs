//! The plan of a run: which parts, which scenarios, who takes part, and how long it takes.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::calls;
use crate::catch_up;
use crate::cli::Arguments;
use crate::idle;
use crate::limiter;
use crate::measure::Effort;
use crate::open;
use crate::peers::{PEERS, Runs};
use crate::people::CROWDS;
use crate::product::Product;
use crate::proxy::Proxy;
use crate::scenario::{Cast, READS, Scenario};
use crate::session::Session;
use crate::sides::{Backing, Side};
use crate::spread;
use crate::startup;
use crate::writes::{self, WRITES, Writes};

/// The product's name as a side.
pub const MILLPOND: &str = "millpond";
/// The side whose limits are counted in Redis.
pub const LIMITED_BY_REDIS: &str = "limited-redis";
/// Where open loops read.
const OPEN: &str = "limit-100";
/// Who is asked in an open loop, unless sides are named.
const OPEN_SIDES: [&str; 3] = [MILLPOND, "hyper", "nginx"];
/// Whose tails are compared with the floor's.
const TAIL_SIDES: [&str; 3] = [MILLPOND, "floor", "hyper"];

/// Where reads are limited in an open loop, and who is asked.
const LIMITED: &str = "limited-one-address";
const LIMITED_SIDES: [&str; 3] = [MILLPOND, "limited", LIMITED_BY_REDIS];
/// Whose system calls are counted.
const CALLS_SIDES: [&str; 2] = [MILLPOND, "hyper"];
/// What is asked for on connections that are idle then, and whose memory is looked at.
const IDLE: &str = "limit-100";
const IDLE_SIDES: [&str; 2] = [MILLPOND, "hyper"];
/// What is asked for where the work of each thread is counted.
const SPREAD: &str = "limit-1";
/// How often a server is started, with a fleet and without.
const STARTS: u32 = 5;

/// What a run is made of, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Part {
    Reads,
    Writes,
    Latency,
    Limits,
    Calls,
    Idle,
    Spread,
    Start,
    Users,
}

pub struct Plan {
    pub reads: Vec<(&'static Scenario, Vec<Side>)>,
    pub effort: Effort,
    pub writes: Vec<&'static Writes>,
    /// Of writes, and of each rate of an open loop.
    pub effort_of_load: writes::Effort,
    pub ceiling_seconds: u32,
    pub open_reads: Option<(&'static Scenario, Vec<Side>)>,
    pub open_rates: &'static [u32],
    /// Whose tails are compared, and in what rounds.
    pub tails: Option<(&'static Scenario, Vec<Side>)>,
    pub effort_of_tails: writes::Effort,
    pub create_rates: &'static [u32],
    pub crowds: &'static [(u32, u32)],
    /// What runs of the product alone are made with.
    pub products: Vec<Product>,
    /// Whether all that has writes runs on a fleet as well.
    pub has_fleet: bool,
    /// With limits and without, side by side.
    pub limited: Option<(&'static Scenario, Vec<Side>)>,
    /// Whose system calls are counted.
    pub calls: Option<Vec<Side>>,
    /// Who keeps idle connections.
    pub idle: Option<(&'static Scenario, Vec<Side>)>,
    /// What is asked for on connections that are counted by thread.
    pub spread: Option<&'static Scenario>,
    /// How often a server is started.
    pub starts: Option<u32>,
    pub catch_up: Option<catch_up::Effort>,
}

impl Plan {
    pub fn new(arguments: &Arguments, session: &Session) -> Result<Self> {
        let mut products = vec![session.reference.clone()];
        for other in &arguments.other {
            let (name, path) = other.split_once('=').context("--other takes NAME=PATH")?;
            products.push(Product::new(name, Path::new(path))?);
        }
        let everyone = everyone(&products);
        for name in &arguments.side {
            let known = everyone.iter().any(|side| side.name() == name);
            ensure!(known, "there is no side {name:?}; see --list");
        }
        let present = present(everyone, session);
        let mut plan = Self::empty(arguments, products);
        if arguments.wants(Part::Reads) {
            plan.reads = reads(arguments, &present)?;
        }
        if arguments.wants(Part::Writes) {
            plan.writes = chosen_writes(arguments);
            plan.ceiling_seconds = if arguments.quick { 1 } else { 3 };
        }
        if arguments.wants(Part::Latency) {
            plan.open_reads = Some(open_reads(arguments, &present, &OPEN_SIDES));
            let tails = || open_reads(arguments, &present, &TAIL_SIDES);
            plan.tails = (!arguments.quick).then(tails);
            plan.open_rates = &open::READS[..if arguments.quick {
                1
            } else {
                open::READS.len()
            }];
            plan.create_rates = &open::CREATES[..if arguments.quick {
                1
            } else {
                open::CREATES.len()
            }];
        }
        if arguments.wants(Part::Users) && !arguments.quick {
            plan.crowds = &CROWDS;
        }
        if arguments.wants(Part::Limits) && !arguments.quick {
            plan.limited = Some((named(LIMITED), of(&present, &LIMITED_SIDES)));
        }
        if arguments.wants(Part::Calls) {
            plan.calls = Some(of(&present, &CALLS_SIDES));
        }
        if arguments.wants(Part::Idle) && !arguments.quick {
            plan.idle = Some((named(IDLE), of(&present, &IDLE_SIDES)));
        }
        if arguments.wants(Part::Spread) && !arguments.quick {
            plan.spread = Some(named(SPREAD));
        }
        if arguments.wants(Part::Start) && !arguments.quick {
            plan.starts = Some(STARTS);
        }
        if session.stack.is_some() {
            plan.has_fleet =
                !plan.writes.is_empty() || !plan.create_rates.is_empty() || !plan.crowds.is_empty();
            let (rounds, rows) = if arguments.quick {
                (1, 40_000)
            } else {
                (3, 100_000)
            };
            let effort = catch_up::Effort { rounds, rows };
            let is_wanted = arguments.scenario.is_empty() && !plan.writes.is_empty();
            plan.catch_up = is_wanted.then_some(effort);
        }
        if plan.seconds() == 0 {
            bail!("nobody is left to measure");
        }
        Ok(plan)
    }

    fn empty(arguments: &Arguments, products: Vec<Product>) -> Self {
        Self {
            reads: Vec::new(),
            effort: arguments.effort(),
            writes: Vec::new(),
            effort_of_load: arguments.effort_of_load(),
            ceiling_seconds: 0,
            open_reads: None,
            open_rates: &[],
            tails: None,
            effort_of_tails: arguments.effort_of_tails(),
            create_rates: &[],
            crowds: &[],
            products,
            has_fleet: false,
            limited: None,
            calls: None,
            idle: None,
            spread: None,
            starts: None,
            catch_up: None,
        }
    }

    /// How long it measures, without starting and stopping anything.
    pub fn seconds(&self) -> u64 {
        let reads = self.reads.iter();
        let reads: u64 = reads
            .map(|(scenario, sides)| self.effort.seconds_for(scenario, sides.len()))
            .sum();
        let of_load = u64::from(self.effort_of_load.rounds * self.effort_of_load.seconds);
        let deployments = self.products.len() + usize::from(self.has_fleet);
        let writes = self.writes.len() as u64 * deployments as u64 * of_load;
        let sides = self.open_reads.as_ref().map_or(0, |(_, sides)| sides.len());
        let open = self.open_rates.len() * sides + self.create_rates.len() * deployments;
        let tails = self.tails.as_ref().map_or(0, |(_, sides)| {
            let writes::Effort { rounds, seconds } = self.effort_of_tails;
            open::TAIL.len() as u64 * sides.len() as u64 * u64::from(rounds * seconds)
        });
        let crowds = self.crowds.iter();
        let crowds: u64 = crowds.map(|(_, seconds)| u64::from(*seconds)).sum();
        let crowds = crowds * deployments as u64;
        let limited = self.limited.as_ref().map_or(0, |(_, sides)| {
            let open = (open::LIMITED.len() * sides.len()) as u64 * of_load;
            open + u64::from(limiter::SECONDS)
        });
        let calls = self.calls.as_ref();
        let calls = calls.map_or(0, |sides| calls::runs(sides) * calls::SECONDS);
        let idle = self
            .idle
            .as_ref()
            .map_or(0, |(_, sides)| sides.len() as u64);
        let idle = idle * u64::from(idle::SECONDS);
        let spread = self.spread.map_or(0, |_| self.products.len() as u64);
        let spread = spread * u64::from(spread::SECONDS);
        let starts = self.starts.map_or(0, |starts| starts * startup::SECONDS);
        let catch_up = self.catch_up.map_or(0, catch_up::Effort::seconds);
        reads
            + writes
            + open as u64 * of_load
            + tails
            + idle
            + spread
            + crowds
            + limited
            + u64::from(calls + starts + catch_up)
    }
}

/// Sides that are made of the product alone.
pub static VARIANTS: [Side; 5] = [
    Side::Limited(Backing::Process),
    Side::Limited(Backing::Redis),
    Side::Behind(Proxy::Nginx),
    Side::Behind(Proxy::Haproxy),
    Side::Written,
];

fn everyone(products: &[Product]) -> Vec<Side> {
    let products = products.iter().cloned().map(Side::Millpond);
    let others = [Side::Floor].into_iter();
    let others = others
        .chain(PEERS.iter().map(Side::Peer))
        .chain([Side::Nginx])
        .chain(VARIANTS.iter().cloned());
    products.chain(others).collect()
}

/// Those that can run here. What is left out is said, once.
fn present(sides: Vec<Side>, session: &Session) -> Vec<Side> {
    let mut present = Vec::new();
    for side in sides {
        match side.missing(session) {
            Some(why) => eprintln!("{} is left out: {why}", side.name()),
            None => present.push(side),
        }
    }
    present
}

fn reads(arguments: &Arguments, present: &[Side]) -> Result<Vec<(&'static Scenario, Vec<Side>)>> {
    let named = |name: &String| WRITES.iter().any(|writes| writes.name == name);
    let unknown = arguments.scenario.iter().find(|name| {
        let is_read = READS.iter().any(|scenario| scenario.name == *name);
        !is_read && !named(name)
    });
    if let Some(name) = unknown {
        bail!("there is no scenario {name:?}; see --list");
    }
    let wanted = |scenario: &&Scenario| {
        if arguments.scenario.is_empty() {
            return scenario.quick || !arguments.quick;
        }
        arguments.scenario.iter().any(|name| name == scenario.name)
    };
    let sides = |scenario: &Scenario| {
        let sides = present.iter();
        let sides = sides.filter(|side| arguments.casts(scenario, side));
        sides.cloned().collect::<Vec<_>>()
    };
    let chosen = READS.iter().filter(wanted);
    Ok(chosen.map(|scenario| (scenario, sides(scenario))).collect())
}

fn chosen_writes(arguments: &Arguments) -> Vec<&'static Writes> {
    let wanted = |writes: &&Writes| {
        if arguments.scenario.is_empty() {
            return writes.quick || !arguments.quick;
        }
        arguments.scenario.iter().any(|name| name == writes.name)
    };
    WRITES.iter().filter(wanted).collect()
}

fn open_reads(
    arguments: &Arguments,
    present: &[Side],
    names: &[&str],
) -> (&'static Scenario, Vec<Side>) {
    let scenario = named(OPEN);
    let sides = present.iter().filter(|side| {
        if arguments.side.is_empty() {
            names.contains(&side.name()) || matches!(side, Side::Millpond(_))
        } else {
            arguments.side.iter().any(|name| name == side.name())
        }
    });
    (scenario, sides.cloned().collect())
}

fn named(name: &str) -> &'static Scenario {
    let mut reads = READS.iter();
    let found = reads.find(|scenario| scenario.name == name);
    found.expect("is in the table")
}

fn of(present: &[Side], names: &[&str]) -> Vec<Side> {
    let sides = present.iter();
    let sides = sides.filter(|side| names.contains(&side.name()));
    sides.cloned().collect()
}

impl Arguments {
    fn wants(&self, part: Part) -> bool {
        if !self.scenario.is_empty() {
            let is_write = |name: &String| WRITES.iter().any(|writes| writes.name == name);
            return match part {
                Part::Reads => !self.scenario.iter().all(is_write),
                Part::Writes => self.scenario.iter().any(is_write),
                _ => false,
            };
        }
        self.part.is_empty() || self.part.contains(&part)
    }

    fn casts(&self, scenario: &Scenario, side: &Side) -> bool {
        if !self.side.is_empty() {
            return self.side.iter().any(|name| name == side.name());
        }
        let broadly = scenario.cast == Cast::Everyone && !self.quick;
        let of_product = matches!(scenario.cast, Cast::Limited | Cast::Proxied | Cast::Written);
        match side {
            Side::Millpond(_) => true,
            Side::Limited(_) => scenario.cast == Cast::Limited,
            Side::Behind(_) => scenario.cast == Cast::Proxied,
            Side::Written => scenario.cast == Cast::Written,
            _ if of_product => false,
            Side::Floor => true,
            Side::FloorAgain | Side::FloorSpinning => false,
            Side::Peer(peer) => match peer.runs {
                Runs::Always => true,
                Runs::Pipelined => scenario.depth > 1,
                Runs::Broadly => broadly,
                Runs::Replaced => scenario.cast == Cast::Replaced && !self.quick,
            },
            Side::Nginx => broadly,
        }
    }
}
