//! One look at what `/metrics` tells, and what happened from one look to the next: the series of the
//! dashboard.

use std::time::Duration;

use prometheus::proto::{Bucket, Metric, MetricFamily};

use super::{BOUNDS, STATUSES, seconds};

/// Who is not counted as a client of the API: probes, scrapers, and the dashboard itself.
pub const OPERATIONAL: [&str; 7] = [
    "health",
    "ready",
    "metrics",
    "index",
    "openapi",
    "dashboard",
    "docs",
];

/// Names of the series of answers a second, by status.
const BY_STATUS: [&str; STATUSES.len()] = [
    "200", "201", "202", "204", "304", "308", "400", "401", "404", "405", "408", "409", "410",
    "412", "413", "414", "415", "417", "422", "429", "431", "500", "501", "503", "505", "507",
    "other",
];

/// Series of what is counted, a second: their names and where they come from.
const RATES: [(&str, Source); 7] = [
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
pub const SERIES: usize = STATUSES.len() + RATES.len() + LEVELS.len() + QUANTILES.len();

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
pub struct Look {
    statuses: [f64; STATUSES.len()],
    /// Requests of each bucket of the duration histogram.
    durations: [f64; BOUNDS.len() + 1],
    rates: [Option<f64>; RATES.len()],
    levels: [Option<f64>; LEVELS.len()],
}

impl Look {
    pub fn at(families: &[MetricFamily]) -> Self {
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
    pub fn since(&self, before: &Self, took: Duration) -> [Option<f64>; SERIES] {
        let per_second =
            |now: f64, before: f64| shown((now - before).max(0.0) / took.as_secs_f64());
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
            put(quantile(&durations, share).map(|seconds| shown(seconds * 1e3)));
        }
        point
    }
}

/// Cut to the four digits that a chart can show.
fn shown(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let scale = 10_f64.powf(3.0 - value.log10().floor());
    (value * scale).round() / scale
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

/// The series, in the order of a point.
pub fn names() -> impl Iterator<Item = &'static str> {
    let rates = RATES.iter().map(|(name, _)| *name);
    let levels = LEVELS.iter().map(|(name, _)| *name);
    let quantiles = QUANTILES.iter().map(|(name, _)| *name);
    let statuses = BY_STATUS.iter().copied();
    statuses.chain(rates).chain(levels).chain(quantiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_the_names_of_their_label() {
        let named = STATUSES.map(|status| match status {
            0 => "other".to_owned(),
            status => status.to_string(),
        });
        assert_eq!(BY_STATUS.map(str::to_owned), named);
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

    #[test]
    fn values_have_the_digits_that_can_be_seen() {
        for (value, seen) in [(0.0, 0.0), (0.075_123_4, 0.075_12), (123_456.0, 123_500.0)] {
            assert!(
                (shown(value) - seen).abs() < 1e-9,
                "{value} {}",
                shown(value)
            );
        }
    }
}
