//! What this process leans on, and whether it answers: for `/ready?verbose`, the metrics and the log.
//! Nothing is decided by it.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{info, warn};

use crate::metrics::Metrics;

/// One such service. Clones are the same one.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    name: &'static str,
    answers: AtomicBool,
}

impl Link {
    /// It is taken to answer until it is known not to. A gauge says which.
    #[must_use]
    pub fn new(name: &'static str, metrics: &Metrics) -> Self {
        let answers = AtomicBool::new(true);
        let link = Self(Arc::new(Inner { name, answers }));
        let gauged = link.clone();
        metrics.flag(
            &format!("{name}_up"),
            &format!("Whether {name} answered when it was asked last"),
            move || gauged.is_up(),
        );
        link
    }

    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.answers.load(Ordering::Relaxed)
    }

    /// Says so in the log where it did not before.
    pub fn answers(&self) {
        if !self.0.answers.swap(true, Ordering::Relaxed) {
            info!("{} answers again", self.0.name);
        }
    }

    /// Says so in the log, with the reason, where it answered before.
    pub fn fails(&self, reason: impl Display) {
        if self.0.answers.swap(false, Ordering::Relaxed) {
            warn!(%reason, "{} does not answer", self.0.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_what_was_seen_last() {
        let metrics = Metrics::new(0);
        let link = Link::new("postgresql", &metrics);
        let same = link.clone();
        assert!(link.is_up());
        link.fails("connection refused");
        assert!(!same.is_up());
        same.answers();
        assert!(link.is_up());
    }
}
