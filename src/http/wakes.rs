//! Wakes that come from other threads, together.
//!
//! Waking a task of another thread's runtime writes to that runtime's eventfd, each time. What
//! acknowledges a batch of commands would do so for each of them; here the first wakes the core,
//! and the core wakes the rest itself, which costs no system call.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Of one core.
#[derive(Default)]
pub struct Wakes(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The core's tasks that are to run.
    woken: Mutex<Vec<Waker>>,
    /// The task that wakes them.
    teller: AtomicWaker,
}

impl Shared {
    /// No step under the lock leaves the list half changed.
    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task of the core, for who wakes it from elsewhere.
struct Relay {
    task: Waker,
    shared: Arc<Shared>,
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let is_first = {
            let mut woken = self.shared.lock();
            woken.push(self.task.clone());
            woken.len() == 1
        };
        if is_first {
            self.shared.teller.wake();
        }
    }
}

impl Wakes {
    /// `future`, which other threads complete in batches. By reference, since it would be held twice
    /// otherwise.
    ///
    /// # Cancel safety
    /// That of `future`.
    pub async fn together<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        let mut relay: Option<(Arc<Relay>, Waker)> = None;
        poll_fn(|cx| {
            let is_known = |(known, _): &(Arc<Relay>, Waker)| known.task.will_wake(cx.waker());
            if !relay.as_ref().is_some_and(is_known) {
                let made = Arc::new(Relay {
                    task: cx.waker().clone(),
                    shared: Arc::clone(&self.0),
                });
                relay = Some((Arc::clone(&made), Waker::from(made)));
            }
            let waker = relay.as_ref().map_or(cx.waker(), |(_, waker)| waker);
            future.as_mut().poll(&mut Context::from_waker(waker))
        })
        .await
    }

    /// Wakes the core's tasks, for as long as it is polled: nothing that waits
    /// [`together`](Self::together) goes on without it.
    pub async fn tell(&self) {
        let mut woken = Vec::new();
        poll_fn(|cx| {
            // Before the look: who comes after that wakes this task.
            self.0.teller.register(cx.waker());
            mem::swap(&mut woken, &mut *self.0.lock());
            woken.drain(..).for_each(Waker::wake);
            Poll::<()>::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use tokio::sync::oneshot;
    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    #[tokio::test]
    async fn who_was_answered_by_another_thread_goes_on() {
        let tasks = async {
            let wakes = Rc::new(Wakes::default());
            let telling = spawn_local({
                let wakes = Rc::clone(&wakes);
                async move { wakes.tell().await }
            });
            for round in 0..100 {
                let (senders, waiting): (Vec<_>, Vec<_>) = (0..50)
                    .map(|nth| {
                        let (sender, receiver) = oneshot::channel();
                        let wakes = Rc::clone(&wakes);
                        let waiting =
                            spawn_local(async move { wakes.together(pin!(receiver)).await.ok() });
                        ((sender, round * nth), waiting)
                    })
                    .unzip();
                let answering = thread::spawn(move || {
                    for (sender, answer) in senders {
                        sender.send(answer).expect("somebody waits");
                    }
                });
                for (nth, waiting) in waiting.into_iter().enumerate() {
                    let answer = waiting.await.expect("it does not panic");
                    assert_eq!(answer, Some(round * nth));
                }
                answering.join().expect("it does not panic");
            }
            telling.abort();
        };
        LocalSet::new().run_until(tasks).await;
    }

    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_first_of_many_wakes_the_core_and_the_core_the_others() {
        let wakes = Wakes::default();
        let counted = || Arc::new(Counted(AtomicUsize::new(0)));
        let (core, task) = (counted(), counted());
        let core_waker = Waker::from(Arc::clone(&core));
        let mut telling = pin!(wakes.tell());
        let mut tell = || {
            let mut cx = Context::from_waker(&core_waker);
            assert!(telling.as_mut().poll(&mut cx).is_pending());
        };
        tell();
        for round in 1..=2 {
            let relay = Arc::new(Relay {
                task: Waker::from(Arc::clone(&task)),
                shared: Arc::clone(&wakes.0),
            });
            for _ in 0..3 {
                relay.wake_by_ref();
                assert_eq!(core.0.load(Ordering::Relaxed), round);
            }
            tell();
            assert_eq!(task.0.load(Ordering::Relaxed), round * 3);
        }
    }
}
