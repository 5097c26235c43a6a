//! What Prometheus and Grafana are told in `docker/`, as a test: what it names, the program exports,
//! and what stands in two files is the same in both.
//!
//! It needs neither of the two. Whether expressions are valid, and fire when they should, is for
//! promtool to say (`make lint-prometheus`).
#![allow(
    clippy::unwrap_used,
    reason = "all of this crate is tests, and the lint knows only functions marked so"
)]

mod exported;
mod promql;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use exported::Exported;
use millpond::metrics::OPERATIONAL;
use promql::Query;
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

const PROMETHEUS: &str = "docker/prometheus/prometheus.yml";
const ALERTS: &str = "docker/prometheus/alerts.yml";
const ALERTS_SHOWN: &str = "docker/prometheus/alerts.test.yml";
const COMPOSE: &str = "docker/docker-compose.yml";
const DASHBOARD: &str = "docker/grafana/dashboards/millpond.json";

fn read(path: &str) -> String {
    let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(there).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Yaml {
    YamlLoader::load_from_str(&read(path)).unwrap().remove(0)
}

fn each(yaml: &Yaml) -> &[Yaml] {
    yaml.as_vec().map_or(&[], Vec::as_slice)
}

fn text(yaml: &Yaml) -> &str {
    yaml.as_str().unwrap_or_else(|| panic!("no text: {yaml:?}"))
}

fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).unwrap()
}

fn panels() -> Vec<Value> {
    dashboard()["panels"].as_array().unwrap().clone()
}

fn jobs() -> Vec<Yaml> {
    each(&yaml(PROMETHEUS)["scrape_configs"]).to_vec()
}

fn exported() -> Exported {
    let names = jobs();
    let names: Vec<String> = names
        .iter()
        .map(|job| text(&job["job_name"]).to_owned())
        .collect();
    Exported::to(&names)
}

fn rules() -> Vec<Yaml> {
    let alerts = yaml(ALERTS);
    let groups = each(&alerts["groups"]).iter();
    let rules: Vec<Yaml> = groups
        .flat_map(|group| each(&group["rules"]).to_vec())
        .collect();
    assert!(rules.len() > 15, "{rules:?}");
    rules
}

fn expressions_of(panel: &Value) -> Vec<String> {
    let targets = panel["targets"].as_array().cloned().unwrap_or_default();
    let expressions = targets
        .iter()
        .map(|target| target["expr"].as_str().unwrap().to_owned());
    expressions.collect()
}

#[track_caller]
fn assert_exported(expressions: impl Iterator<Item = String>) {
    let exported = exported();
    let mut missing = vec![];
    let mut asked = 0;
    for expression in expressions {
        let query = Query::of(&expression);
        asked += query.selectors.len();
        let misses = exported.misses(&query).into_iter();
        missing.extend(misses.map(|what| format!("{what} in {expression}")));
    }
    assert!(asked > 30, "{asked} metrics are asked for");
    assert!(
        missing.is_empty(),
        "not exported:\n  {}",
        missing.join("\n  ")
    );
}

#[test]
fn what_alerts_ask_for_is_exported() {
    assert_exported(rules().iter().map(|rule| text(&rule["expr"]).to_owned()));
}

#[test]
fn what_alerts_are_shown_firing_on_is_exported() {
    let shown = yaml(ALERTS_SHOWN);
    let series = each(&shown["tests"])
        .iter()
        .flat_map(|one| each(&one["input_series"]));
    assert_exported(series.map(|one| text(&one["series"]).to_owned()));
}

#[test]
fn what_the_dashboard_asks_for_is_exported() {
    let variables = dashboard()["templating"]["list"]
        .as_array()
        .unwrap()
        .clone();
    let queries = variables
        .iter()
        .map(|variable| variable["query"].as_str().unwrap());
    let queries = queries.filter_map(|query| query.strip_prefix("label_values("));
    let queries: Vec<&str> = queries
        .map(|query| query.rsplit_once(", ").unwrap().0)
        .collect();
    assert_eq!(queries.len(), 1, "the instances");
    let queries = queries.into_iter().map(str::to_owned);
    let panels = panels();
    assert_exported(queries.chain(panels.iter().flat_map(expressions_of)));
}

#[test]
fn legends_name_labels() {
    let exported = exported();
    for panel in panels() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let legend = target["legendFormat"].as_str().unwrap();
            for label in legend.split("{{").skip(1) {
                let label = label.split("}}").next().unwrap();
                assert!(exported.has(label), "{label} of {}", panel["title"]);
            }
        }
    }
}

#[test]
fn a_request_is_a_clients_or_operational() {
    let exported = exported();
    let mut all = exported.values("handler");
    for name in OPERATIONAL {
        assert!(all.remove(name), "{name}");
    }
    let clients = |expression: &str| {
        let query = Query::of(expression);
        let matchers = query
            .selectors
            .into_iter()
            .flat_map(|(_, matchers)| matchers);
        let of_several =
            matchers.filter(|matcher| matcher.label == "handler" && matcher.values.len() > 3);
        of_several.map(|matcher| matcher.values).collect::<Vec<_>>()
    };
    let rules = rules();
    let alerts = rules.iter().flat_map(|rule| clients(text(&rule["expr"])));
    let panels = panels();
    let shown = panels.iter().flat_map(expressions_of);
    let lists: Vec<Vec<String>> = alerts.chain(shown.flat_map(|one| clients(&one))).collect();
    assert!(lists.len() > 4, "{lists:?}");
    for list in lists {
        assert_eq!(
            list.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            all
        );
    }
}

