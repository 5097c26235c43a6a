//! A server of a fleet, and the tools that work on one: Kafka between, PostgreSQL behind.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::reach::{Missing, until_linked, until_reachable};
use super::{App, LOADS, OpenError, WAITS_FOR_KAFKA, WAITS_FOR_POSTGRESQL, nothing_yet};
use crate::clock::Stopwatch;
use crate::feed::Subscriber;
use crate::kafka::{Cluster, Durability, SetupError};
use crate::links::Link;
use crate::log::Appender;
use crate::marks::Marks;
use crate::metrics::{FollowerMetrics, Metrics, SnapshotMetrics};
use crate::snapshot::reload::{self, Follower, Seen};
use crate::snapshot::{Encoder, Published, Snapshot};
use crate::stage::{At, Stage};
use crate::store::{self, Reader, postgres};
use crate::{feed, log, runtime};

/// Bytes of an encoded command, at most: 10,200 characters of title and description, each up to
/// six bytes of JSON (`\u0001`), a user of 128, and the frame.
const COMMAND_BYTES_MAX: usize = 96 << 10;
/// Time in which the producer finds brokers that are back: it tries once a second.
const RECONNECT_TIME: Duration = Duration::from_secs(3);
const RECONNECT_LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a fleet is told, in the words of the configuration.
pub struct Wanted {
    pub database_url: String,
    pub pool_size: u32,
    pub brokers: String,
    pub todo_topic: String,
    pub partitions: u16,
    pub results_topic: String,
    pub replication: u16,
    pub min_insync: u16,
    /// How long a write waits for others to travel with.
    pub linger: Duration,
    pub store: store::Options,
    pub log: log::Options,
}

/// What the parts of a fleet are opened with.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) postgres: postgres::Options,
    pub(super) log: log::kafka::Options,
    pub(super) feed: feed::kafka::Options,
}

impl Options {
    /// # Errors
    /// [`OpenError::Config`]: an address that is none.
    pub fn new(wanted: Wanted) -> Result<Self, OpenError> {
        let cluster = Cluster {
            brokers: wanted.brokers,
        };
        let durability = Durability {
            replication: wanted.replication,
            min_insync: wanted.min_insync,
        };
        let limits = &wanted.log;
        // A command that is larger than a batch comes alone.
        let batch_bytes_max = limits.batch_bytes_max.max(COMMAND_BYTES_MAX);
        Ok(Self {
            postgres: postgres::Options {
                address: address(&wanted.database_url)?,
                store: wanted.store,
                pool_size: wanted.pool_size,
                limits: postgres::Limits::default(),
            },
            feed: feed::kafka::Options {
                cluster: cluster.clone(),
                topic: wanted.results_topic,
                durability,
                record_bytes_max: feed::record_bytes_max(
                    limits.batch_commands_max,
                    batch_bytes_max,
                ),
            },
            log: log::kafka::Options {
                cluster,
                topic: wanted.todo_topic,
                partitions: wanted.partitions,
                durability,
                record_bytes_max: COMMAND_BYTES_MAX,
                linger: wanted.linger,
                limits: wanted.log,
            },
        })
    }

    /// Creates and verifies the topics.
    pub(super) async fn prepare_topics(&self) -> Result<(), Missing> {
        log::kafka::prepare(&self.log).await?;
        feed::kafka::prepare(&self.feed).await?;
        Ok(())
    }
}

pub(super) fn address(url: &str) -> Result<postgres::Address, OpenError> {
    url.parse()
        .map_err(|bad: postgres::BadAddress| OpenError::Config {
            variable: "DATABASE_URL",
            problem: bad.to_string(),
        })
}

/// What a server of a fleet begins with: a place in the feed, and what is applied before it.
async fn begin(
    options: &Options,
    reader: &postgres::Reader,
    stage: &Stage,
    [database, kafka]: &[Link; 2],
) -> Result<(Subscriber, Snapshot), OpenError> {
    stage.starts(WAITS_FOR_KAFKA);
    until_linked(kafka, || options.prepare_topics()).await?;
    stage.starts(WAITS_FOR_POSTGRESQL);
    let check = || async { Ok(reader.check().await?) };
    until_linked(database, check).await?;
    stage.starts(WAITS_FOR_KAFKA);
    // The end of the feed first: what is applied while the todos are read comes after it.
    let mut subscriber = Subscriber::Kafka(feed::kafka::Subscriber::open(&options.feed));
    subscriber.seek_to_end().await;
    stage.starts(LOADS);
    let (reader, partitions) = (
        Reader::Postgres(reader.clone()),
        usize::from(options.log.partitions),
    );
    let load = || async { Ok(reload::load(&reader, partitions).await?) };
    Ok((subscriber, until_linked(database, load).await?))
}

pub(super) async fn open_reader(options: &Options) -> Result<Reader, OpenError> {
    let open = || async { Ok(postgres::Reader::open(&options.postgres).await?) };
    until_reachable(open).await.map(Reader::Postgres)
}

