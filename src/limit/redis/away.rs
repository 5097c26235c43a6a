//! What is decided without Redis, by the policy: for who asks while it is away, and for who has
//! waited for it long enough.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::{Ask, By, Decision, Decisions, Key, OnFailure, Verdict};
use super::Server;
use super::holder::{Holder, Shared};
use super::queue::{Batch, Entry};
use crate::domain::bucket::Rule;

/// One core's side of it.
pub(super) struct Away {
    server: Arc<Server>,
    holder: Rc<Holder>,
}

impl Away {
    pub fn new(server: Arc<Server>, holder: Rc<Holder>) -> Self {
        Self { server, holder }
    }

    pub fn decide(&self, batch: Batch) {
        for waiter in batch.alone {
            drop(waiter.send(self.with_slot(None)));
        }
        for entry in batch.with_slot.entries {
            for waiter in entry.waiters {
                drop(waiter.send(self.with_slot(Some(entry.key.clone()))));
            }
        }
        for Entry { key, waiters } in batch.plain.entries {
            for waiter in waiters {
                let decisions = self.many(&key, waiter.count);
                waiter.tell(decisions);
            }
        }
    }

    /// About a request that needs a slot.
    pub fn with_slot(&self, key: Option<Key>) -> Decision {
        let Server { options, local, .. } = &*self.server;
        let verdict = match options.on_failure {
            OnFailure::Local => {
                let (ask, slots) = (Ask { key, slot: true }, Shared(&self.holder));
                return local.decide(&ask, self.share(), &slots, options.slots_max > 0, By::Share);
            }
            OnFailure::Open => Verdict::Admitted(Some(self.holder.permit_untold())),
            OnFailure::Closed => Verdict::Unknown,
        };
        Decision {
            verdict,
            rate: None,
            by: By::Policy,
        }
    }

    /// About requests that need none.
    pub fn many(&self, key: &Key, count: u32) -> Decisions {
        let Server { options, local, .. } = &*self.server;
        match options.on_failure {
            OnFailure::Local => local.decide_many(key, count, self.share(), By::Share),
            OnFailure::Open => Decisions {
                granted: count,
                ..Decisions::UNKNOWN
            },
            OnFailure::Closed => Decisions::UNKNOWN,
        }
    }

    /// Remembers this server's share of what Redis says is left, should it go away next.
    pub fn note(&self, key: &Key, remaining: u64) {
        let options = &self.server.options;
        if options.on_failure == OnFailure::Local {
            let servers = self.server.servers.load(Ordering::Relaxed);
            let level = remaining / u64::from(servers);
            self.server
                .local
                .note(key, options.rate.share(servers), level);
        }
    }

    /// This server's share of the rate.
    fn share(&self) -> Rule {
        let servers = self.server.servers.load(Ordering::Relaxed);
        self.server.options.rate.share(servers)
    }
}
