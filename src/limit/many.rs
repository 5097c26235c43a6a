//! Several requests of one key as one question: what a client pipelines comes in one read, and is
//! decided in one step. The first of them are granted, as many as there are tokens, and the others
//! refused: the same as if they had asked one after the other.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::{By, Decision, Rate, Refusal, Verdict};
use crate::domain::bucket::TOKEN;

/// The answer about several requests of one key, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decisions {
    /// So many may pass, the first ones.
    pub(super) granted: u32,
    /// Why the others may not; `None` where nobody can tell.
    pub(super) others: Option<Refusal>,
    /// The bucket when all of them have been decided.
    pub(super) rate: Option<Rate>,
    pub(super) by: By,
}

impl Decisions {
    /// No policy lets a request pass that nobody decided about.
    pub(super) const UNKNOWN: Self = Self {
        granted: 0,
        others: None,
        rate: None,
        by: By::Policy,
    };

    /// What was decided about the `nth` of the requests, from 0.
    #[must_use]
    pub fn nth(&self, nth: u32) -> Decision {
        // Those that are granted and come later have taken theirs after it.
        let later = self.granted.saturating_sub(nth.saturating_add(1));
        let rate = self.rate.map(|rate| Rate {
            remaining: rate.remaining + u64::from(later) * TOKEN,
            ..rate
        });
        let verdict = match self.others {
            _ if nth < self.granted => Verdict::Admitted(None),
            Some(refusal) => Verdict::Refused(refusal),
            None => Verdict::Unknown,
        };
        Decision {
            verdict,
            rate,
            by: self.by,
        }
    }
}

/// The answer to [`super::Core::ask_many`], or the wait for it.
///
/// # Cancel safety
/// Who leaves before the question went out has asked nothing; later, the tokens are gone, since the
/// bucket may have refilled over them.
#[derive(Debug)]
pub enum Asking {
    Decided(Decisions),
    Waiting(oneshot::Receiver<Decisions>),
}

impl Asking {
    /// The answer, if it is there.
    #[must_use]
    pub fn decided(&self) -> Option<&Decisions> {
        match self {
            Asking::Decided(decisions) => Some(decisions),
            Asking::Waiting(_) => None,
        }
    }
}

impl Future for Asking {
    type Output = Decisions;

    /// Once it is there, the answer stays.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Decisions> {
        let decisions = match &mut *self {
            Asking::Decided(decisions) => return Poll::Ready(*decisions),
            Asking::Waiting(answer) => std::task::ready!(Pin::new(answer).poll(cx)),
        };
        // A lane that ends leaves nobody behind; what has no answer all the same is not let pass.
        let decisions = decisions.unwrap_or(Decisions::UNKNOWN);
        *self = Asking::Decided(decisions);
        Poll::Ready(decisions)
    }
}
