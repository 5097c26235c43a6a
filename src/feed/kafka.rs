//! The feed of a fleet: a Kafka topic of one partition.

use super::{End, PublishError};
use crate::domain::Applied;

pub struct Publisher;

impl Publisher {
    pub(super) async fn publish(&mut self, _applied: Vec<Applied>) -> Result<(), PublishError> {
        unimplemented!()
    }
}

pub struct Subscriber;

impl Subscriber {
    pub(super) async fn seek_to_end(&mut self) {
        unimplemented!()
    }

    pub(super) async fn next(&mut self) -> Result<Vec<Applied>, End> {
        unimplemented!()
    }
}
