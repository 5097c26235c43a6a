//! What the program exports, as the program says itself: every metric of servers and workers, with
//! its labels and their values.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hyper::{Method, StatusCode};
use millpond::app::{self, App, DataDir};
use millpond::limit::{self, OnFailure, Rule};
use millpond::links::Link;
use millpond::metrics::{FollowerMetrics, Handler, ShareMetrics};
use millpond::{log, store};

use crate::promql::Query;

#[derive(Default)]
pub struct Exported {
    /// Labels of each metric.
    labels: BTreeMap<String, BTreeSet<String>>,
    /// Values that a label may have, whichever metric it is of.
    values: BTreeMap<String, BTreeSet<String>>,
}

impl Exported {
    /// By the program, and by Prometheus of it: a scrape adds `instance` and `job`, which is one of
    /// `jobs`.
    pub fn to(jobs: &[String]) -> Self {
        let mut exported = Self::default();
        for line in text().lines().filter(|line| !line.starts_with('#')) {
            let (name, _) = line.rsplit_once(' ').unwrap();
            let scraped = jobs.iter().map(|job| ("job", job.as_str()));
            exported.add(name, scraped.chain([("instance", "")]));
        }
        let scraped = jobs.iter().map(|job| ("job", job.as_str()));
        exported.add("up", scraped.chain([("instance", "")]));
        let alert = ["firing", "pending"].map(|state| ("alertstate", state));
        let alert = alert.into_iter().chain([("alertname", "")]);
        exported.add("ALERTS", alert);
        exported
    }

    /// Adds a metric as it is written, and labels that it has besides.
    fn add<'a>(&mut self, written: &str, besides: impl Iterator<Item = (&'a str, &'a str)>) {
        let (name, matchers) = Query::of(written).selectors.remove(0);
        let own = matchers.into_iter().flat_map(|matcher| {
            let values = matcher.values.into_iter();
            values.map(move |value| (matcher.label.clone(), value))
        });
        let besides = besides.map(|(label, value)| (label.to_owned(), value.to_owned()));
        let labels = self.labels.entry(name).or_default();
        for (label, value) in own.chain(besides) {
            labels.insert(label.clone());
            self.values.entry(label).or_default().insert(value);
        }
    }

    pub fn values(&self, label: &str) -> BTreeSet<&str> {
        self.values[label].iter().map(String::as_str).collect()
    }

    /// What a query names and nobody exports.
    pub fn misses(&self, query: &Query) -> Vec<String> {
        let mut missing = vec![];
        for (name, matchers) in &query.selectors {
            let Some(labels) = self.labels.get(name) else {
                missing.push(name.clone());
                continue;
            };
            for matcher in matchers {
                let has = labels.contains(&matcher.label);
                let wrong = matcher.values.iter();
                let wrong = wrong.filter(|value| !has || !self.may_be(&matcher.label, value));
                missing.extend(wrong.map(|value| format!("{name}{{{}={value}}}", matcher.label)));
            }
        }
        let labels = query.labels.iter();
        missing.extend(labels.filter(|label| !self.has(label)).cloned());
        missing
    }

    pub fn has(&self, label: &str) -> bool {
        self.values.contains_key(label)
    }

    /// Where a value is not known here, as that of `instance`, or is a variable's, anything may be;
    /// a point stands for any one letter.
    fn may_be(&self, label: &str, wanted: &str) -> bool {
        let fits = |value: &String| {
            let mut both = value.chars().zip(wanted.chars());
            value.len() == wanted.len() && both.all(|(is, may)| may == '.' || is == may)
        };
        let values = &self.values[label];
        values.contains("") || wanted.starts_with('$') || values.iter().any(fits)
    }
}

/// What `/metrics` would show of a server and a worker together, once there was a request of every
/// method and status.
fn text() -> String {
    let home = tempfile::tempdir().unwrap();
    let options = app::Options {
        store: store::Options::default(),
        log: log::Options::DEFAULT,
        serving_threads: 1,
    };
    let app = app::open(DataDir::open(home.path()).unwrap(), options).unwrap();
    drop(ShareMetrics::register(&app.metrics));
    drop(FollowerMetrics::register(&app.metrics));
    for service in ["postgresql", "kafka"] {
        drop(Link::new(service, &app.metrics));
    }
    register_limits(&app);
    let core = app.metrics.core(0);
    let request = |method: &Method, status| {
        let status = StatusCode::from_u16(status).unwrap();
        core.request(Handler::Todos, method, status, Duration::ZERO);
    };
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        request(&method.parse().unwrap(), 200);
    }
    for status in 100..1_000 {
        request(&Method::GET, status);
    }
    let text = app.metrics.text();
    app.close(Duration::ZERO).unwrap();
    text
}

fn register_limits(app: &App) {
    let limits = limit::Options {
        rate: Rule {
            capacity: 1,
            rate: 1,
        },
        slots_max: 1,
        bucket_prefix: String::new(),
        on_failure: OnFailure::Local,
        timeout: Duration::from_millis(25),
    };
    let backing = limit::Backing {
        limits,
        redis_url: None,
    };
    drop(app::limiter(&backing, &app.metrics).unwrap());
}
