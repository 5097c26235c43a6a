//! The loop's own work, without a socket, a core or counters: so that its instructions can be counted.

use hyper::header::HeaderValue;

use super::counts::Counts;
use super::{Answers, Desk, Stop};
use crate::clock;
use crate::snapshot::Pin;

impl Desk {
    /// A desk for reads of `snapshot`.
    #[must_use]
    pub fn of(snapshot: &Pin) -> Self {
        let cache_control = HeaderValue::from_static("no-cache");
        let answers = Answers::new(cache_control, clock::now());
        let mut desk = Self::new(answers).into_inner();
        desk.answers.follow(snapshot);
        desk
    }

    /// Answers the list reads that `bytes` consist of, and forgets the answers; says how many they
    /// were.
    pub fn rehearse(&mut self, mut bytes: &[u8]) -> usize {
        let mut counts = Counts::default();
        while let Stop::Full = self.answer_all(&mut bytes, usize::MAX, false, &mut counts) {
            self.output.clear();
        }
        self.output.clear();
        counts.all() as usize
    }
}
