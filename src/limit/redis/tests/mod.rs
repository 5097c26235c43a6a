//! The script and the batcher against a real Redis, each test under a prefix of its own.

mod batcher;
mod model;
mod script;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::prelude::Config;

use super::super::Limiter;
use super::super::contract::{RULE, options, run, suite};
use super::Redis;
use crate::services;

suite!(|options| Limiter::Redis(Redis::new(&services::redis_url(), options).unwrap()));

fn config() -> Config {
    super::read_url(&services::redis_url()).unwrap()
}

/// A connection for what tests do to Redis besides.
async fn client() -> Client {
    let client = super::script::connect(config());
    client.wait_for_connect().await.unwrap();
    client
}
