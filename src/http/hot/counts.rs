//! What the loop counts of its answers, a batch at a time.

use hyper::{Method, StatusCode};

use super::super::core::Core;
use crate::clock::Stopwatch;
use crate::metrics::Handler;

/// What an answer is counted as.
#[derive(Clone, Copy)]
pub enum Kind {
    Get,
    /// The client has it already.
    GetHad,
    Head,
    HeadHad,
    /// The client is over its limit.
    GetOver,
    HeadOver,
    /// Whether it is, nobody can tell.
    GetUnknown,
    HeadUnknown,
}

/// Method and status of each [`Kind`].
const KINDS: [(Method, StatusCode); 8] = [
    (Method::GET, StatusCode::OK),
    (Method::GET, StatusCode::NOT_MODIFIED),
    (Method::HEAD, StatusCode::OK),
    (Method::HEAD, StatusCode::NOT_MODIFIED),
    (Method::GET, StatusCode::TOO_MANY_REQUESTS),
    (Method::HEAD, StatusCode::TOO_MANY_REQUESTS),
    (Method::GET, StatusCode::SERVICE_UNAVAILABLE),
    (Method::HEAD, StatusCode::SERVICE_UNAVAILABLE),
];

/// Answers of one batch, by kind.
#[derive(Default)]
pub struct Counts([u32; KINDS.len()]);

impl Counts {
    pub fn count(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    pub fn all(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Counts the batch as so many requests that took as long as it did.
    pub fn flush(self, core: &Core, watch: Stopwatch) {
        let all = self.all();
        if all == 0 {
            return;
        }
        core.metrics.hot(all);
        let took = watch.elapsed();
        for ((method, status), count) in KINDS.iter().zip(self.0) {
            if count > 0 {
                core.metrics
                    .requests(Handler::Todos, method, *status, count, took);
            }
        }
    }
}
