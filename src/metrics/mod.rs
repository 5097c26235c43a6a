//! What the process counts, and how Prometheus reads it.
//!
//! What a request counts stands in cells of its core alone: a plain load and store, no shared
//! cache line, no atomic read-modify-write. They are summed when somebody scrapes. What other
//! threads count is rare enough for ordinary counters of the prometheus crate.

mod cores;
mod history;
mod look;
mod parts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use history::History;
use hyper::{Method, StatusCode};
use prometheus::core::Collector;
use prometheus::{HistogramOpts, IntCounter, IntGauge, PullingGauge, Registry, TextEncoder};

pub use history::{Columns, EVERY as LOOK_EVERY};
pub use look::OPERATIONAL;
pub use parts::{FollowerMetrics, ShareMetrics, SnapshotMetrics, WorkerMetrics};

/// Who answered a request: the label `handler`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    Todos,
    Todo,
    GiftCodes,
    Operation,
    Health,
    Ready,
    Metrics,
    Index,
    OpenApi,
    Dashboard,
    Docs,
    /// No route, or no request that could be read.
    None,
}

const HANDLERS: [(Handler, &str); 12] = [
    (Handler::Todos, "todos"),
    (Handler::Todo, "todo"),
    (Handler::GiftCodes, "gift_codes"),
    (Handler::Operation, "operation"),
    (Handler::Health, "health"),
    (Handler::Ready, "ready"),
    (Handler::Metrics, "metrics"),
    (Handler::Index, "index"),
    (Handler::OpenApi, "openapi"),
    (Handler::Dashboard, "dashboard"),
    (Handler::Docs, "docs"),
    (Handler::None, "none"),
];

/// Values of the label `method`; the last one stands for all others.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "OTHER"];

/// Values of the label `status`: all that is answered here; the last one stands for all others.
const STATUSES: [u16; 27] = [
    200, 201, 202, 204, 304, 308, 400, 401, 404, 405, 408, 409, 410, 412, 413, 414, 415, 417, 422,
    429, 431, 500, 501, 503, 505, 507, 0,
];

/// Upper bounds of the duration histogram: from a list out of memory to a long wait.
const BOUNDS: [Duration; 14] = [
    Duration::from_micros(5),
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];

/// What admission did with a limited request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Allowed,
    OverRate,
    OverSlots,
    /// It would have been refused.
    Shadowed,
    /// Refused, since nobody could tell.
    Unknown,
    /// Decided without Redis, whatever the decision was.
    WithoutRedis,
}

/// Kinds of [`Admission`].
const ADMISSIONS: usize = 6;

/// What a client was told of a command that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unacknowledged {
    NotEnqueued,
    Unknown,
}

/// Kinds of [`Unacknowledged`].
const UNACKNOWLEDGED: usize = 2;

/// What came of asking the store for an outcome that memory did not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUp {
    Found,
    /// The store has not got there.
    Ahead,
    /// It is no longer on record.
    Forgotten,
    /// The store did not answer.
    Failed,
}

/// Kinds of [`LookUp`].
const LOOK_UPS: usize = 4;

/// A number that one thread writes and others may read.
#[derive(Default)]
struct Cell(AtomicU64);

