//! The other client: `load`, told by a job what to do, with the clocks read when it says so.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, bail};
use load::job::{self, Audit, Job, Told, Work};

use crate::deployment::Deployment;
use crate::proc::{self, Machine, Ticks};
use crate::process::pinned;
use crate::record::Used;
use crate::session::Session;

/// What came of a job, and what it cost whom.
#[derive(Debug)]
pub struct Loaded {
    pub told: Told,
    pub audit: Option<Audit>,
    pub used: Vec<Used>,
    /// Share of its core that the client used.
    pub client_use: f64,
    /// Share of the machine that others used.
    pub busy: f64,
}

/// A job without what the session knows.
pub struct Order<'a> {
    pub servers: &'a [SocketAddr],
    pub work: Work,
    pub seconds: f64,
    /// Time of whoever is measured, so far.
    pub clock: &'a dyn Fn() -> Result<Vec<(String, Ticks)>>,
}

struct Talk {
    child: Child,
    /// Closed, it ends the child's waiting.
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// Has a deployment do `work`.
pub fn run(session: &Session, deployment: &Deployment, work: Work, seconds: f64) -> Result<Loaded> {
    let order = Order {
        servers: &deployment.servers,
        work,
        seconds,
        clock: &|| deployment.used(),
    };
    carry_out(session, order)
}

pub fn carry_out(session: &Session, order: Order<'_>) -> Result<Loaded> {
    let job = job(session, order.servers, order.work, order.seconds);
    let has_audit = matches!(job.work, Work::Gifts { .. } | Work::Users { .. });
    let mut talk = Talk::prepare(session, &job)?;
    let client = || proc::tree(talk.child.id()).map(|usage| usage.cpu);
    let (machine, before, own) = (Machine::look(), (order.clock)()?, client()?);
    talk.begin()?;
    let told = talk.done()?;
    let own = proc::tree(talk.child.id())?.cpu - own;
    let used = since(&before, &(order.clock)()?);
    let cpu = used.iter().fold(own, |sum, (_, ticks)| sum + *ticks);
    let busy = Machine::look().others_since(machine, cpu);
    let audit = if has_audit {
        Some(serde_json::from_str(&talk.expect(job::AUDIT)?)?)
    } else {
        None
    };
    let seconds = told.applied_seconds.max(told.seconds);
    Ok(Loaded {
        client_use: own.seconds() / seconds,
        used: used.into_iter().map(Used::of).collect(),
        told,
        audit,
        busy,
    })
}

/// Work that goes on beside something else, which is what is measured.
pub struct Begun(Talk);

impl Begun {
    pub fn begin(
        session: &Session,
        servers: &[SocketAddr],
        work: Work,
        seconds: f64,
    ) -> Result<Self> {
        let mut talk = Talk::prepare(session, &job(session, servers, work, seconds))?;
        talk.begin()?;
        Ok(Self(talk))
    }

    pub fn pid(&self) -> u32 {
        self.0.child.id()
    }

    /// Waits until it is done.
    pub fn end(mut self) -> Result<Told> {
        self.0.done()
    }
}

fn job(session: &Session, servers: &[SocketAddr], work: Work, seconds: f64) -> Job {
    Job {
        servers: servers.to_vec(),
        secret: session.secret.clone(),
        seconds,
        seed: session.seed(),
        work,
    }
}

fn since(before: &[(String, Ticks)], after: &[(String, Ticks)]) -> Vec<(String, Ticks)> {
    let both = before.iter().zip(after);
    both.map(|((name, before), (_, after))| (name.clone(), *after - *before))
        .collect()
}

impl Talk {
    fn start(session: &Session) -> Result<Self> {
        let cores = &session.client_cores[..1];
        let mut command = pinned(cores, &session.program("load")?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the load")?;
        let to = child.stdin.take().context("the load has an input")?;
        let from = child.stdout.take().context("the load has an output")?;
        Ok(Self {
            child,
            to,
            from: BufReader::new(from),
        })
    }

    /// Starts the load and waits until it is prepared for `job`.
    fn prepare(session: &Session, job: &Job) -> Result<Self> {
        let mut talk = Self::start(session)?;
        writeln!(talk.to, "{}", serde_json::to_string(job)?)?;
        talk.expect(job::READY)?;
        Ok(talk)
    }

    fn begin(&mut self) -> Result<()> {
        Ok(writeln!(self.to)?)
    }

    fn done(&mut self) -> Result<Told> {
        Ok(serde_json::from_str(&self.expect(job::DONE)?)?)
    }

    /// What follows `word` on the next line.
    fn expect(&mut self, word: &str) -> Result<String> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        match line.trim_end().strip_prefix(word) {
            Some(rest) => Ok(rest.to_owned()),
            None => bail!("the load broke off: {line:?} instead of {word:?}"),
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // It has ended, or what it did is of no use any more.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
