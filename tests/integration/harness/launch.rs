//! How a server is started: its environment and its directory, kept from one start to the next.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fmt, fs};

use tempfile::TempDir;

use super::fleet::Ground;
use super::{Server, Worker, token};

/// The server under test and the other binary.
pub const MILLPOND: &str = env!("CARGO_BIN_EXE_millpond");
pub const WORKER: &str = env!("CARGO_BIN_EXE_millpond-worker");

/// The longest that a subcommand takes: a large seed in a build without optimisation.
const RUN_TIMEOUT: Duration = Duration::from_mins(2);

#[derive(Clone)]
pub struct Launch {
    /// Holds `data/` and the working directory; removed with the last copy of this.
    home: Arc<TempDir>,
    env: BTreeMap<String, String>,
    /// Blocks of 512 bytes that no file may outgrow: a disk that fails.
    file_blocks_max: Option<u32>,
    /// What it shares with others of its fleet, if it is not alone.
    ground: Option<Ground>,
}

/// A process that did not come to listen.
pub struct Exited {
    pub status: ExitStatus,
    pub stderr: String,
}

impl fmt::Debug for Exited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.status, self.stderr)
    }
}

impl Launch {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data").display().to_string();
        let secret = format!("{:032x}", rand::random::<u128>());
        let env = [
            ("HTTP_HOST", "127.0.0.1".to_owned()),
            ("HTTP_PORT", "0".to_owned()),
            ("DATA_DIR", data),
            ("JWT_SECRET", secret),
            // Tests write faster than one user may.
            ("RATE_LIMIT_SCOPE", "none".to_owned()),
        ];
        Self {
            home: Arc::new(home),
            env: env.map(|(name, value)| (name.to_owned(), value)).into(),
            file_blocks_max: None,
            ground: None,
        }
    }

    /// For as long as this launch is there, so is what its fleet stands on.
    pub fn on(mut self, ground: Ground) -> Self {
        self.ground = Some(ground);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    pub fn file_blocks_max(mut self, blocks: Option<u32>) -> Self {
        self.file_blocks_max = blocks;
        self
    }

    /// The directory of this launch: the working directory of what it starts.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn data(&self) -> PathBuf {
        PathBuf::from(&self.env["DATA_DIR"])
    }

    pub fn token(&self, user: &str) -> String {
        token::of(user, self.secret())
    }

    pub fn secret(&self) -> &str {
        &self.env["JWT_SECRET"]
    }

    /// `millpond` with `args` in this environment and no other.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program();
        command.args(args);
        self.surround(&mut command);
        command
    }

    /// `millpond-worker` in the same environment.
    pub fn worker_command(&self) -> Command {
        let mut command = Command::new(WORKER);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .envs(&self.env)
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    fn program(&self) -> Command {
        let Some(blocks) = self.file_blocks_max else {
            return Command::new(MILLPOND);
        };
        // With SIGXFSZ ignored a write beyond the limit fails with EFBIG, as on a broken disk.
        let script = format!(r#"trap "" XFSZ; ulimit -f {blocks}; exec "$0" "$@""#);
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, MILLPOND]);
        shell
    }

    /// Runs a subcommand to its end; one that goes on instead is killed, and so has no exit code.
    pub fn run(&self, args: &[&str]) -> Output {
        run(self.command(args))
    }

    /// Runs `millpond-worker` where it is expected to end by itself.
    pub fn run_worker(&self) -> Output {
        run(self.worker_command())
    }

    /// `millpond seed --todos N`, which must succeed.
    #[track_caller]
    pub fn seed(&self, todos: usize) {
        self.accompany();
        let output = self.run(&["seed", "--todos", &todos.to_string()]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}\n{stderr}", output.status);
    }

    #[track_caller]
    pub fn start(&self) -> Server {
        match self.try_start() {
            Ok(server) => server,
            Err(exited) => panic!("the server did not start: {exited:?}"),
        }
    }

    /// Starts a server that may refuse to.
    pub fn try_start(&self) -> Result<Server, Exited> {
        self.accompany();
        Server::start(self.clone())
    }

    fn accompany(&self) {
        if let Some(ground) = &self.ground {
            ground.accompany(self);
        }
    }

    #[track_caller]
    pub fn start_worker(&self) -> Worker {
        match Worker::start(self) {
            Ok(worker) => worker,
            Err(exited) => panic!("the worker did not start: {exited:?}"),
        }
    }

    /// A copy of the data directory as it lies there, to be opened without touching the original.
    pub fn data_copied(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(self.data()).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
            }
        }
        copy
    }
}

fn run(command: Command) -> Output {
    let mut command = assert_cmd::Command::from_std(command);
    command.timeout(RUN_TIMEOUT).output().unwrap()
}
