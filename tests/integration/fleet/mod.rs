//! Fleets: the contract once more, and what is killed, stopped and poisoned under load.
//!
//! [`load`] writes and remembers what it was told, [`replay`] says what the log makes of it,
//! [`audit`] compares both with the database and with every server.

mod audit;
mod brokers;
mod chaos;
mod configuration;
#[path = "../contract/mod.rs"]
#[expect(
    clippy::duplicate_mod,
    reason = "the contract holds in both deployments"
)]
mod contract;
mod crash_points;
mod first_minute;
mod full_disk;
mod hanging;
mod load;
mod poison;
mod redrive;
mod replay;
mod starting;

use crate::harness::fleet::{launch, shared};
