//! What is wrong with a topic, said so that it can be put right.

use super::*;

fn topic() -> Topic<'static> {
    Topic {
        name: "todos",
        variable: "KAFKA_TODO_TOPIC",
        partitions: 1,
        durability: Durability {
            replication: 3,
            min_insync: 2,
        },
        record_bytes_max: 2 << 20,
        retention: Retention {
            wanted: Duration::from_hours(2),
            least: Duration::from_hours(1),
        },
    }
}

#[test]
fn a_topic_is_what_it_was_created_to_be() {
    let settings = topic().settings();
    let values = settings.iter().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(settled(&topic(), &values.collect()), Ok(()));
}

#[test]
fn every_weaker_setting_is_named() {
    let settings = topic().settings();
    for (setting, weaker, expected) in [
        ("cleanup.policy", "compact", "KAFKA_TODO_TOPIC"),
        ("max.message.bytes", "1048588", "KAFKA_TODO_TOPIC"),
        ("message.timestamp.type", "CreateTime", "KAFKA_TODO_TOPIC"),
        ("min.insync.replicas", "1", "KAFKA_MIN_INSYNC"),
        ("retention.bytes", "1000", "KAFKA_TODO_TOPIC"),
        ("retention.ms", "1000", "KAFKA_TODO_TOPIC"),
        ("unclean.leader.election.enable", "true", "KAFKA_TODO_TOPIC"),
    ] {
        let values = settings.iter().map(|(name, value)| (*name, value.as_str()));
        let mut values: HashMap<&str, &str> = values.collect();
        values.insert(setting, weaker);
        match settled(&topic(), &values) {
            Err(SetupError::Config { variable, problem }) => {
                assert_eq!(variable, expected);
                assert!(
                    problem.contains(&format!("{setting}={weaker}")),
                    "{problem}"
                );
            }
            other => panic!("{setting}: {other:?}"),
        }
    }
}

#[test]
fn a_stronger_setting_is_well() {
    let settings = topic().settings();
    for (setting, stronger) in [
        ("max.message.bytes", "100000000"),
        ("min.insync.replicas", "3"),
        ("retention.ms", "-1"),
    ] {
        let values = settings.iter().map(|(name, value)| (*name, value.as_str()));
        let mut values: HashMap<&str, &str> = values.collect();
        values.insert(setting, stronger);
        assert_eq!(settled(&topic(), &values), Ok(()));
    }
}
