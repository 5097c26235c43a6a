//! Limits: what passes, what a client is told, and that nothing which dies, sleeps or lies about
//! the time changes the sum.

mod addresses;
mod check;
mod failover;
mod fleet;
mod outages;
mod reads;
mod slots;
mod timing;
mod told;

use crate::harness::{Client, Launch, Request, Response};

/// A server that limits writes as it does for users.
fn limited(capacity: u32, rate: u32) -> Launch {
    Launch::new()
        .env("RATE_LIMIT_SCOPE", "writes")
        .env("TB_CAPACITY", &capacity.to_string())
        .env("TB_RATE", &rate.to_string())
}

/// The cheapest limited request: admitted, it is 404 without a write.
fn write() -> Request {
    Request::of("DELETE", "/todos/none")
}

fn passed(response: &Response) -> bool {
    match response.status {
        404 => true,
        429 => false,
        other => panic!("{other} {}", response.text()),
    }
}

/// How many of `count` writes pass.
fn pass_of(client: &mut Client, count: usize) -> usize {
    (0..count).filter(|_| passed(&client.ask(&write()))).count()
}

/// The value of a metric, or of one with these labels; without, the sum over all that it has.
fn metric(client: &mut Client, name: &str) -> u64 {
    let text = client
        .ask(&crate::harness::get("/metrics"))
        .expect(200)
        .text();
    let value_of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let rest = match rest.strip_prefix('{') {
            Some(labels) => labels.split_once('}')?.1,
            None => rest,
        };
        Some(rest.strip_prefix(' ')?.parse::<u64>().unwrap())
    };
    let values: Vec<u64> = text.lines().filter_map(value_of).collect();
    assert!(!values.is_empty(), "no {name} in {text}");
    values.iter().sum()
}
