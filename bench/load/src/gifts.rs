//! Claims of gift codes: every one is a user's first, so that every one is a write.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use crate::engine::{Agent, Step};
use crate::http::Answer;
use crate::latency::Tallies;
use crate::request::{Author, members};

pub struct Claimer {
    seed: u64,
    secret: Rc<str>,
    /// How many users there have been, over all claimers.
    users: Rc<Cell<u64>>,
    now: Option<(Author, Instant)>,
    tallies: Tallies,
    /// Codes and who has them.
    pub codes: Vec<(String, Author)>,
}

impl Claimer {
    pub fn new(seed: u64, secret: &str, users: &Rc<Cell<u64>>, tallies: &Tallies) -> Self {
        Self {
            seed,
            secret: secret.into(),
            users: Rc::clone(users),
            now: None,
            tallies: Rc::clone(tallies),
            codes: Vec::new(),
        }
    }
}

impl Agent for Claimer {
    fn next(&mut self, now: Instant, request: &mut Vec<u8>) -> Step {
        let nth = self.users.get();
        self.users.set(nth + 1);
        let author = Author::new(format!("claimer-{}-{nth}", self.seed), &self.secret);
        author.claim(request);
        self.now = Some((author, now));
        Step::Send
    }

    fn answered(&mut self, now: Instant, answer: &Answer<'_>) {
        let Some((author, sent)) = self.now.take() else {
            return;
        };
        let good = self.tallies.borrow_mut()[0].count(answer, now - sent);
        if good && let Some(code) = members(answer).gift_code {
            self.codes.push((code, author));
        }
    }
}
