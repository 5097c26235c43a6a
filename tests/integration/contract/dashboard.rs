//! The dashboard: a page that needs nothing from elsewhere, and the points that it draws.

use std::time::Duration;

use super::{launch, loads, opens, shared};
use crate::harness::{Client, eventually, get};
use serde_json::Value;

/// What a series was at its highest.
fn highest(points: &Value, series: &str) -> Option<f64> {
    let values = points["series"][series].as_array()?;
    values.iter().filter_map(Value::as_f64).reduce(f64::max)
}

fn points(client: &mut Client, after: i64) -> Value {
    let target = format!("/dashboard/points?after={after}");
    client.ask(&get(&target)).expect(200).json()
}

/// Waits until a series is above zero.
fn seen(client: &mut Client, series: &str) {
    eventually(series, Duration::from_secs(20), || {
        highest(&points(client, 0), series).filter(|rate| *rate > 0.0)
    });
}

#[test]
fn the_page_and_what_it_loads_come_from_here() {
    let server = shared();
    let mut anyone = server.anyone();
    let page = opens(&mut anyone, "/dashboard");
    let text = page.text();
    let links: Vec<&str> = text
        .split('"')
        .filter(|link| link.starts_with("dashboard/"))
        .collect();
    assert_eq!(links.len(), 4, "{text}");
    for link in links {
        let (_, kind) = link.rsplit_once('.').unwrap();
        let expected = if kind == "js" {
            "text/javascript"
        } else {
            "text/css"
        };
        let file = loads(&mut anyone, &format!("/{link}"));
        assert!(file.must("Content-Type").starts_with(expected), "{link}");
        assert_eq!(file.must("X-Content-Type-Options"), "nosniff");
    }
    anyone.ask(&get("/dashboard/none.js")).problem(404);
}

#[test]
fn requests_and_writes_come_to_the_points() {
    let server = launch().start();
    let mut alice = server.user("alice");
    alice.create("t");
    alice.ask(&get("/nothing")).expect(404);
    for series in [
        "201",
        "404",
        "p50",
        "p999",
        "queued",
        "applied",
        "todos",
        "connections",
    ] {
        seen(&mut alice, series);
    }
    let all = points(&mut alice, 0);
    let times: Vec<i64> = serde_json::from_value(all["at"].clone()).unwrap();
    assert!(times.is_sorted(), "{times:?}");
    for (name, values) in all["series"].as_object().unwrap() {
        assert_eq!(values.as_array().unwrap().len(), times.len(), "{name}");
    }
    // What the dashboard asks for itself is none of it.
    assert_eq!(highest(&all, "200"), None, "{all}");
    let (first, others) = times.split_first().unwrap();
    let newer = points(&mut alice, *first);
    let newer: Vec<i64> = serde_json::from_value(newer["at"].clone()).unwrap();
    assert!(newer.starts_with(others), "{times:?} {newer:?}");
    alice
        .ask(&get("/dashboard/points?after=yesterday"))
        .problem_about(400, "after");
}
