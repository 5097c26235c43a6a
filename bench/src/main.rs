//! Measures Millpond beside a floor and its peers; see `millpond-bench --help`.
//!
//! Reading order: `scenario` (what is asked), `sides` and `peers` (who answers), `measure` (one run,
//! and the rounds that alternate), `proc` and `stats` (what is counted and how it is summed up),
//! then the parts that have `load` as their client: `writes`, `open`, `people`, on a `deployment` or a
//! `fleet`, and `beside` the reads; `ceilings` and `catch_up` beside them; `idle`, `spread`; `plan`,
//! `course` and `report`.

mod allocations;
mod beside;
mod calls;
mod catch_up;
mod ceilings;
mod cli;
mod client;
mod course;
mod deployment;
mod environment;
mod fleet;
mod http;
mod idle;
mod limiter;
mod loader;
mod measure;
mod metrics;
mod nginx;
mod open;
mod peers;
mod people;
mod plan;
mod proc;
mod process;
mod product;
mod progress;
mod proxy;
mod record;
mod report;
mod scenario;
mod selftest;
mod session;
mod sides;
mod spread;
mod stack;
mod startup;
mod stats;
mod writes;

use std::process::ExitCode;

fn main() -> ExitCode {
    if cfg!(debug_assertions) {
        eprintln!("millpond-bench: this is a debug build; build with --release");
        return ExitCode::FAILURE;
    }
    match cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millpond-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
