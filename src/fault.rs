//! Places where a test can have the process die, and all of them in one list.
//!
//! Built in only with the feature `fault-injection`. `FAILPOINTS=worker::after-commit=return`
//! aborts there, without a goodbye to anybody, as `kill -9` would; `3*off->return` does so at the
//! fourth time. Without the feature a point is nothing at all.

/// A step that a crash may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Partitions were assigned; nothing is read yet.
    Assigned,
    /// Positions are read, the outbox is not swept.
    PositionsRead,
    /// What lay in the outbox is in the feed, and still in the outbox.
    Swept,
    /// The log is told where to begin.
    Started,
    /// A batch is there and nothing is done with it.
    BeforeApply,
    /// A transaction is open, and what it writes is not sent.
    BeforeCommit,
    /// `COMMIT` is answered, and nobody has been told.
    Committed,
    /// The worker knows that its batch is applied; the feed does not.
    AfterCommit,
    /// The feed has it; the store is not told.
    AfterPublish,
    /// The log is told; the outbox still holds it, and the feed may not have it yet.
    AfterAcknowledge,
    /// Nothing is left to do for any batch.
    AfterSettle,
    /// Dead letters are in the log again, and still letters.
    Resent,
}

pub const POINTS: [(Point, &str); 12] = [
    (Point::Assigned, "worker::assigned"),
    (Point::PositionsRead, "worker::positions-read"),
    (Point::Swept, "worker::swept"),
    (Point::Started, "worker::started"),
    (Point::BeforeApply, "worker::before-apply"),
    (Point::BeforeCommit, "store::before-commit"),
    (Point::Committed, "store::committed"),
    (Point::AfterCommit, "worker::after-commit"),
    (Point::AfterPublish, "worker::after-publish"),
    (Point::AfterAcknowledge, "worker::after-acknowledge"),
    (Point::AfterSettle, "worker::after-settle"),
    (Point::Resent, "redrive::resent"),
];

impl Point {
    /// The name that `FAILPOINTS` knows it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        POINTS[self as usize].1
    }
}

/// Dies here if it was told to.
pub fn reach(point: Point) {
    #[cfg(feature = "fault-injection")]
    fail::fail_point!(point.name(), |_| -> () { std::process::abort() });
    #[cfg(not(feature = "fault-injection"))]
    let _ = point;
}

/// Reads from the environment where to die; until then no point does anything.
pub fn arm() {
    #[cfg(feature = "fault-injection")]
    {
        let armed = fail::FailScenario::setup();
        // Armed for as long as the process lives.
        std::mem::forget(armed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_at_their_own_index() {
        for (index, (point, name)) in POINTS.iter().enumerate() {
            assert_eq!(*point as usize, index);
            assert_eq!(point.name(), *name);
        }
    }
}
