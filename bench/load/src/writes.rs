//! Writers: each connection writes for its share of the users, one write after the other.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::draw::Draw;
use crate::engine::{Agent, Step};
use crate::http::Answer;
use crate::job::Mix;
use crate::latency::Tallies;
use crate::request::{Author, Receipt, members};

/// Todos that each user has before updates begin.
const PREPARED: usize = 2;

/// What is written, in the order of [`Write`].
pub const KINDS: [&str; 3] = ["create", "update", "delete"];

/// The newest receipt of each partition: when they are applied, all are.
pub type Newest = BTreeMap<u32, Receipt>;

pub struct Writer {
    users: Vec<Owner>,
    /// Whose turn it is.
    turn: usize,
    mix: Mix,
    wait: bool,
    /// Writes to make; none of its own accord where there is no number.
    left: Option<usize>,
    draw: Draw,
    serial: u64,
    now: Option<(Write, Instant)>,
    tallies: Tallies,
    pub newest: Newest,
}

struct Owner {
    author: Author,
    todos: Vec<String>,
}

#[derive(Clone, Copy)]
enum Write {
    Create = 0,
    Update = 1,
    Delete = 2,
}

impl Writer {
    /// `tallies` are of [`KINDS`].
    pub fn new(
        authors: impl Iterator<Item = Author>,
        (mix, wait): (Mix, bool),
        draw: Draw,
        tallies: &Tallies,
    ) -> Self {
        let users = authors.map(|author| Owner {
            author,
            todos: Vec::new(),
        });
        Self {
            users: users.collect(),
            turn: 0,
            mix,
            wait,
            left: None,
            draw,
            serial: 0,
            now: None,
            tallies: Rc::clone(tallies),
            newest: Newest::new(),
        }
    }

    /// Whether there is anything to prepare: todos to update and to delete.
    pub fn prepare(&mut self) {
        self.left = match self.mix {
            Mix::Creates => Some(0),
            Mix::Updates | Mix::Mixed => Some(self.users.len() * PREPARED),
        };
    }

    pub fn stop_after(&mut self, writes: usize) {
        self.left = Some(writes);
    }

    /// Ends the preparation; `tallies` are what counts from now on.
    pub fn begin(&mut self, tallies: &Tallies) {
        self.left = None;
        self.tallies = Rc::clone(tallies);
    }

    fn choose(&mut self) -> Write {
        let owns = !self.users[self.turn].todos.is_empty();
        let drawn = self.draw.below(100);
        match self.mix {
            _ if self.left.is_some() || !owns => Write::Create,
            Mix::Creates => Write::Create,
            Mix::Updates => Write::Update,
            Mix::Mixed if drawn < 45 => Write::Create,
            Mix::Mixed if drawn < 90 => Write::Update,
            Mix::Mixed => Write::Delete,
        }
    }
}

impl Agent for Writer {
    fn next(&mut self, now: Instant, request: &mut Vec<u8>) -> Step {
        match &mut self.left {
            Some(0) => return Step::Over,
            Some(left) => *left -= 1,
            None => {}
        }
        self.turn = (self.turn + 1) % self.users.len();
        self.serial += 1;
        let write = self.choose();
        let drawn = self.draw.below(1 << 32);
        let Owner { author, todos } = &mut self.users[self.turn];
        let title = format!("Water the garden {}", self.serial);
        let pick = |todos: &[String]| usize::try_from(drawn).map_or(0, |drawn| drawn % todos.len());
        match write {
            Write::Create => author.create(request, &title, self.wait),
            Write::Update => author.update(request, &todos[pick(todos)], &title, self.wait),
            Write::Delete => {
                let id = todos.swap_remove(pick(todos));
                author.delete(request, &id, self.wait);
            }
        }
        self.now = Some((write, now));
        Step::Send
    }

    fn answered(&mut self, now: Instant, answer: &Answer<'_>) {
        let Some((write, sent)) = self.now.take() else {
            return;
        };
        let latency: Duration = now - sent;
        let good = self.tallies.borrow_mut()[write as usize].count(answer, latency);
        if !good {
            return;
        }
        let Owner { author, todos } = &mut self.users[self.turn];
        if let Write::Create = write
            && !matches!(self.mix, Mix::Creates)
        {
            todos.extend(members(answer).id);
        }
        if let Some(receipt) = Receipt::of(answer, author) {
            let newest = self.newest.entry(receipt.partition);
            let newest = newest.or_insert_with(|| receipt.clone());
            if receipt.offset > newest.offset {
                *newest = receipt;
            }
        }
    }
}
