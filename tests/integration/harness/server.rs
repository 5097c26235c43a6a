//! A server that runs: its address, and who talks to it.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::process::Process;
use super::{Client, Connection, Exited, Launch, PATIENCE, eventually};

/// What stands before the address on the one line of standard output.
const READY: &str = "listening on http://";

/// What stands before it in the log, once it listens and before it serves.
const LISTENING: &str = r#""message":"listening","address":""#;

pub struct Server {
    /// Ends before what it stands on.
    process: Process,
    launch: Launch,
    address: SocketAddr,
}

/// The address in the line that says that a process serves.
pub(super) fn address_in(line: &str) -> SocketAddr {
    let address = line.strip_prefix(READY).and_then(|rest| rest.parse().ok());
    address.unwrap_or_else(|| panic!("unexpected on standard output: {line:?}"))
}

impl Server {
    pub(super) fn start(launch: Launch) -> Result<Self, Exited> {
        let (process, line) = Process::start("server", launch.command(&["serve"]))?;
        Ok(Self {
            address: address_in(&line),
            launch,
            process,
        })
    }

    /// Starts a server that may never come to serve: it listens and says so in its log.
    #[track_caller]
    pub fn waiting(launch: &Launch) -> Self {
        let process = Process::start_unready("server", launch.command(&["serve"]));
        let address = eventually("the server listens", PATIENCE, || {
            let stderr = process.stderr();
            let (_, rest) = stderr.split_once(LISTENING)?;
            rest.split('"').next()?.parse().ok()
        });
        Self {
            process,
            launch: launch.clone(),
            address,
        }
    }

    /// Starts a server at an address that another one has.
    pub fn beside(launch: &Launch, address: SocketAddr) -> Self {
        Self {
            process: Process::start_unready("server", launch.command(&["serve"])),
            launch: launch.clone(),
            address,
        }
    }

    pub(super) fn one_for_all(
        shared: &Mutex<Weak<Self>>,
        launch: impl FnOnce() -> Launch,
    ) -> Arc<Self> {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        // Short deadlines, since some of this abuse leaves requests unfinished.
        let launch = launch().env("HEAD_TIMEOUT", "5s").env("BODY_TIMEOUT", "5s");
        let server = Arc::new(launch.start());
        *shared = Arc::downgrade(&server);
        server
    }

    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// A client without a token.
    pub fn anyone(&self) -> Client {
        Client::new(self.address, None)
    }

    /// A client with a good token.
    pub fn user(&self, name: &str) -> Client {
        Client::new(self.address, Some(self.launch.token(name)))
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// What stands on standard output, which is a contract: one line.
    pub fn stdout(&self) -> String {
        self.process.stdout()
    }

    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    pub fn runs(&mut self) -> bool {
        self.process.runs()
    }

    /// Waits for the process to end by itself; all its output is captured then.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        self.process.wait(within)
    }

    /// SIGKILL: what was acknowledged must be on disk.
    pub fn kill(self) -> Launch {
        self.launch.clone()
    }

    /// SIGTERM, and a clean end.
    #[track_caller]
    pub fn stop(self) -> Launch {
        let Self {
            launch, process, ..
        } = self;
        process.stop();
        launch
    }
}
