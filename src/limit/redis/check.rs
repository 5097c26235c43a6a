//! Whether a Redis can hold the limits: its script is loaded and exercised, under names of its own.

use std::rc::Rc;
use std::time::Duration;

use fred::prelude::Config;
use futures_util::future::join_all;
use tokio::task::{JoinHandle, spawn_local};
use uuid::Uuid;

use super::super::{By, Key, OnFailure, Options, Unusable};
use super::script::{Asked, Failed, Lease, Reply, Script};
use super::{Core, Redis, read_url};
use crate::clock::Stopwatch;
use crate::domain::bucket::{Rule, TOKENS_MAX};

/// Tokens and slots of what is exercised.
const MANY: u32 = 20;
/// Calls that are timed.
const TIMED: usize = 500;
/// How long each side of the comparison runs.
const BENCH_TIME: Duration = Duration::from_secs(2);
/// Requests that wait at once, as if from so many connections.
const BENCH_ASKS: usize = 1_024;
/// The same for one key, all of which are one entry of one call.
const HOT_ASKS: usize = 4_096;
/// Requests that one question is about where a connection's reads come pipelined.
const PIPELINED_READS: u32 = 16;
/// Calls in flight where single calls are pipelined.
const BENCH_PIPELINED: usize = 256;
/// Keys of the comparison.
const BENCH_KEYS: usize = 100_000;

