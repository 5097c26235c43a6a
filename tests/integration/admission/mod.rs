//! Limits: what passes, what a client is told, and that nothing which dies, sleeps or lies about
//! the time changes the sum.

mod addresses;
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

/// The value of a metric without labels, or of one with these.
fn metric(client: &mut Client, name: &str) -> u64 {
    let text = client
        .ask(&crate::harness::get("/metrics"))
        .expect(200)
        .text();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .parse()
        .unwrap()
}
