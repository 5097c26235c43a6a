//! An open loop: requests are due at a rate, whatever the server does.
//!
//! Requests have numbers, and number n is due at n / rate. A connection that is free takes the next
//! number and waits until it is due; where all are busy, the number waits for one. Either way the
//! latency counts from when it was due, so a server that stands still for a second is seen by all
//! that were due in that second, and not by one request per connection (coordinated omission).

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::engine::{Agent, Step};
use crate::http::Answer;
use crate::job::What;
use crate::latency::Tallies;
use crate::request::{Author, Receipt, read};
use crate::writes::Newest;

/// When requests are due; shared by all connections.
pub struct Schedule {
    start: Instant,
    per_second: f64,
    next: Cell<u64>,
}

pub struct Dealt {
    schedule: Rc<Schedule>,
    what: What,
    authors: Rc<[Author]>,
    /// The request that this connection took, and when it is due.
    taken: Option<(u64, Instant)>,
    tallies: Tallies,
    pub newest: Newest,
}

impl Schedule {
    pub fn new(start: Instant, per_second: f64) -> Self {
        Self {
            start,
            per_second,
            next: Cell::new(0),
        }
    }

    fn take(&self) -> (u64, Instant) {
        let number = self.next.get();
        self.next.set(number + 1);
        let after = Duration::from_secs_f64(number as f64 / self.per_second);
        (number, self.start + after)
    }
}

impl Dealt {
    /// `tallies` is of one kind of request.
    pub fn new(
        schedule: &Rc<Schedule>,
        what: &What,
        authors: &Rc<[Author]>,
        tallies: &Tallies,
    ) -> Self {
        Self {
            schedule: Rc::clone(schedule),
            what: what.clone(),
            authors: Rc::clone(authors),
            taken: None,
            tallies: Rc::clone(tallies),
            newest: Newest::new(),
        }
    }

    fn author(&self, number: u64) -> &Author {
        let nth = number % self.authors.len() as u64;
        &self.authors[usize::try_from(nth).expect("is below a length")]
    }
}

impl Agent for Dealt {
    fn next(&mut self, now: Instant, request: &mut Vec<u8>) -> Step {
        let (number, due) = *self.taken.get_or_insert_with(|| self.schedule.take());
        if due > now {
            return Step::At(due);
        }
        match &self.what {
            What::Read(path) => read(request, path, None),
            What::Create => {
                let title = format!("Water the garden {number}");
                self.author(number).create(request, &title, false);
            }
        }
        Step::Send
    }

    fn answered(&mut self, now: Instant, answer: &Answer<'_>) {
        let Some((number, due)) = self.taken.take() else {
            return;
        };
        self.tallies.borrow_mut()[0].count(answer, now - due);
        if let What::Create = self.what
            && let Some(receipt) = Receipt::of(answer, self.author(number))
        {
            // Later is not always higher: connections overtake one another.
            let newest = self.newest.entry(receipt.partition);
            let newest = newest.or_insert_with(|| receipt.clone());
            if receipt.offset > newest.offset {
                *newest = receipt;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::tallies;

    #[test]
    fn a_latency_counts_from_when_the_request_was_due() {
        let start = Instant::now();
        let schedule = Rc::new(Schedule::new(start, 10.0));
        let what = What::Read("/todos".to_owned());
        let (authors, tallies) = (Rc::from([]), tallies(&["read"]));
        let mut dealt = Dealt::new(&schedule, &what, &authors, &tallies);
        let mut request = Vec::new();
        assert!(matches!(dealt.next(start, &mut request), Step::Send));
        let answer = Answer {
            status: 200,
            head: b"",
            body: b"",
        };
        // The server stands still for a second; nine more requests fall due meanwhile.
        let mut now = start + Duration::from_secs(1);
        dealt.answered(now, &answer);
        while let Step::Send = dealt.next(now, &mut request) {
            now += Duration::from_micros(1);
            dealt.answered(now, &answer);
        }
        let told = tallies.borrow()[0].told();
        assert_eq!(told.good, 11);
        assert!(told.latency.p50 > 450_000.0, "{told:?}");
    }
}