/// Starts the threads behind the HTTP side. One of them reaches Kafka and PostgreSQL, however long
/// they take to come, and loads the todos: until then the stage is [`At::Starting`]. No worker need
/// run.
///
/// # Errors
/// What will not get better by waiting; nothing goes on running then.
pub fn open(options: &Options, serving_threads: usize) -> Result<App, OpenError> {
    let log = open_log(options)?;
    let reader = postgres::Reader::lazy(&options.postgres)?;
    let stage = Stage::default();
    let stop = CancellationToken::new();
    let metrics = Arc::new(Metrics::new(serving_threads));
    let (published, marks) = nothing_yet(options.log.partitions);
    let encoder = Encoder::spawn(&published)?;
    let links = ["postgresql", "kafka"].map(|name| Link::new(name, &metrics));
    let refresher = Refresher {
        options: options.clone(),
        log: log.clone(),
        reader: reader.clone(),
        published: Arc::clone(&published),
        marks: Arc::clone(&marks),
        links: links.clone(),
        observe: observer(&metrics, links.clone(), log.clone()),
        stage: stage.clone(),
        stop: stop.clone(),
    };
    let app = App {
        log,
        published,
        marks,
        reader: Reader::Postgres(reader),
        metrics,
        links: links.into(),
        writer: None,
        refresher: super::refresher(stage.clone(), move || refresher.run())?,
        stage,
        encoder,
        stop,
        data_dir: None,
    };
    app.gauge();
    Ok(app)
}

/// Loads the todos, and makes snapshots of what the workers apply.
struct Refresher<Observe> {
    options: Options,
    log: Appender,
    reader: postgres::Reader,
    published: Arc<Published>,
    marks: Arc<Marks>,
    links: [Link; 2],
    observe: Observe,
    stage: Stage,
    stop: CancellationToken,
}

impl<Observe: Fn(Seen)> Refresher<Observe> {
    fn run(self) -> Result<(), OpenError> {
        // The subscriber's client lives on the runtime that made it.
        let runtime = runtime::single_threaded()?;
        let done = runtime.block_on(self.begin_and_follow());
        // A question that Kafka does not answer is left behind.
        runtime.shutdown_background();
        done
    }

    /// The producer may not know yet that brokers which were away are back. Reads do not wait for
    /// brokers that have left meanwhile.
    async fn until_writable(&self) {
        let watch = Stopwatch::start();
        while !self.log.is_reachable() && watch.elapsed() < RECONNECT_TIME {
            self.stage.starts(WAITS_FOR_KAFKA);
            sleep(RECONNECT_LOOK_AGAIN).await;
        }
    }

    async fn begin_and_follow(self) -> Result<(), OpenError> {
        let watch = Stopwatch::start();
        let opening = async {
            let begun = begin(&self.options, &self.reader, &self.stage, &self.links).await?;
            self.until_writable().await;
            Ok::<_, OpenError>(begun)
        };
        let (subscriber, snapshot) = tokio::select! {
            begun = opening => begun?,
            () = self.stop.cancelled() => return Ok(()),
        };
        info!(todos = snapshot.len(), took = ?watch.elapsed(), "loaded");
        reload::show(snapshot, &self.published, &self.marks);
        self.stage.advance(At::Serving);
        let followed = reload::run(Follower {
            subscriber,
            reader: Reader::Postgres(self.reader),
            published: self.published,
            marks: self.marks,
            observe: self.observe,
            stop: self.stop,
        });
        if let Err(halt) = followed.await {
            self.stage
                .fail(format!("the snapshot cannot follow the feed: {halt}"));
        }
        Ok(())
    }
}

pub(super) fn open_log(options: &Options) -> Result<Appender, OpenError> {
    let opened = log::kafka::Appender::open(&options.log);
    opened.map(Appender::Kafka).map_err(config_error)
}

pub(super) fn config_error(error: SetupError) -> OpenError {
    match Missing::from(error) {
        Missing::ForGood(error) => error,
        Missing::Yet(variable, problem) => OpenError::Config { variable, problem },
    }
}

/// What is seen of the store comes once a second at least: the log is looked at with it.
fn observer(
    metrics: &Metrics,
    [database, kafka]: [Link; 2],
    log: Appender,
) -> impl Fn(Seen) + Send + 'static {
    let look = move || {
        if log.is_reachable() {
            kafka.answers();
        } else {
            kafka.fails("no broker is connected");
        }
    };
    let snapshots = SnapshotMetrics::register(metrics);
    let follower = FollowerMetrics::register(metrics);
    move |seen| match seen {
        Seen::Renewed(renewed) => {
            follower.ranges.inc_by(renewed.ranges as u64);
            follower.commands.inc_by(renewed.commands);
            let seconds = renewed.took.as_secs_f64();
            snapshots.publish_seconds.observe(seconds);
        }
        Seen::Reloaded(took) => {
            follower.reloads.inc();
            follower.reload_seconds.observe(took.as_secs_f64());
        }
        Seen::Lag(commands) => follower.lag.set(commands.cast_signed()),
        Seen::StoreAnswers => {
            database.answers();
            look();
        }
        Seen::StoreFails(reason) => {
            database.fails(reason);
            look();
        }
    }
}

/// Brings the schema of a fleet's database up to date; returns its version before and after.
///
/// # Errors
/// What will not get better by waiting.
pub fn migrate(database_url: &str) -> Result<(i64, i64), OpenError> {
    let address = address(database_url)?;
    let migrate = || async { Ok(postgres::migrate(&address).await?) };
    let migrated = runtime::single_threaded()?.block_on(until_reachable(migrate))?;
    Ok((migrated.from, migrated.to))
}
