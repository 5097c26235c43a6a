//! One call of `lua/admit.lua`: its keys and arguments, and its answer.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, LuaInterface};
use fred::prelude::{Builder, Config, ReconnectPolicy};
use fred::types::config::Options as CallOptions;
use fred::types::scripts::Script as Loaded;
use fred::types::{Key as RedisKey, Value};
use tokio::time::timeout;

use super::super::{Key, Options};
use super::queue::{Entry, Waits};
use super::{PROBE_EVERY, leased};
use crate::clock::Stopwatch;
use crate::domain::bucket::TOKEN;

pub(super) const ADMIT: &str = include_str!("../../../lua/admit.lua");

/// Time in which a connection is made or given up.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time after which a connection on which no call succeeds is made anew, and the deadlines that it
/// is at least: what was lost on the way does not come any more, and who has become a replica stays
/// one.
const SILENCE_MIN: Duration = Duration::from_secs(2);
const SILENCE_DEADLINES: u32 = 4;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("not connected")]
    Unconnected,
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("{0}")]
    Redis(#[from] fred::error::Error),
    #[error("an answer that is none to this question")]
    Malformed,
}

/// What a holder says of itself in a call.
pub(super) struct Lease<'a> {
    pub holder: &'a str,
    pub sequence: u64,
    pub in_use: u32,
    /// Whether it stays when it holds nothing: one core of a server, by which servers are counted.
    pub stays: bool,
    /// Slots wanted by requests without a bucket.
    pub wanted: usize,
}

/// A bucket in a call.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub key: &'a Key,
    pub wanted: usize,
}

impl<'a> Asked<'a> {
    pub fn of<W: Waits>(entry: &'a Entry<W>) -> Self {
        Self {
            key: &entry.key,
            wanted: entry.waiters.iter().map(Waits::requests).sum(),
        }
    }
}

/// The answer as it comes: see `lua/admit.lua`.
type Told = (i64, i64, i64, i64, Bytes);

/// The answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub servers: u32,
    /// Of the lease, in microseconds of Redis' clock: another one than before means it was lost.
    pub epoch: i64,
    /// Slots granted to requests without a bucket.
    pub alone: usize,
    pub slots_left: u32,
    /// In the order of the buckets.
    pub buckets: Vec<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub granted: usize,
    /// Micro-tokens.
    pub remaining: u64,
    pub wait_ms: Option<u64>,
}

/// The script at a Redis that may come and go.
pub(super) struct Script {
    client: Client,
    loaded: Loaded,
    deadline: Duration,
    prefix: String,
    /// The first four arguments, which never change.
    limits: [Value; 4],
    /// Since when all calls over this connection have failed. A server that slept has heard nothing
    /// either, and its connection may be well.
    silent: Cell<Option<Stopwatch>>,
}

impl Script {
    /// A script over a connection of its own, which is made in the background and made anew when it
    /// breaks.
    pub fn connect(config: Config, options: &Options) -> Self {
        Self::with_source(ADMIT, config, options)
    }

    pub fn with_source(source: &str, config: Config, options: &Options) -> Self {
        let number = |number: u64| Value::from(number.to_string());
        Self {
            client: connect(config),
            loaded: Loaded::from_lua(source),
            deadline: options.timeout,
            prefix: options.bucket_prefix.clone(),
            limits: [
                number(options.rate.full()),
                number(options.rate.rate.into()),
                number(options.slots_max.into()),
                number(
                    u64::try_from(leased::life(options.timeout).as_micros()).unwrap_or(u64::MAX),
                ),
            ],
            silent: Cell::default(),
        }
    }

    /// Waits until the connection is there, or is taken for impossible.
    pub async fn connected(&self) {
        // Whether it is there shows with the first call.
        drop(timeout(CONNECT_TIMEOUT, self.client.wait_for_connect()).await);
    }

