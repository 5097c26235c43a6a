//! The two topics of a test's own, deleted with it; and the log of commands as Kafka has it, without
//! the program in between.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::{Builder, Runtime};

use super::{PATIENCE, eventually};

/// Few, so that each sees much; several, so that workers share them.
pub const PARTITIONS: u16 = 4;

/// One poll of a consumer.
const POLL: Duration = Duration::from_millis(100);

pub struct Topics {
    pub brokers: String,
    pub commands: String,
    pub results: String,
    pub partitions: u16,
}

/// Where a record stands.
pub type Place = (u16, u64);

pub struct Record {
    pub place: Place,
    pub value: Vec<u8>,
}

impl Topics {
    /// Names that nobody else has; whoever starts first creates the topics.
    pub fn on(brokers: &str, partitions: u16) -> Self {
        let name = format!("test-{:032x}", rand::random::<u128>());
        Self {
            brokers: brokers.to_owned(),
            commands: format!("{name}-commands"),
            results: format!("{name}-results"),
            partitions,
        }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// Writes records into one partition, past every server; gives their offsets.
    pub fn write(&self, partition: u16, values: &[Vec<u8>]) -> Vec<u64> {
        let mut config = self.client();
        config.set("message.max.bytes", "16000000");
        let producer: FutureProducer = config.create().unwrap();
        let deliveries = values.iter().map(|value| {
            let record = FutureRecord::<(), _>::to(&self.commands).payload(value);
            let delivery = producer.send(record.partition(partition.into()), PATIENCE);
            async { u64::try_from(delivery.await.unwrap().offset).unwrap() }
        });
        let deliveries: Vec<_> = deliveries.collect();
        runtime().block_on(futures_util::future::join_all(deliveries))
    }

    /// Per partition the offset of the next record.
    pub fn ends(&self) -> Vec<u64> {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let end = |partition: u16| {
            eventually("Kafka tells the end of a partition", PATIENCE, || {
                let marks = consumer.fetch_watermarks(&self.commands, partition.into(), PATIENCE);
                marks.ok().map(|(_, end)| u64::try_from(end).unwrap())
            })
        };
        (0..self.partitions).map(end).collect()
    }

    /// All commands, each partition in its order.
    pub fn records(&self) -> Vec<Record> {
        let ends = self.ends();
        let mut config = self.client();
        // A group is named because the library wants one; it is never joined.
        config
            .set("group.id", &self.commands)
            .set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut from_the_start = TopicPartitionList::new();
        for partition in 0..self.partitions {
            from_the_start
                .add_partition_offset(&self.commands, partition.into(), Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&from_the_start).unwrap();
        let mut records: Vec<Record> = vec![];
        let wanted: u64 = ends.iter().sum();
        eventually("the whole log is read", PATIENCE, || {
            while let Some(Ok(message)) = consumer.poll(POLL) {
                let partition = u16::try_from(message.partition()).unwrap();
                let offset = u64::try_from(message.offset()).unwrap();
                records.push(Record {
                    place: (partition, offset),
                    value: message.payload().unwrap_or_default().to_vec(),
                });
            }
            (records.len() as u64 >= wanted).then_some(())
        });
        records.sort_by_key(|record| record.place);
        records
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// Deletes both topics, as somebody might by mistake.
    pub fn delete(&self) {
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let names = [self.commands.as_str(), self.results.as_str()];
        drop(runtime().block_on(self.admin().delete_topics(&names, &options)));
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        self.delete();
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
