//! One core's questions: collected, sent in one call, answered.
//!
//! A core has two lanes, each with at most one call in flight; what comes meanwhile waits and goes
//! out together, when `pace` says. Only the first lane speaks of slots, so the absolute counts it
//! tells are never older than the last it told; it does so when there is something to say, and with
//! each heartbeat.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;
use tracing::warn;

use super::super::{Ask, Asking, By, Decision, Decisions, Key, Rate, Refusal, TOKEN, Verdict};
use super::away::Away;
use super::breaker::Breaker;
use super::holder::Holder;
use super::lane::Lane;
use super::leased::Leased;
use super::pace::Pace;
use super::queue::{Batch, Entry, Many, Queue, Single};
use super::script::{Answer, Asked, CONNECT_TIMEOUT, Failed, Lease, Reply, Script};
use super::{HEARTBEAT, PROBE_EVERY, Server, leased};
use crate::clock::Stopwatch;

/// Lanes; the first one takes slots.
const LANES: usize = 2;

pub struct Core {
    server: Arc<Server>,
    queue: RefCell<Queue>,
    lanes: [Rc<Lane>; LANES],
    pace: Pace,
    holder: Rc<Holder>,
    /// This core among all holders of slots, once it has started.
    name: OnceCell<String>,
    /// Whether it is the one by which this server is counted.
    stays: Cell<bool>,
    /// Grows with each call that speaks of slots.
    sequence: Cell<u64>,
    leased: Leased,
    /// When Redis was last told of slots.
    told: Cell<Stopwatch>,
    breaker: Breaker,
    /// Decides while that is open, and about who has waited long enough.
    away: Away,
    script: OnceCell<Script>,
    tasks: RefCell<Vec<JoinHandle<()>>>,
}

impl Core {
    pub(super) fn new(server: Arc<Server>) -> Self {
        let lanes: [Rc<Lane>; LANES] = Default::default();
        let holder = Rc::new(Holder::new(Arc::clone(&server), Rc::clone(&lanes[0])));
        Self {
            away: Away::new(Arc::clone(&server), Rc::clone(&holder)),
            name: OnceCell::new(),
            stays: Cell::new(false),
            breaker: Breaker::new(Arc::clone(&server)),
            queue: RefCell::default(),
            lanes,
            pace: Pace::default(),
            holder,
            sequence: Cell::new(0),
            leased: Leased::default(),
            told: Cell::new(Stopwatch::start()),
            script: OnceCell::new(),
            tasks: RefCell::default(),
            server,
        }
    }

    /// Connects and starts the lanes, in the background. Who asks before it is known whether Redis
    /// answers waits for that: a first request that is decided without it would be one too many.
    pub fn start(core: &Rc<Self>) {
        let Server {
            config, options, ..
        } = &*core.server;
        let nth = core.server.cores.fetch_add(1, Ordering::Relaxed);
        core.stays.set(nth == 0);
        core.name
            .get_or_init(|| format!("{}:{nth}", core.server.name));
        core.script
            .get_or_init(|| Script::connect(config.clone(), options));
        let starting = Rc::clone(core);
        let starting = spawn_local(async move {
            starting.meet().await;
            let lanes = (0..LANES).map(|nth| {
                let core = Rc::clone(&starting);
                spawn_local(async move { core.run(nth).await })
            });
            starting.tasks.borrow_mut().extend(lanes);
        });
        core.tasks.borrow_mut().push(starting);
    }

    /// Says the first word to Redis: when it is connected, or when somebody has waited a deadline
    /// for that.
    async fn meet(&self) {
        let lane = &self.lanes[0];
        let waited_for = async {
            if self.queue.borrow().is_empty() {
                lane.idle(CONNECT_TIMEOUT).await;
            }
            sleep(self.server.options.timeout).await;
        };
        tokio::select! {
            () = self.script().connected() => {}
            () = waited_for => {}
        }
        lane.rouse();
        self.decide(Batch::default(), true).await;
    }

    pub async fn ask(&self, ask: Ask) -> Decision {
        let key = match ask {
            Ask {
                key: Some(key),
                slot: false,
            } => return self.ask_many(key, 1).await.nth(0),
            Ask { key, .. } => key,
        };
        if self.is_without_redis() {
            return self.away.with_slot(key);
        }
        let (waiter, answer) = oneshot::channel();
        self.queue.borrow_mut().push(key, waiter);
        self.wake(true);
        // A lane that ends leaves nobody behind; what has no answer all the same is not let pass.
        answer.await.unwrap_or(Decisions::UNKNOWN.nth(0))
    }

