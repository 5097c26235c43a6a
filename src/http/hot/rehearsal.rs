//! The loop's own work, without a socket, a core or counters: so that its instructions can be counted.

use hyper::header::HeaderValue;

use super::output::Own;
use super::{Answers, Desk};
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
        let mut count = 0;
        while let Ok(asked) = self.next(bytes, bytes.len() + 1) {
            let fields = asked.split_off(&mut bytes);
            let own = Own {
                request_id: asked.request_id(fields),
                ..Own::default()
            };
            self.put_answer(fields, &asked, own);
            count += 1;
        }
        self.output.clear();
        count
    }
}
