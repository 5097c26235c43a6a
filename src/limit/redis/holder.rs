//! A core's in-flight slots, as Redis is told of them.
//!
//! What is told is always how many are in use: an absolute count, so that an answer that was lost
//! or a permit that was granted to somebody who had left is put right by the next call.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::local::Slots;
use super::super::{Permit, Slot};
use super::Server;
use super::lane::Lane;

/// The slots of one core.
pub struct Holder {
    server: Arc<Server>,
    in_use: Cell<u32>,
    /// Whether slots came free or were granted that Redis does not know of.
    is_news: Cell<bool>,
    /// Who tells Redis.
    lane: Rc<Lane>,
}

impl Holder {
    pub(super) fn new(server: Arc<Server>, lane: Rc<Lane>) -> Self {
        Self {
            server,
            in_use: Cell::new(0),
            is_news: Cell::new(false),
            lane,
        }
    }

    pub(super) fn in_use(&self) -> u32 {
        self.in_use.get()
    }

    /// Whether slots came free or were granted that Redis does not know of.
    pub(super) fn has_news(&self) -> bool {
        self.is_news.get()
    }

    /// What Redis is told now.
    pub(super) fn tell(&self) -> u32 {
        self.is_news.set(false);
        self.in_use.get()
    }

    /// A slot that Redis granted.
    pub(super) fn permit(self: &Rc<Self>) -> Permit {
        self.server.in_flight.fetch_add(1, Ordering::Relaxed);
        self.counted()
    }

    /// A slot that was granted without Redis, which is to hear of it.
    pub(super) fn permit_untold(self: &Rc<Self>) -> Permit {
        let permit = self.permit();
        self.have_news();
        permit
    }

    /// A slot that the server has counted.
    fn counted(self: &Rc<Self>) -> Permit {
        self.in_use.set(self.in_use.get() + 1);
        Permit(Slot::Leased(Rc::clone(self)))
    }

    pub(in super::super) fn release(&self) {
        self.in_use.set(self.in_use.get() - 1);
        self.server.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.have_news();
    }

    fn have_news(&self) {
        self.is_news.set(true);
        self.lane.nudge();
    }
}

/// A server's share of the slots, while Redis is away.
pub(super) struct Shared<'a>(pub &'a Rc<Holder>);

impl Shared<'_> {
    fn in_use(&self) -> u32 {
        self.0.server.in_flight.load(Ordering::Relaxed)
    }
}

impl Slots for Shared<'_> {
    fn take(&self) -> Option<Permit> {
        let most = self.0.server.slots_alone();
        let free = |taken| (taken < most).then_some(taken + 1);
        let in_flight = &self.0.server.in_flight;
        in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, free)
            .ok()?;
        let permit = self.0.counted();
        self.0.have_news();
        Some(permit)
    }

    fn are_free(&self) -> bool {
        self.in_use() < self.0.server.slots_alone()
    }
}
