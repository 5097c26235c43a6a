//! What is said of a record when brokers fail, on a cluster in this process.

use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

use super::*;
use crate::clock::Stopwatch;
use crate::kafka::tests::{Mock, in_time, mock};

const TOPIC: &str = "todos";
const LIMITS: Limits = Limits {
    queue_records_max: 1_000,
    queue_bytes_max: 1 << 20,
    record_bytes_max: 10_000,
    linger: Duration::from_millis(1),
};

fn open_with(limits: Limits) -> (Mock, Producer) {
    let (mock, cluster) = mock(TOPIC, 1);
    let producer = Producer::open(&cluster, TOPIC, limits).unwrap();
    (mock, producer)
}

fn open() -> (Mock, Producer) {
    open_with(LIMITS)
}

async fn sent(producer: &Producer) -> Result<u64, Failure> {
    in_time(producer.send(0, b"record")?.done()).await
}

/// Sends until it is acknowledged.
async fn until_sent(producer: &Producer) -> u64 {
    in_time(async {
        loop {
            if let Ok(offset) = sent(producer).await {
                return offset;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn what_a_broker_does_not_lead_is_sent_again_and_is_there_once() {
    let (mock, producer) = open();
    mock.request_errors(
        Api::Produce,
        &[Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 3],
    );
    let mut offsets = Vec::new();
    for _ in 0..500 {
        let delivery = producer.send(0, b"record").unwrap();
        tokio::task::yield_now().await;
        offsets.push(in_time(delivery.done()).await.unwrap());
    }
    assert!(offsets.into_iter().eq(0..500));
    assert_eq!(producer.queued(), (0, 0));
}

#[tokio::test]
async fn what_may_have_been_taken_is_unknown_and_not_sent_again() {
    for error in [
        Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Code::RD_KAFKA_RESP_ERR__TRANSPORT,
    ] {
        let (mock, producer) = open();
        mock.request_errors(Api::Produce, &[error]);
        let told = sent(&producer).await;
        assert!(
            matches!(told, Err(Failure::Unknown(_))),
            "{error:?}: {told:?}"
        );
        // The mock does not take what it answers with an error.
        assert_eq!(until_sent(&producer).await, 0, "{error:?}");
    }
}

#[tokio::test]
async fn what_was_refused_for_certain_is_not_sent() {
    for error in [
        Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    ] {
        let (mock, producer) = open();
        mock.request_errors(Api::Produce, &[error]);
        let told = sent(&producer).await;
        assert!(
            matches!(told, Err(Failure::NotSent(_))),
            "{error:?}: {told:?}"
        );
        assert_eq!(until_sent(&producer).await, 0, "{error:?}");
    }
}

#[tokio::test]
async fn a_record_that_is_too_large_is_not_sent() {
    let (mock, producer) = open();
    let refused = producer.send(0, &[0; 10_001]).map(drop);
    assert!(matches!(refused, Err(Failure::NotSent(_))), "{refused:?}");
    mock.request_errors(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let told = sent(&producer).await;
    assert!(matches!(told, Err(Failure::NotSent(_))), "{told:?}");
    assert_eq!(producer.queued(), (0, 0));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let limits = Limits {
        queue_records_max: 2,
        ..LIMITS
    };
    let (mock, producer) = open_with(limits);
    mock.broker_down(-1).unwrap();
    let _on_their_way = [(); 2].map(|()| producer.send(0, b"record").unwrap());
    let refused = producer.send(0, b"record").map(drop);
    assert_eq!(refused, Err(Failure::NotSent("the queue is full".into())));
    assert_eq!(producer.queued().0, 2);
    mock.broker_up(-1).unwrap();
}

#[tokio::test]
async fn bytes_are_limited() {
    let limits = Limits {
        queue_bytes_max: 2_000,
        ..LIMITS
    };
    let (mock, producer) = open_with(limits);
    mock.broker_down(-1).unwrap();
    let _on_its_way = producer.send(0, &[0; 1_500]).unwrap();
    let refused = producer.send(0, &[0; 1_500]).map(drop);
    assert_eq!(refused, Err(Failure::NotSent("the queue is full".into())));
    mock.broker_up(-1).unwrap();
}

#[tokio::test]
async fn without_a_broker_the_answer_comes_soon_and_then_at_once() {
    let (mock, producer) = open();
    until_sent(&producer).await;
    mock.broker_down(-1).unwrap();
    let watch = Stopwatch::start();
    let told = sent(&producer).await;
    assert!(matches!(told, Err(Failure::Unknown(_))), "{told:?}");
    assert!(watch.elapsed() < SEND_TIMEOUT + Duration::from_secs(2));

    let refused = producer.send(0, b"record").map(drop);
    let expected = Failure::NotSent("no broker can be reached".into());
    assert_eq!(refused, Err(expected));
    mock.broker_up(-1).unwrap();
    until_sent(&producer).await;
}

#[tokio::test]
async fn who_left_has_sent_even_so_and_the_last_are_flushed() {
    let (_mock, cluster) = mock(TOPIC, 1);
    let producer = Producer::open(&cluster, TOPIC, LIMITS).unwrap();
    for _ in 0..10 {
        drop(producer.send(0, b"record").unwrap());
    }
    producer.close();
    let refused = producer.send(0, b"record").map(drop);
    assert_eq!(refused, Err(Failure::NotSent("closed".into())));
    drop(producer);
    let next = Producer::open(&cluster, TOPIC, LIMITS).unwrap();
    assert_eq!(sent(&next).await, Ok(10));
}

#[test]
fn a_statement_says_whether_a_broker_is_connected() {
    let statement = |state: &str| {
        format!(
            r#"{{"name":"a","brokers":{{"b:1/1":{{"state":"{state}","x":[1]}}}},"topics":{{}}}}"#
        )
    };
    assert!(is_connected(statement("UP").as_bytes()));
    assert!(!is_connected(statement("TRY_CONNECT").as_bytes()));
    assert!(is_connected(b"not a statement"));
}

#[tokio::test]
async fn a_new_producer_is_not_taken_for_cut_off_before_it_has_looked_for_a_broker() {
    let (_mock, producer) = open();
    let watch = Stopwatch::start();
    while watch.elapsed() < STATISTICS_EVERY * 6 {
        assert!(producer.is_reachable(), "after {:?}", watch.elapsed());
        tokio::task::yield_now().await;
    }
}
