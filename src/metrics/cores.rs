//! Sums the cores' cells when somebody scrapes.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use super::{CoreMetrics, HANDLERS, Handler, METHODS, SECONDS, STATUSES};

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
const CONNECTIONS: (&str, &str) = ("http_connections_open", "Open HTTP connections");

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
            describe(CONNECTIONS, &[]),
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
            let mut buckets = Vec::with_capacity(SECONDS.len());
            for (b, bound) in SECONDS.iter().enumerate() {
                count += self.sum(|core| core.durations[h][b].get());
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(count);
                buckets.push(bucket);
            }
            count += self.sum(|core| core.durations[h][SECONDS.len()].get());
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

    fn connections(&self) -> Metric {
        let mut gauge = Gauge::default();
        gauge.set_value(as_f64(self.sum(CoreMetrics::connections_open)));
        let mut metric = metric(&[]);
        metric.set_gauge(gauge);
        metric
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
            family(CONNECTIONS, MetricType::GAUGE, vec![self.connections()]),
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
fn as_f64(count: u64) -> f64 {
    count as f64
}
