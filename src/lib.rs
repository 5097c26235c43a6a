//! Millpond: lists read from pre-serialised bytes, writes through a log.
//!
//! # Reading order
//! 1. [`domain`]: what a todo, a command and an outcome are, and `decide`, which alone says what
//!    a command does. Pure: no I/O, no clock, no randomness.
//! 2. [`log`], [`store`], [`feed`]: the ports between a command and its effect. Each is an enum
//!    with one variant per back end.
//!    [`kafka`] is what those of a fleet share.
//! 3. [`worker`]: takes batches from the log, has the store apply them, publishes to the feed.
//!    [`fault`]: where a test can have it die.
//! 4. [`snapshot`]: what readers are served: pages of serialised todos, and how they are renewed
//!    from the feed. [`marks`]: how far this server has got, and who waits for it.
//! 5. [`limit`]: whether a request may pass now: token buckets and in-flight slots.
//! 6. [`http`]: sockets, requests, answers.
//! 7. [`app`] puts the parts together and is the only place that names back ends; [`runtime`]
//!    gives them threads and ends them in order, along [`stage`]; [`links`]: what they lean on; [`config`] reads the
//!    environment, once; [`cli`] is the command line; [`metrics`]: what is counted; [`control`]:
//!    orders to a running process; [`seed`]: todos to try things with.
//!
//! # Invariants
//! - A write's receipt is its position in the log. It is the operation's id, the consistency
//!   token and what a waiting request waits for.
//! - Dependencies point one way: `bin → app → {http, worker, adapters}`, `http → snapshot, limit,
//!   log, feed, store → domain`. `config` knows the modules, no module knows `config`.
//! - Only [`clock`] reads time; only [`config`] and [`cli`] read the environment.
//! - Every queue, buffer, batch, cache and body has a limit.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod domain;
pub mod fault;
pub mod feed;
pub mod http;
pub mod kafka;
pub mod limit;
pub mod links;
pub mod log;
pub mod marks;
pub mod metrics;
pub mod runtime;
pub mod seed;
#[cfg(test)]
#[path = "../tests/services.rs"]
mod services;
pub mod snapshot;
pub mod stage;
pub mod store;
pub mod worker;
