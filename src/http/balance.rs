//! Which core serves a connection: connection balancing (Envoy's `exact_balance`).
//!
//! The kernel spreads newcomers over the listeners of a port by a hash of their addresses. That is
//! even for thousands and not for a few: of the 16 connections that a proxy keeps to 8 cores, the
//! busiest core gets four and another none, and a connection stays where it is. So a core passes a
//! newcomer on that would leave it with more connections than the one with the fewest.
//!
//! Passing on costs some system calls and waking the other core, once a connection. Who opens one
//! for each request pays that for most of them.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Connections on their way to a core, at most; beyond, they stay with the core that they came to.
const UNDER_WAY_MAX: usize = 256;
/// A core may have one more connection for so many of its own before it passes newcomers on: with
/// many, what is even on average is even enough.
const CONNECTIONS_OF_SLACK: usize = 16;

/// The connections of the cores that listen on one port.
struct Balance {
    open: CachePadded<AtomicUsize>,
    cores: Vec<CachePadded<Load>>,
}

struct Load {
    /// Open connections, those on their way to the core included.
    open: AtomicUsize,
    newcomers: Sender<Newcomer>,
}

/// One core among those that listen on one port.
pub struct Place {
    balance: Arc<Balance>,
    nth: usize,
}

/// What others pass on to a core. Closed, it still holds what is on its way.
pub type Newcomers = Receiver<Newcomer>;

/// A connection that another core has accepted.
pub struct Newcomer {
    pub stream: TcpStream,
    pub seat: Seat,
}

/// A connection's seat at a core, given up by its `Drop`.
pub struct Seat {
    balance: Arc<Balance>,
    nth: usize,
    /// Connections that were open, at whatever core, when it was taken.
    pub before: usize,
}

/// The places of so many cores. They take part from now on, whether or not they run yet, and until
/// their newcomers are closed.
#[must_use]
pub fn places(cores: usize) -> Vec<(Place, Newcomers)> {
    let (loads, newcomers): (Vec<_>, Vec<_>) = (0..cores)
        .map(|_| {
            let (newcomers, receiver) = channel(UNDER_WAY_MAX);
            let open = AtomicUsize::default();
            (CachePadded::new(Load { open, newcomers }), receiver)
        })
        .unzip();
    let balance = Arc::new(Balance {
        open: CachePadded::default(),
        cores: loads,
    });
    let places = newcomers.into_iter().enumerate();
    places
        .map(|(nth, newcomers)| {
            let balance = Arc::clone(&balance);
            (Place { balance, nth }, newcomers)
        })
        .collect()
}

impl Balance {
    /// The core that shall have a connection that came to core `here`.
    fn choose(&self, here: usize) -> usize {
        let own = self.cores[here].open.load(Ordering::Relaxed);
        let others = self.cores.iter().enumerate();
        let others = others.filter(|(nth, core)| *nth != here && !core.newcomers.is_closed());
        let open = others.map(|(nth, core)| (core.open.load(Ordering::Relaxed), nth));
        match open.min() {
            Some((fewest, nth)) if own > fewest + own / CONNECTIONS_OF_SLACK => nth,
            _ => here,
        }
    }
}

impl Place {
    /// Seats a connection that came here at the core that shall have it.
    pub(super) fn choose(&self) -> Seat {
        Seat::take(&self.balance, self.balance.choose(self.nth))
    }

    /// Seats a connection here in any case.
    pub(super) fn seat(&self) -> Seat {
        Seat::take(&self.balance, self.nth)
    }

    pub(super) fn is_of(&self, seat: &Seat) -> bool {
        self.nth == seat.nth
    }
}

impl Seat {
    fn take(balance: &Arc<Balance>, nth: usize) -> Self {
        let before = balance.open.fetch_add(1, Ordering::Relaxed);
        balance.cores[nth].open.fetch_add(1, Ordering::Relaxed);
        Self {
            balance: Arc::clone(balance),
            nth,
            before,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.balance.cores[self.nth]
            .open
            .fetch_sub(1, Ordering::Relaxed);
        self.balance.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Newcomer {
    /// Passes the connection on to the core of its seat, unless that is busy or about to end.
    pub fn pass_on(self) -> Result<(), TcpStream> {
        let balance = Arc::clone(&self.seat.balance);
        let newcomers = &balance.cores[self.seat.nth].newcomers;
        newcomers
            .try_send(self)
            .map_err(|refused| refused.into_inner().stream)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Seats for so many connections, all of which come to one place.
    fn seats(place: &Place, count: usize) -> Vec<Seat> {
        (0..count).map(|_| place.choose()).collect()
    }

    fn open(place: &Place) -> Vec<usize> {
        let cores = place.balance.cores.iter();
        cores
            .map(|core| core.open.load(Ordering::Relaxed))
            .collect()
    }

    #[test]
    fn a_few_connections_are_spread_evenly() {
        let (places, _newcomers): (Vec<_>, Vec<_>) = places(4).into_iter().unzip();
        let mut seats = seats(&places[0], 16);
        assert_eq!(open(&places[0]), [4; 4]);
        assert_eq!(seats.last().unwrap().before, 15);
        seats.retain(|seat| !places[2].is_of(seat));
        let seat = places[3].choose();
        assert!(places[2].is_of(&seat));
        assert_eq!(seat.before, 12);
        assert!(places[2].is_of(&places[2].choose()));
    }

    #[test]
    fn many_are_left_where_they_came_while_the_difference_is_small() {
        let (places, _newcomers): (Vec<_>, Vec<_>) = places(2).into_iter().unzip();
        let _seats = seats(&places[0], 3_200);
        let open = open(&places[0]);
        assert!(
            open[0] - open[1] <= open[0] / CONNECTIONS_OF_SLACK + 1,
            "{open:?}"
        );
        assert!(open[0] > open[1] + 1, "{open:?}");
    }

    #[test]
    fn a_core_that_takes_no_more_gets_none() {
        let (places, mut newcomers): (Vec<_>, Vec<_>) = places(3).into_iter().unzip();
        drop(newcomers.pop());
        let _seats = seats(&places[0], 4);
        assert_eq!(open(&places[0]), [2, 2, 0]);
        newcomers[1].close();
        let _more = seats(&places[0], 4);
        assert_eq!(open(&places[0]), [6, 2, 0]);
    }

    #[test]
    fn what_cannot_be_passed_on_stays_and_what_was_is_not_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (place, mut newcomers) = places(1).remove(0);
        let pass_on = || {
            let _client = TcpStream::connect(address).unwrap();
            let (stream, _) = listener.accept().unwrap();
            let seat = place.seat();
            Newcomer { stream, seat }.pass_on()
        };
        for _ in 0..UNDER_WAY_MAX {
            assert!(pass_on().is_ok());
        }
        assert!(pass_on().is_err(), "more wait than may");
        drop(newcomers.try_recv().unwrap());
        newcomers.close();
        assert!(pass_on().is_err(), "nobody would serve it");
        let mut left = UNDER_WAY_MAX - 1;
        assert_eq!(open(&place), [left]);
        while let Ok(newcomer) = newcomers.try_recv() {
            drop(newcomer);
            left -= 1;
            assert_eq!(open(&place), [left]);
        }
        assert_eq!(left, 0);
    }
}
