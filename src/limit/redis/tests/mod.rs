//! The script and the batcher against a real Redis, each test under a prefix of its own.

mod batcher;
mod script;

use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::prelude::Config;

use super::super::{OnFailure, Options};
use crate::domain::bucket::Rule;
use crate::services;

const RULE: Rule = Rule {
    capacity: 20,
    rate: 20,
};

/// Limits under a prefix that no other test has. The deadline is one that a busy machine keeps.
fn options(rate: Rule, slots_max: u32) -> Options {
    Options {
        rate,
        slots_max,
        bucket_prefix: format!("test:{:032x}:", rand::random::<u128>()),
        on_failure: OnFailure::Closed,
        timeout: Duration::from_secs(10),
    }
}

fn config() -> Config {
    super::read_url(&services::redis_url()).unwrap()
}

/// Runs a test as a serving core runs: one thread, and tasks that stay on it.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// A connection for what tests do to Redis besides.
async fn client() -> Client {
    let client = super::script::connect(config());
    client.wait_for_connect().await.unwrap();
    client
}
