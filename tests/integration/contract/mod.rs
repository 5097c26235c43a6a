//! The contract, row by row: what a client may rely on, in answers and headers.

mod conventions;
mod cursors;
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
