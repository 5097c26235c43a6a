//! A write as it stands in the log, and its encoding there.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::todo::longer_than;
use super::{Draft, Hash128, Invalid, Timestamp, USER_CHARS_MAX};

/// A write by a user. It carries everything that deciding needs and the state does not hold:
/// ids, times and gift codes are chosen by the server that accepts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    pub user: String,
    /// The accepting server's time, cut to microseconds.
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Idempotency>,
    pub action: Action,
}

/// An `Idempotency-Key` as the log knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idempotency {
    /// Hash of user, method, target and key: what the key counts within.
    pub scope: Hash128,
    /// Hash of the canonical body and `If-Match`: another one under the same scope is 422.
    pub fingerprint: Hash128,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    Create {
        id: Uuid,
        title: String,
        description: String,
    },
    /// A full replacement of what a client may write.
    Update {
        id: Uuid,
        title: String,
        description: String,
        completed: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        if_match: Option<IfMatch>,
    },
    Delete {
        id: Uuid,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        if_match: Option<IfMatch>,
    },
    ClaimGiftCode {
        /// Issued if the user has none yet and the stock allows it.
        code: String,
    },
}

/// `If-Match` (RFC 9110, 13.1.1), reduced to tags that a todo can have; others never match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfMatch {
    /// `*`: any living todo.
    Any,
    Tags(Vec<Hash128>),
}

impl IfMatch {
    #[must_use]
    pub fn matches(&self, tag: impl FnOnce() -> Hash128) -> bool {
        match self {
            IfMatch::Any => true,
            IfMatch::Tags(tags) => tags.contains(&tag()),
        }
    }
}

/// The version of the encoding that this program writes and the only one it reads.
const VERSION: u8 = 1;

/// How a command stands in the log: JSON, with a version in front.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Versioned {
    #[serde(rename = "v")]
    _version: u8,
    command: Command,
}

/// Why bytes of the log are no command. Such a record becomes a dead letter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("not a command: {0}")]
    Malformed(String),
    #[error("command version {0} is unknown; this program reads version {VERSION}")]
    Version(u8),
    #[error("a value is out of bounds: {0}")]
    Invalid(#[from] Invalid),
    #[error("user: must have 1 to {USER_CHARS_MAX} characters, none of them NUL")]
    User,
    #[error("code: must have 1 to {GIFT_CODE_CHARS_MAX} characters, none of them NUL")]
    Code,
}

/// Characters of a gift code, at most.
const GIFT_CODE_CHARS_MAX: usize = 64;

impl Command {
    /// The todo that the command names, if it is about one.
    #[must_use]
    pub fn todo_id(&self) -> Option<Uuid> {
        match self.action {
            Action::Create { id, .. } | Action::Update { id, .. } | Action::Delete { id, .. } => {
                Some(id)
            }
            Action::ClaimGiftCode { .. } => None,
        }
    }

    /// Bytes that the command occupies in a queue or batch, about.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let text = match &self.action {
            Action::Create {
                title, description, ..
            }
            | Action::Update {
                title, description, ..
            } => title.len() + description.len(),
            Action::Delete { .. } => 0,
            Action::ClaimGiftCode { code } => code.len(),
        };
        size_of::<Self>() + self.user.len() + text
    }

    /// The bytes that go into the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Borrowed<'a> {
            v: u8,
            command: &'a Command,
        }
        serde_json::to_vec(&Borrowed {
            v: VERSION,
            command: self,
        })
        .expect("a command serialises")
    }

    /// Reads the bytes of a log record; parsing reuses `json` as its scratch space.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no command that this program could have written. What
    /// passes here cannot break a constraint of a store by its size or characters.
    pub fn decode(json: &mut [u8]) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Version {
            v: u8,
        }
        let malformed = |error: serde_json::Error| DecodeError::Malformed(error.to_string());
        let Version { v } = serde_json::from_slice(json).map_err(malformed)?;
        if v != VERSION {
            return Err(DecodeError::Version(v));
        }
        let Versioned { command, .. } = simd_json::serde::from_slice(json)
            .map_err(|error| DecodeError::Malformed(error.to_string()))?;
        command.checked()
    }

    fn checked(self) -> Result<Self, DecodeError> {
        if self.user.is_empty()
            || longer_than(&self.user, USER_CHARS_MAX)
            || self.user.contains('\0')
        {
            return Err(DecodeError::User);
        }
        match &self.action {
            Action::Create {
                title, description, ..
            }
            | Action::Update {
                title, description, ..
            } => {
                let draft = Draft::new(title, description, false)?;
                if draft.title != *title {
                    return Err(Invalid::Title.into());
                }
            }
            Action::Delete { .. } => {}
            Action::ClaimGiftCode { code } => {
                if code.is_empty() || longer_than(code, GIFT_CODE_CHARS_MAX) || code.contains('\0')
                {
                    return Err(DecodeError::Code);
                }
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn draft() -> impl Strategy<Value = Draft> {
        ("[^\0]{1,40}", "[^\0]{0,60}", any::<bool>())
            .prop_filter_map("a title of blanks", |(title, description, completed)| {
                Draft::new(&title, &description, completed).ok()
            })
    }

    fn if_match() -> impl Strategy<Value = Option<IfMatch>> {
        prop_oneof![
            Just(None),
            Just(Some(IfMatch::Any)),
            proptest::collection::vec(any::<u128>().prop_map(Hash128), 0..3)
                .prop_map(|tags| Some(IfMatch::Tags(tags))),
        ]
    }

    /// Commands by few users on few todos, so that they meet.
    pub fn command() -> impl Strategy<Value = Command> {
        let id = (0..6u128).prop_map(Uuid::from_u128);
        let action = (id, draft(), if_match(), 0..8u8).prop_map(|(id, draft, if_match, kind)| {
            let Draft {
                title,
                description,
                completed,
            } = draft;
            match kind {
                0..=2 => Action::Create {
                    id,
                    title,
                    description,
                },
                3..=4 => Action::Update {
                    id,
                    title,
                    description,
                    completed,
                    if_match,
                },
                5..=6 => Action::Delete { id, if_match },
                _ => Action::ClaimGiftCode {
                    code: format!("GIFT-{}", title.len()),
                },
            }
        });
        let key = proptest::option::weighted(
            0.3,
            (0..4u128, 0..2u128).prop_map(|(scope, fingerprint)| Idempotency {
                scope: Hash128(scope),
                fingerprint: Hash128(fingerprint),
            }),
        );
        ("[a-c]", 0..1_000i64, key, action).prop_map(|(user, at, key, action)| Command {
            user,
            at: Timestamp::from_micros(at),
            key,
            action,
        })
    }

    proptest! {
        #[test]
        fn bytes_and_back_is_the_same(command in command()) {
            prop_assert_eq!(Command::decode(&mut command.encode()), Ok(command));
        }

        #[test]
        fn no_bytes_make_decoding_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Command::decode(&mut bytes));
        }

        #[test]
        fn a_changed_byte_is_refused_or_another_command(command in command(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = command.encode();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            // Hex digits of an id may be written in either case; all else is told apart.
            if let Ok(other) = Command::decode(&mut bytes.clone()) {
                prop_assert!(other != command || bytes[at].is_ascii_hexdigit() || bytes[at] == b' ');
            }
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = br#"{"v":2,"command":{"from":"the future"}}"#.to_vec();
        assert_eq!(Command::decode(&mut bytes), Err(DecodeError::Version(2)));
    }
}
