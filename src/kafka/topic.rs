//! Topics: created where they are missing, and verified, so that a weaker durability than asked
//! for is an error at the start and not a loss later.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::client::{Quiet, not_made};
use super::{Cluster, Durability, SetupError};

/// How long one question to the cluster may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long all of them may take.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(20);
/// A new topic is looked at so often, with pauses, until all brokers know it.
const LOOKS_MAX: u32 = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Bytes of a batch's header and of a record's (Kafka's message format, version 2), with room.
const FRAME_BYTES: usize = 4 << 10;
/// Bytes of a request to one partition, at least: small records should travel together.
const MESSAGE_BYTES_MIN: usize = 1 << 20;

/// How long a topic keeps what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// What a new topic gets.
    pub wanted: Duration,
    /// What an existing one must have, at least.
    pub least: Duration,
}

/// What a topic has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic<'a> {
    pub name: &'a str,
    /// The variable that names it.
    pub variable: &'static str,
    pub partitions: u16,
    pub durability: Durability,
    pub record_bytes_max: usize,
    pub retention: Retention,
}

/// Bytes of a batch in which a record of that size fits: the topic's and the producer's limit.
pub(super) fn message_bytes_max(record_bytes_max: usize) -> usize {
    record_bytes_max
        .saturating_add(FRAME_BYTES)
        .clamp(MESSAGE_BYTES_MIN, 1_000_000_000)
}

impl Cluster {
    /// Creates the topic where it is missing, and verifies it. Several processes may do so at
    /// once.
    ///
    /// # Errors
    /// [`SetupError`]
    pub async fn prepare(&self, topic: &Topic<'_>) -> Result<(), SetupError> {
        let Durability {
            replication,
            min_insync,
        } = topic.durability;
        if min_insync > replication {
            let problem = format!(
                "{min_insync} replicas cannot be in sync where KAFKA_REPLICATION is {replication}"
            );
            return Err(SetupError::config("KAFKA_MIN_INSYNC", problem));
        }
        let done = timeout(PREPARE_TIMEOUT, async {
            let admin: AdminClient<Quiet> = self
                .client()
                .create_with_context(Quiet)
                .map_err(|error| not_made(&error))?;
            let admin = Arc::new(admin);
            create(&admin, topic).await?;
            let mut looks = LOOKS_MAX;
            loop {
                looks -= 1;
                match verify(&admin, topic).await {
                    // Not every broker has heard of a new topic yet.
                    Err(SetupError::Unreachable(_)) if looks > 0 => sleep(LOOK_AGAIN).await,
                    verified => return verified,
                }
            }
        });
        let late = |_| Err(SetupError::Unreachable("no answer in time".to_owned()));
        done.await.unwrap_or_else(late)
    }
}

fn unreachable(error: &KafkaError) -> SetupError {
    SetupError::Unreachable(error.to_string())
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ASK_TIMEOUT))
        .operation_timeout(Some(ASK_TIMEOUT))
}

impl Topic<'_> {
    fn settings(&self) -> [(&'static str, String); 7] {
        [
            ("cleanup.policy", "delete".to_owned()),
            (
                "max.message.bytes",
                message_bytes_max(self.record_bytes_max).to_string(),
            ),
            // Keys expire by the log's time, which therefore must not be a client's.
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            (
                "min.insync.replicas",
                self.durability.min_insync.to_string(),
            ),
            ("retention.bytes", "-1".to_owned()),
            (
                "retention.ms",
                self.retention.wanted.as_millis().to_string(),
            ),
            ("unclean.leader.election.enable", "false".to_owned()),
        ]
    }

    fn wrong(&self, problem: impl Into<String>) -> SetupError {
        SetupError::config(self.variable, problem)
    }
}

async fn create(admin: &AdminClient<Quiet>, topic: &Topic<'_>) -> Result<(), SetupError> {
    let settings = topic.settings();
    let replication = TopicReplication::Fixed(i32::from(topic.durability.replication));
    let mut new = NewTopic::new(topic.name, i32::from(topic.partitions), replication);
    for (name, value) in &settings {
        new = new.set(name, value);
    }
    let created = admin.create_topics([&new], &options()).await;
    if let Some(Err((_, code))) = created.map_err(|error| unreachable(&error))?.pop() {
        return not_created(topic, code);
    }
    tracing::info!(topic = topic.name, "kafka: the topic is created");
    Ok(())
}

/// What it means that a topic was not created.
fn not_created(topic: &Topic<'_>, code: RDKafkaErrorCode) -> Result<(), SetupError> {
    let Topic { name, .. } = topic;
    match code {
        // Whoever may not create it may still find it.
        RDKafkaErrorCode::TopicAlreadyExists
        | RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed => Ok(()),
        RDKafkaErrorCode::InvalidReplicationFactor => {
            let problem = format!(
                "the topic {name} cannot have {} replicas: the cluster has fewer brokers; start \
                 more, or lower it",
                topic.durability.replication
            );
            Err(SetupError::config("KAFKA_REPLICATION", problem))
        }
        RDKafkaErrorCode::InvalidPartitions => {
            let problem = format!(
                "the cluster refuses {} partitions for the topic {name}",
                topic.partitions
            );
            Err(SetupError::config("KAFKA_PARTITIONS", problem))
        }
        RDKafkaErrorCode::InvalidTopic => {
            Err(topic.wrong(format!("{name:?} cannot be the name of a topic")))
        }
        RDKafkaErrorCode::InvalidConfig
        | RDKafkaErrorCode::InvalidRequest
        | RDKafkaErrorCode::PolicyViolation => Err(topic.wrong(format!(
            "the cluster refuses to create the topic {name}: {code}"
        ))),
        _ => Err(SetupError::Unreachable(format!(
            "the topic {name} is not created: {code}"
        ))),
    }
}

