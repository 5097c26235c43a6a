//! Whether the topic is the log that the store was fed from.
//!
//! A client of its own looks, which takes its time: it must not hold up the poller.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Offset, TopicPartitionList};

use super::Options;
use crate::clock::Stopwatch;
use crate::domain::{Hash128, LastRecord, Stored};
use crate::kafka::{Quiet, not_made};
use crate::log::Strange;

/// How long the cluster may take to say where a partition begins and ends.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last records may take to arrive.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub enum Doubt {
    Strange(Strange),
    /// Nothing is known; ask again.
    Unreachable(String),
}

/// Whether there is such a topic at all, as the cluster says. One whose brokers are away is there.
///
/// # Errors
/// [`Doubt`]
pub fn exists(options: &Options) -> Result<(), Doubt> {
    let topic = &options.topic;
    let client = client(options)?;
    let metadata = client.fetch_metadata(Some(topic), ASK_TIMEOUT);
    let metadata = metadata.map_err(|error| unreachable(&error))?;
    let is_unknown = |topic: &MetadataTopic| {
        topic.error().map(RDKafkaErrorCode::from) == Some(RDKafkaErrorCode::UnknownTopicOrPartition)
    };
    if metadata.topics().iter().any(is_unknown) {
        return Err(Doubt::Strange(Strange(format!(
            "{topic}: there is no such topic. Name the one that the database belongs to \
             (KAFKA_TODO_TOPIC)"
        ))));
    }
    Ok(())
}

fn client(options: &Options) -> Result<BaseConsumer<Quiet>, Doubt> {
    let mut config = options
        .cluster
        .consumer(&format!("{}-verify", options.topic));
    config.set("queued.min.messages", "1");
    let made = config.create_with_context(Quiet);
    made.map_err(|error| Doubt::Unreachable(not_made(&error).to_string()))
}

/// Compares the topic with where the store stands.
///
/// # Errors
/// [`Doubt`]
pub fn verify(options: &Options, stored: &[Stored]) -> Result<(), Doubt> {
    let topic = &options.topic;
    let client = client(options)?;
    let mut expected = BTreeMap::new();
    for one in stored {
        let partition = i32::from(one.partition);
        let ends = client.fetch_watermarks(topic, partition, ASK_TIMEOUT);
        let (low, high) = ends.map_err(|error| unreachable(&error))?;
        let (low, high) = (unsigned(low), unsigned(high));
        within(topic, one, low, high).map_err(Doubt::Strange)?;
        if let Some(last) = one.last
            && (low..high).contains(&last.position.offset)
        {
            expected.insert(one.partition, last);
        }
    }
    if expected.is_empty() {
        return Ok(());
    }
    compare(&client, topic, expected)
}

fn unreachable(error: &KafkaError) -> Doubt {
    Doubt::Unreachable(error.to_string())
}

fn unsigned(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

/// Whether the position is one of the topic's.
fn within(topic: &str, stored: &Stored, low: u64, high: u64) -> Result<(), Strange> {
    let Stored {
        partition,
        next_offset,
        ..
    } = *stored;
    if next_offset < low {
        return Err(Strange(format!(
            "{topic}, partition {partition}: begins at {low}, but the store stands at \
             {next_offset}: the commands between are gone. Give the topic a longer retention; to \
             go on without them, begin with an empty database and a new topic"
        )));
    }
    if next_offset > high {
        return Err(Strange(format!(
            "{topic}, partition {partition}: ends at {high}, but the store stands at \
             {next_offset}: the topic was made anew or lost its end. Name the topic that the \
             database belongs to (KAFKA_TODO_TOPIC), or begin with an empty database"
        )));
    }
    Ok(())
}

/// Whether the topic holds the records that were applied last.
fn compare(
    client: &BaseConsumer<Quiet>,
    topic: &str,
    mut expected: BTreeMap<u16, LastRecord>,
) -> Result<(), Doubt> {
    let mut places = TopicPartitionList::with_capacity(expected.len());
    for (partition, last) in &expected {
        let offset = Offset::Offset(i64::try_from(last.position.offset).unwrap_or(i64::MAX));
        places
            .add_partition_offset(topic, i32::from(*partition), offset)
            .map_err(|error| unreachable(&error))?;
    }
    client
        .assign(&places)
        .map_err(|error| unreachable(&error))?;
    let watch = Stopwatch::start();
    while !expected.is_empty() {
        if watch.elapsed() > FETCH_TIMEOUT {
            let problem = "the records applied last do not arrive";
            return Err(Doubt::Unreachable(problem.to_owned()));
        }
        let message = match client.poll(POLL) {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(unreachable(&error)),
            None => continue,
        };
        let partition = u16::try_from(message.partition()).unwrap_or(u16::MAX);
        // Later ones of a partition that is settled come as well.
        let Some(last) = expected.remove(&partition) else {
            continue;
        };
        let hash = Hash128::of(message.payload().unwrap_or_default());
        if unsigned(message.offset()) != last.position.offset || hash != last.hash {
            return Err(Doubt::Strange(another(topic, last)));
        }
    }
    Ok(())
}

fn another(topic: &str, last: LastRecord) -> Strange {
    Strange(format!(
        "{topic}: the record at {} is not the one that was applied to the database: the topic was \
         made anew or belongs to another database. Name the right topic (KAFKA_TODO_TOPIC), or \
         begin with an empty database",
        last.position
    ))
}
