//! A server's end: a reader without a group, which begins at the end and goes on from there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{Options, PARTITION};
use crate::domain::Applied;
use crate::feed::End;
use crate::kafka::{Quiet, is_lost};

/// How long the cluster may take to say where the topic ends.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts to learn it.
const SEEK_AGAIN: Duration = Duration::from_millis(500);
/// Records taken at once.
const RECORDS_MAX: usize = 64;

type Client = StreamConsumer<Quiet>;

pub struct Subscriber {
    options: Options,
    /// Once it has been to the end.
    client: Option<Arc<Client>>,
    /// Said until the next seek.
    lost: Option<End>,
}

impl Subscriber {
    /// Makes nothing yet: the first [`Subscriber::seek_to_end`] connects.
    #[must_use]
    pub fn open(options: &Options) -> Self {
        Self {
            options: options.clone(),
            client: None,
            lost: None,
        }
    }

    pub(in crate::feed) async fn seek_to_end(&mut self) {
        while let Err(reason) = self.try_seek().await {
            tracing::warn!(reason, "kafka: the end of the feed is not known yet");
            sleep(SEEK_AGAIN).await;
        }
    }

    async fn try_seek(&mut self) -> Result<(), String> {
        let client = match &self.client {
            Some(client) => Arc::clone(client),
            None => Arc::new(self.connect().map_err(|error| error.to_string())?),
        };
        let (asked, topic) = (Arc::clone(&client), self.options.topic.clone());
        let ends = spawn_blocking(move || {
            let partition = i32::from(PARTITION);
            asked.fetch_watermarks(&topic, partition, ASK_TIMEOUT)
        });
        let ends = ends.await.expect("asking does not panic");
        let (_, end) = ends.map_err(|error| error.to_string())?;
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(
            &self.options.topic,
            i32::from(PARTITION),
            Offset::Offset(end),
        )
        .and_then(|()| client.assign(&list))
        .map_err(|error| error.to_string())?;
        self.client = Some(client);
        self.lost = None;
        Ok(())
    }

    fn connect(&self) -> Result<Client, KafkaError> {
        // A client that assigns to itself names a group, but never joins it.
        let group = format!("{}-readers", self.options.topic);
        self.options
            .cluster
            .consumer(&group)
            .create_with_context(Quiet)
    }

    pub(in crate::feed) async fn next(&mut self) -> Result<Vec<Applied>, End> {
        let Some(client) = self.client.clone() else {
            return Err(End::Lost("nobody has gone to its end yet".to_owned()));
        };
        let mut taken = Vec::new();
        while self.lost.is_none() {
            let received = if taken.is_empty() {
                client.recv().await
            } else {
                match client.recv().now_or_never() {
                    Some(received) => received,
                    None => return Ok(taken),
                }
            };
            match received {
                Ok(message) => self.take(&message, &mut taken),
                Err(error) => self.note(&error),
            }
            if taken.len() >= RECORDS_MAX {
                return Ok(taken);
            }
        }
        match &self.lost {
            Some(end) if taken.is_empty() => Err(end.clone()),
            _ => Ok(taken),
        }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, taken: &mut Vec<Applied>) {
        let record = Bytes::copy_from_slice(message.payload().unwrap_or_default());
        match Applied::decode(&record) {
            Ok(applied) => taken.push(applied),
            Err(error) => {
                let place = message.offset();
                self.lost = Some(End::Lost(format!("at {place}: {error}")));
            }
        }
    }

    fn note(&mut self, error: &KafkaError) {
        match error {
            KafkaError::MessageConsumption(code) if is_lost(*code) => {
                self.lost = Some(End::Lost(code.to_string()));
            }
            KafkaError::MessageConsumptionFatal(code) => {
                // The next seek makes a new client.
                self.client = None;
                self.lost = Some(End::Lost(code.to_string()));
            }
            // The client goes on trying.
            error => tracing::warn!(%error, "kafka: the feed cannot be read for now"),
        }
    }
}
