//! What tests of the log and the feed have in common.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use uuid::Uuid;

use super::*;
use crate::services;

/// A cluster in this process, to which errors can be done.
pub type Mock = MockCluster<'static, DefaultProducerContext>;

pub const DURABILITY: Durability = Durability {
    replication: 1,
    min_insync: 1,
};

/// The real one.
pub fn cluster() -> Cluster {
    Cluster {
        brokers: services::kafka_brokers(),
    }
}

/// One broker, with a topic of so many partitions.
pub fn mock(topic: &str, partitions: u16) -> (Mock, Cluster) {
    let mock = Mock::new(1).unwrap();
    mock.create_topic(topic, i32::from(partitions), 1).unwrap();
    let brokers = mock.bootstrap_servers();
    (mock, Cluster { brokers })
}

/// A name that no other test has.
pub fn topic() -> String {
    format!("test-{}", Uuid::new_v4())
}

pub fn admin(cluster: &Cluster) -> AdminClient<Quiet> {
    cluster.client().create_with_context(Quiet).unwrap()
}

pub async fn delete_topic(cluster: &Cluster, topic: &str) {
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(5)));
    let deleted = admin(cluster).delete_topics(&[topic], &options).await;
    deleted.unwrap().pop().unwrap().unwrap();
}

/// Of a test that waits for something: it fails where that never happens.
pub async fn in_time<T>(what: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(30), what).await;
    waited.expect("it does not happen")
}

fn wanted(name: &str) -> Topic<'_> {
    Topic {
        name,
        variable: "KAFKA_TODO_TOPIC",
        partitions: 3,
        durability: DURABILITY,
        record_bytes_max: 1 << 20,
        retention: Retention {
            wanted: Duration::from_hours(2),
            least: Duration::from_hours(1),
        },
    }
}

#[tokio::test]
async fn a_topic_can_be_prepared_by_several_at_once_and_again() {
    let (cluster, name) = (cluster(), topic());
    let topic = wanted(&name);
    let all = [(); 4].map(|()| cluster.prepare(&topic));
    for prepared in futures_util::future::join_all(all).await {
        assert_eq!(prepared, Ok(()));
    }
    assert_eq!(cluster.prepare(&topic).await, Ok(()));
    delete_topic(&cluster, &name).await;
}

async fn assert_refused(cluster: &Cluster, topic: &Topic<'_>, expected: &str) {
    match cluster.prepare(topic).await {
        Err(SetupError::Config { variable, problem }) => {
            assert_eq!(variable, expected, "{problem}");
        }
        other => panic!("{expected}: {other:?}"),
    }
}

#[tokio::test]
async fn a_topic_that_is_not_what_is_asked_for_is_refused() {
    let (cluster, name) = (cluster(), topic());
    let wanted = wanted(&name);
    cluster.prepare(&wanted).await.unwrap();
    let partitions = Topic {
        partitions: 4,
        ..wanted.clone()
    };
    assert_refused(&cluster, &partitions, "KAFKA_PARTITIONS").await;
    let bytes = Topic {
        record_bytes_max: 2 << 20,
        ..wanted.clone()
    };
    assert_refused(&cluster, &bytes, "KAFKA_TODO_TOPIC").await;
    let name = Topic {
        name: "no topic",
        ..wanted.clone()
    };
    assert_refused(&cluster, &name, "KAFKA_TODO_TOPIC").await;
    for (replication, min_insync, expected) in [
        (1, 2, "KAFKA_MIN_INSYNC"),
        (3, 2, "KAFKA_MIN_INSYNC"),
        (30, 1, "KAFKA_REPLICATION"),
    ] {
        let durability = Durability {
            replication,
            min_insync,
        };
        let weaker = Topic {
            durability,
            ..wanted.clone()
        };
        assert_refused(&cluster, &weaker, expected).await;
    }
    delete_topic(&cluster, wanted.name).await;
}

#[tokio::test]
async fn a_new_topic_needs_as_many_brokers_as_replicas() {
    let (cluster, name) = (cluster(), topic());
    let topic = Topic {
        durability: Durability {
            replication: 30,
            min_insync: 1,
        },
        ..wanted(&name)
    };
    assert_refused(&cluster, &topic, "KAFKA_REPLICATION").await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_unreachable() {
    let cluster = Cluster {
        brokers: "127.0.0.1:1".to_owned(),
    };
    let prepared = in_time(cluster.prepare(&wanted("todos"))).await;
    assert!(
        matches!(prepared, Err(SetupError::Unreachable(_))),
        "{prepared:?}"
    );
}
