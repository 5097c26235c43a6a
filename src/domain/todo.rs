//! The todo, what a client may put into one, and its place in the list.

use serde::Serialize;
use uuid::Uuid;

use super::{Hash128, Timestamp};

/// Characters of a title after trimming, at most; at least 1. More is 422.
pub const TITLE_CHARS_MAX: usize = 200;
/// Characters of a description, at most. More is 422.
pub const DESCRIPTION_CHARS_MAX: usize = 10_000;
/// Characters of a user's name (`sub` of a token), at most; at least 1.
pub const USER_CHARS_MAX: usize = 128;

/// A todo as stored and served. The order of the fields is the order of the JSON members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Todo {
    pub id: Uuid,
    pub title: String,
    pub description: String,
    pub completed: bool,
    pub user_id: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Todo {
    /// The todo's place in the list.
    #[must_use]
    pub fn key(&self) -> Key {
        Key {
            created_at: self.created_at,
            id: self.id,
        }
    }

    /// Appends the JSON that clients read.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        // A `Vec` takes every write, and no member of a todo can fail to serialise.
        serde_json::to_writer(out, self).expect("a todo serialises");
    }

    /// The entity tag of the todo's representation: the hash of its JSON.
    #[must_use]
    pub fn tag(&self) -> Hash128 {
        let mut json = Vec::with_capacity(256 + self.title.len() + self.description.len());
        self.write_json(&mut json);
        Hash128::of(&json)
    }
}

/// The order of the list, oldest first: `created_at`, then `id`. Clients see it reversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub created_at: Timestamp,
    pub id: Uuid,
}

/// What a client writes into a todo, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub title: String,
    pub description: String,
    pub completed: bool,
}

/// A member whose value is out of bounds. The text is for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("title: must have 1 to {TITLE_CHARS_MAX} characters after trimming")]
    Title,
    #[error("description: must have at most {DESCRIPTION_CHARS_MAX} characters")]
    Description,
    #[error("must not contain the character NUL")]
    Nul,
}

impl Draft {
    /// Trims the title and checks the bounds.
    ///
    /// # Errors
    /// The first member that is out of bounds.
    pub fn new(title: &str, description: &str, completed: bool) -> Result<Self, Invalid> {
        let title = title.trim();
        if title.contains('\0') || description.contains('\0') {
            return Err(Invalid::Nul);
        }
        if title.is_empty() || longer_than(title, TITLE_CHARS_MAX) {
            return Err(Invalid::Title);
        }
        if longer_than(description, DESCRIPTION_CHARS_MAX) {
            return Err(Invalid::Description);
        }
        Ok(Self {
            title: title.to_owned(),
            description: description.to_owned(),
            completed,
        })
    }
}

/// Counts characters only where the bytes leave it open.
pub(super) fn longer_than(text: &str, chars_max: usize) -> bool {
    text.len() > chars_max && text.chars().count() > chars_max
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_todo_is_written_as_the_contract_says() {
        let todo = Todo {
            id: Uuid::from_u128(7),
            title: "a \"quoted\" title".into(),
            description: String::new(),
            completed: false,
            user_id: "alice".into(),
            created_at: Timestamp::from_micros(1),
            updated_at: Timestamp::from_micros(2_000_000),
        };
        let mut json = Vec::new();
        todo.write_json(&mut json);
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"{"id":"00000000-0000-0000-0000-000000000007","title":"a \"quoted\" title","description":"","completed":false,"user_id":"alice","created_at":"1970-01-01T00:00:00.000001Z","updated_at":"1970-01-01T00:00:02.000000Z"}"#
        );
    }

    #[test]
    fn bounds_count_characters_not_bytes() {
        assert!(Draft::new(&"é".repeat(200), &"漢".repeat(10_000), true).is_ok());
        assert_eq!(Draft::new(&"é".repeat(201), "", true), Err(Invalid::Title));
        assert_eq!(
            Draft::new("t", &"é".repeat(10_001), true),
            Err(Invalid::Description)
        );
        assert_eq!(Draft::new(" \t\n", "", false), Err(Invalid::Title));
        assert_eq!(Draft::new("a\0b", "", false), Err(Invalid::Nul));
        assert_eq!(Draft::new("  a ", "", false).unwrap().title, "a");
    }
}
