//! Where the services are that tests run against: `make up` starts them and writes it down. The
//! library's own tests and those from outside share this file.

#![allow(dead_code, reason = "not every test needs every service")]

use std::fs;

/// PostgreSQL, as a role that may create databases.
pub fn database_url() -> String {
    setting("DATABASE_URL")
}

pub fn kafka_brokers() -> String {
    setting("KAFKA_BROKERS")
}

pub fn redis_url() -> String {
    setting("REDIS_URL")
}

/// A service that is not there fails the test: nothing is skipped.
fn setting(name: &str) -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/.stack/env");
    let text = fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("{file}: {error}; `make up` starts the services"));
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value
        .unwrap_or_else(|| panic!("{file} has no {name}"))
        .to_owned()
}
