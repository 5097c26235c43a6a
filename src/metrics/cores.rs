//! Sums the cores' cells when somebody scrapes.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use super::{
    Admission, Cell, CoreMetrics, HANDLERS, Handler, LookUp, METHODS, STATUSES, Unacknowledged,
    seconds,
};

/// The collector of what requests count.
pub struct Cores {
    cores: Vec<Arc<CoreMetrics>>,
    descriptions: Vec<Desc>,
}

const REQUESTS: (&str, &str) = ("http_requests_total", "Answered HTTP requests");
const DURATION: (&str, &str) = (
    "http_request_duration_seconds",
    "Time from a request's head to its answer's head",
);
const HOT: (&str, &str) = (
    "http_hot_requests_total",
    "List reads among them that were answered without hyper",
);
const CONNECTIONS: (&str, &str) = (
    "http_connections_open",
    "Open HTTP connections, by serving core (the thread serve-<core>)",
);
const PASSED_ON: (&str, &str) = (
    "http_connections_passed_on_total",
    "Accepted connections that were passed on to a core with fewer",
);

const ALLOWED: (&str, &str) = ("limiter_allowed_total", "Limited requests that passed");
const THROTTLED: (&str, &str) = (
    "limiter_throttled_total",
    "Limited requests that were refused, by policy; unknown: nobody could tell",
);
const SHADOWED: (&str, &str) = (
    "limiter_shadowed_total",
    "Requests that would have been refused, and passed since SHADOW is on",
);
const WITHOUT_REDIS: (&str, &str) = (
    "limiter_without_redis_total",
    "Requests that were decided about while Redis was away",
);
const TOKENS: (&str, &str) = (
    "limiter_tokens",
    "Tokens left in the bucket that was asked last, the lowest of all cores",
);

const ACKNOWLEDGED: (&str, &str) = (
    "log_acknowledged_total",
    "Writes that this server has made durable",
);
const UNACKNOWLEDGED: (&str, &str) = (
    "log_append_failures_total",
    "Writes that the log did not acknowledge, by what their clients were told: not_enqueued, or unknown",
);
const LOOK_UPS: (&str, &str) = (
    "outcome_lookups_total",
    "Outcomes that the store was asked for, by result; failed: it did not answer",
);

impl Cores {
    pub fn new(cores: Vec<Arc<CoreMetrics>>) -> Self {
        let describe = |(name, help): (&str, &str), labels: &[&str]| {
            let labels = labels.iter().map(ToString::to_string).collect();
            Desc::new(name.into(), help.into(), labels, [].into()).expect("a valid metric")
        };
        let descriptions = vec![
            describe(REQUESTS, &["handler", "method", "status"]),
            describe(DURATION, &["handler"]),
            describe(HOT, &[]),
            describe(CONNECTIONS, &["core"]),
            describe(PASSED_ON, &[]),
            describe(ALLOWED, &[]),
            describe(THROTTLED, &["policy"]),
            describe(SHADOWED, &[]),
            describe(WITHOUT_REDIS, &[]),
            describe(TOKENS, &[]),
            describe(ACKNOWLEDGED, &[]),
            describe(UNACKNOWLEDGED, &["outcome"]),
            describe(LOOK_UPS, &["result"]),
        ];
        Self {
            cores,
            descriptions,
        }
    }

    fn sum(&self, cell: impl Fn(&CoreMetrics) -> u64) -> u64 {
        self.cores.iter().map(|core| cell(core)).sum()
    }

    fn requests(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for (h, (_, handler)) in HANDLERS.iter().enumerate() {
            for (m, method) in METHODS.iter().enumerate() {
                for (s, status) in STATUSES.iter().enumerate() {
                    let count = self.sum(|core| core.requests[h][m][s].get());
                    if count > 0 {
                        let status = if *status == 0 {
                            "other".into()
                        } else {
                            status.to_string()
                        };
                        let labels = [
                            ("handler", *handler),
                            ("method", *method),
                            ("status", &status),
                        ];
                        metrics.push(counter(&labels, count));
                    }
                }
            }
        }
        metrics
    }

    fn durations(&self) -> Vec<Metric> {
        let histogram = |(h, (_, handler)): (usize, &(Handler, &str))| {
            let mut count = 0;
            let bounds = seconds();
            let mut buckets = Vec::with_capacity(bounds.len());
            for (b, bound) in bounds.iter().enumerate() {
                count += self.sum(|core| core.durations[h][b].get());
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(count);
                buckets.push(bucket);
            }
            count += self.sum(|core| core.durations[h][bounds.len()].get());
            let mut histogram = Histogram::default();
            histogram.set_sample_count(count);
            histogram.set_sample_sum(as_f64(self.sum(|core| core.nanos[h].get())) / 1e9);
            histogram.set_bucket(buckets);
            let mut metric = metric(&[("handler", handler)]);
            metric.set_histogram(histogram);
            metric
        };
        HANDLERS.iter().enumerate().map(histogram).collect()
    }

