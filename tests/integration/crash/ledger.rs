//! What one writer knows: what it was told, and what it may never learn.

use serde_json::{Value, json};

/// What of a todo changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub description: String,
    pub completed: bool,
}

/// One todo of one writer, found again by its title, which never changes.
#[derive(Debug)]
pub struct Entry {
    pub title: String,
    /// Known from the first answer, or from an audit.
    pub id: Option<String>,
    pub key: Option<String>,
    pub first: Content,
    /// A keyed update that was acknowledged: sent again it must do nothing.
    pub old_update: Option<(String, Content)>,
    /// All that the todo may be now; absent is `None`. More than one where an answer was lost,
    /// until the next audit.
    pub may_be: Vec<Option<Content>>,
    /// Whether the create is known to have been applied.
    pub created: bool,
}

/// A user who claims a gift code, and the code once it was told.
#[derive(Debug)]
pub struct Claim {
    pub user: String,
    pub code: Option<String>,
}

#[derive(Debug)]
pub struct Ledger {
    pub writer: usize,
    pub user: String,
    pub entries: Vec<Entry>,
    pub claims: Vec<Claim>,
    /// Positions of all 202s, in the order they came.
    pub positions: Vec<(u16, u64)>,
    /// Makes titles, keys and contents distinct.
    pub count: usize,
}

impl Ledger {
    pub fn new(writer: usize, user: usize) -> Self {
        Self {
            writer,
            user: format!("user {user}"),
            entries: vec![],
            claims: vec![],
            positions: vec![],
            count: 0,
        }
    }

    /// A text that this ledger has not used before.
    pub fn fresh(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what} {}-{}", self.writer, self.count)
    }
}

impl Entry {
    pub fn new(title: String, key: Option<String>, first: Content) -> Self {
        Self {
            title,
            id: None,
            key,
            first,
            old_update: None,
            may_be: vec![None],
            created: false,
        }
    }

    /// The one content that the todo has, if it lives for certain.
    pub fn content(&self) -> Option<&Content> {
        match self.may_be.as_slice() {
            [Some(content)] => Some(content),
            _ => None,
        }
    }

    pub fn path(&self) -> String {
        format!("/todos/{}", self.id.as_ref().unwrap())
    }

    pub fn draft(&self) -> Value {
        json!({ "title": self.title, "description": self.first.description })
    }

    pub fn update(&self, content: &Content) -> Value {
        json!({
            "title": self.title,
            "description": content.description,
            "completed": content.completed,
        })
    }
}
