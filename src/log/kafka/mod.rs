//! The log of a fleet: a Kafka topic.

use super::{AppendError, Event, Strange};
use crate::domain::{Command, Position, Stored};

#[derive(Clone)]
pub struct Appender;

impl Appender {
    pub(super) async fn append(&self, _command: Command) -> Result<Position, AppendError> {
        unimplemented!()
    }

    pub(super) fn queued(&self) -> (usize, usize) {
        unimplemented!()
    }

    pub(super) fn close(&self) {
        unimplemented!()
    }
}

pub struct Consumer;

impl Consumer {
    pub(super) async fn next(&mut self) -> Result<Option<Event>, Strange> {
        unimplemented!()
    }

    pub(super) async fn start(&mut self, _from: &[Stored]) -> Result<(), Strange> {
        unimplemented!()
    }

    pub(super) fn owns_batch(&self) -> bool {
        unimplemented!()
    }

    pub(super) fn acknowledge(&mut self) {
        unimplemented!()
    }

    pub(super) async fn leave(&mut self) {
        unimplemented!()
    }

    pub(super) async fn join(&mut self) {
        unimplemented!()
    }

    pub(super) fn close(&mut self) {
        unimplemented!()
    }
}