impl Cell {
    fn add(&self, more: u64) {
        self.0
            .store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The cells of one serving core. Invariant: only that core's thread writes them.
#[derive(Default)]
pub struct CoreMetrics {
    requests: CachePadded<[[[Cell; STATUSES.len()]; METHODS.len()]; HANDLERS.len()]>,
    durations: [[Cell; BOUNDS.len() + 1]; HANDLERS.len()],
    nanos: [Cell; HANDLERS.len()],
    hot: Cell,
    opened: Cell,
    closed: Cell,
    passed_on: Cell,
    admissions: [Cell; ADMISSIONS],
    acknowledged: Cell,
    unacknowledged: [Cell; UNACKNOWLEDGED],
    look_ups: [Cell; LOOK_UPS],
    /// Tokens that the last bucket had left.
    tokens: Cell,
}

impl CoreMetrics {
    /// Counts an answer and the time from its head's arrival to its own head.
    pub fn request(&self, handler: Handler, method: &Method, status: StatusCode, took: Duration) {
        self.requests(handler, method, status, 1, took);
    }

    /// Counts so many answers of a kind, each of which took so long.
    pub fn requests(
        &self,
        handler: Handler,
        method: &Method,
        status: StatusCode,
        count: u32,
        took: Duration,
    ) {
        let handler = handler as usize;
        let count = u64::from(count);
        self.requests[handler][method_index(method.as_str())][status_index(status)].add(count);
        let bucket = BOUNDS
            .iter()
            .position(|&bound| took <= bound)
            .unwrap_or(BOUNDS.len());
        self.durations[handler][bucket].add(count);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos[handler].add(nanos.saturating_mul(count));
    }

    /// Counts list reads that were answered without hyper; they are counted as requests as well.
    pub fn hot(&self, count: u32) {
        self.hot.add(u64::from(count));
    }

    /// Counts a request that could not be read.
    pub fn refused(&self, status: StatusCode) {
        self.requests[Handler::None as usize][METHODS.len() - 1][status_index(status)].add(1);
    }

    pub fn admission(&self, what: Admission) {
        self.admissions[what as usize].add(1);
    }

    /// Counts a write that is durable.
    pub fn acknowledged(&self) {
        self.acknowledged.add(1);
    }

    pub fn unacknowledged(&self, what: Unacknowledged) {
        self.unacknowledged[what as usize].add(1);
    }

    pub fn look_up(&self, what: LookUp) {
        self.look_ups[what as usize].add(1);
    }

    /// Notes what is left of the bucket that was asked last.
    pub fn tokens(&self, left: u64) {
        self.tokens.0.store(left, Ordering::Relaxed);
    }

    pub fn connection_opened(&self) {
        self.opened.add(1);
    }

    pub fn connection_closed(&self) {
        self.closed.add(1);
    }

    /// Counts a connection that this core accepted and another serves.
    pub fn connection_passed_on(&self) {
        self.passed_on.add(1);
    }

    pub fn connections_open(&self) -> u64 {
        self.opened.get().saturating_sub(self.closed.get())
    }
}

fn method_index(method: &str) -> usize {
    METHODS
        .iter()
        .position(|&known| known == method)
        .unwrap_or(METHODS.len() - 1)
}

fn status_index(status: StatusCode) -> usize {
    STATUSES
        .iter()
        .position(|&known| known == status.as_u16())
        .unwrap_or(STATUSES.len() - 1)
}

/// Everything the process counts.
pub struct Metrics {
    registry: Registry,
    /// Read when somebody scrapes, and only then: the system takes its time to tell.
    process: Registry,
    cores: Vec<Arc<CoreMetrics>>,
    history: History,
}

impl Metrics {
    /// `cores` is the number of serving threads.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let registry = Registry::new();
        let cores: Vec<Arc<CoreMetrics>> = (0..cores).map(|_| Arc::default()).collect();
        register(&registry, cores::Cores::new(cores.clone()));
        Self {
            process: parts::process(),
            registry,
            cores,
            history: History::default(),
        }
    }

    /// The cells of the serving thread `nth`.
    #[must_use]
    pub fn core(&self, nth: usize) -> Arc<CoreMetrics> {
        Arc::clone(&self.cores[nth])
    }

    /// Adds a gauge that is read when somebody scrapes.
    pub fn gauge(&self, name: &str, help: &str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        let gauge = PullingGauge::new(name, help, Box::new(read)).expect("a valid metric");
        register(&self.registry, gauge);
    }

    /// Adds a gauge of what is so (1) or not (0) when somebody scrapes.
    pub fn flag(&self, name: &str, help: &str, read: impl Fn() -> bool + Send + Sync + 'static) {
        self.gauge(name, help, move || f64::from(u8::from(read())));
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        let counter = IntCounter::new(name, help).expect("a valid metric");
        register(&self.registry, counter.clone());
        counter
    }

    /// A gauge that holds what it was set to.
    fn settable(&self, name: &str, help: &str) -> IntGauge {
        let gauge = IntGauge::new(name, help).expect("a valid metric");
        register(&self.registry, gauge.clone());
        gauge
    }

    fn histogram(&self, name: &str, help: &str) -> prometheus::Histogram {
        let options = HistogramOpts::new(name, help).buckets(seconds().to_vec());
        let histogram = prometheus::Histogram::with_opts(options).expect("a valid metric");
        register(&self.registry, histogram.clone());
        histogram
    }

    /// Adds a point to what [`Metrics::after`] gives, from the second look on. `at` is in milliseconds
    /// since 1970, `took` the time since the look before.
    pub fn look(&self, at: i64, took: Duration) {
        self.history.look(&self.registry.gather(), at, took);
    }

    /// The points after a time, in milliseconds since 1970, of at most half an hour.
    #[must_use]
    pub fn after(&self, time: i64) -> Columns {
        self.history.after(time)
    }

    /// The Prometheus text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut families = self.registry.gather();
        families.extend(self.process.gather());
        TextEncoder::new()
            .encode_to_string(&families)
            .expect("metric families encode")
    }
}

/// [`BOUNDS`] as Prometheus has them.
fn seconds() -> [f64; BOUNDS.len()] {
    BOUNDS.map(|bound| bound.as_secs_f64())
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry
        .register(Box::new(collector))
        .expect("metric names are unique");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_stand_at_their_own_index() {
        for (index, (handler, _)) in HANDLERS.iter().enumerate() {
            assert_eq!(*handler as usize, index);
        }
    }

    #[test]
    fn a_scrape_sums_the_cores() {
        let metrics = Metrics::new(2);
        for core in 0..2 {
            let took = Duration::from_micros(7);
            metrics
                .core(core)
                .request(Handler::Todos, &Method::GET, StatusCode::OK, took);
        }
        metrics.core(0).refused(StatusCode::BAD_REQUEST);
        metrics.core(0).unacknowledged(Unacknowledged::Unknown);
        for what in [LookUp::Found, LookUp::Forgotten, LookUp::Found] {
            metrics.core(1).look_up(what);
        }
        metrics.gauge(
            "log_queue_commands",
            "Commands that wait for the log",
            || 3.0,
        );
        let text = metrics.text();
        for line in [
            r#"http_requests_total{handler="todos",method="GET",status="200"} 2"#,
            r#"http_requests_total{handler="none",method="OTHER",status="400"} 1"#,
            r#"http_request_duration_seconds_bucket{handler="todos",le="0.00001"} 2"#,
            r#"http_request_duration_seconds_count{handler="todos"} 2"#,
            "log_queue_commands 3",
            r#"log_append_failures_total{outcome="not_enqueued"} 0"#,
            r#"log_append_failures_total{outcome="unknown"} 1"#,
            r#"outcome_lookups_total{result="found"} 2"#,
            r#"outcome_lookups_total{result="ahead"} 0"#,
            r#"outcome_lookups_total{result="forgotten"} 1"#,
            r#"outcome_lookups_total{result="failed"} 0"#,
            "# TYPE http_requests_total counter",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }
}
