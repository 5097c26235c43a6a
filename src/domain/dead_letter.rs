//! What could not be applied, and the command with which that is tried again.

use super::{Command, DecodeError, Hash128, Idempotency, Position};

/// Bytes of a dead letter's reason, at most; the rest is cut off. It may quote what the record holds,
/// and travels through the feed.
const REASON_BYTES_MAX: usize = 384;

/// A record that had no effect because it could not be decoded, decided or stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub position: Position,
    /// Empty where the command could not be read.
    pub user: String,
    pub reason: String,
    /// The record as it stood in the log.
    pub payload: Vec<u8>,
}

impl DeadLetter {
    pub(super) fn cut_reason(&mut self) {
        let end = self.reason.floor_char_boundary(REASON_BYTES_MAX);
        self.reason.truncate(end);
    }

    /// The command to append to the log once more. It has the idempotency key that its user gave it,
    /// or else one of the letter's own: however often the letter is sent again while keys are on
    /// record, there is one effect.
    ///
    /// # Errors
    /// It still is no command that this program reads.
    pub fn command(&self) -> Result<Command, DecodeError> {
        let mut command = Command::decode(&mut self.payload.clone())?;
        command.key.get_or_insert_with(|| self.key());
        Ok(command)
    }

    /// A scope that no client's key has: those are hashes of four fields.
    fn key(&self) -> Idempotency {
        let position = self.position.to_string();
        Idempotency {
            scope: Hash128::of_fields(&[b"redrive", position.as_bytes(), &self.payload]),
            fingerprint: Hash128::of(&self.payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::any_command;

    fn letter(offset: u64, payload: Vec<u8>) -> DeadLetter {
        DeadLetter {
            position: Position {
                partition: 3,
                offset,
            },
            user: "alice".to_owned(),
            reason: "refused".to_owned(),
            payload,
        }
    }

    proptest! {
        #[test]
        fn it_is_the_command_that_it_was_with_a_key(command in any_command()) {
            let dead = letter(7, command.encode());
            let again = dead.command().unwrap();
            prop_assert_eq!(&again, &dead.command().unwrap());
            let key = again.key.unwrap();
            prop_assert!(command.key.is_none_or(|own| own == key));
            prop_assert_eq!(Command { key: command.key, ..again.clone() }, command.clone());
            // Dead once more, it is still the same write; at another position it is another.
            prop_assert_eq!(&letter(8, again.encode()).command().unwrap(), &again);
            let other = letter(8, command.encode()).command().unwrap();
            prop_assert_eq!(other == again, command.key.is_some());
        }
    }

    #[test]
    fn what_is_no_command_stays_none() {
        assert!(letter(0, b"not JSON".to_vec()).command().is_err());
    }
}
