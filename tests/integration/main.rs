//! Millpond from the outside: the built binary, its contract, and what may not break it.
//!
//! Each module is one theme; each test is a sentence that should stay true. Tests start servers
//! of their own on port 0 and in a directory of their own, and wait for conditions only.
#![allow(
    clippy::unwrap_used,
    reason = "all of this crate is tests, and the lint knows only functions marked so"
)]

mod harness;
#[path = "../services.rs"]
mod services;

mod admin;
mod admission;
mod bad_input;
mod balance;
mod cli;
mod contract;
mod crash;
mod differential;
mod drain;
mod failing_disk;
mod first_minute;
mod fleet;
mod gift_scenarios;
mod model;
mod redrive;
mod seeding;
mod slow_clients;

use harness::alone::{launch, shared};
