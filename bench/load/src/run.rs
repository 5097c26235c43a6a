//! A job from its line to its report.

use std::cell::Cell;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::audit;
use crate::draw::Draw;
use crate::engine::{self, Lost};
use crate::gifts::Claimer;
use crate::job::{self, Audit, Job, Mix, Told, What, Work};
use crate::latency::{Tallies, Tally, tallies};
use crate::open::{Dealt, Schedule};
use crate::request::{Author, Receipt};
use crate::users::{self, User};
use crate::visible;
use crate::writes::{self, Newest, Writer};

/// Time for the preparation of writers.
const PREPARE_MAX: Duration = Duration::from_mins(1);
/// Connections and users of the writes that a visible write is measured beside.
const BESIDE: u32 = 16;

/// The conversation of `job`, over two streams.
pub fn run(input: &mut dyn BufRead, output: &mut dyn Write) -> Result<()> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line).context("the job is not understood")?;
    ensure!(!job.servers.is_empty(), "a job without a server");
    let mut talk = Talk { input, output };
    match job.work {
        Work::Writes {
            mix,
            users,
            connections,
            wait,
        } => writes(&job, &mut talk, mix, (users, connections), wait),
        Work::Backlog { rows, connections } => backlog(&job, &mut talk, rows, connections),
        Work::Gifts { in_flight } => gifts(&job, &mut talk, in_flight),
        Work::Open {
            ref what,
            per_second,
            connections,
        } => open(&job, &mut talk, what, per_second, connections),
        Work::Visible { per_second } => visible(&job, &mut talk, per_second),
        Work::Users { users, think_ms } => people(&job, &mut talk, users, think_ms),
    }
}

struct Talk<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
}

impl Talk<'_> {
    /// Says that all is prepared, and waits for the word.
    fn ready(&mut self) -> Result<()> {
        writeln!(self.output, "{}", job::READY)?;
        self.output.flush()?;
        self.input.read_line(&mut String::new())?;
        Ok(())
    }

    fn say(&mut self, what: &str, value: &impl serde::Serialize) -> Result<()> {
        writeln!(self.output, "{what}{}", serde_json::to_string(value)?)?;
        Ok(self.output.flush()?)
    }
}

impl Job {
    fn end(&self) -> Instant {
        Instant::now() + Duration::from_secs_f64(self.seconds)
    }

    fn author(&self, nth: u32) -> Author {
        Author::new(format!("user-{}-{nth}", self.seed), &self.secret)
    }

    fn authors(&self, count: u32) -> Rc<[Author]> {
        (0..count).map(|nth| self.author(nth)).collect()
    }
}

fn writes(
    job: &Job,
    talk: &mut Talk<'_>,
    mix: Mix,
    (users, connections): (u32, u32),
    wait: bool,
) -> Result<()> {
    let connections = connections.min(users);
    let before = tallies(&writes::KINDS);
    let writer = |nth: u32| {
        let step = connections as usize;
        let share = (nth..users).step_by(step).map(|user| job.author(user));
        let draw = Draw::new(job.seed, nth.into());
        Writer::new(share, (mix, wait), draw, &before)
    };
    let mut writers: Vec<Writer> = (0..connections).map(writer).collect();
    writers.iter_mut().for_each(Writer::prepare);
    engine::run(&mut writers, &job.servers, Instant::now() + PREPARE_MAX)?;
    settle(
        newest(writers.iter().map(|writer| &writer.newest)),
        &job.servers,
    )?;
    let tallies = tallies(&writes::KINDS);
    for writer in &mut writers {
        writer.begin(&tallies);
    }
    talk.ready()?;
    let start = Instant::now();
    let lost = engine::run(&mut writers, &job.servers, job.end())?;
    let seconds = start.elapsed();
    settle(
        newest(writers.iter().map(|writer| &writer.newest)),
        &job.servers,
    )?;
    talk.say(
        job::DONE,
        &told(&tallies.borrow(), (seconds, start.elapsed()), lost),
    )
}

fn backlog(job: &Job, talk: &mut Talk<'_>, rows: u32, connections: u32) -> Result<()> {
    let tallies = tallies(&writes::KINDS);
    let writer = |nth: u32| {
        let author = std::iter::once(job.author(nth));
        let draw = Draw::new(job.seed, nth.into());
        let mut writer = Writer::new(author, (Mix::Creates, false), draw, &tallies);
        writer.stop_after(rows.div_ceil(connections) as usize);
        writer
    };
    let mut writers: Vec<Writer> = (0..connections).map(writer).collect();
    talk.ready()?;
    let start = Instant::now();
    let lost = engine::run(&mut writers, &job.servers, job.end())?;
    let seconds = start.elapsed();
    let told = told(&tallies.borrow(), (seconds, Duration::ZERO), lost);
    talk.say(job::DONE, &told)
}

