//! Fleets: the contract once more, and what is killed, stopped and poisoned under load.

#[path = "../contract/mod.rs"]
#[expect(
    clippy::duplicate_mod,
    reason = "the contract holds in both deployments"
)]
mod contract;

use crate::harness::fleet::{launch, shared};
