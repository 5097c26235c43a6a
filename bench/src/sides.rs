//! Who answers: Millpond, the floor and the peers, and how each is started for a scenario.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use captured::Answer;

use crate::deployment::Limits;
use crate::http::exchange;
use crate::nginx;
use crate::peers::{Peer, Started, is_installed, redis};
use crate::plan::LIMITED_BY_REDIS;
use crate::process::{Server, free_port, pinned};
use crate::product::Product;
use crate::proxy::Proxy;
use crate::scenario::{Form, Limit, Scenario};
use crate::session::Session;

/// Time for Millpond to have its gzip form ready.
const CODED_MAX: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub enum Side {
    Millpond(Product),
    Floor,
    /// The floor under another name, and the floor with a microsecond more per request.
    FloorAgain,
    FloorSpinning,
    /// A program of `peers/`.
    Peer(&'static Peer),
    Nginx,
    /// Millpond with limits that admit all.
    Limited(Backing),
    /// Millpond behind a proxy.
    Behind(Proxy),
    /// Millpond while it is written to.
    Written,
}

/// Where limits are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    Process,
    Redis,
}

/// A side that runs, and what a client has to know to ask it.
#[derive(Debug)]
pub struct Running {
    pub name: String,
    pub port: u16,
    counted: Vec<Server>,
    /// Kept until the side is done.
    uncounted: Vec<Server>,
    pub tag: Option<String>,
    /// Bytes of its response, where there is but one.
    pub response_bytes: Option<usize>,
    /// Whether it is written to while it is read.
    pub is_written: bool,
}

/// Captured responses of one scenario.
#[derive(Debug)]
struct Captured {
    /// As `captured::Answers` reads them.
    answers: PathBuf,
    /// What the floor sends.
    exact: Vec<PathBuf>,
    first: Answer,
}

impl Side {
    pub fn name(&self) -> &str {
        match self {
            Self::Millpond(product) => &product.label,
            Self::Floor => "floor",
            Self::FloorAgain => "floor again",
            Self::FloorSpinning => "floor + 1 µs",
            Self::Peer(peer) => peer.name,
            Self::Nginx => "nginx",
            Self::Limited(Backing::Process) => "limited",
            Self::Limited(Backing::Redis) => LIMITED_BY_REDIS,
            Self::Behind(Proxy::Nginx) => "behind-nginx",
            Self::Behind(Proxy::Haproxy) => "behind-haproxy",
            Self::Written => "written-to",
        }
    }

    /// Why it cannot run here; `None` where it can.
    pub fn missing(&self, session: &Session) -> Option<String> {
        let program = match self {
            Self::Peer(peer) => return peer.missing(session),
            Self::Nginx => "nginx",
            Self::Behind(proxy) => proxy.program(),
            Self::Limited(Backing::Redis) => "redis-server",
            _ => return None,
        };
        (!is_installed(program)).then(|| format!("{program} is not installed"))
    }

    /// Whether it is there for comparison only.
    pub fn is_peer(&self) -> bool {
        matches!(self, Self::Peer(_) | Self::Nginx)
    }

    /// Whether it answers everything alike.
    fn is_floor(&self) -> bool {
        matches!(self, Self::Floor | Self::FloorAgain | Self::FloorSpinning)
    }

    fn start(&self, session: &Session, captured: &Captured) -> Result<Started> {
        let name = self.name();
        let log = session.log(name);
        let server = match self {
            Self::Millpond(product) => unlimited(session, name, product)?,
            Self::Written => unlimited(session, name, &session.reference)?,
            Self::Peer(peer) => return peer.start(session, &captured.answers),
            Self::Limited(backing) => return limited(session, name, *backing),
            Self::Behind(proxy) => return behind(session, name, *proxy),
            Self::Floor | Self::FloorAgain | Self::FloorSpinning => {
                let port = free_port()?;
                let mut command = pinned(&[session.server_core], &session.program("floor")?);
                command.arg(format!("127.0.0.1:{port}"));
                if let Self::FloorSpinning = self {
                    command.arg("--spin-ns=1000");
                }
                command.args(&captured.exact);
                Server::start(command, port, &log)?
            }
            Self::Nginx => {
                let port = free_port()?;
                let directory = session.fresh("nginx")?;
                let file = nginx::prepare(&directory, &captured.answers, port)?;
                let mut command = pinned(&[session.server_core], Path::new("nginx"));
                command.arg("-p").arg(&directory).arg("-c").arg(file);
                Server::start(command, port, &log)?
            }
        };
        Ok(Started::alone(server))
    }
}

fn limited(session: &Session, name: &str, backing: Backing) -> Result<Started> {
    let mut settings = session.settings(Limits::Admitting);
    let mut uncounted = Vec::new();
    if backing == Backing::Redis {
        let redis = redis(session, session.server_core, name)?;
        let url = format!("redis://127.0.0.1:{}", redis.port);
        settings.push(("REDIS_URL".to_owned(), url));
        uncounted.push(redis);
    }
    let data = session.data(name)?;
    let (core, log) = (session.server_core, session.log(name));
    let server = session.reference.start(&data, core, &log, &settings)?;
    Ok(Started {
        uncounted,
        ..Started::alone(server)
    })
}