async fn verify(admin: &Arc<AdminClient<Quiet>>, topic: &Topic<'_>) -> Result<(), SetupError> {
    verify_settings(admin, topic).await?;
    // Asked of an existing topic only: brokers may create one that is asked after.
    let (asked, name) = (Arc::clone(admin), topic.name.to_owned());
    let metadata = spawn_blocking(move || asked.inner().fetch_metadata(Some(&name), ASK_TIMEOUT));
    let metadata = metadata.await.expect("asking does not panic");
    verify_partitions(topic, &metadata.map_err(|error| unreachable(&error))?)
}

async fn verify_settings(admin: &AdminClient<Quiet>, topic: &Topic<'_>) -> Result<(), SetupError> {
    let name = topic.name;
    let asked = [&ResourceSpecifier::Topic(name)];
    let described = admin.describe_configs(asked, &options()).await;
    let found = match described.map_err(|error| unreachable(&error))?.pop() {
        // Of a topic that a broker does not know yet it says nothing, and no error either.
        Some(Ok(found)) if !found.entries.is_empty() => found,
        Some(Ok(_)) | None => {
            let problem = format!("the topic {name} is not known everywhere yet");
            return Err(SetupError::Unreachable(problem));
        }
        Some(Err(
            code @ (RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed),
        )) => {
            let problem = format!(
                "the topic {name} cannot be verified: {code}; grant DESCRIBE_CONFIGS and CREATE"
            );
            return Err(topic.wrong(problem));
        }
        Some(Err(code)) => {
            let problem = format!("the topic {name} cannot be described: {code}");
            return Err(SetupError::Unreachable(problem));
        }
    };
    let values = found.entries.iter();
    let values: HashMap<&str, &str> = values
        .filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?)))
        .collect();
    // A broker may know of a topic before it knows its settings, and then names none.
    if values.is_empty() {
        let problem = format!("the settings of the topic {name} are not known everywhere yet");
        return Err(SetupError::Unreachable(problem));
    }
    settled(topic, &values)
}

fn settled(topic: &Topic<'_>, values: &HashMap<&str, &str>) -> Result<(), SetupError> {
    let name = topic.name;
    let value = |setting: &str| values.get(setting).copied().unwrap_or_default();
    let number = |setting: &str| value(setting).parse::<i64>().unwrap_or(0);
    let least = |wanted: u128| i64::try_from(wanted).unwrap_or(i64::MAX);
    let has = |setting: &str, wanted: &str| {
        format!(
            "the topic {name} has {setting}={}, but needs {wanted}; alter it with kafka-configs",
            value(setting)
        )
    };
    for (setting, wanted) in [
        ("cleanup.policy", "delete"),
        ("message.timestamp.type", "LogAppendTime"),
        ("unclean.leader.election.enable", "false"),
        ("retention.bytes", "-1"),
    ] {
        if value(setting) != wanted {
            return Err(topic.wrong(has(setting, wanted)));
        }
    }
    let min_insync = i64::from(topic.durability.min_insync);
    if number("min.insync.replicas") < min_insync {
        let problem = has("min.insync.replicas", &format!("at least {min_insync}"));
        return Err(SetupError::config("KAFKA_MIN_INSYNC", problem));
    }
    let bytes = message_bytes_max(topic.record_bytes_max);
    if number("max.message.bytes") < least(bytes as u128) {
        let problem = has("max.message.bytes", &format!("at least {bytes}"));
        return Err(topic.wrong(problem));
    }
    let retention = topic.retention.least.as_millis();
    let kept = number("retention.ms");
    if kept != -1 && kept < least(retention) {
        let problem = has("retention.ms", &format!("at least {retention}, or -1"));
        return Err(topic.wrong(problem));
    }
    Ok(())
}

fn verify_partitions(topic: &Topic<'_>, metadata: &Metadata) -> Result<(), SetupError> {
    let name = topic.name;
    let mut topics = metadata.topics().iter();
    let found = topics.find(|found| found.name() == name && found.error().is_none());
    let Some(found) = found else {
        let problem = format!("the topic {name} is not known everywhere yet");
        return Err(SetupError::Unreachable(problem));
    };
    let partitions = found.partitions();
    if partitions.len() != usize::from(topic.partitions) {
        let problem = format!(
            "the topic {name} has {} partitions, not {}: where a todo lives depends on their \
             number, so set it to what the topic has, or name another topic",
            partitions.len(),
            topic.partitions
        );
        return Err(if topic.variable == "RESULTS_TOPIC" {
            topic.wrong(problem)
        } else {
            SetupError::config("KAFKA_PARTITIONS", problem)
        });
    }
    let replication = usize::from(topic.durability.replication);
    let weakest = partitions.iter().map(|one| one.replicas().len()).min();
    if weakest.is_some_and(|replicas| replicas < replication) {
        let problem = format!(
            "the topic {name} has {} replicas of a partition, fewer than {replication}: add some \
             with kafka-reassign-partitions, or lower it",
            weakest.unwrap_or(0)
        );
        return Err(SetupError::config("KAFKA_REPLICATION", problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
