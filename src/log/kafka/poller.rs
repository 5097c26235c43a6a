//! The thread that polls the client: it fetches, decodes, keeps the membership of the group and
//! hears of assignments and revocations. It waits for the worker for moments only.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;

use super::Options;
use super::buffer::Fetched;
use super::consumer::{Request, Shared};
use crate::clock::Stopwatch;
use crate::domain::{
    Command, DecodeError, Hash128, Payload, Position, Record, Timestamp, USER_CHARS_MAX,
};
use crate::kafka::{SetupError, is_lost, not_made, trace};
use crate::log::Strange;

/// How long one poll waits for a record or an event: what the worker asks for is seen within it.
const POLL: Duration = Duration::from_millis(20);
/// How long the poller waits for room in a full buffer before it pauses the partitions: the client
/// finds out up to a second late that they go on, and a worker that applies takes less than this.
const ROOM: Duration = Duration::from_millis(500);
/// A worker that is not heard of for so long has lost its partitions to others.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// How often this member is heard of, and hears that partitions are given out anew.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long the group waits for members to come back when partitions are given out anew.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the client says where the partitions end.
const STATISTICS_EVERY: Duration = Duration::from_secs(1);
/// How often offsets are committed, which only tools look at.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

struct Poller {
    topic: String,
    client: BaseConsumer<Membership>,
    shared: Arc<Shared>,
    paused: bool,
    committed: Stopwatch,
    scratch: Vec<u8>,
}

/// Makes the client and its thread; the thread ends when the consumer is closed.
pub(super) fn spawn(options: &Options, shared: &Arc<Shared>) -> Result<(), SetupError> {
    let membership = Membership(Arc::clone(shared));
    let client = configure(options)
        .create_with_context(membership)
        .map_err(|error| not_made(&error))?;
    let poller = Poller {
        topic: options.topic.clone(),
        client,
        shared: Arc::clone(shared),
        paused: false,
        committed: Stopwatch::start(),
        scratch: Vec::new(),
    };
    thread::Builder::new()
        .name("kafka-log".to_owned())
        .spawn(move || poller.run())
        .map_err(|error| SetupError::Unreachable(format!("no thread: {error}")))?;
    Ok(())
}

fn configure(options: &Options) -> ClientConfig {
    let mut config = options.cluster.consumer(&options.topic);
    let millis = |duration: Duration| duration.as_millis().to_string();
    config
        // Eager: all partitions are revoked and given out anew. Each begins at the store's
        // position anyhow, and who has which is never in doubt.
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", millis(SESSION_TIMEOUT))
        .set("heartbeat.interval.ms", millis(HEARTBEAT))
        .set("statistics.interval.ms", millis(STATISTICS_EVERY))
        .set("max.poll.interval.ms", millis(REBALANCE_TIMEOUT));
    config
}

/// Says that the poller is gone, also when it panicked.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Poller {
    fn run(mut self) {
        let ended = Ended(Arc::clone(&self.shared));
        while let Some(requests) = self.shared.request() {
            for request in requests {
                self.serve(request);
            }
            if !self.paused {
                self.shared.room(ROOM);
            }
            self.hold_back();
            self.commit();
            match self.client.poll(POLL) {
                Some(Ok(message)) => {
                    let fetched = fetched(&message, &mut self.scratch);
                    self.shared.fetched(fetched);
                }
                Some(Err(error)) => self.fail(&error),
                None => {}
            }
        }
        self.commit_applied();
        // Leaves the group.
        drop(self.client);
        drop(ended);
    }

    fn serve(&mut self, request: Request) {
        let done = match request {
            Request::Join => self.client.subscribe(&[&self.topic]),
            Request::Leave => {
                self.client.unsubscribe();
                Ok(())
            }
            Request::Begin(partitions) => {
                let mut state = self.shared.lock();
                for (partition, term, offset) in partitions {
                    state.buffer.begin(partition, term, offset);
                }
                let all: BTreeMap<u16, u64> = state.buffer.begun().collect();
                drop(state);
                // One assignment of all: with the eager protocol there is no other. What the
                // client had fetched ahead of it is void.
                self.paused = false;
                let list = self.list(&all);
                self.client
                    .assign(&list)
                    .and_then(|()| self.client.resume(&list))
            }
        };
        if let Err(error) = done {
            self.shared
                .fail(Strange(format!("{}: {error}", self.topic)));
        }
    }

    fn list(&self, offsets: &BTreeMap<u16, u64>) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (partition, offset) in offsets {
            let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
            list.add_partition_offset(&self.topic, i32::from(*partition), offset)
                .expect("an offset that is not negative is one");
        }
        list
    }

    /// Pauses the partitions while the buffer is full, and goes on polling for events.
    fn hold_back(&mut self) {
        let state = self.shared.lock();
        let pause = if self.paused {
            state.buffer.fills_a_batch()
        } else {
            state.buffer.is_full()
        };
        if pause == self.paused {
            return;
        }
        let all: BTreeMap<u16, u64> = state.buffer.begun().collect();
        drop(state);
        let list = self.list(&all);
        let done = if pause {
            self.client.pause(&list)
        } else {
            self.client.resume(&list)
        };
        match done {
            Ok(()) => self.paused = pause,
            Err(error) => tracing::warn!(%error, pause, "kafka: partitions are not held back"),
        }
    }

    fn commit(&mut self) {
        if self.committed.elapsed() < COMMIT_EVERY {
            return;
        }
        self.committed = Stopwatch::start();
        self.commit_applied();
    }

    fn commit_applied(&self) {
        let applied = self.shared.applied();
        if !applied.is_empty()
            && let Err(error) = self.client.commit(&self.list(&applied), CommitMode::Async)
        {
            tracing::debug!(%error, "kafka: offsets are not committed");
        }
    }

    fn fail(&self, error: &KafkaError) {
        let topic = &self.topic;
        match error {
            KafkaError::MessageConsumption(code) if is_lost(*code) => {
                self.shared.fail(Strange(format!(
                    "{topic}: the store's position is not in the topic any more ({code}): it was \
                     deleted, cut short, or kept for too short a time; restore it, or begin with \
                     an empty database and a new topic"
                )));
            }
            KafkaError::MessageConsumptionFatal(code) => {
                let problem = format!("{topic}: the consumer cannot go on: {code}");
                self.shared.fail(Strange(problem));
            }
            // The client goes on trying.
            error => tracing::warn!(topic, %error, "kafka: nothing can be fetched for now"),
        }
    }
}

