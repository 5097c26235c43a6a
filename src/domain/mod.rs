//! What the service is about, apart from how it is stored, sent or served.
//!
//! Everything here is pure: no I/O, no async, no clock, no randomness. Ids, times and gift codes
//! arrive inside the command, so that every store and every replay decides alike.

mod applied;
mod batch;
pub mod bucket;
mod command;
mod dead_letter;
mod decide;
mod fold;
mod hash;
mod outcome;
mod position;
mod timestamp;
mod todo;

pub use applied::{APPLIED_BYTES_MAX, Applied, Changed, NotApplied, Serialised};
pub use batch::{Batch, LastRecord, Payload, Record, Stored};
#[cfg(test)]
pub(crate) use command::tests::command as any_command;
pub use command::{Action, Command, DecodeError, Idempotency, IfMatch};
pub use dead_letter::DeadLetter;
pub use decide::{Decision, Effect, KeyRecord, State, decide};
pub use fold::{Change, Changes, Fold, Issued, Loaded, Needs, NewKey, Recorded};
pub use hash::Hash128;
pub use outcome::{Outcome, Rejection};
pub use position::{Position, Range};
pub use timestamp::Timestamp;
pub use todo::{DESCRIPTION_CHARS_MAX, Draft, Invalid, Key, TITLE_CHARS_MAX, Todo, USER_CHARS_MAX};
