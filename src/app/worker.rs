//! The worker of a fleet, on a thread of its own: the store's connection lives on its runtime.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::alone::count;
use super::fleet::{Options, config_error};
use super::reach::until_linked;
use super::{OpenError, WAITS_FOR_KAFKA, WAITS_FOR_POSTGRESQL};
use crate::feed::Publisher;
use crate::links::Link;
use crate::log::Consumer;
use crate::metrics::{Metrics, ShareMetrics, WorkerMetrics};
use crate::stage::{At, Stage};
use crate::store::{Store, postgres};
use crate::worker::{self, Fatal, Seen, Worker};
use crate::{clock, feed, log, runtime};

/// Between two looks whether Kafka is there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a worker has ended before it was stopped.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

/// A worker that runs.
pub struct Running {
    pub metrics: Arc<Metrics>,
    /// [`At::Serving`] once it takes part in the group.
    pub stage: Stage,
    pub links: Vec<Link>,
    /// Ends it after the batch under way.
    pub stop: CancellationToken,
    pub thread: JoinHandle<Result<(), WorkError>>,
}

/// Starts the worker. Its errors, those of opening included, are what its thread ends with; the
/// stage has them as its fault.
///
/// # Errors
/// Those of the system: no thread left.
pub fn start(options: Options) -> io::Result<Running> {
    let metrics = Arc::new(Metrics::new(1));
    let stage = Stage::default();
    let stop = CancellationToken::new();
    super::gauge_ready(&metrics, &stage);
    let links = ["postgresql", "kafka"].map(|name| Link::new(name, &metrics));
    let observe = observer(&metrics, links[0].clone());
    let runtime = runtime::single_threaded()?;
    let thread = {
        let (stage, links, stop) = (stage.clone(), links.clone(), stop.clone());
        runtime::spawn("worker".to_owned(), stage.clone(), move || {
            let worked = runtime.block_on(work(&options, observe, &stage, &links, stop));
            // A question that Kafka does not answer is left behind.
            runtime.shutdown_background();
            if let Err(error) = &worked {
                stage.fail(format!("the worker has stopped: {error}"));
            }
            worked
        })?
    };
    Ok(Running {
        metrics,
        stage,
        links: links.into(),
        stop,
        thread,
    })
}

async fn work(
    options: &Options,
    observe: impl FnMut(Seen),
    stage: &Stage,
    links: &[Link; 2],
    stop: CancellationToken,
) -> Result<(), WorkError> {
    let opened = tokio::select! {
        opened = open(options, stage, links) => opened?,
        () = stop.cancelled() => return Ok(()),
    };
    let (store, publisher, consumer) = opened;
    let look = look(publisher.reach(), &links[1]);
    stage.advance(At::Serving);
    info!("the worker is ready");
    let worker = Worker {
        consumer,
        store,
        publisher: Publisher::Kafka(publisher),
        clock: clock::now,
        observe,
        stop,
    };
    tokio::select! {
        done = worker::run(worker) => Ok(done?),
        never = look => match never {},
    }
}

/// Tells the link whether brokers are connected.
async fn look(reach: impl Fn() -> bool, kafka: &Link) -> Infallible {
    let mut ticks = interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        if reach() {
            kafka.answers();
        } else {
            kafka.fails("no broker is connected");
        }
    }
}

/// The store before the group: who joins it can work.
async fn open(
    options: &Options,
    stage: &Stage,
    [database, kafka]: &[Link; 2],
) -> Result<(Store, feed::kafka::Publisher, Consumer), OpenError> {
    stage.starts(WAITS_FOR_KAFKA);
    until_linked(kafka, || options.prepare_topics()).await?;
    stage.starts(WAITS_FOR_POSTGRESQL);
    let open = || async { Ok(postgres::Store::open(options.postgres.clone()).await?) };
    let store = until_linked(database, open).await?;
    let publisher = feed::kafka::Publisher::open(&options.feed).map_err(config_error)?;
    let consumer = log::kafka::Consumer::open(&options.log).map_err(config_error)?;
    Ok((Store::Postgres(store), publisher, Consumer::Kafka(consumer)))
}

fn observer(metrics: &Metrics, database: Link) -> impl FnMut(Seen) + Send + 'static {
    let steps = WorkerMetrics::register(metrics);
    let share = ShareMetrics::register(metrics);
    let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    move |seen| match seen {
        Seen::Batch(step) => count(&steps, &step),
        Seen::Owned(partitions) => share.partitions.set(gauge(partitions)),
        Seen::Lag(commands) => share.lag.set(commands.cast_signed()),
        Seen::Outbox(ranges) => share.outbox.set(gauge(ranges)),
        Seen::Restarted => share.restarts.inc(),
        Seen::StoodAside => share.stood_aside.inc(),
        Seen::StoreAnswers => database.answers(),
        Seen::StoreFails(reason) => database.fails(reason),
        Seen::FeedFails => share.publish_failures.inc(),
    }
}