fn fetched(message: &BorrowedMessage<'_>, scratch: &mut Vec<u8>) -> Fetched {
    let bytes = message.payload().unwrap_or_default();
    let millis = message.timestamp().to_millis().unwrap_or_default();
    let position = Position {
        partition: u16::try_from(message.partition()).expect("partitions are counted in a u16"),
        offset: u64::try_from(message.offset()).expect("a record's offset is not negative"),
    };
    Fetched {
        record: Record {
            position,
            appended_at: Timestamp::from_micros(millis.saturating_mul(1_000)),
            payload: payload(bytes, scratch, Command::decode),
        },
        bytes: bytes.len(),
        hash: Hash128::of(bytes),
    }
}

/// Reads a command. Parsing spoils the bytes it reads, so it gets a copy.
fn payload(
    bytes: &[u8],
    scratch: &mut Vec<u8>,
    decode: impl FnOnce(&mut [u8]) -> Result<Command, DecodeError>,
) -> Payload {
    scratch.clear();
    scratch.extend_from_slice(bytes);
    // A panic is of this record, too, and must not end the thread.
    let reason = match catch_unwind(AssertUnwindSafe(|| decode(scratch))) {
        Ok(Ok(command)) => return Payload::Command(command),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "decoding the command panicked".to_owned(),
    };
    Payload::Poison {
        user: user(bytes).unwrap_or_default(),
        bytes: bytes.to_vec(),
        reason,
    }
}

/// Whose command it would have been, as far as that can be told: a later version's has a user in
/// the same place.
fn user(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Outer {
        command: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        user: String,
    }
    let Outer { command } = serde_json::from_slice(bytes).ok()?;
    let is_one = command.user.chars().count() <= USER_CHARS_MAX && !command.user.contains('\0');
    is_one.then_some(command.user)
}

/// Runs on the poller's thread, from within a poll.
struct Membership(Arc<Shared>);

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        trace(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "kafka: {reason}");
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = statistics
            .topics
            .values()
            .flat_map(|topic| &topic.partitions);
        // Negative where it is not known.
        let end = |(partition, known): (&i32, &rdkafka::statistics::Partition)| {
            let partition = u16::try_from(*partition).ok()?;
            Some((partition, u64::try_from(known.hi_offset).ok()?))
        };
        self.0.ends(partitions.filter_map(end).collect());
    }
}

impl ConsumerContext for Membership {
    /// Takes an assignment without fetching anything: where to begin is the store's to say.
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let elements = list.elements();
            let partitions = elements.iter().map(TopicPartitionListElem::partition);
            self.0.assigned(
                partitions
                    .filter_map(|one| u16::try_from(one).ok())
                    .collect(),
            );
            client.assign(&TopicPartitionList::new())
        } else {
            self.0.revoked();
            client.unassign()
        };
        if let Err(error) = done {
            tracing::error!(%error, "kafka: an assignment was not taken");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "kafka: offsets are not committed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::contract::delete;

    #[test]
    fn a_panic_while_decoding_is_of_that_record_only() {
        let (command, mut scratch) = (delete(1), Vec::new());
        let bytes = command.encode();
        let poison = payload(&bytes, &mut scratch, |_| panic!("on purpose"));
        let expected = Payload::Poison {
            user: command.user.clone(),
            bytes: bytes.clone(),
            reason: "decoding the command panicked".to_owned(),
        };
        assert_eq!(poison, expected);
        let next = payload(&bytes, &mut scratch, Command::decode);
        assert_eq!(next, Payload::Command(command));
    }
}
