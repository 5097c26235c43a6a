//! The last half hour, a point a second: what the dashboard draws.
//!
//! A point is made of two looks at what `/metrics` tells, so the two never say different things.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use prometheus::proto::{Bucket, Metric, MetricFamily};

use super::{BOUNDS, STATUSES, seconds};

/// Time from one look to the next.
pub const EVERY: Duration = Duration::from_secs(1);
/// Points that are kept: half an hour, about 200 bytes each.
const POINTS_MAX: usize = 1_800;

/// Who is not counted as a client of the API: probes, scrapers, and the dashboard itself.
const OPERATIONAL: [&str; 6] = [
    "health",
    "ready",
    "metrics",
    "index",
    "openapi",
    "dashboard",
];

/// Names of the series of answers a second, by status.
const BY_STATUS: [&str; STATUSES.len()] = [
    "200", "201", "202", "204", "304", "400", "401", "404", "405", "408", "409", "410", "412",
    "413", "414", "415", "417", "422", "429", "431", "500", "501", "503", "505", "507", "other",
];

/// Series of what is counted, a second: their names and where they come from.
const RATES: [(&str, Source); 8] = [
    ("hot", Source::all("http_hot_requests_total")),
    ("allowed", Source::all("limiter_allowed_total")),
    ("throttled_rate", Source::of_policy("rate")),
    ("throttled_inflight", Source::of_policy("inflight")),
    ("throttled_unknown", Source::of_policy("unknown")),
    ("without_redis", Source::all("limiter_without_redis_total")),
    ("queued", Source::all("log_acknowledged_total")),
    // Alone the process applies its writes; in a fleet they come to it.
    (
        "applied",
        Source {
            family: "commands_applied_total",
            or: Some("feed_commands_total"),
            label: None,
        },
    ),
];

/// Series of what there is at the moment.
const LEVELS: [(&str, Source); 6] = [
    ("tokens", Source::all("limiter_tokens")),
    ("in_flight", Source::all("limiter_in_flight")),
    ("waiting", Source::all("log_queue_commands")),
    ("lag", Source::all("snapshot_lag_commands")),
    ("todos", Source::all("snapshot_todos")),
    ("connections", Source::all("http_connections_open")),
];

/// Series of latencies in milliseconds, and their shares.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];

/// Series of a point.
const SERIES: usize = STATUSES.len() + RATES.len() + LEVELS.len() + QUANTILES.len();

/// Where a series comes from: the sum over a family, or over those of its metrics with a label.
#[derive(Clone, Copy)]
struct Source {
    family: &'static str,
    /// Where there is no such family.
    or: Option<&'static str>,
    label: Option<(&'static str, &'static str)>,
}

impl Source {
    const fn all(family: &'static str) -> Self {
        Self {
            family,
            or: None,
            label: None,
        }
    }

    const fn of_policy(policy: &'static str) -> Self {
        Self {
            label: Some(("policy", policy)),
            ..Self::all("limiter_throttled_total")
        }
    }

    /// `None` where nobody in this process counts it.
    fn read(self, families: &[MetricFamily]) -> Option<f64> {
        let named = |name: &str| families.iter().find(|family| family.name() == name);
        let family = named(self.family).or_else(|| named(self.or?))?;
        let metrics = family.get_metric().iter();
        let wanted = metrics.filter(|metric| match self.label {
            Some((name, value)) => label(metric, name) == Some(value),
            None => true,
        });
        Some(wanted.map(value).sum())
    }
}

/// A counter or a gauge, whichever it is: the other is 0.
fn value(metric: &Metric) -> f64 {
    metric.get_counter().get_value() + metric.get_gauge().get_value()
}

fn label<'a>(metric: &'a Metric, name: &str) -> Option<&'a str> {
    let mut labels = metric.get_label().iter();
    labels
        .find(|label| label.name() == name)
        .map(prometheus::proto::LabelPair::value)
}

/// Whether the requests of a metric are those of the API's clients.
fn is_of_api(metric: &Metric) -> bool {
    label(metric, "handler").is_some_and(|handler| !OPERATIONAL.contains(&handler))
}

/// One look.
struct Look {
    statuses: [f64; STATUSES.len()],
    /// Requests of each bucket of the duration histogram.
    durations: [f64; BOUNDS.len() + 1],
    rates: [Option<f64>; RATES.len()],
    levels: [Option<f64>; LEVELS.len()],
}