#[test]
fn every_alert_is_shown_firing() {
    let shown = yaml(ALERTS_SHOWN);
    let mut firing = BTreeSet::new();
    for one in each(&shown["tests"]) {
        for sample in each(&one["promql_expr_test"])
            .iter()
            .flat_map(|asked| each(&asked["exp_samples"]))
        {
            let labels = text(&sample["labels"]).split('"').nth(1);
            firing.insert(labels.unwrap().to_owned());
        }
        for asked in each(&one["alert_rule_test"]) {
            if !each(&asked["exp_alerts"]).is_empty() {
                firing.insert(text(&asked["alertname"]).to_owned());
            }
        }
    }
    let rules = rules();
    let alerts = rules.iter().map(|rule| text(&rule["alert"]).to_owned());
    assert_eq!(firing, alerts.collect());
}

#[test]
fn alerts_say_what_to_do_in_names_that_there_are() {
    let (rules, environment) = (rules(), read("docker/.env.example"));
    let alerts: BTreeSet<&str> = rules.iter().map(|rule| text(&rule["alert"])).collect();
    let told = rules.iter().map(|rule| {
        let severity = text(&rule["labels"]["severity"]);
        assert!(["critical", "warning"].contains(&severity), "{severity}");
        let annotations = &rule["annotations"];
        format!(
            "{} {}",
            text(&annotations["summary"]),
            text(&annotations["description"])
        )
    });
    let panels = panels();
    let described = panels
        .iter()
        .filter_map(|panel| panel["description"].as_str());
    let mut variables = 0;
    for text in told.chain(described.map(str::to_owned)) {
        for word in text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
            let is_variable = |letter: char| letter.is_ascii_uppercase() || letter == '_';
            if word.contains('_') && word.chars().all(is_variable) {
                variables += 1;
                assert!(
                    environment.contains(&format!("\n#{word}=")),
                    "{word} in: {text}"
                );
            } else if word.starts_with("Millpond") {
                assert!(alerts.contains(word), "{word} in: {text}");
            }
        }
    }
    assert!(variables > 10, "{variables}");
}

/// How many partitions there are no metric tells.
#[test]
fn partitions_are_as_many_as_by_default() {
    let environment = read("docker/.env.example");
    let (_, partitions) = environment.split_once("\n#KAFKA_PARTITIONS=").unwrap();
    let partitions = partitions.lines().next().unwrap();
    let alerts = rules();
    let mut alerts = alerts.iter().map(|rule| text(&rule["expr"]));
    let wanted = format!("sum(worker_partitions) < {partitions}");
    assert!(alerts.any(|expression| expression == wanted), "{wanted}");
}

#[test]
fn panels_lie_beside_each_other() {
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["id"]);
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        let (left, top) = (place("x"), place("y"));
        assert!(left + place("w") <= 24, "{}", panel["title"]);
        for x in left..left + place("w") {
            for y in top..top + place("h") {
                assert!(taken.insert((x, y)), "{} lies on another", panel["title"]);
            }
        }
        let source = &panel["datasource"]["uid"];
        assert!(
            panel["type"] == "row" || *source == "${datasource}",
            "{}",
            panel["title"]
        );
    }
}

#[test]
fn compose_mounts_what_there_is_and_shows_it_to_this_machine_only() {
    let compose = yaml(COMPOSE);
    for name in ["prometheus", "grafana"] {
        let service = &compose["services"][name];
        for mount in each(&service["volumes"]).iter().map(text) {
            let Some((source, target)) = mount.split_once(':').filter(|_| mount.starts_with("./"))
            else {
                continue;
            };
            let source = Path::new("docker").join(source);
            let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(&source);
            assert!(there.exists(), "{mount}");
            assert!(target.ends_with(":ro"), "{mount}");
        }
        let ports: Vec<&str> = each(&service["ports"]).iter().map(text).collect();
        assert!(!ports.is_empty() && ports.iter().all(|port| port.starts_with("127.0.0.1:")));
    }
}

#[test]
fn prometheus_and_grafana_find_what_they_ask() {
    let (compose, prometheus) = (yaml(COMPOSE), yaml(PROMETHEUS));
    let is_service = |name: &str| !compose["services"][name].is_badvalue();
    for job in jobs() {
        for target in each(&job["static_configs"][0]["targets"]).iter().map(text) {
            assert!(is_service(target.split(':').next().unwrap()), "{target}");
        }
    }
    let source = &yaml("docker/grafana/datasources.yml")["datasources"][0];
    assert_eq!(text(&source["url"]), "http://prometheus:9090");
    assert!(is_service("prometheus"));
    let interval = &source["jsonData"]["timeInterval"];
    assert_eq!(*interval, prometheus["global"]["scrape_interval"]);
    let provider = &yaml("docker/grafana/dashboards.yml")["providers"][0];
    let path = text(&provider["options"]["path"]);
    let mounts = each(&compose["services"]["grafana"]["volumes"])
        .iter()
        .map(text);
    let mounted: Vec<&str> = mounts
        .filter(|mount| mount.ends_with(&format!(":{path}:ro")))
        .collect();
    assert_eq!(mounted, [format!("./grafana/dashboards:{path}:ro")]);
}