/// Why the Redis cannot hold the limits.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("REDIS_URL: {0}")]
    Url(#[from] Unusable),
    #[error("Redis: {0}")]
    Failed(#[from] Failed),
    #[error("{0}: {1}")]
    Wrong(&'static str, String),
}

/// Exercises a Redis and says what was found.
pub struct Check<T> {
    config: Config,
    url: String,
    timeout: Duration,
    say: T,
}

impl<T: FnMut(String)> Check<T> {
    /// # Errors
    /// A URL that cannot be one of Redis.
    pub fn new(url: &str, timeout: Duration, say: T) -> Result<Self, Unfit> {
        Ok(Self {
            config: read_url(url)?,
            url: url.to_owned(),
            timeout,
            say,
        })
    }

    fn options(&self, rule: Rule) -> Options {
        Options {
            rate: rule,
            slots_max: MANY,
            bucket_prefix: format!("millpond-check:{}:", Uuid::new_v4().simple()),
            on_failure: OnFailure::Closed,
            timeout: self.timeout,
        }
    }

    /// Buckets, slots, and how long a call takes. Within a `LocalRuntime`.
    ///
    /// # Errors
    /// What is not as it should be.
    pub async fn run(&mut self) -> Result<(), Unfit> {
        let rule = Rule {
            capacity: MANY,
            rate: 1,
        };
        let script = Script::connect(self.config.clone(), &self.options(rule));
        script.connected().await;
        let wanted = MANY as usize + 5;
        let took = ask(&script, None, &["a"], wanted).await?.buckets[0];
        expect("a bucket grants its burst", &took.granted, &(MANY as usize))?;
        let waits = took.wait_ms.is_some_and(|ms| (1..=1_000).contains(&ms));
        expect("an empty bucket says when to come again", &waits, &true)?;
        (self.say)("buckets: good".to_owned());

        let lease = |holder, in_use, wanted| Lease {
            holder,
            sequence: u64::from(in_use) + 1,
            in_use,
            stays: false,
            wanted,
        };
        let first = ask(&script, Some(lease("one:0", 0, wanted)), &[], 0).await?;
        expect("all slots are granted", &first.alone, &(MANY as usize))?;
        let second = ask(&script, Some(lease("two:0", 0, wanted)), &[], 0).await?;
        expect("and no more", &second.alone, &0)?;
        ask(&script, Some(lease("one:0", 1, 0)), &[], 0).await?;
        let third = ask(&script, Some(lease("two:0", 0, 0)), &[], 0).await?;
        expect("what comes free is there", &third.slots_left, &(MANY - 1))?;
        (self.say)("in-flight slots: good".to_owned());

        let mut times = Vec::with_capacity(TIMED);
        for _ in 0..TIMED {
            let watch = Stopwatch::start();
            ask(&script, None, &["b"], 1).await?;
            times.push(watch.elapsed());
        }
        (self.say)(format!("a call: {}", quantiles(times)));
        script.close().await;
        Ok(())
    }

    /// Decisions a second of one core through the batcher, beside single calls. Within a
    /// `LocalRuntime`.
    ///
    /// # Errors
    /// A call that fails.
    pub async fn bench(&mut self) -> Result<(), Unfit> {
        let options = self.options(Rule {
            capacity: TOKENS_MAX,
            rate: TOKENS_MAX,
        });
        let script = Script::connect(self.config.clone(), &options);
        script.connected().await;
        let alone = single(&script, 1).await?;
        (self.say)(format!("one EVALSHA a decision: {alone:.0}/s"));
        let pipelined = single(&script, BENCH_PIPELINED).await?;
        (self.say)(format!("the same, pipelined: {pipelined:.0}/s"));
        script.close().await;

        let redis = Redis::new(&self.url, options)?;
        let core = Rc::new(redis.core());
        Core::start(&core);
        let many = batched(&core, BENCH_ASKS, BENCH_KEYS, 1).await?;
        (self.say)(format!(
            "batched, {BENCH_KEYS} keys: {many:.0}/s ({:.1} times single, {:.1} times pipelined)",
            many / alone,
            many / pipelined
        ));
        let hot = batched(&core, HOT_ASKS, 1, 1).await?;
        (self.say)(format!("batched, one key: {hot:.0}/s"));
        let pipelined = batched(&core, BENCH_ASKS, 1, PIPELINED_READS).await?;
        (self.say)(format!(
            "batched, one key, {PIPELINED_READS} requests a question: {pipelined:.0}/s"
        ));
        let mut times = Vec::with_capacity(TIMED);
        for nth in 0..TIMED {
            let watch = Stopwatch::start();
            core.ask_many(key(nth), 1).await;
            times.push(watch.elapsed());
        }
        (self.say)(format!("a decision on an idle core: {}", quantiles(times)));
        core.close().await;
        Ok(())
    }
}

fn expect<V: PartialEq + std::fmt::Debug>(
    what: &'static str,
    found: &V,
    wanted: &V,
) -> Result<(), Unfit> {
    if found == wanted {
        return Ok(());
    }
    Err(Unfit::Wrong(what, format!("{found:?}, not {wanted:?}")))
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    format!("p50 {:?}, p99 {:?}", at(50), at(99))
}

fn key(nth: usize) -> Key {
    Key::User(nth.to_string().into())
}

async fn ask(
    script: &Script,
    lease: Option<Lease<'_>>,
    users: &[&str],
    wanted: usize,
) -> Result<Reply, Failed> {
    let keys: Vec<Key> = users.iter().map(|&user| Key::User(user.into())).collect();
    let asked = keys.iter().map(|key| Asked { key, wanted });
    let none = [].into_iter();
    script.call(lease.as_ref(), asked, none, None).await
}

/// Decisions a second with a call for each, `at_once` in flight.
async fn single(script: &Script, at_once: usize) -> Result<f64, Unfit> {
    let watch = Stopwatch::start();
    let lanes = (0..at_once).map(|first| async move {
        let mut nth = first;
        while watch.elapsed() < BENCH_TIME {
            let user = (nth % BENCH_KEYS).to_string();
            ask(script, None, &[&user], 1).await?;
            nth += at_once;
        }
        Ok::<usize, Failed>(nth / at_once)
    });
    let decided: Result<Vec<usize>, _> = join_all(lanes).await.into_iter().collect();
    Ok(per_second(decided?, watch))
}

/// Decisions a second through the batcher: `at_once` tasks, as if of so many connections, of which
/// each asks for `count` requests of one key at a time.
async fn batched(core: &Rc<Core>, at_once: usize, keys: usize, count: u32) -> Result<f64, Unfit> {
    let watch = Stopwatch::start();
    let lane = |first| {
        let core = Rc::clone(core);
        spawn_local(async move {
            let (mut nth, mut decided) = (first, 0);
            while watch.elapsed() < BENCH_TIME {
                let decisions = core.ask_many(key(nth % keys), count).await;
                if decisions.by != By::Whole {
                    let problem = "took Redis for away".to_owned();
                    return Err(Unfit::Wrong("the batcher", problem));
                }
                decided += decisions.granted as usize;
                nth += at_once;
            }
            Ok(decided)
        })
    };
    let lanes: Vec<JoinHandle<_>> = (0..at_once).map(lane).collect();
    let mut decided = Vec::with_capacity(lanes.len());
    for lane in lanes {
        decided.push(lane.await.expect("asking does not panic")?);
    }
    Ok(per_second(decided, watch))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_second(decided: Vec<usize>, watch: Stopwatch) -> f64 {
    decided.into_iter().sum::<usize>() as f64 / watch.elapsed().as_secs_f64()
}
