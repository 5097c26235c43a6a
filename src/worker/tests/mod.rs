//! The worker on embedded ports (`alone`), decision by decision in a scripted fleet (`decisions`),
//! and under faults drawn at random (`faults`). `world` is that fleet.

mod alone;
mod decisions;
mod faults;
pub(crate) mod world;

use super::*;