    pub fn ask_many(&self, key: Key, count: u32) -> Asking {
        if self.is_without_redis() {
            return Asking::Decided(self.away.many(&key, count));
        }
        let (answer, asking) = oneshot::channel();
        self.queue
            .borrow_mut()
            .push_many(key, Many { count, answer });
        self.wake(false);
        Asking::Waiting(asking)
    }

    fn is_without_redis(&self) -> bool {
        self.breaker.is_open() || self.script.get().is_none()
    }

    /// Has a lane look at the queue, if one is idle and it is time. One that is not looks before it
    /// idles.
    fn wake(&self, needs_slot: bool) {
        if !self.pace.is_time(&self.queue.borrow(), needs_slot) {
            return;
        }
        // Slots are the first lane's, which is therefore the last to be troubled with the rest.
        let fitting = if needs_slot {
            &self.lanes[..1]
        } else {
            &self.lanes[..]
        };
        if let Some(lane) = fitting.iter().rev().find(|lane| lane.is_idle()) {
            lane.nudge();
        }
    }

    async fn run(&self, nth: usize) {
        let slots = nth == 0;
        loop {
            // Who roused an idle lane waits for no call, however late the lane gets its turn.
            if !self.work(nth).await {
                self.leave_behind();
            }
            self.pace.gather(&self.queue).await;
            let batch = self.queue.borrow_mut().take(slots);
            // Behind those who need slots others may be left, and others than this lane take them.
            self.wake(false);
            let slots = slots && self.speaks_of_slots(&batch);
            if slots || !batch.is_empty() {
                self.decide(batch, slots).await;
            }
        }
    }

    /// Waits until there is something to send; says whether the lane was idle.
    async fn work(&self, nth: usize) -> bool {
        let lane = &self.lanes[nth];
        let slots = nth == 0;
        if self.breaker.is_open() {
            // Nobody waits for Redis now: the first lane looks whether it is back, the other rests.
            sleep(if slots { PROBE_EVERY } else { HEARTBEAT }).await;
        } else if !(self.pace.is_time(&self.queue.borrow(), slots)
            || (slots && self.holder.has_news()))
        {
            let told = slots.then(|| self.told.get().elapsed());
            lane.idle(HEARTBEAT.saturating_sub(told.unwrap_or_default()))
                .await;
            return true;
        }
        false
    }

    /// Whether the first lane's next call is about slots, too; while the breaker is open, it is how
    /// the lane looks. A heartbeat that would be late after this call goes with it.
    fn speaks_of_slots(&self, batch: &Batch) -> bool {
        let after_it = self.told.get().elapsed() + self.server.options.timeout;
        batch.wants_slots()
            || self.holder.has_news()
            || self.breaker.is_open()
            || after_it >= HEARTBEAT
    }

    /// Decides without Redis what has waited a deadline for a lane: with the call that it would
    /// wait for now, nobody waits for longer than two.
    fn leave_behind(&self) {
        let timeout = self.server.options.timeout;
        let overdue = || self.queue.borrow_mut().overdue(timeout);
        while let Some(batch) = overdue() {
            self.away.decide(batch);
        }
    }

    async fn decide(&self, batch: Batch, slots: bool) {
        let under_way = self.pace.sent(&batch);
        let told = slots.then(|| self.holder.in_use());
        let replied = self.call(&batch, slots).await;
        self.pace.over(under_way);
        match replied {
            Ok(reply) => {
                // The first lane is who looks; while it pauses, nobody shall wait for it.
                if slots {
                    self.breaker.succeeded();
                }
                self.learn(&reply, told);
                self.hand_out(batch, &reply);
            }
            Err(why) => {
                self.breaker.failed(&why);
                self.lanes[0].nudge();
                self.away.decide(batch);
                // Nobody waits behind a call that failed.
                while !self.queue.borrow().is_empty() {
                    let waiting = self.queue.borrow_mut().take(true);
                    self.away.decide(waiting);
                }
            }
        }
    }

