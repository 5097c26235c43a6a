//! What all runs of one call have in common: directories, cores, binaries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::product::Product;

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
}

impl Session {
    /// Makes a scratch directory under `scratch` and seeds the data.
    pub fn start(scratch: &Path, reference: Product) -> Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        ensure!(
            cores > 1,
            "one core is for the server, another for the client: there is one only"
        );
        fs::create_dir_all(scratch)?;
        let root = TempDir::with_prefix_in("run-", scratch)?;
        let programs = std::env::current_exe()?;
        let programs = programs.parent().context("a program has a directory")?;
        let session = Self {
            reference,
            server_core: 0,
            client_cores: (1..cores).take(CLIENT_CORES_MAX).collect(),
            programs: programs.to_owned(),
            root,
        };
        let seeded = session.fresh("seeded")?;
        session.reference.seed(&seeded)?;
        Ok(session)
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
