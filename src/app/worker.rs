//! The worker of a fleet, on a thread of its own: the store's connection lives on its runtime.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::alone::count;
use super::fleet::{Options, config_error};
use super::reach::until_reachable;
use super::{OpenError, WAITS_FOR_KAFKA, WAITS_FOR_POSTGRESQL};
use crate::feed::Publisher;
use crate::links::Link;
use crate::log::Consumer;
use crate::metrics::{Metrics, ShareMetrics, WorkerMetrics};
use crate::stage::{At, Stage};
use crate::store::{Store, postgres};
use crate::worker::{self, Fatal, Seen, Worker};
use crate::{clock, feed, log, runtime};

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
    let (database, kafka) = (
        Link::new("postgresql", &metrics),
        Link::new("kafka", &metrics),
    );
    let links = vec![database.clone(), kafka.clone()];
    let observe = observer(&metrics, database, kafka);
    let runtime = runtime::single_threaded()?;
    let thread = {
        let (stage, stop) = (stage.clone(), stop.clone());
        runtime::spawn("worker".to_owned(), stage.clone(), move || {
            let worked = runtime.block_on(work(&options, observe, &stage, stop));
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
        links,
        stop,
        thread,
    })
}

async fn work(
    options: &Options,
    observe: impl FnMut(Seen),
    stage: &Stage,
    stop: CancellationToken,
) -> Result<(), WorkError> {
    let opened = tokio::select! {
        opened = open(options, stage) => opened?,
        () = stop.cancelled() => return Ok(()),
    };
    let (store, publisher, consumer) = opened;
    stage.advance(At::Serving);
    info!("the worker is ready");
    let worker = Worker {
        consumer,
        store,
        publisher,
        clock: clock::now,
        observe,
        stop,
    };
    Ok(worker::run(worker).await?)
}

/// The store before the group: who joins it can work.
async fn open(options: &Options, stage: &Stage) -> Result<(Store, Publisher, Consumer), OpenError> {
    stage.starts(WAITS_FOR_KAFKA);
    options.prepare_topics().await?;
    stage.starts(WAITS_FOR_POSTGRESQL);
    let open = || async { Ok(postgres::Store::open(options.postgres.clone()).await?) };
    let store = until_reachable(open).await?;
    let publisher = feed::kafka::Publisher::open(&options.feed).map_err(config_error)?;
    let consumer = log::kafka::Consumer::open(&options.log).map_err(config_error)?;
    Ok((
        Store::Postgres(store),
        Publisher::Kafka(publisher),
        Consumer::Kafka(consumer),
    ))
}

fn observer(metrics: &Metrics, database: Link, kafka: Link) -> impl FnMut(Seen) + Send + 'static {
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
        Seen::FeedAnswers => kafka.answers(),
        Seen::FeedFails(reason) => {
            share.publish_failures.inc();
            kafka.fails(reason);
        }
    }
}
