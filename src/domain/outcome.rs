//! What became of a command.

use serde::{Deserialize, Serialize};

/// How a command ended. Anything but [`Outcome::Applied`] is exceptional: it is stored with its
/// user, for a time, since a position below the mark alone says only "applied".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Applied,
    /// The gift code the user has.
    GiftCode(String),
    Rejected(Rejection),
    /// A dead letter: the command could not be decoded, decided or stored. The reason is for
    /// operators and never shown to clients.
    Dead(String),
}

/// Why a sound command had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The todo does not exist or is someone else's (404).
    NotFound,
    /// `If-Match` named another version (412).
    PreconditionFailed,
    /// The idempotency key was used with another payload (422).
    KeyReused,
    /// A keyed create came after its key had expired and met its living todo (409).
    IdTaken,
    /// No gift code is left (410).
    SoldOut,
}

impl Outcome {
    /// Whether the outcome has to be stored to be known later.
    #[must_use]
    pub fn is_exceptional(&self) -> bool {
        *self != Outcome::Applied
    }
}
