//! Latencies and counts by kind of request, shared by all agents: a histogram apiece would be more
//! memory than a cache holds.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::http::Answer;
use crate::job::{Kind, Latency};

/// Longer ones are counted as this long: no client waits for a minute.
const MAX_US: u64 = 60_000_000;
/// Three digits of each latency are kept.
const DIGITS: u8 = 3;

/// One per kind of request.
pub type Tallies = Rc<RefCell<Vec<Tally>>>;

pub fn tallies(names: &[&str]) -> Tallies {
    let tallies = names.iter().map(|name| Tally::new(name));
    Rc::new(RefCell::new(tallies.collect()))
}

pub struct Tally {
    kind: Kind,
    histogram: Histogram<u64>,
}

impl Tally {
    pub fn new(name: &str) -> Self {
        let histogram = Histogram::new_with_bounds(1, MAX_US, DIGITS);
        Self {
            kind: Kind {
                name: name.to_owned(),
                ..Kind::default()
            },
            histogram: histogram.expect("the bounds are right"),
        }
    }

    /// Takes an answer in; true where it is a good one.
    pub fn count(&mut self, answer: &Answer<'_>, latency: Duration) -> bool {
        match answer.status {
            200..400 => {
                self.kind.good += 1;
                self.record(latency);
                return true;
            }
            429 => self.kind.limited += 1,
            status => {
                self.kind.failed += 1;
                let body = || String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]);
                let first = || format!("{status} {}", body());
                self.kind.failed_with.get_or_insert_with(first);
            }
        }
        false
    }

    fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(MAX_US);
        self.histogram.saturating_record(micros.clamp(1, MAX_US));
    }

    pub fn told(&self) -> Kind {
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64;
        let latency = if self.histogram.is_empty() {
            Latency::default()
        } else {
            Latency {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                max: self.histogram.max() as f64,
                mean: self.histogram.mean(),
            }
        };
        Kind {
            latency,
            ..self.kind.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Answer<'static> {
        Answer {
            status,
            head: b"",
            body: b"why",
        }
    }

    #[test]
    fn good_limited_and_failed_are_counted_apart() {
        let mut tally = Tally::new("create");
        for status in [202, 201, 429, 503, 500] {
            tally.count(&answer(status), Duration::from_millis(2));
        }
        let kind = tally.told();
        assert_eq!((kind.good, kind.limited, kind.failed), (2, 1, 2));
        assert_eq!(kind.failed_with.as_deref(), Some("503 why"));
        assert!((kind.latency.p99 - 2_000.0).abs() < 3.0);
    }
}
