//! Which core serves a connection: connection balancing (Envoy's `exact_balance`).
//!
//! The kernel spreads newcomers over the listeners of a port by a hash of their addresses. That is
//! even for thousands and not for a few: of the 16 connections that a proxy keeps to 8 cores, the
//! busiest core gets four and another none, and a connection stays where it is. So a core passes a
//! newcomer on that would leave it with more connections than the one with the fewest.
//!
//! Passing on costs some 10 µs, once a connection. Who opens one for each request pays that for half
//! of them.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_utils::CachePadded;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Connections on their way to a core, at most; beyond, they stay with the core that they came to.
const UNDER_WAY_MAX: usize = 256;
/// A core may have one more connection for so many of its own before it passes newcomers on: with
/// many, what is even on average is even enough.
const CONNECTIONS_OF_SLACK: usize = 16;

/// The connections of the cores that listen on one port.
pub struct Balance(Vec<CachePadded<Place>>);

#[derive(Default)]
struct Place {
    /// Open connections, those on their way to it included.
    open: AtomicUsize,
    /// Set once the core serves.
    newcomers: OnceLock<Sender<Newcomer>>,
}

/// A connection that another core has accepted.
pub struct Newcomer {
    pub stream: TcpStream,
    pub seat: Seat,
}

/// A connection's place among those of a core, given up by its `Drop`.
pub struct Seat {
    balance: Arc<Balance>,
    nth: usize,
}

impl Balance {
    /// No core serves yet.
    #[must_use]
    pub fn new(cores: usize) -> Arc<Self> {
        Arc::new(Self((0..cores).map(|_| CachePadded::default()).collect()))
    }

    /// Has core `nth` serve: what others pass on to it comes out here. Once for each core.
    pub fn join(&self, nth: usize) -> Receiver<Newcomer> {
        let (sender, receiver) = channel(UNDER_WAY_MAX);
        let first = self.0[nth].newcomers.set(sender).is_ok();
        assert!(first, "a core joins once");
        receiver
    }

    /// Open connections of all cores. Two cores that ask while both take a seat may each count the
    /// other's or not.
    pub fn open(&self) -> usize {
        let open = self
            .0
            .iter()
            .map(|place| place.open.load(Ordering::Relaxed));
        open.sum()
    }

    /// The core that shall have a connection that came to core `here`.
    fn choose(&self, here: usize) -> usize {
        let own = self.0[here].open.load(Ordering::Relaxed);
        let serving = self.0.iter().enumerate().filter(|(nth, place)| {
            let newcomers = place.newcomers.get();
            *nth != here && newcomers.is_some_and(|newcomers| !newcomers.is_closed())
        });
        let open = serving.map(|(nth, place)| (place.open.load(Ordering::Relaxed), nth));
        match open.min() {
            Some((fewest, nth)) if own > fewest + own / CONNECTIONS_OF_SLACK => nth,
            _ => here,
        }
    }
}

impl Seat {
    /// A seat at core `nth`, whether or not there is room.
    pub fn take(balance: &Arc<Balance>, nth: usize) -> Self {
        balance.0[nth].open.fetch_add(1, Ordering::Relaxed);
        Self {
            balance: Arc::clone(balance),
            nth,
        }
    }

    /// A seat for a connection that came to core `here`, at the core that shall have it.
    pub fn choose(balance: &Arc<Balance>, here: usize) -> Self {
        Self::take(balance, balance.choose(here))
    }

    pub fn is_at(&self, nth: usize) -> bool {
        self.nth == nth
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.balance.0[self.nth]
            .open
            .fetch_sub(1, Ordering::Relaxed);
    }
}

impl Newcomer {
    /// Passes the connection on to the core of its seat, unless that is busy or about to end.
    pub fn pass_on(self) -> Result<(), TcpStream> {
        let balance = Arc::clone(&self.seat.balance);
        let Some(newcomers) = balance.0[self.seat.nth].newcomers.get() else {
            return Err(self.stream);
        };
        newcomers
            .try_send(self)
            .map_err(|refused| refused.into_inner().stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seats for so many connections, all of which come to the first core.
    fn seats(balance: &Arc<Balance>, count: usize) -> Vec<Seat> {
        (0..count).map(|_| Seat::choose(balance, 0)).collect()
    }

    fn open(balance: &Balance) -> Vec<usize> {
        let places = balance.0.iter();
        places
            .map(|place| place.open.load(Ordering::Relaxed))
            .collect()
    }

    #[test]
    fn a_few_connections_are_spread_evenly() {
        let balance = Balance::new(4);
        let _newcomers: Vec<_> = (0..4).map(|nth| balance.join(nth)).collect();
        let mut seats = seats(&balance, 16);
        assert_eq!(open(&balance), [4; 4]);
        seats.retain(|seat| !seat.is_at(2));
        assert_eq!(balance.open(), 12);
        assert!(Seat::choose(&balance, 3).is_at(2));
        assert!(Seat::choose(&balance, 2).is_at(2));
    }

    #[test]
    fn many_are_left_where_they_came_while_the_difference_is_small() {
        let balance = Balance::new(2);
        let _newcomers: Vec<_> = (0..2).map(|nth| balance.join(nth)).collect();
        let _seats = seats(&balance, 3_200);
        let open = open(&balance);
        assert!(
            open[0] - open[1] <= open[0] / CONNECTIONS_OF_SLACK + 1,
            "{open:?}"
        );
        assert!(open[0] > open[1] + 1, "{open:?}");
    }

    #[test]
    fn a_core_that_does_not_serve_gets_none() {
        let balance = Balance::new(3);
        let first = balance.join(0);
        let mut second = balance.join(1);
        let _seats = seats(&balance, 4);
        assert_eq!(open(&balance), [2, 2, 0]);
        second.close();
        let _more = seats(&balance, 4);
        assert_eq!(open(&balance), [6, 2, 0]);
        drop(first);
    }

    #[test]
    fn what_cannot_be_passed_on_stays() {
        let balance = Balance::new(2);
        let mut newcomers = balance.join(1);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let newcomer = || Newcomer {
            stream: connect(),
            seat: Seat::take(&balance, 1),
        };
        assert!(newcomer().pass_on().is_ok());
        newcomers.close();
        assert!(newcomer().pass_on().is_err());
        assert_eq!(open(&balance), [0, 1]);
        assert!(
            newcomers
                .try_recv()
                .is_ok_and(|newcomer| newcomer.seat.is_at(1))
        );
        assert_eq!(open(&balance), [0, 0]);
    }
}
