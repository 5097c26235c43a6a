//! When what waits on a core is worth a call.
//!
//! A call costs the server and Redis almost the same whether it is about one request or fifty, and
//! nobody shall wait for a timer. So a lane that is free sends as soon as a turn of the core's loop
//! has brought nobody new; where calls are about many, it goes on collecting for about as long as a
//! call costs after the last has come. While a call is under way, the other lane sends only as many
//! as that is about, or a call that is full. Requests that need a slot have the first lane to
//! themselves, and count for nothing here.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::task::yield_now;

use super::queue::{Batch, Queue};
use crate::clock::Stopwatch;

/// Time for which a lane that could send goes on collecting, at most.
const GATHER_MAX: Duration = Duration::from_millis(1);
/// Time in which nobody new has come, after which it sends. What a call costs the server is of this
/// size, so at worst the wait doubles that.
const QUIET: Duration = Duration::from_micros(20);
/// Requests of the last call from which on it is worth that wait.
const MANY: usize = 8;

#[derive(Default)]
pub(super) struct Pace {
    /// Requests without a slot that calls under way are about.
    under_way: Cell<usize>,
    /// Requests that the last call with any was about.
    last: Cell<usize>,
    /// Lanes that are collecting.
    gathering: Cell<usize>,
}

impl Pace {
    /// A call about the batch goes out; says what to tell [`over`](Self::over).
    pub fn sent(&self, batch: &Batch) -> usize {
        let all = batch.requests();
        if all > 0 {
            self.last.set(all);
        }
        let plain = batch.plain.requests();
        self.under_way.update(|all| all + plain);
        plain
    }

    /// Of a call about so many: it was answered, or given up.
    pub fn over(&self, plain: usize) {
        self.under_way.update(|all| all - plain);
    }

    /// Whether what waits is worth a call of its own, beside those under way and the one that is
    /// being collected; `slots` is whether the call is one that may take slots.
    pub fn is_time(&self, queue: &Queue, slots: bool) -> bool {
        let waiting = queue.plain_requests();
        let is_enough = waiting >= self.under_way.get() || queue.is_full();
        (slots && queue.wants_slots()) || (waiting > 0 && self.gathering.get() == 0 && is_enough)
    }

    /// Waits for as long as the turns of the core's loop bring more: who can be read from now is
    /// asked about in the same call.
    pub async fn gather(&self, queue: &RefCell<Queue>) {
        let is_many = self.last.get() >= MANY;
        let quiet = if is_many { QUIET } else { Duration::ZERO };
        let watch = Stopwatch::start();
        let (mut before, mut came) = (queue.borrow().requests(), Duration::ZERO);
        self.gathering.update(|lanes| lanes + 1);
        loop {
            yield_now().await;
            let queue = queue.borrow();
            let (waiting, now) = (queue.requests(), watch.elapsed());
            if waiting > before {
                came = now;
            } else if now.saturating_sub(came) >= quiet {
                break;
            }
            // The other lane may have taken some.
            before = waiting;
            if queue.is_full() || now >= GATHER_MAX {
                break;
            }
        }
        self.gathering.update(|lanes| lanes - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::rc::Rc;

    use tokio::sync::oneshot;
    use tokio::task::{LocalSet, spawn_local};

    use super::super::KEYS_PER_CALL_MAX;
    use super::super::queue::Many;
    use super::*;
    use crate::limit::Key;

    /// Who asks with one request of the `nth` address, and stays.
    fn ask(queue: &mut Queue, nth: usize) -> oneshot::Receiver<crate::limit::Decisions> {
        let (answer, asking) = oneshot::channel();
        let nth = u32::try_from(nth).expect("an address");
        let key = Key::Address(IpAddr::V4(Ipv4Addr::from(nth)));
        queue.push_many(key, Many { count: 1, answer });
        asking
    }

    /// A call about so many goes out.
    fn sent(pace: &Pace, requests: usize) -> usize {
        let mut queue = Queue::default();
        drop(
            (0..requests)
                .map(|_| ask(&mut queue, 0))
                .collect::<Vec<_>>(),
        );
        pace.sent(&queue.take(false))
    }

    #[test]
    fn a_second_call_is_about_as_many_as_the_first_or_full() {
        let (pace, mut queue) = (Pace::default(), Queue::default());
        assert!(!pace.is_time(&queue, true), "nobody waits");
        let mut askers = vec![ask(&mut queue, 0)];
        assert!(pace.is_time(&queue, false));
        let two = sent(&pace, 2);
        assert!(!pace.is_time(&queue, false), "one beside two");
        askers.push(ask(&mut queue, 1));
        assert!(pace.is_time(&queue, false), "two beside two");
        sent(&pace, KEYS_PER_CALL_MAX * 2);
        assert!(!pace.is_time(&queue, false));
        askers.extend((2..KEYS_PER_CALL_MAX).map(|nth| ask(&mut queue, nth)));
        assert!(pace.is_time(&queue, false), "a call that is full");
        let mut few = Queue::default();
        askers.push(ask(&mut few, 0));
        pace.over(two);
        assert!(!pace.is_time(&few, false));
        pace.over(KEYS_PER_CALL_MAX * 2);
        assert!(pace.is_time(&few, false));
    }

    #[test]
    fn who_needs_a_slot_waits_for_no_other_and_no_other_for_these() {
        let (pace, mut queue) = (Pace::default(), Queue::default());
        sent(&pace, 10);
        let (waiter, _asking) = oneshot::channel();
        queue.push(None, waiter);
        assert!(pace.is_time(&queue, true));
        assert!(!pace.is_time(&queue, false), "the lane without slots");
        pace.over(10);
        assert!(!pace.is_time(&queue, false), "it has nothing to send");
        let with_slots = queue.take(true);
        assert_eq!(pace.sent(&with_slots), 0);
        let _asker = ask(&mut queue, 0);
        assert!(pace.is_time(&queue, false), "one beside a call about slots");
    }

    /// Askers that come one a turn of the loop are all in one call.
    #[tokio::test]
    async fn who_comes_while_the_loop_turns_is_waited_for() {
        let tasks = async {
            let (pace, queue) = (Pace::default(), Rc::new(RefCell::new(Queue::default())));
            let first = ask(&mut queue.borrow_mut(), 0);
            let coming = Rc::clone(&queue);
            let coming = spawn_local(async move {
                let mut askers = vec![first];
                for nth in 1..5 {
                    askers.push(ask(&mut coming.borrow_mut(), nth));
                    yield_now().await;
                }
                askers
            });
            pace.gather(&queue).await;
            assert_eq!(queue.borrow().requests(), 5);
            coming.await.expect("they came");
        };
        LocalSet::new().run_until(tasks).await;
    }

    /// A stream of askers that does not end holds nobody up.
    #[tokio::test]
    async fn collecting_ends() {
        let tasks = async {
            let (pace, queue) = (Pace::default(), Rc::new(RefCell::new(Queue::default())));
            let many = sent(&pace, MANY);
            pace.over(many);
            let coming = Rc::clone(&queue);
            let coming = spawn_local(async move {
                let mut askers = Vec::new();
                loop {
                    // One address: it never fills a call.
                    askers.push(ask(&mut coming.borrow_mut(), 0));
                    yield_now().await;
                }
            });
            let watch = Stopwatch::start();
            pace.gather(&queue).await;
            assert!(watch.elapsed() >= GATHER_MAX);
            coming.abort();
        };
        LocalSet::new().run_until(tasks).await;
    }
}
