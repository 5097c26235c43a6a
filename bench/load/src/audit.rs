//! The audit: what became of every receipt, and whether every code is one user's alone.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::engine::{self, Agent, Step};
use crate::http::Answer;
use crate::job::Audit;
use crate::request::{Author, Receipt, members};

/// Connections that ask.
const CONNECTIONS: usize = 32;
/// Time for all answers. What is queued is waited for as long.
const TIME_MAX: Duration = Duration::from_mins(2);
/// Between two questions about the same write where the server does not wait.
const ASK_AGAIN: Duration = Duration::from_millis(50);

struct Asking {
    /// What is still to be asked for.
    left: Rc<RefCell<Vec<Receipt>>>,
    found: Rc<RefCell<Audit>>,
    now: Option<Receipt>,
    again: Option<Instant>,
}

/// Asks for every receipt until none is queued any more.
pub fn operations(receipts: Vec<Receipt>, servers: &[SocketAddr]) -> Result<Audit> {
    let found = Audit {
        acknowledged: receipts.len() as u64,
        ..Audit::default()
    };
    let found = Rc::new(RefCell::new(found));
    let connections = CONNECTIONS.min(receipts.len());
    let left = Rc::new(RefCell::new(receipts));
    let mut asking: Vec<Asking> = (0..connections)
        .map(|_| Asking {
            left: Rc::clone(&left),
            found: Rc::clone(&found),
            now: None,
            again: None,
        })
        .collect();
    let lost = engine::run(&mut asking, servers, Instant::now() + TIME_MAX)?;
    let because = lost.because.unwrap_or_default();
    ensure!(lost.count == 0, "the audit lost answers: {because}");
    let mut found = found.borrow().clone();
    let known = found.applied + found.rejected + found.dead;
    found.unknown = found.acknowledged - known;
    Ok(found)
}

/// Counts codes, and what is wrong with them.
pub fn codes<'a>(codes: impl Iterator<Item = &'a (String, Author)>, audit: &mut Audit) {
    let mut by_user: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (code, author) in codes {
        by_user.entry(&author.name).or_default().insert(code);
    }
    let twice = by_user.values().filter(|codes| codes.len() > 1);
    audit.users_twice = twice.count() as u64;
    let mut distinct = BTreeSet::new();
    for code in by_user.values().flatten() {
        audit.codes += 1;
        if !distinct.insert(code) {
            audit.codes_twice += 1;
        }
    }
}

impl Agent for Asking {
    fn next(&mut self, now: Instant, request: &mut Vec<u8>) -> Step {
        if let Some(again) = self.again.filter(|again| *again > now) {
            return Step::At(again);
        }
        self.again = None;
        // A lost answer leaves its receipt here: it is asked for again.
        let receipt = self.now.take().or_else(|| self.left.borrow_mut().pop());
        let Some(receipt) = receipt else {
            return Step::Over;
        };
        receipt.author.operation(request, &receipt);
        self.now = Some(receipt);
        Step::Send
    }

    fn answered(&mut self, now: Instant, answer: &Answer<'_>) {
        let status = members(answer).status;
        let mut found = self.found.borrow_mut();
        match status.as_deref() {
            Some("applied") => found.applied += 1,
            Some("rejected") => found.rejected += 1,
            Some("dead") => found.dead += 1,
            Some("queued") => {
                self.again = Some(now + ASK_AGAIN);
                return;
            }
            _ => {}
        }
        self.now = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_two_users_and_a_user_of_two_codes_are_found() {
        let of = |code: &str, user: &str| (code.to_owned(), Author::new(user.to_owned(), "s"));
        let mut audit = Audit::default();
        let good = [of("a", "alice"), of("b", "bob"), of("a", "alice")];
        codes(good.iter(), &mut audit);
        assert_eq!(
            (audit.codes, audit.codes_twice, audit.users_twice),
            (2, 0, 0)
        );
        assert!(audit.is_clean());
        let bad = [of("a", "alice"), of("a", "bob"), of("c", "bob")];
        codes(bad.iter(), &mut audit);
        assert_eq!((audit.codes_twice, audit.users_twice), (1, 1));
        assert!(!audit.is_clean());
    }
}
