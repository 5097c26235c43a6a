//! The port that decides whether a request may pass now: a token bucket per user or address, and
//! in-flight slots of the whole fleet.
//!
//! A serving core asks through its own [`Core`]; what waits on a core is decided together. Nothing
//! is taken ahead of use, and a refused request takes nothing. A slot is given back by the `Drop`
//! of its [`Permit`] and in no other way, so that a client that leaves, a handler that fails and a
//! response that ends are all the same.

#[cfg(test)]
pub(crate) mod contract;
mod local;
mod many;
mod redis;

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use crate::domain::bucket::{Rule, TOKEN, TOKENS_MAX};
pub use local::Local;
pub use many::{Asking, Decisions};
pub use redis::{Check, Redis, Unfit, Unusable, check_url};

/// Time after which a refused in-flight request may try again: when a slot comes free nobody knows.
const SLOT_WAIT_MS: u64 = 1_000;

/// What is limited, and what happens when nobody can tell.
#[derive(Clone, Debug)]
pub struct Options {
    pub rate: Rule,
    /// Slots over the whole fleet.
    pub slots_max: u32,
    /// What stands before a user's name in the name of its bucket.
    pub bucket_prefix: String,
    pub on_failure: OnFailure,
    /// Time in which Redis answers, or is taken for away.
    pub timeout: Duration,
}

/// Limits, and where they are counted.
#[derive(Clone, Debug)]
pub struct Backing {
    pub limits: Options,
    /// Redis counts for the whole fleet; without it, this process for itself.
    pub redis_url: Option<String>,
}

/// What decides while Redis is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Each server, with its share of the limits.
    Local,
    /// Nobody: all may pass.
    Open,
    /// Nobody: none may pass.
    Closed,
}

/// Whose bucket it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    User(Box<str>),
    /// An IPv6 address stands for its /64, which is what one client has.
    Address(IpAddr),
}

/// The network that stands for an address: one client has a whole /64 of IPv6.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

/// One request's question.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The bucket that pays, if one does.
    pub key: Option<Key>,
    /// Whether it needs an in-flight slot.
    pub slot: bool,
}

/// The answer.
#[derive(Debug)]
pub struct Decision {
    pub verdict: Verdict,
    /// The state of the bucket, if one was asked.
    pub rate: Option<Rate>,
    pub by: By,
}

#[derive(Debug)]
pub enum Verdict {
    /// It may pass; a slot, if it needs one, is its own until the permit is dropped.
    Admitted(Option<Permit>),
    Refused(Refusal),
    /// Nobody can tell, and is not to pass for that.
    Unknown,
}

/// Why a request may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub rate: bool,
    pub in_flight: bool,
    /// Milliseconds after which it may pass; `None` where waiting does not help.
    pub wait_ms: Option<u64>,
}

impl Refusal {
    /// The bucket is empty.
    #[must_use]
    pub fn no_token(wait_ms: Option<u64>) -> Self {
        Self {
            rate: true,
            in_flight: false,
            wait_ms,
        }
    }

    /// All slots are in use; `some_come_free` is whether there are any.
    #[must_use]
    pub fn no_slot(some_come_free: bool) -> Self {
        Self {
            rate: false,
            in_flight: true,
            wait_ms: some_come_free.then_some(SLOT_WAIT_MS),
        }
    }
}

/// A bucket after the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub rule: Rule,
    /// Micro-tokens.
    pub remaining: u64,
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The limits as they are configured.
    Whole,
    /// This server's share of them: Redis is away.
    Share,
    /// Nobody: Redis is away, and the policy is not to ask.
    Policy,
}

/// One in-flight slot.
pub struct Permit(Slot);

enum Slot {
    /// A count of this process.
    Local(Arc<AtomicU32>),
    /// A count of this core, which Redis is told.
    Leased(Rc<redis::Holder>),
}

impl Drop for Permit {
    fn drop(&mut self) {
        match &self.0 {
            Slot::Local(taken) => {
                taken.fetch_sub(1, Ordering::Relaxed);
            }
            Slot::Leased(holder) => holder.release(),
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

/// Figures of a limiter, for people and dashboards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Slots in use by this server.
    pub in_flight: u32,
    /// Servers that share the limits, as far as this one knows.
    pub servers: u32,
    /// Cores of this server that take Redis for away.
    pub cores_without_redis: u32,
}

/// The limits of a process.
#[derive(Clone)]
pub enum Limiter {
    Local(Arc<Local>),
    Redis(Redis),
}

impl Limiter {
    /// What a serving core asks.
    #[must_use]
    pub fn core(&self) -> Core {
        match self {
            Limiter::Local(local) => Core::Local(Arc::clone(local)),
            Limiter::Redis(redis) => Core::Redis(Rc::new(redis.core())),
        }
    }

    #[must_use]
    pub fn options(&self) -> &Options {
        match self {
            Limiter::Local(local) => local.options(),
            Limiter::Redis(redis) => redis.options(),
        }
    }

    /// Slots that this server may use while it decides alone.
    #[must_use]
    pub fn slots_alone(&self) -> u32 {
        match self {
            Limiter::Local(local) => local.options().slots_max,
            Limiter::Redis(redis) => redis.slots_alone(),
        }
    }

    #[must_use]
    pub fn figures(&self) -> Figures {
        match self {
            Limiter::Local(local) => local.figures(),
            Limiter::Redis(redis) => redis.figures(),
        }
    }
}

/// A serving core's side. It belongs to that core's thread.
pub enum Core {
    Local(Arc<Local>),
    Redis(Rc<redis::Core>),
}

impl Core {
    /// Starts what runs beside the questions: to be called within the core's runtime, and before
    /// the first question.
    pub fn start(&self) {
        match self {
            Core::Local(_) => {}
            Core::Redis(core) => redis::Core::start(core),
        }
    }

    /// Whether the request may pass.
    ///
    /// # Cancel safety
    /// A slot that was granted meanwhile is given back; a token is not, since the bucket may have
    /// refilled over it.
    pub async fn ask(&self, ask: Ask) -> Decision {
        match self {
            Core::Local(local) => local.ask(&ask),
            Core::Redis(core) => core.ask(ask).await,
        }
    }

    /// Whether `count` requests of one key, which need no slot, may pass: the first of them, as many
    /// as there are tokens. In this process' memory that is decided at once.
    #[must_use]
    pub fn ask_many(&self, key: Key, count: u32) -> Asking {
        match self {
            Core::Local(local) => Asking::Decided(local.ask_many(&key, count)),
            Core::Redis(core) => core.ask_many(key, count),
        }
    }

    /// Tells the fleet that this core needs nothing any more. Takes no longer than twice Redis'
    /// deadline.
    pub async fn close(&self) {
        match self {
            Core::Local(_) => {}
            Core::Redis(core) => core.close().await,
        }
    }
}