    fn admissions(&self, what: Admission, labels: &[(&str, &str)]) -> Metric {
        counter(
            labels,
            self.sum(|core| core.admissions[what as usize].get()),
        )
    }

    fn throttled(&self) -> Vec<Metric> {
        let policies = [
            (Admission::OverRate, "rate"),
            (Admission::OverSlots, "inflight"),
            (Admission::Unknown, "unknown"),
        ];
        let of_policy = |(what, policy)| self.admissions(what, &[("policy", policy)]);
        policies.into_iter().map(of_policy).collect()
    }

    fn unacknowledged(&self) -> Vec<Metric> {
        let outcomes = [
            (Unacknowledged::NotEnqueued, "not_enqueued"),
            (Unacknowledged::Unknown, "unknown"),
        ];
        let of_outcome = |(what, outcome): (Unacknowledged, &str)| {
            let count = self.sum(|core| core.unacknowledged[what as usize].get());
            counter(&[("outcome", outcome)], count)
        };
        outcomes.into_iter().map(of_outcome).collect()
    }

    fn connections(&self) -> Vec<Metric> {
        let of_core = |(nth, core): (usize, &Arc<CoreMetrics>)| {
            gauge(&[("core", &nth.to_string())], core.connections_open())
        };
        self.cores.iter().enumerate().map(of_core).collect()
    }

    fn look_ups(&self) -> Vec<Metric> {
        let results = [
            (LookUp::Found, "found"),
            (LookUp::Ahead, "ahead"),
            (LookUp::Forgotten, "forgotten"),
            (LookUp::Failed, "failed"),
        ];
        let of_result = |(what, result): (LookUp, &str)| {
            let count = self.sum(|core| core.look_ups[what as usize].get());
            counter(&[("result", result)], count)
        };
        results.into_iter().map(of_result).collect()
    }

    fn tokens(&self) -> u64 {
        let asked = |core: &&Arc<CoreMetrics>| {
            let all = core.admissions.iter().map(Cell::get);
            all.sum::<u64>() > 0
        };
        let cores = self.cores.iter().filter(asked);
        cores.map(|core| core.tokens.get()).min().unwrap_or(0)
    }
}

impl Collector for Cores {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![
            family(REQUESTS, MetricType::COUNTER, self.requests()),
            family(DURATION, MetricType::HISTOGRAM, self.durations()),
            family(
                HOT,
                MetricType::COUNTER,
                vec![counter(&[], self.sum(|core| core.hot.get()))],
            ),
            family(CONNECTIONS, MetricType::GAUGE, self.connections()),
            family(
                PASSED_ON,
                MetricType::COUNTER,
                vec![counter(&[], self.sum(|core| core.passed_on.get()))],
            ),
            family(
                ALLOWED,
                MetricType::COUNTER,
                vec![self.admissions(Admission::Allowed, &[])],
            ),
            family(THROTTLED, MetricType::COUNTER, self.throttled()),
            family(
                SHADOWED,
                MetricType::COUNTER,
                vec![self.admissions(Admission::Shadowed, &[])],
            ),
            family(
                WITHOUT_REDIS,
                MetricType::COUNTER,
                vec![self.admissions(Admission::WithoutRedis, &[])],
            ),
            family(TOKENS, MetricType::GAUGE, vec![gauge(&[], self.tokens())]),
            family(
                ACKNOWLEDGED,
                MetricType::COUNTER,
                vec![counter(&[], self.sum(|core| core.acknowledged.get()))],
            ),
            family(UNACKNOWLEDGED, MetricType::COUNTER, self.unacknowledged()),
            family(LOOK_UPS, MetricType::COUNTER, self.look_ups()),
        ]
    }
}

fn family((name, help): (&str, &str), kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn counter(labels: &[(&str, &str)], count: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(as_f64(count));
    let mut metric = metric(labels);
    metric.set_counter(counter);
    metric
}

fn gauge(labels: &[(&str, &str)], value: u64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(as_f64(value));
    let mut metric = metric(labels);
    metric.set_gauge(gauge);
    metric
}

fn metric(labels: &[(&str, &str)]) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut label = LabelPair::default();
        label.set_name((*name).into());
        label.set_value((*value).into());
        label
    };
    let mut metric = Metric::default();
    metric.set_label(labels.iter().map(pair).collect());
    metric
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53, and Prometheus knows no other number"
)]
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}