    /// Asks once. The script is sent again where Redis does not have it, and in no other case: who
    /// was not answered may have been decided about.
    ///
    /// # Errors
    /// Whatever keeps the answer from coming within the deadline.
    pub async fn call<'a>(
        &self,
        lease: Option<&Lease<'_>>,
        plain: impl ExactSizeIterator<Item = Asked<'a>> + Clone,
        with_slot: impl ExactSizeIterator<Item = Asked<'a>> + Clone,
        extra: Option<Value>,
    ) -> Result<Reply, Failed> {
        let replied = self.ask(lease, plain, with_slot, extra).await;
        match &replied {
            // A connection that is not there is being made already.
            Ok(_) | Err(Failed::Unconnected) => self.silent.set(None),
            Err(_) => self.connect_anew_if_silent(),
        }
        replied
    }

    async fn ask<'a>(
        &self,
        lease: Option<&Lease<'_>>,
        plain: impl ExactSizeIterator<Item = Asked<'a>> + Clone,
        with_slot: impl ExactSizeIterator<Item = Asked<'a>> + Clone,
        extra: Option<Value>,
    ) -> Result<Reply, Failed> {
        // The client would keep the call until it is connected, when nobody waits for it any more.
        if !self.client.is_connected() {
            return Err(Failed::Unconnected);
        }
        let (first_with_slot, buckets) = (2 + plain.len(), plain.chain(with_slot));
        let question = || {
            let mut keys = vec![self.leases()];
            keys.extend(buckets.clone().map(|asked| self.bucket(asked.key)));
            let mut arguments = Vec::with_capacity(12);
            arguments.extend(self.limits.clone());
            push_lease(&mut arguments, lease);
            arguments.push(count(first_with_slot));
            arguments.push(Value::from(counts(buckets.clone())));
            arguments.extend(extra.clone());
            (keys, arguments)
        };
        let call = self.send(question);
        let answer = timeout(self.deadline, call)
            .await
            .map_err(|_| Failed::Late(self.deadline))??;
        let asked = buckets.clone().count();
        Reply::of(&answer)
            .filter(|reply| reply.buckets.len() == asked)
            .ok_or(Failed::Malformed)
    }

    /// Has a connection that nothing has come of for long made anew, in the background.
    fn connect_anew_if_silent(&self) {
        let limit = SILENCE_MIN.max(SILENCE_DEADLINES * self.deadline);
        let since = self.silent.get().unwrap_or_else(Stopwatch::start);
        if since.elapsed() < limit {
            self.silent.set(Some(since));
            return;
        }
        self.silent.set(Some(Stopwatch::start()));
        let client = self.client.clone();
        // What comes of it shows with the next call.
        tokio::spawn(async move {
            drop(timeout(CONNECT_TIMEOUT, client.force_reconnection()).await);
        });
    }

    async fn send(
        &self,
        question: impl Fn() -> (Vec<RedisKey>, Vec<Value>),
    ) -> Result<Told, fred::error::Error> {
        let options = CallOptions {
            max_attempts: Some(1),
            timeout: Some(self.deadline),
            fail_fast: true,
            ..CallOptions::default()
        };
        let client = self.client.with_options(&options);
        let hash = self.loaded.sha1().clone();
        let (keys, arguments) = question();
        let first: Result<Told, _> = client.evalsha(hash, keys, arguments).await;
        match first {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                // In one step with the question: nobody can have it forgotten in between.
                let source = self.loaded.lua().cloned().unwrap_or_default();
                let (keys, arguments) = question();
                client.eval(source, keys, arguments).await
            }
            answered => answered,
        }
    }

    /// The name of the leases, which no bucket has.
    fn leases(&self) -> RedisKey {
        format!("{}\0leases", self.prefix).into()
    }

    /// The name of a key's bucket. No user's name holds a NUL, so none is taken for an address.
    fn bucket(&self, key: &Key) -> RedisKey {
        let prefix = &self.prefix;
        match key {
            Key::User(user) => format!("{prefix}{user}").into(),
            Key::Address(IpAddr::V4(address)) => format!("{prefix}\0{address}").into(),
            Key::Address(IpAddr::V6(address)) => format!("{prefix}\0{address}/64").into(),
        }
    }

    /// Closes the connection.
    pub async fn close(&self) {
        // Nothing is in flight any more, and a connection that is gone is as good as closed.
        drop(timeout(self.deadline, self.client.quit()).await);
    }
}

/// A connection that is made in the background, and made anew when it breaks.
pub(super) fn connect(config: Config) -> Client {
    let mut again = ReconnectPolicy::new_constant(0, millis(PROBE_EVERY));
    // The first connection waits for it, too.
    again.set_jitter(0);
    let client = Builder::from_config(config)
        .with_connection_config(|connection| {
            connection.connection_timeout = CONNECT_TIMEOUT;
            connection.internal_command_timeout = CONNECT_TIMEOUT;
            connection.max_command_attempts = 1;
            connection.tcp.nodelay = Some(true);
        })
        .set_policy(again)
        .build()
        .expect("the configuration was read from a URL");
    drop(client.connect());
    client
}

fn push_lease(arguments: &mut Vec<Value>, lease: Option<&Lease<'_>>) {
    let nobody = Lease {
        holder: "",
        sequence: 0,
        in_use: 0,
        stays: false,
        wanted: 0,
    };
    let lease = lease.unwrap_or(&nobody);
    arguments.push(Value::from(lease.holder));
    arguments.push(Value::from(lease.sequence.to_string()));
    arguments.push(Value::from(i64::from(lease.in_use)));
    arguments.push(Value::from(i64::from(lease.stays)));
    arguments.push(count(lease.wanted));
}

fn count(many: usize) -> Value {
    i64::try_from(many).unwrap_or(i64::MAX).into()
}

/// How many requests each bucket has; nothing where each has one.
fn counts<'a>(buckets: impl Iterator<Item = Asked<'a>> + Clone) -> Bytes {
    if buckets.clone().all(|asked| asked.wanted == 1) {
        return Bytes::new();
    }
    let wanted = |asked: Asked<'_>| u32::try_from(asked.wanted).unwrap_or(u32::MAX);
    let counts = buckets.flat_map(|asked| wanted(asked).to_le_bytes());
    counts.collect()
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

impl Reply {
    fn of((servers, epoch, alone, left, answers): &Told) -> Option<Self> {
        let (numbers, rest) = answers.as_chunks::<8>();
        let (answers, odd) = numbers.as_chunks::<3>();
        let answer = |numbers: &[[u8; 8]; 3]| {
            let [granted, remaining, wait_ms] = numbers.map(i64::from_le_bytes);
            Some(Answer {
                granted: usize::try_from(granted).ok()?,
                remaining: u64::try_from(remaining).ok()?,
                wait_ms: u64::try_from(wait_ms).ok(),
            })
        };
        if !(rest.is_empty() && odd.is_empty()) {
            return None;
        }
        Some(Self {
            servers: u32::try_from(*servers).ok()?,
            epoch: *epoch,
            alone: usize::try_from(*alone).ok()?,
            slots_left: u32::try_from(*left).ok()?,
            buckets: answers.iter().map(answer).collect::<Option<_>>()?,
        })
    }
}

impl Answer {
    /// What was left when the `nth` of the granted requests had taken its token.
    pub fn remaining_after(self, nth: usize) -> u64 {
        let later = self.granted.saturating_sub(nth + 1) as u64;
        self.remaining + later * TOKEN
    }
}
