//! Limits of a fleet: Redis decides, for all servers, by its own clock.
//!
//! Reading order: `script` is one call of `lua/admit.lua` and its answer, `queue` what waits for
//! one, `pace` when that is worth one, `core` sends what waits and hands out the answers, `holder`
//! counts a core's slots and `leased` knows what Redis holds of them, `breaker` says when Redis is
//! taken for away. Then `away` decides, by the policy: with this server's share, which [`Local`]
//! counts.
//!
//! A server is a name made at its start, and each of its cores a holder of slots with its own
//! sequence of calls. So a call that arrives late is known as such, a core that died holds its slots
//! until its lease is over and no longer, and a server that was asleep past its lease asks for what
//! it has in use as everybody else does.

mod away;
mod breaker;
mod check;
mod core;
mod holder;
mod lane;
mod leased;
mod pace;
mod queue;
mod script;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use fred::prelude::Config;
use uuid::Uuid;

use super::{Figures, Local, Options};
use crate::domain::bucket::share;
pub use check::{Check, Unfit};
pub use core::Core;
pub use holder::Holder;

/// Time after which a core that has said nothing renews its lease.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Time from one look whether Redis is back to the next.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// Keys of one call, at most: Redis serves nobody else meanwhile, for about half a millisecond.
const KEYS_PER_CALL_MAX: usize = 256;

/// What a URL may begin with.
const SCHEMES: [&str; 2] = ["redis://", "redis-sentinel://"];

/// A URL that names no Redis. The text says what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("not a URL such as redis://host:6379: {0}")]
pub struct Unusable(String);

/// What the cores of one server share.
#[derive(Clone)]
pub struct Redis(Arc<Server>);

pub(super) struct Server {
    options: Options,
    config: Config,
    /// Decides while Redis is away, and remembers what Redis said last.
    local: Local,
    /// This process among the holders of slots.
    name: String,
    /// Cores that have started so far: the next one's number.
    cores: AtomicUsize,
    /// Slots in use by all cores.
    in_flight: AtomicU32,
    /// Servers that shared the limits when Redis last said.
    servers: AtomicU32,
    /// Cores that take Redis for away.
    away: AtomicU32,
}

impl Server {
    /// Its share of the slots.
    fn slots_alone(&self) -> u32 {
        share(self.options.slots_max, self.servers.load(Ordering::Relaxed))
    }
}

/// Whether a URL can be one of Redis.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(url: &str) -> Result<(), Unusable> {
    read_url(url).map(drop)
}

fn read_url(url: &str) -> Result<Config, Unusable> {
    let is_known = |scheme: &&str| url.starts_with(*scheme);
    if !SCHEMES.iter().any(is_known) {
        return Err(Unusable(format!(
            "begins with none of {}",
            SCHEMES.join(", ")
        )));
    }
    let mut config = Config::from_url(url).map_err(|error| Unusable(error.to_string()))?;
    if config.server.is_clustered() {
        // One call names keys of many slots.
        return Err(Unusable("a cluster cannot hold the limits".to_owned()));
    }
    // A server starts, and goes on, without Redis.
    config.fail_fast = false;
    Ok(config)
}

impl Redis {
    /// Nothing is connected yet, and Redis need not be there.
    ///
    /// # Errors
    /// A URL that cannot be one of Redis.
    pub fn new(url: &str, options: Options) -> Result<Self, Unusable> {
        let config = read_url(url)?;
        Ok(Self(Arc::new(Server {
            local: Local::new(options.clone()),
            options,
            config,
            name: Uuid::new_v4().simple().to_string(),
            cores: AtomicUsize::new(0),
            in_flight: AtomicU32::new(0),
            servers: AtomicU32::new(1),
            away: AtomicU32::new(0),
        })))
    }

    pub(super) fn core(&self) -> Core {
        Core::new(Arc::clone(&self.0))
    }

    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Slots that this server may use while Redis is away.
    #[must_use]
    pub fn slots_alone(&self) -> u32 {
        self.0.slots_alone()
    }

    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            in_flight: self.0.in_flight.load(Ordering::Relaxed),
            servers: self.0.servers.load(Ordering::Relaxed),
            cores_without_redis: self.0.away.load(Ordering::Relaxed),
        }
    }
}
