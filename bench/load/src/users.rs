//! People: each has a connection, thinks between two requests, and knows what is theirs.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::draw::Draw;
use crate::engine::{Agent, Step};
use crate::http::Answer;
use crate::latency::Tallies;
use crate::request::{Author, Receipt, members, read};

/// What people do, and how many of a hundred times.
const HABITS: [(Act, u64); 5] = [
    (Act::List, 50),
    (Act::Create, 25),
    (Act::Update, 15),
    (Act::Delete, 5),
    (Act::Claim, 5),
];
/// In the order of [`Act`].
pub const KINDS: [&str; 5] = ["list", "create", "update", "delete", "claim"];
const LIST: &str = "/todos?limit=100";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    List = 0,
    Create = 1,
    Update = 2,
    Delete = 3,
    Claim = 4,
}

pub struct User {
    author: Author,
    think_ms: (u32, u32),
    draw: Draw,
    todos: Vec<String>,
    serial: u32,
    /// When they are done thinking.
    due: Instant,
    now: Option<(Act, Instant)>,
    tallies: Tallies,
    /// Everything that they were promised.
    pub receipts: Vec<Receipt>,
    pub codes: Vec<(String, Author)>,
}

impl User {
    pub fn new(author: Author, think_ms: (u32, u32), draw: Draw, tallies: &Tallies) -> Self {
        Self {
            author,
            think_ms,
            draw,
            todos: Vec::new(),
            serial: 0,
            due: Instant::now(),
            now: None,
            tallies: Rc::clone(tallies),
            receipts: Vec::new(),
            codes: Vec::new(),
        }
    }

    /// Thinks first: people do not come all at once.
    pub fn arrive(&mut self, now: Instant) {
        self.due = now + self.thought();
    }

    fn thought(&mut self) -> Duration {
        let (least, most) = self.think_ms;
        let more = self.draw.below(u64::from(most - least) + 1);
        Duration::from_millis(u64::from(least) + more)
    }

    fn choose(&mut self) -> Act {
        let mut drawn = self.draw.below(100);
        let mut acts = HABITS.iter();
        let habit = acts.find(|(_, share)| {
            let is_it = drawn < *share;
            drawn = drawn.saturating_sub(*share);
            is_it
        });
        match habit {
            Some((Act::Update | Act::Delete, _)) if self.todos.is_empty() => Act::Create,
            Some((act, _)) => *act,
            None => Act::List,
        }
    }
}

impl Agent for User {
    fn next(&mut self, now: Instant, request: &mut Vec<u8>) -> Step {
        if self.due > now {
            return Step::At(self.due);
        }
        let act = self.choose();
        self.serial += 1;
        let title = format!("Water the garden {}", self.serial);
        let newest = self.todos.last().map_or("", String::as_str);
        match act {
            Act::List => read(request, LIST, None),
            Act::Create => self.author.create(request, &title, false),
            Act::Update => self.author.update(request, newest, &title, false),
            Act::Delete => self.author.delete(request, newest, false),
            Act::Claim => self.author.claim(request),
        }
        self.now = Some((act, now));
        Step::Send
    }

    fn answered(&mut self, now: Instant, answer: &Answer<'_>) {
        let Some((act, sent)) = self.now.take() else {
            return;
        };
        self.due = now + self.thought();
        let good = self.tallies.borrow_mut()[act as usize].count(answer, now - sent);
        if !good {
            // They do as they are told, and then go on.
            let wait = answer
                .header("retry-after")
                .and_then(|text| text.parse().ok());
            self.due += Duration::from_secs(wait.unwrap_or(0));
            return;
        }
        let of_body = || members(answer);
        match act {
            Act::List | Act::Update => {}
            Act::Create => self.todos.extend(of_body().id),
            Act::Delete => drop(self.todos.pop()),
            Act::Claim => {
                let code = of_body().gift_code;
                self.codes
                    .extend(code.map(|code| (code, self.author.clone())));
            }
        }
        self.receipts.extend(Receipt::of(answer, &self.author));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::tallies;

    #[test]
    fn people_do_everything_and_nothing_too_often() {
        let author = Author::new("alice".to_owned(), "secret");
        let mut user = User::new(author, (100, 500), Draw::new(1, 1), &tallies(&KINDS));
        user.todos.push("x".to_owned());
        let mut counts = [0; 5];
        for _ in 0..10_000 {
            counts[user.choose() as usize] += 1;
        }
        for (act, share) in HABITS {
            let count = counts[act as usize];
            let expected = share * 100;
            assert!(
                count > expected / 2 && count < expected * 2,
                "{act:?} {count}"
            );
        }
        assert!((100..=500).contains(&user.thought().as_millis()));
    }
}
