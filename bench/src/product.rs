//! The product: which binary, that it is a release build, its data and its settings.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use captured::Answer;

use crate::http::exchange;
use crate::process::{Server, free_port, pinned};

/// What an arithmetic overflow says. Debug builds check every addition and carry it; release
/// builds do not.
const OVERFLOW: &[u8] = b"attempt to add with overflow";

/// Time for a process to be ready.
const READY_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A variable and its value.
pub type Setting = (String, String);

/// A server binary under a name of its own.
#[derive(Clone, Debug)]
pub struct Product {
    pub label: String,
    pub binary: PathBuf,
}

impl Product {
    /// Refuses what is not a release build.
    pub fn new(label: &str, binary: &Path) -> Result<Self> {
        let binary = binary
            .canonicalize()
            .with_context(|| format!("no binary at {}: build with --release", binary.display()))?;
        let shown = binary.display();
        let bytes = std::fs::read(&binary).with_context(|| format!("cannot read {shown}"))?;
        if is_debug(&binary, &bytes) {
            bail!("{shown} is a debug build; its figures would mean nothing");
        }
        Ok(Self {
            label: label.to_owned(),
            binary,
        })
    }

    /// Fills an empty directory with todos.
    pub fn seed(&self, data: &Path, todos: usize) -> Result<()> {
        let mut seed = with_settings(Command::new(&self.binary), data);
        let output = seed
            .args(["seed", "--todos", &todos.to_string()])
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "seeding failed: {said}");
        Ok(())
    }

    /// Brings the database that `settings` name to the schema of this build.
    pub fn migrate(&self, data: &Path, settings: &[Setting]) -> Result<()> {
        let mut migrate = with_settings(Command::new(&self.binary), data);
        let output = migrate
            .arg("migrate")
            .envs(settings.iter().cloned())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "migrating failed: {said}");
        Ok(())
    }

    /// Serves `data` on one core. This and the others return once the process is ready.
    pub fn start(
        &self,
        data: &Path,
        core: usize,
        log: &Path,
        settings: &[Setting],
    ) -> Result<Server> {
        self.start_on(data, &[core], log, settings)
    }

    /// Serves on `cores`, with one thread: what is measured is a core's worth.
    pub fn start_on(
        &self,
        data: &Path,
        cores: &[usize],
        log: &Path,
        settings: &[Setting],
    ) -> Result<Server> {
        let port = free_port()?;
        let mut command = with_settings(pinned(cores, &self.binary), data);
        command
            .env("HTTP_HOST", "127.0.0.1")
            .env("HTTP_PORT", port.to_string())
            .env("SERVER_CORES", "1")
            .envs(settings.iter().cloned());
        ready(Server::start(command, port, log)?)
    }

    /// The worker beside the server's binary; its health answers on a port of its own.
    pub fn start_worker(
        &self,
        data: &Path,
        cores: &[usize],
        log: &Path,
        settings: &[Setting],
    ) -> Result<Server> {
        let port = free_port()?;
        let worker = self.binary.with_file_name("millpond-worker");
        let mut command = with_settings(pinned(cores, &worker), data);
        command
            .env("WORKER_METRICS_PORT", port.to_string())
            .envs(settings.iter().cloned());
        ready(Server::start(command, port, log)?)
    }
}

/// Waits until `/ready` answers 200; before that there is a listener, but no list.
fn ready(server: Server) -> Result<Server> {
    let port = server.port;
    let request = format!("GET /ready HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    let start = Instant::now();
    loop {
        let answer = exchange(port, &request)?;
        let answer = Answer::parse(&answer)?;
        if answer.status == 200 {
            return Ok(server);
        }
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(start.elapsed() < READY_MAX, "not ready: {said}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Nothing of the caller's settings, and no `.env` of the directory it is called in.
fn with_settings(mut command: Command, data: &Path) -> Command {
    command.env_clear().current_dir(data).env("DATA_DIR", data);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

fn is_debug(path: &Path, bytes: &[u8]) -> bool {
    let in_debug = path.components().any(|part| part.as_os_str() == "debug");
    let mut windows = bytes.windows(OVERFLOW.len());
    in_debug || windows.any(|window| window == OVERFLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debug_build_is_known_by_its_place_and_by_what_it_holds() {
        assert!(is_debug(Path::new("/x/target/debug/millpond"), b""));
        let copied = Path::new("/x/millpond");
        assert!(is_debug(copied, b"..attempt to add with overflow.."));
        assert!(!is_debug(copied, b"fast"));
    }
}
