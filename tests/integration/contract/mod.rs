//! The contract, row by row: what a client may rely on, in answers and headers.
//!
//! It is the same alone and in a fleet: whoever includes this module says how its servers are
//! launched.

mod conventions;
mod cursors;
mod dashboard;
mod docs;
mod encodings;
mod gift_codes;
mod idempotency;
mod methods;
mod operations;
mod ops;
mod preconditions;
mod prefer;
mod reads;
mod tokens;
mod validators;
mod writes;

use super::{launch, shared};