fn gifts(job: &Job, talk: &mut Talk<'_>, in_flight: u32) -> Result<()> {
    let users = Rc::new(Cell::new(0));
    let tallies = tallies(&["claim"]);
    let claimer = |_| Claimer::new(job.seed, &job.secret, &users, &tallies);
    let mut claimers: Vec<Claimer> = (0..in_flight).map(claimer).collect();
    talk.ready()?;
    let start = Instant::now();
    let lost = engine::run(&mut claimers, &job.servers, job.end())?;
    let seconds = start.elapsed();
    talk.say(
        job::DONE,
        &told(&tallies.borrow(), (seconds, seconds), lost),
    )?;
    let mut found = Audit::default();
    audit::codes(
        claimers.iter().flat_map(|claimer| &claimer.codes),
        &mut found,
    );
    talk.say(job::AUDIT, &found)
}

fn open(
    job: &Job,
    talk: &mut Talk<'_>,
    what: &What,
    per_second: f64,
    connections: u32,
) -> Result<()> {
    let authors = job.authors(connections);
    talk.ready()?;
    let start = Instant::now();
    let told_of = tallies(&[what.name()]);
    let (dealt, lost) = deal(job, (what, per_second), &authors, &told_of)?;
    let seconds = start.elapsed();
    settle(
        newest(dealt.iter().map(|dealt| &dealt.newest)),
        &job.servers,
    )?;
    talk.say(
        job::DONE,
        &told(&told_of.borrow(), (seconds, start.elapsed()), lost),
    )
}

/// Requests at a rate, on a connection per author.
fn deal(
    job: &Job,
    (what, per_second): (&What, f64),
    authors: &Rc<[Author]>,
    tallies: &Tallies,
) -> Result<(Vec<Dealt>, Lost)> {
    let schedule = Rc::new(Schedule::new(Instant::now(), per_second));
    let dealt = authors
        .iter()
        .map(|_| Dealt::new(&schedule, what, authors, tallies));
    let mut dealt: Vec<Dealt> = dealt.collect();
    let lost = engine::run(&mut dealt, &job.servers, job.end())?;
    Ok((dealt, lost))
}

fn visible(job: &Job, talk: &mut Talk<'_>, per_second: f64) -> Result<()> {
    talk.ready()?;
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let (seen, lost) = std::thread::scope(|scope| {
        let prober = scope.spawn(|| visible::probe(&job.servers, &job.secret, &stop));
        let authors = job.authors(BESIDE);
        let beside = if per_second > 0.0 {
            let uncounted = tallies(&["create"]);
            let dealt = deal(job, (&What::Create, per_second), &authors, &uncounted);
            dealt.map(|(_, lost)| lost)
        } else {
            std::thread::sleep(Duration::from_secs_f64(job.seconds));
            Ok(Lost::default())
        };
        stop.store(true, Ordering::Relaxed);
        let seen = prober.join().expect("the prober does not panic");
        anyhow::Ok((seen?, beside?))
    })?;
    let seconds = start.elapsed();
    talk.say(job::DONE, &told(&seen, (seconds, seconds), lost))
}

fn people(job: &Job, talk: &mut Talk<'_>, users: u32, think_ms: (u32, u32)) -> Result<()> {
    let tallies = tallies(&users::KINDS);
    let user = |nth: u32| {
        let draw = Draw::new(job.seed, nth.into());
        User::new(job.author(nth), think_ms, draw, &tallies)
    };
    let mut users: Vec<User> = (0..users).map(user).collect();
    talk.ready()?;
    let start = Instant::now();
    for user in &mut users {
        user.arrive(start);
    }
    let lost = engine::run(&mut users, &job.servers, job.end())?;
    let seconds = start.elapsed();
    talk.say(
        job::DONE,
        &told(&tallies.borrow(), (seconds, seconds), lost),
    )?;
    let receipts = users.iter_mut();
    let receipts = receipts.flat_map(|user| std::mem::take(&mut user.receipts));
    let mut found = audit::operations(receipts.collect(), &job.servers)?;
    audit::codes(users.iter().flat_map(|user| &user.codes), &mut found);
    talk.say(job::AUDIT, &found)
}

/// Waits until the newest write of every partition is applied, and so all are.
fn settle(newest: Newest, servers: &[SocketAddr]) -> Result<()> {
    let receipts: Vec<Receipt> = newest.into_values().collect();
    let found = audit::operations(receipts, servers)?;
    ensure!(
        found.unknown == 0,
        "writes were not applied in time: {found:?}"
    );
    Ok(())
}

fn newest<'a>(all: impl Iterator<Item = &'a Newest>) -> Newest {
    let mut sum = Newest::new();
    for receipt in all.flat_map(Newest::values) {
        let newest = sum.entry(receipt.partition);
        let newest = newest.or_insert_with(|| receipt.clone());
        if receipt.offset > newest.offset {
            *newest = receipt.clone();
        }
    }
    sum
}

fn told(tallies: &[Tally], (seconds, applied): (Duration, Duration), lost: Lost) -> Told {
    Told {
        seconds: seconds.as_secs_f64(),
        applied_seconds: applied.as_secs_f64(),
        kinds: tallies.iter().map(Tally::told).collect(),
        lost: lost.count,
        lost_because: lost.because,
    }
}