impl Look {
    fn at(families: &[MetricFamily]) -> Self {
        let mut statuses = [0.0; STATUSES.len()];
        let mut durations = [0.0; BOUNDS.len() + 1];
        let of = |name: &str| {
            let family = families.iter().find(|family| family.name() == name);
            let metrics = family.map(MetricFamily::get_metric).unwrap_or_default();
            metrics.iter().filter(|metric| is_of_api(metric))
        };
        for metric in of("http_requests_total") {
            let status = label(metric, "status");
            let nth = BY_STATUS.iter().position(|name| Some(*name) == status);
            statuses[nth.unwrap_or(STATUSES.len() - 1)] += value(metric);
        }
        for metric in of("http_request_duration_seconds") {
            let histogram = metric.get_histogram();
            let mut below = 0;
            let buckets = histogram.get_bucket().iter();
            let counts = buckets.map(Bucket::cumulative_count);
            for (sum, count) in durations
                .iter_mut()
                .zip(counts.chain([histogram.get_sample_count()]))
            {
                *sum += super::cores::as_f64(count - below);
                below = count;
            }
        }
        Self {
            statuses,
            durations,
            rates: RATES.map(|(_, source)| source.read(families)),
            levels: LEVELS.map(|(_, source)| source.read(families)),
        }
    }

    /// What happened from `before` to this look, which was so long.
    fn since(&self, before: &Self, took: Duration) -> [Option<f64>; SERIES] {
        let per_second = |now: f64, before: f64| (now - before).max(0.0) / took.as_secs_f64();
        let mut point = [None; SERIES];
        let mut cells = point.iter_mut();
        let mut put = |value| {
            if let Some(cell) = cells.next() {
                *cell = value;
            }
        };
        for (now, before) in self.statuses.iter().zip(before.statuses) {
            put(Some(per_second(*now, before)).filter(|rate| *rate > 0.0));
        }
        for (now, before) in self.rates.iter().zip(before.rates) {
            put(now.map(|now| per_second(now, before.unwrap_or(0.0))));
        }
        for level in self.levels {
            put(level);
        }
        let mut durations = self.durations;
        for (now, before) in durations.iter_mut().zip(before.durations) {
            *now -= before;
        }
        for (_, share) in QUANTILES {
            put(quantile(&durations, share).map(|seconds| seconds * 1e3));
        }
        point
    }
}

/// Seconds within which a share of the requests was answered, by linear interpolation in the bucket
/// that it falls into, as Prometheus' `histogram_quantile`; `None` where there was no request.
/// Beyond the last bound it is the last bound.
fn quantile(counts: &[f64; BOUNDS.len() + 1], share: f64) -> Option<f64> {
    let all: f64 = counts.iter().sum();
    if all <= 0.0 {
        return None;
    }
    let wanted = share * all;
    let (mut below, mut lower) = (0.0, 0.0);
    for (count, upper) in counts.iter().zip(seconds()) {
        if below + count >= wanted && *count > 0.0 {
            return Some(lower + (upper - lower) * (wanted - below) / count);
        }
        below += count;
        lower = upper;
    }
    Some(lower)
}

struct Point {
    /// Milliseconds since 1970.
    at: i64,
    /// Not a number where there is none.
    values: [f32; SERIES],
}

impl Point {
    fn value(&self, nth: usize) -> Option<f32> {
        Some(self.values[nth]).filter(|value| !value.is_nan())
    }
}

#[derive(Default)]
struct Kept {
    last: Option<Look>,
    points: VecDeque<Point>,
}

/// The points, oldest first.
#[derive(Default)]
pub(super) struct History(Mutex<Kept>);

