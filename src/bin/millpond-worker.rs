//! The worker of a fleet.

use std::process::ExitCode;

fn main() -> ExitCode {
    millpond::cli::worker_main()
}
