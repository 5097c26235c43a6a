//! The workers' end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::{Options, PARTITION};
use crate::domain::Applied;
use crate::feed::PublishError;
use crate::kafka::{Delivery, Failure, Limits, Producer, SetupError};

/// Records that are under way at once; a sweep of the outbox may have more.
const RECORDS_UNDER_WAY_MAX: usize = 1_024;

pub struct Publisher {
    producer: Arc<Producer>,
    bytes_under_way_max: usize,
}

impl Publisher {
    /// Makes a producer; it connects in the background.
    ///
    /// # Errors
    /// [`SetupError::Config`]: the address cannot be one.
    pub fn open(options: &Options) -> Result<Self, SetupError> {
        let record_bytes_max = options.record_bytes_max;
        let limits = Limits {
            // Twice what this publisher has under way: what an earlier, failed call left behind
            // must not hold up the next.
            queue_records_max: 2 * RECORDS_UNDER_WAY_MAX,
            queue_bytes_max: record_bytes_max.saturating_mul(4),
            record_bytes_max,
            linger: Duration::ZERO,
        };
        Ok(Self {
            producer: Arc::new(Producer::open(&options.cluster, &options.topic, limits)?),
            bytes_under_way_max: record_bytes_max,
        })
    }

    /// Whether any broker can be reached, as its producer sees it.
    pub fn reach(&self) -> impl Fn() -> bool + Send + 'static {
        let producer = Arc::clone(&self.producer);
        move || producer.is_reachable()
    }

    /// In this order, with a bounded part under way at a time.
    pub(in crate::feed) async fn publish(
        &mut self,
        applied: Vec<Applied>,
    ) -> Result<(), PublishError> {
        let mut under_way = VecDeque::<(Delivery, usize)>::new();
        let mut bytes_under_way = 0;
        for one in applied {
            let record = one.encode();
            while under_way.len() >= RECORDS_UNDER_WAY_MAX
                || bytes_under_way + record.len() > self.bytes_under_way_max
            {
                let Some((delivery, bytes)) = under_way.pop_front() else {
                    break;
                };
                bytes_under_way -= bytes;
                arrived(delivery).await?;
            }
            let sent = self.producer.send(PARTITION, &record);
            let sent = sent.map_err(|failure| again(&failure))?;
            under_way.push_back((sent, record.len()));
            bytes_under_way += record.len();
        }
        for (delivery, _) in under_way {
            arrived(delivery).await?;
        }
        Ok(())
    }
}

async fn arrived(delivery: Delivery) -> Result<(), PublishError> {
    let done = delivery.done().await;
    done.map(drop).map_err(|failure| again(&failure))
}

fn again(failure: &Failure) -> PublishError {
    PublishError::Again(failure.to_string())
}