    async fn call(&self, batch: &Batch, slots: bool) -> Result<Reply, Failed> {
        let script = self.script();
        if slots {
            self.sequence.set(self.sequence.get() + 1);
            self.told.set(Stopwatch::start());
        }
        let lease = slots.then(|| Lease {
            holder: self.name.get().map_or("", String::as_str),
            sequence: self.sequence.get(),
            in_use: self.holder.tell(),
            stays: self.stays.get(),
            wanted: batch.alone.len(),
        });
        let plain = batch.plain.entries.iter().map(Asked::of);
        let with_slot = batch.with_slot.entries.iter().map(Asked::of);
        script.call(lease.as_ref(), plain, with_slot, None).await
    }

    fn script(&self) -> &Script {
        self.script.get().expect("lanes start with the script")
    }

    /// `told` is how many slots the call said are in use, if it was about slots.
    fn learn(&self, reply: &Reply, told: Option<u32>) {
        let Some(in_use) = told else {
            return;
        };
        let age = self.leased.learn(reply.epoch, in_use, self.stays.get());
        // A Redis that has lost the leases hears of the other servers within a heartbeat or two:
        // until then those that were known are.
        let servers = &self.server.servers;
        if age < leased::life(self.server.options.timeout) {
            servers.fetch_max(reply.servers, Ordering::Relaxed);
        } else {
            servers.store(reply.servers.max(1), Ordering::Relaxed);
        }
    }

    fn hand_out(&self, batch: Batch, reply: &Reply) {
        let mut answers = reply.buckets.iter().copied();
        for (nth, waiter) in batch.alone.into_iter().enumerate() {
            let verdict = if nth < reply.alone {
                Verdict::Admitted(Some(self.holder.permit()))
            } else {
                self.no_slot()
            };
            answer(waiter, verdict, None);
        }
        for (entry, said) in batch.plain.entries.into_iter().zip(&mut answers) {
            self.answer_many(entry, said);
        }
        for (entry, said) in batch.with_slot.entries.into_iter().zip(&mut answers) {
            self.answer_with_slot(entry, said, reply.slots_left);
        }
    }

    /// Who came first is granted first, be it in part.
    fn answer_many(&self, entry: Entry<Many>, said: Answer) {
        let rule = self.server.options.rate;
        let mut ungiven = u32::try_from(said.granted).unwrap_or(u32::MAX);
        for waiter in entry.waiters {
            let granted = ungiven.min(waiter.count);
            ungiven -= granted;
            let remaining = said.remaining + u64::from(ungiven) * TOKEN;
            let decisions = Decisions {
                granted,
                others: Some(Refusal::no_token(said.wait_ms)),
                rate: Some(Rate { rule, remaining }),
                by: By::Whole,
            };
            waiter.tell(decisions);
        }
        self.away.note(&entry.key, said.remaining);
    }

    fn answer_with_slot(&self, entry: Entry<Single>, said: Answer, slots_left: u32) {
        let Entry { key, waiters } = entry;
        let rule = self.server.options.rate;
        for (nth, waiter) in waiters.into_iter().enumerate() {
            let (verdict, remaining) = if nth < said.granted {
                let permit = Some(self.holder.permit());
                (Verdict::Admitted(permit), said.remaining_after(nth))
            } else if said.wait_ms == Some(0) {
                // There is a token, so it was the slot that was missing.
                (self.no_slot(), said.remaining)
            } else {
                let refusal = Refusal {
                    in_flight: slots_left == 0,
                    ..Refusal::no_token(said.wait_ms)
                };
                (Verdict::Refused(refusal), said.remaining)
            };
            answer(waiter, verdict, Some(Rate { rule, remaining }));
        }
        self.away.note(&key, said.remaining);
    }

    fn no_slot(&self) -> Verdict {
        Verdict::Refused(Refusal::no_slot(self.server.options.slots_max > 0))
    }

    /// Gives the slots back to the fleet, and is no server any more.
    pub async fn close(&self) {
        for task in self.tasks.take() {
            task.abort();
        }
        let Some(script) = self.script.get() else {
            return;
        };
        self.stays.set(false);
        // Redis has heard of it.
        if self.leased.is_known()
            && !self.breaker.is_open()
            && let Err(why) = self.call(&Batch::default(), true).await
        {
            warn!(%why, "the slots of this server come free with its lease only");
        }
        script.close().await;
    }
}

/// Who has left meanwhile drops the permit, which gives the slot back.
fn answer(waiter: Single, verdict: Verdict, rate: Option<Rate>) {
    drop(waiter.send(Decision {
        verdict,
        rate,
        by: By::Whole,
    }));
}