/// On the seeded data, with no limits.
fn unlimited(session: &Session, name: &str, product: &Product) -> Result<Server> {
    let settings = session.settings(Limits::None);
    let data = session.data(name)?;
    product.start(&data, session.server_core, &session.log(name), &settings)
}

fn behind(session: &Session, name: &str, proxy: Proxy) -> Result<Started> {
    let server = unlimited(session, name, &session.reference)?;
    let front = proxy.start(session, server.port)?;
    Ok(Started {
        port: front.port,
        counted: vec![server],
        uncounted: vec![front],
    })
}

impl Running {
    /// The processes whose trees the side is made of.
    pub fn pids(&self) -> Vec<u32> {
        self.counted.iter().map(Server::pid).collect()
    }

    /// Those that are not measured and belong to the run all the same: a proxy, a Redis.
    pub fn companions(&self) -> Vec<u32> {
        self.uncounted.iter().map(Server::pid).collect()
    }
}

/// A side, and what became of starting it.
pub type Start<'a> = (&'a Side, Result<Running>);

/// Starts every side for `scenario` and sees to it that each gives Millpond's answer.
pub fn start_all<'a>(
    session: &Session,
    scenario: &Scenario,
    sides: &'a [Side],
) -> Result<Vec<Start<'a>>> {
    let captured = capture(session, scenario)?;
    let start = |side: &'a Side| {
        let started = side.start(session, &captured);
        let started = started.and_then(|started| check(side, scenario, started, &captured));
        let about = || format!("{} in {}", side.name(), scenario.name);
        (side, started.with_context(about))
    };
    Ok(sides.iter().map(start).collect())
}

fn check(
    side: &Side,
    scenario: &Scenario,
    started: Started,
    captured: &Captured,
) -> Result<Running> {
    let limits = scenario.limits();
    let conditional = scenario.form == Form::NotModified;
    let tag = if conditional && !side.is_floor() {
        tag_of(scenario, started.port, limits[0])?
    } else {
        None
    };
    let response = ask(scenario, started.port, limits[0], tag.as_deref())?;
    let answer = Answer::parse(&response)?;
    ensure!(
        answer.status == captured.first.status && answer.body == captured.first.body,
        "answers {} with {} bytes, and Millpond {} with {}",
        answer.status,
        answer.body.len(),
        captured.first.status,
        captured.first.body.len()
    );
    let is_written = matches!(side, Side::Written);
    let is_same = limits.len() == 1 && !scenario.has_writes && !is_written;
    Ok(Running {
        name: side.name().to_owned(),
        port: started.port,
        counted: started.counted,
        uncounted: started.uncounted,
        tag,
        response_bytes: is_same.then_some(response.len()),
        is_written,
    })
}

/// Lets the reference answer once everything that the scenario asks for.
fn capture(session: &Session, scenario: &Scenario) -> Result<Captured> {
    let data = session.data("capture")?;
    let log = session.log("capture");
    let settings = session.settings(Limits::None);
    let reference = &session.reference;
    let server = reference.start(&data, session.server_core, &log, &settings)?;
    let answers = session.fresh("answers")?;
    let exact = session.fresh("exact")?;
    let plain = Scenario {
        form: Form::Identity,
        ..*scenario
    };
    let mut paths = Vec::new();
    for limit in scenario.limits() {
        let name = limit.name();
        let identity = ask(&plain, server.port, limit, None)?;
        fs::write(answers.join(format!("{name}.identity")), identity)?;
        let tag = match scenario.form {
            Form::NotModified => tag_of(scenario, server.port, limit)?,
            Form::Identity | Form::Gzip => None,
        };
        let response = ask(scenario, server.port, limit, tag.as_deref())?;
        if scenario.form == Form::Gzip {
            fs::write(answers.join(format!("{name}.gzip")), &response)?;
        }
        let path = exact.join(name);
        fs::write(&path, response)?;
        paths.push(path);
    }
    let first = Answer::parse(&fs::read(&paths[0])?)?;
    Ok(Captured {
        answers,
        exact: paths,
        first,
    })
}

/// The entity tag of the whole answer.
fn tag_of(scenario: &Scenario, port: u16, limit: Limit) -> Result<Option<String>> {
    let answer = Answer::parse(&exchange(port, &scenario.request(port, limit, None))?)?;
    Ok(answer.header("etag").map(str::to_owned))
}

/// Asks until the answer has the form that is wanted: Millpond makes gzip beside its serving.
fn ask(scenario: &Scenario, port: u16, limit: Limit, tag: Option<&str>) -> Result<Vec<u8>> {
    let start = Instant::now();
    loop {
        let response = exchange(port, &scenario.request(port, limit, tag))?;
        let answer = Answer::parse(&response)?;
        let coded = answer.header("content-encoding") == Some("gzip");
        if coded == (scenario.form == Form::Gzip) {
            return Ok(response);
        }
        if start.elapsed() > CODED_MAX {
            bail!("the answer never has the form that was asked for");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
