//! A worker that runs.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use super::process::Process;
use super::server::address_in;
use super::{Client, Exited, Launch, PATIENCE, eventually, get};

pub struct Worker {
    process: Process,
    /// Of its health and its figures.
    address: SocketAddr,
}

impl Worker {
    pub(super) fn start(launch: &Launch) -> Result<Self, Exited> {
        let mut worker = Self::listening(launch)?;
        // It tells its health from the start on, and is ready once it takes part.
        let mut client = worker.client();
        eventually("the worker is ready", PATIENCE, || {
            let ready = client.try_ask(&get("/ready"));
            let ready = ready.is_ok_and(|response| response.status == 200);
            (ready || !worker.runs()).then_some(())
        });
        if worker.runs() {
            return Ok(worker);
        }
        Err(Exited {
            status: worker.wait(PATIENCE),
            stderr: worker.stderr(),
        })
    }

    /// Starts one that tells its health and may never take part.
    #[track_caller]
    pub fn waiting(launch: &Launch) -> Self {
        Self::listening(launch).unwrap()
    }

    fn listening(launch: &Launch) -> Result<Self, Exited> {
        let (process, line) = Process::start("worker", launch.worker_command())?;
        Ok(Self {
            process,
            address: address_in(&line),
        })
    }

    /// Starts one that may never come to be ready.
    pub fn start_unready(launch: &Launch) -> Self {
        Self {
            process: Process::start_unready("worker", launch.worker_command()),
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }

    pub fn client(&self) -> Client {
        Client::new(self.address, None)
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    pub fn runs(&mut self) -> bool {
        self.process.runs()
    }

    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        self.process.wait(within)
    }

    /// SIGTERM, and a clean end.
    #[track_caller]
    pub fn stop(self) {
        self.process.stop();
    }
}
