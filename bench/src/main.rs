//! Measures Millpond beside a floor and its peers; see `millpond-bench --help`.
//!
//! Reading order: `scenario` (what is asked), `sides` (who answers), `measure` (one run, and the
//! rounds that alternate), `proc` and `stats` (what is counted and how it is summed up), `report`.

mod cli;
mod client;
mod environment;
mod http;
mod measure;
mod nginx;
mod proc;
mod process;
mod product;
mod record;
mod report;
mod scenario;
mod session;
mod sides;
mod stats;

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
