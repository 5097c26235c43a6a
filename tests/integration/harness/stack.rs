//! Services of a test's own, to be killed: brokers and databases that nobody else uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use postgres::{Client, NoTls};
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/stack.sh");

pub struct Stack {
    directory: TempDir,
}

impl Stack {
    /// Starts `services`, with as many brokers.
    pub fn up(services: &[&str], brokers: usize) -> Self {
        let stack = Self::unstarted();
        let brokers = brokers.to_string();
        run(stack.script("up").args(services).env("BROKERS", brokers));
        stack
    }

    /// Plain processes, where they have to see files of the test.
    pub fn native(services: &[&str]) -> Self {
        let stack = Self::unstarted();
        run(stack.script("up").args(services).env("NATIVE", "1"));
        stack
    }

    fn unstarted() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts again what was killed, and waits until it answers.
    pub fn heal(&self, services: &[&str]) {
        run(self.script("up").args(services));
    }

    /// To one process: `postgres`, `kafka-1`, …
    pub fn signal(&self, name: &str, signal: &str) {
        run(self.script("signal").args([name, signal]));
    }

    pub fn setting(&self, name: &str) -> String {
        let env = fs::read_to_string(self.directory().join("env")).unwrap();
        let mut lines = env.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value
            .unwrap_or_else(|| panic!("{name} in {env}"))
            .to_owned()
    }

    /// Where a native PostgreSQL keeps its data.
    pub fn postgres_data(&self) -> PathBuf {
        self.directory().join("postgres/data")
    }

    /// The role of a native PostgreSQL that may do anything.
    pub fn superuser(&self) -> Client {
        let password = self.directory().join("postgres/superuser");
        let password = fs::read_to_string(password).unwrap();
        let url = self.setting("DATABASE_URL");
        let (_, place) = url.split_once('@').unwrap();
        let url = format!("postgres://postgres:{}@{place}", password.trim());
        Client::connect(&url, NoTls).unwrap()
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn script(&self, verb: &str) -> Command {
        let mut command = Command::new(SCRIPT);
        command
            .arg(verb)
            .env("STACK_DIR", self.directory())
            .env_remove("CLEAN")
            .env_remove("BROKERS")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        drop(self.script("down").env("CLEAN", "1").output());
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
}
