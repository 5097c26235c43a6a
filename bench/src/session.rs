//! What all runs of one call have in common: directories, cores, binaries.

use std::cell::Cell;
use std::fmt::Write;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::deployment::Limits;
use crate::product::{Product, Setting};
use crate::scenario::TODOS;

/// Cores that the client gets at most: one server core cannot keep more of them busy.
const CLIENT_CORES_MAX: usize = 3;

#[derive(Debug)]
pub struct Session {
    root: TempDir,
    /// The build that answers are captured from.
    pub reference: Product,
    pub server_core: usize,
    pub client_cores: Vec<usize>,
    /// Where this program lies, and the floor and the peers beside it.
    pub programs: PathBuf,
    /// What tokens are signed with, of this session only.
    pub secret: String,
    /// The environment file of the services that a fleet stands on.
    pub stack: Option<PathBuf>,
    seeds: Cell<u64>,
}

impl Session {
    /// Makes a scratch directory under `scratch` and seeds the data.
    pub fn start(scratch: &Path, reference: Product) -> Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        ensure!(
            cores > 1,
            "one core is for the server, another for the client: there is one only"
        );
        raise_file_limit();
        fs::create_dir_all(scratch)?;
        let root = TempDir::with_prefix_in("run-", scratch)?;
        // Servers that will not run as root have to get through to their own directories.
        fs::set_permissions(root.path(), Permissions::from_mode(0o711))?;
        let programs = std::env::current_exe()?;
        let programs = programs.parent().context("a program has a directory")?;
        let session = Self {
            reference,
            server_core: 0,
            client_cores: (1..cores).take(CLIENT_CORES_MAX).collect(),
            programs: programs.to_owned(),
            secret: secret()?,
            stack: None,
            seeds: Cell::new(0),
            root,
        };
        let seeded = session.fresh("seeded")?;
        session.reference.seed(&seeded, TODOS)?;
        Ok(session)
    }

    /// A number that no other job of this session has, small and the same in every session.
    pub fn seed(&self) -> u64 {
        self.seeds.set(self.seeds.get() + 1);
        self.seeds.get()
    }

    /// What a deployment is started with.
    pub fn settings(&self, limits: Limits) -> Vec<Setting> {
        let secret = ("JWT_SECRET".to_owned(), self.secret.clone());
        limits.settings().into_iter().chain([secret]).collect()
    }

    /// The server's and the client's.
    pub fn all_cores(&self) -> Vec<usize> {
        let server = std::iter::once(self.server_core);
        server.chain(self.client_cores.iter().copied()).collect()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// An empty directory.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// A copy of the seeded data.
    pub fn data(&self, name: &str) -> Result<PathBuf> {
        let path = self.fresh(&format!("data-{name}"))?;
        let copied = Command::new("cp")
            .arg("-r")
            .arg(self.path("seeded").join("."))
            .arg(&path)
            .status()?;
        ensure!(copied.success(), "cannot copy the seeded data");
        Ok(path)
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.log"))
    }

    /// The floor or a peer.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.programs.join(name);
        ensure!(
            path.exists(),
            "{name} is not built: cargo build --release --workspace in bench/"
        );
        Ok(path)
    }
}

/// As many files as may be, here and in all that is started from here: a server of ten thousand
/// connections and its client have as many files each.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("the limit of open files stays as it is: {error}");
    }
}

fn secret() -> Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut secret = String::new();
    for byte in bytes {
        write!(secret, "{byte:02x}")?;
    }
    Ok(secret)
}