/// Points as a chart takes them: a column of times, and one for each series.
#[derive(Debug, Default, PartialEq)]
pub struct Columns {
    /// Milliseconds since 1970.
    pub at: Vec<i64>,
    /// Those that have a value at one of the times; `None` at the others.
    pub series: Vec<(&'static str, Vec<Option<f32>>)>,
}

impl History {
    /// Adds a point, after the first look. `took` is the time since the look before.
    pub fn look(&self, families: &[MetricFamily], at: i64, took: Duration) {
        let look = Look::at(families);
        let mut kept = self.kept();
        if let Some(before) = &kept.last
            && !took.is_zero()
        {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a chart shows no more than three digits"
            )]
            let values = look
                .since(before, took)
                .map(|value| value.map_or(f32::NAN, |value| value as f32));
            if kept.points.len() == POINTS_MAX {
                kept.points.pop_front();
            }
            kept.points.push_back(Point { at, values });
        }
        kept.last = Some(look);
    }

    /// The points after a time.
    pub fn after(&self, time: i64) -> Columns {
        let kept = self.kept();
        // The newest come first: a clock that was set back hides none but those before it.
        let newer = kept.points.iter().rev();
        let count = newer.take_while(|point| point.at > time).count();
        let newer = || kept.points.range(kept.points.len() - count..);
        let column = |(nth, name): (usize, _)| {
            let values = newer().map(|point| point.value(nth));
            let values: Vec<_> = values.collect();
            let is_used = values.iter().any(Option::is_some);
            is_used.then_some((name, values))
        };
        Columns {
            at: newer().map(|point| point.at).collect(),
            series: names().enumerate().filter_map(column).collect(),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        let kept = self.0.lock();
        kept.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The series, in the order of a point.
fn names() -> impl Iterator<Item = &'static str> {
    let rates = RATES.iter().map(|(name, _)| *name);
    let levels = LEVELS.iter().map(|(name, _)| *name);
    let quantiles = QUANTILES.iter().map(|(name, _)| *name);
    let statuses = BY_STATUS.iter().copied();
    statuses.chain(rates).chain(levels).chain(quantiles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Admission, Handler, Metrics};
    use hyper::{Method, StatusCode};

    fn column(columns: &Columns, wanted: &str) -> Vec<Option<f32>> {
        let mut series = columns.series.iter();
        let found = series.find(|(name, _)| *name == wanted);
        found.map(|(_, values)| values.clone()).unwrap_or_default()
    }

    #[test]
    fn statuses_have_the_names_of_their_label() {
        let named = STATUSES.map(|status| match status {
            0 => "other".to_owned(),
            status => status.to_string(),
        });
        assert_eq!(BY_STATUS.map(str::to_owned), named);
    }

    #[test]
    fn a_point_is_what_happened_since_the_look_before() {
        let metrics = Metrics::new(2);
        metrics.gauge("snapshot_todos", "Todos", || 7.0);
        let request = |handler, status, count| {
            let took = Duration::from_micros(60);
            metrics
                .core(1)
                .requests(handler, &Method::GET, status, count, took);
        };
        request(Handler::Todos, StatusCode::OK, 1_000);
        metrics.look(1_000, EVERY);
        assert_eq!(metrics.after(0), Columns::default(), "one look is no point");
        request(Handler::Todos, StatusCode::OK, 100);
        request(Handler::Health, StatusCode::OK, 1_000);
        metrics.core(0).admission(Admission::OverRate);
        metrics.look(3_000, 2 * EVERY);
        metrics.look(4_000, EVERY);
        let columns = metrics.after(0);
        assert_eq!(columns.at, [3_000, 4_000]);
        assert_eq!(column(&columns, "200"), [Some(50.0), None]);
        assert_eq!(column(&columns, "throttled_rate"), [Some(0.5), Some(0.0)]);
        assert_eq!(column(&columns, "todos"), [Some(7.0), Some(7.0)]);
        // All of them are between 50 and 100 µs.
        assert_eq!(column(&columns, "p50"), [Some(0.075), None]);
        // What nobody counts is not there.
        assert!(column(&columns, "lag").is_empty());
        assert_eq!(metrics.after(3_000).at, [4_000]);
        assert!(metrics.after(4_000).at.is_empty());
    }

    #[test]
    fn half_an_hour_is_kept() {
        let metrics = Metrics::new(1);
        let looks = i64::try_from(POINTS_MAX).unwrap() + 10;
        for at in 0..=looks {
            metrics.look(at, EVERY);
        }
        let kept = metrics.after(0).at;
        assert_eq!(kept.len(), POINTS_MAX);
        assert_eq!(kept.last(), Some(&looks));
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let mut counts = [0.0; BOUNDS.len() + 1];
        assert_eq!(quantile(&counts, 0.5), None);
        counts[0] = 90.0;
        counts[4] = 10.0;
        let of = |share| quantile(&counts, share).unwrap();
        assert!((of(0.45) - 2.5e-6).abs() < 1e-12, "{}", of(0.45));
        assert!((of(0.95) - 75e-6).abs() < 1e-12, "{}", of(0.95));
        counts[BOUNDS.len()] = 1_000.0;
        assert!((quantile(&counts, 0.9).unwrap() - 30.0).abs() < 1e-12);
    }
}
