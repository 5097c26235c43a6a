//! The peers: a table of servers that answer as Millpond does and do nothing else, what each lacks,
//! and how it is started.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process::{Server, free_port, pinned};
use crate::session::Session;

/// A server that only does this.
#[derive(Debug)]
pub struct Peer {
    pub name: &'static str,
    kind: Kind,
    pub runs: Runs,
    pub lacks: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A program of this workspace, and what follows the address and the directory.
    Program(&'static str, &'static [&'static str]),
    /// A program that asks a Redis of its own.
    WithRedis(&'static str),
    /// A script for the bench's Python, with a Redis of its own.
    PythonWithRedis(&'static str),
}

/// In which scenarios a peer runs unless it is asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    Always,
    /// Where requests are pipelined.
    Pipelined,
    /// Where everyone runs.
    Broadly,
    /// Where the systems that were replaced are shown.
    Replaced,
}

/// What every peer lacks beside its own.
pub const ALL_LACK: &str = "deadlines, limits, metrics, a drain, other routes, q-values, \
    data that ever change";
pub const FLOOR_LACKS: &str = "HTTP: it finds `\\r\\n\\r\\n` and sends bytes from its memory, \
    which a server that sends large files from the page cache can undercut";
pub const NGINX_LACKS: &str = "Millpond's entity tag (it has its own); it sends files, \
    those over 32 KiB from the page cache with `sendfile`, which copies nothing";

pub const PEERS: &[Peer] = &[
    Peer {
        name: "hyper",
        kind: Kind::Program("peer-hyper", &[]),
        runs: Runs::Always,
        lacks: "nothing else: it is the library that Millpond stands on",
    },
    Peer {
        name: "hyper-flush",
        kind: Kind::Program("peer-hyper", &["pipeline-flush"]),
        runs: Runs::Pipelined,
        lacks: "nothing else: the same with `pipeline_flush`, which copies bodies",
    },
    Peer {
        name: "axum",
        kind: Kind::Program("peer-axum", &[]),
        runs: Runs::Broadly,
        lacks: "nothing else: its router and extractors are used as documented",
    },
    Peer {
        name: "actix-web",
        kind: Kind::Program("peer-actix", &[]),
        runs: Runs::Broadly,
        lacks: "nothing else: its router and extractors are used as documented",
    },
    Peer {
        name: "ntex",
        kind: Kind::Program("peer-ntex", &[]),
        runs: Runs::Broadly,
        lacks: "nothing else: its router is used as documented, on its tokio runtime",
    },
    Peer {
        name: "may_minihttp",
        kind: Kind::Program("peer-may", &[]),
        runs: Runs::Broadly,
        lacks: "`TCP_NODELAY`, which it has no setting for; more than 16 headers",
    },
    Peer {
        name: "go-redis",
        kind: Kind::WithRedis("peer-go-redis"),
        runs: Runs::Replaced,
        lacks: "nothing else: it shows a design, a Redis call per read, and Redis' own time counts \
                as its own",
    },
    Peer {
        name: "fastapi-redis",
        kind: Kind::PythonWithRedis("bench/peers/fastapi/server.py"),
        runs: Runs::Replaced,
        lacks: "304s; it shows a design, a Lua call in Redis per limited request, and Redis' own \
                time counts as its own. The others are not limited here",
    },
];

/// Who answers on a port.
#[derive(Debug)]
pub struct Started {
    pub port: u16,
    /// Those whose CPU time is the side's.
    pub counted: Vec<Server>,
    /// What else it needs.
    pub uncounted: Vec<Server>,
}

impl Started {
    pub fn alone(server: Server) -> Self {
        Self {
            port: server.port,
            counted: vec![server],
            uncounted: Vec::new(),
        }
    }
}

impl Peer {
    /// Why it cannot run here; `None` where it can.
    pub fn missing(&self, session: &Session) -> Option<String> {
        let program = match self.kind {
            Kind::Program(program, _) | Kind::WithRedis(program) => session.programs.join(program),
            Kind::PythonWithRedis(_) => python(session),
        };
        if !program.exists() {
            return Some(format!(
                "{} is not there: see bench/setup.sh",
                program.display()
            ));
        }
        let needs_redis = !matches!(self.kind, Kind::Program(..));
        (needs_redis && !is_installed("redis-server"))
            .then(|| "redis-server is not installed".to_owned())
    }

    /// Starts it on the server's core with the responses in `answers`.
    pub fn start(&self, session: &Session, answers: &Path) -> Result<Started> {
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let mut counted = Vec::new();
        let mut command = match self.kind {
            Kind::Program(program, _) | Kind::WithRedis(program) => {
                pinned(&[session.server_core], &session.program(program)?)
            }
            Kind::PythonWithRedis(script) => {
                let mut command = pinned(&[session.server_core], &python(session));
                command.arg(script);
                command
            }
        };
        command.arg(address).arg(answers);
        match self.kind {
            Kind::Program(_, arguments) => {
                command.args(arguments);
            }
            Kind::WithRedis(_) | Kind::PythonWithRedis(_) => {
                let redis = redis(session, session.server_core, self.name)?;
                command.arg(format!("127.0.0.1:{}", redis.port));
                counted.push(redis);
            }
        }
        counted.push(Server::start(command, port, &session.log(self.name))?);
        Ok(Started {
            port,
            counted,
            uncounted: Vec::new(),
        })
    }
}

/// The interpreter that `setup.sh` has given what the script needs.
fn python(session: &Session) -> PathBuf {
    session.programs.join("../venv/bin/python")
}

/// Whether there is such a program.
pub fn is_installed(program: &str) -> bool {
    Command::new(program).arg("-v").output().is_ok()
}

/// A Redis that keeps nothing.
pub fn redis(session: &Session, core: usize, name: &str) -> Result<Server> {
    let port = free_port()?;
    let mut command = pinned(&[core], Path::new("redis-server"));
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no"]);
    Server::start(command, port, &session.log(&format!("redis-{name}")))
}
