//! The HTTP side: sockets, connections, requests and their answers.
//!
//! Reading order: `listener` accepts, `balance` says which core serves, `connection` opens and closes
//! a `socket`, under the deadlines of `sweep` (and behind a proxy's header, `proxy`). In between,
//! `hot` answers list reads, has requests that came whole answered, and hands all else through `gate`
//! to hyper. Behind both, `service` takes each request through `router` to a handler (`todos` with
//! `answer`, `writes` with `writer`, `gifts`, `operations`, `ops`, `dashboard` and `docs` with their `assets`), which knows its user by `auth` (with `keys`
//! and `tokens`), asks `admission` for the user or the address (`peer`; `stamp` tells the limits), waits for
//! other threads by `wakes`, and completes its `response`. `core` is what one serving core has; nothing
//! of it is shared with another core but what [`Shared`] holds.

mod admission;
mod answer;
mod assets;
pub mod auth;
mod balance;
mod body;
mod conditional;
mod connection;
mod core;
mod dashboard;
mod docs;
mod gate;
mod gifts;
mod headers;
mod hot;
mod key_file;
mod keys;
mod listener;
mod openapi;
mod operations;
mod ops;
mod peer;
mod proxy;
mod query;
mod response;
mod router;
mod service;
mod socket;
mod stamp;
pub mod status;
mod submit;
mod sweep;
mod todos;
mod tokens;
mod wakes;
mod writer;
mod writes;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::header::HeaderValue;

pub use self::core::{Core, Surface, serve};
pub use admission::{Options as Admission, RateScope, SlotScope};
pub use balance::{Newcomers, Place, places};
pub use dashboard::keep_points;
pub use key_file::follow_keys;
pub use listener::{Sharing, bind, is_listened_to, local_address, probe};
pub use stamp::{Fixed as LimitHeaders, Told};
// Parts of the request path, for counting their instructions.
#[cfg(feature = "instructions")]
pub use {hot::Desk, router::Route, tokens::Tokens};

use crate::limit::Limiter;
use crate::links::Link;
use crate::log::Appender;
use crate::marks::Marks;
use crate::metrics::Metrics;
use crate::snapshot::Published;
use crate::stage::Stage;
use crate::store::Reader;

/// Limits and times of the HTTP side.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of a request head; more is 431.
    pub head_bytes_max: usize,
    /// Bytes of a request body; more is 413.
    pub body_bytes_max: usize,
    /// Open connections over all cores; beyond, idle ones make room or the newcomer gets 503.
    pub connections_max: usize,
    pub head_timeout: Duration,
    pub body_timeout: Duration,
    pub idle_timeout: Duration,
    pub write_timeout: Duration,
    /// How long a claim waits for its code before it answers 202.
    pub gift_code_timeout: Duration,
    /// Todos beyond which creates are 507.
    pub todos_max: usize,
    /// `Cache-Control` of todo reads.
    pub cache_control: HeaderValue,
    /// Whether list reads, and requests that came whole, are answered without hyper. The answers are
    /// the same; but a client that closes its side right behind its request has none from hyper.
    pub hot_path: bool,
    pub admission: Admission,
    /// Whether `/metrics` and the dashboard have a listener of their own and are not served on the
    /// public one.
    pub metrics_apart: bool,
}

/// What the serving cores share. Reads of lists touch only `published`, and that without a shared
/// write.
pub struct Shared {
    pub options: Options,
    pub auth: Arc<auth::Authenticator>,
    pub published: Arc<Published>,
    pub marks: Arc<Marks>,
    pub log: Appender,
    pub reader: Reader,
    pub links: Vec<Link>,
    pub limiter: Limiter,
    /// Headers that follow from the limits.
    pub limit_headers: LimitHeaders,
    pub metrics: Arc<Metrics>,
    /// How far the process is on its way from starting to stopped.
    pub stage: Stage,
    /// Whether a newcomer was turned away by a core with no idle connection of its own.
    pub crowded: AtomicBool,
}
