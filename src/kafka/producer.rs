//! A producer whose acknowledgements can be trusted: acknowledged by all in-sync replicas, bounded,
//! and truthful about what it does not know.
//!
//! A record is sent again only where it is certain that it was not taken; else whoever sent it is
//! told that nobody knows. So it is in the topic once or not at all. An idempotent producer
//! (KIP-98) would send it again by itself, but what was under way when the first record of its
//! request times out begins a new epoch, and is then in the topic twice.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::client::{millis, not_made, trace};
use super::topic::message_bytes_max;
use super::{Cluster, SetupError};

/// How long a record may wait for its acknowledgement, repetitions included. Who waits for it
/// hears within a second more: the client looks at its queues once a second.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(4);
/// How often the client says which brokers it is connected to.
const STATISTICS_EVERY: Duration = Duration::from_millis(500);
/// Statements in a row without any broker, after which nothing more is taken. One is not enough:
/// brokers close idle connections, and the next one is made at once.
const ABSENCES_MAX: i32 = 2;
/// Statements before the first broker that say nothing: a client that nobody has given a record
/// looks for one after a second only, and the broker may take another.
const FIRST_ABSENCES: i32 = 4;
/// What a record takes in memory beside its bytes, about.
const RECORD_OVERHEAD_BYTES: usize = 256;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Records, and bytes of them, that may wait for their acknowledgement; more is refused.
    pub queue_records_max: usize,
    pub queue_bytes_max: usize,
    /// Bytes of one record.
    pub record_bytes_max: usize,
    /// How long the first record of a request waits for others.
    pub linger: Duration,
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It is not in the topic and never will be.
    #[error("not sent: {0}")]
    NotSent(Cow<'static, str>),
    /// It may be in the topic, or may get there yet.
    #[error("not known whether sent: {0}")]
    Unknown(Cow<'static, str>),
}

/// Of one topic.
pub struct Producer {
    topic: String,
    limits: Limits,
    client: ThreadedProducer<Reports>,
    /// Statements in a row that named no connected broker; negative before the first count.
    absences: Arc<AtomicI32>,
    queue: Arc<Queue>,
    closed: AtomicBool,
}

/// What waits for its acknowledgement.
#[derive(Default)]
struct Queue {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// A record's share of the queue; given back when its report is in, whatever that says.
struct Place {
    queue: Arc<Queue>,
    bytes: usize,
}

/// Travels through the client beside the record.
struct Ticket {
    told: oneshot::Sender<Result<u64, Failure>>,
    place: Place,
}

/// Of a record on its way. Dropped, it does not take the record back.
pub struct Delivery(oneshot::Receiver<Result<u64, Failure>>);

impl Delivery {
    /// The record's offset.
    ///
    /// # Cancel safety
    /// The record stays on its way.
    pub async fn done(self) -> Result<u64, Failure> {
        self.0.await.unwrap_or_else(|_| {
            let reason = "the producer was closed before the record was acknowledged";
            Err(Failure::Unknown(reason.into()))
        })
    }
}

impl Producer {
    /// Makes a client; it connects in the background.
    ///
    /// # Errors
    /// [`SetupError::Config`]: the address cannot be one.
    pub fn open(cluster: &Cluster, topic: &str, limits: Limits) -> Result<Self, SetupError> {
        let absences = Arc::new(AtomicI32::new(-FIRST_ABSENCES));
        let client = configure(cluster, limits)
            .create_with_context(Reports(Arc::clone(&absences)))
            .map_err(|error| not_made(&error))?;
        Ok(Self {
            topic: topic.to_owned(),
            limits,
            client,
            absences,
            queue: Arc::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Sends a record on its way. Never waits: what cannot be taken now is refused.
    ///
    /// # Errors
    /// [`Failure::NotSent`]
    pub fn send(&self, partition: u16, bytes: &[u8]) -> Result<Delivery, Failure> {
        let refused = |reason| Err(Failure::NotSent(Cow::Borrowed(reason)));
        if self.closed.load(Relaxed) {
            return refused("closed");
        }
        if bytes.len() > self.limits.record_bytes_max {
            return refused("the record is too large");
        }
        if !self.is_reachable() {
            return refused("no broker can be reached");
        }
        let Some(place) = self.place(bytes.len()) else {
            return refused("the queue is full");
        };
        let (told, delivery) = oneshot::channel();
        let ticket = Box::new(Ticket { told, place });
        let record: BaseRecord<'_, (), [u8], _> = BaseRecord::with_opaque_to(&self.topic, ticket)
            .partition(i32::from(partition))
            .payload(bytes);
        match self.client.send(record) {
            Ok(()) => Ok(Delivery(delivery)),
            Err((error, _)) => Err(Failure::NotSent(error.to_string().into())),
        }
    }

    /// Whether any broker is connected, or was a moment ago, or has just been looked for.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.absences.load(Relaxed) < ABSENCES_MAX
    }

    /// Records, and about how many bytes of them, that are not acknowledged yet.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        let queue = &self.queue;
        (queue.records.load(Relaxed), queue.bytes.load(Relaxed))
    }

    /// Takes no more records; those on their way go on.
    pub fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    fn place(&self, bytes: usize) -> Option<Place> {
        let place = Place {
            queue: Arc::clone(&self.queue),
            bytes: bytes + RECORD_OVERHEAD_BYTES,
        };
        // Taken first and looked at then, so that threads cannot overdraw together.
        let records = self.queue.records.fetch_add(1, Relaxed);
        let held = self.queue.bytes.fetch_add(place.bytes, Relaxed);
        let fits = records < self.limits.queue_records_max
            && held + place.bytes <= self.limits.queue_bytes_max;
        fits.then_some(place)
    }
}

impl Drop for Producer {
    /// What was taken is sent, as far as that is possible in the time it has.
    fn drop(&mut self) {
        if self.queued().0 > 0
            && let Err(error) = self.client.flush(SEND_TIMEOUT)
        {
            tracing::warn!(%error, "kafka: records were not acknowledged in time");
        }
    }
}

fn configure(cluster: &Cluster, limits: Limits) -> ClientConfig {
    let message_bytes = message_bytes_max(limits.record_bytes_max);
    let mut config = cluster.client();
    config
        .set("acks", "all")
        .set("enable.idempotence", "false")
        // What the broker refused for certain, not being the leader, is sent again all the same.
        .set("retries", "0")
        .set("message.timeout.ms", millis(SEND_TIMEOUT))
        .set("request.timeout.ms", millis(SEND_TIMEOUT))
        .set("retry.backoff.ms", "50")
        .set("compression.type", "lz4")
        .set("linger.ms", millis(limits.linger))
        .set("message.max.bytes", message_bytes.to_string())
        .set("statistics.interval.ms", millis(STATISTICS_EVERY))
        // The limits are this module's; the client's own must not be met before them.
        .set(
            "queue.buffering.max.messages",
            limits
                .queue_records_max
                .saturating_add(1)
                .clamp(1, 10_000_000)
                .to_string(),
        )
        .set(
            "queue.buffering.max.kbytes",
            (limits.queue_bytes_max >> 10)
                .saturating_add(1)
                .clamp(1, i32::MAX as usize)
                .to_string(),
        );
    config
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.records.fetch_sub(1, Relaxed);
        self.queue.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// Runs on the client's thread: nothing here may wait or panic.
struct Reports(Arc<AtomicI32>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, "kafka: {reason}");
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if is_connected(statistics) {
            self.0.store(0, Relaxed);
        } else {
            self.0.fetch_add(1, Relaxed);
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let told = match result {
            Ok(record) => u64::try_from(record.offset()).map_err(|_| {
                Failure::Unknown("the record was acknowledged without its offset".into())
            }),
            Err((error, _)) => Err(failure(error)),
        };
        let Ticket { told: asker, place } = *ticket;
        // First the room, then the news: who hears of it may send the next.
        drop(place);
        // Whoever asked may have left.
        drop(asker.send(told));
    }
}

/// What a broker said to the one request that held the record. Who does not say may have taken it.
fn failure(error: &KafkaError) -> Failure {
    let reason = error.to_string().into();
    match error.rdkafka_error_code() {
        // Refused before it was appended.
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::NotEnoughReplicas
            | RDKafkaErrorCode::NotLeaderForPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed,
        ) => Failure::NotSent(reason),
        _ => Failure::Unknown(reason),
    }
}

/// Whether a statement names a connected broker. One that cannot be read does not count against
/// the brokers.
fn is_connected(statistics: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Statement<'a> {
        #[serde(borrow)]
        brokers: HashMap<Cow<'a, str>, Broker<'a>>,
    }
    #[derive(Deserialize)]
    struct Broker<'a> {
        #[serde(borrow)]
        state: Cow<'a, str>,
    }
    serde_json::from_slice(statistics).map_or(true, |statement: Statement<'_>| {
        let mut brokers = statement.brokers.values();
        brokers.any(|broker| broker.state == "UP")
    })
}

#[cfg(test)]
mod tests;
