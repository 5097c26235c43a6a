//! The directory of a process that works alone: who has it, and what lies in it beside the store.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::RngExt;
use rand::distr::Alphanumeric;

use super::OpenError;

/// Letters and digits of the secret that is made where none is configured: over 256 bits, which
/// RFC 7518 (3.2) asks for.
const SECRET_CHARS: usize = 48;

/// The directory where everything is kept when alone, held by this process.
pub struct DataDir {
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is not there, and takes it.
    ///
    /// # Errors
    /// [`OpenError::Taken`] where another process has it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::DataDir {
            path: path.to_owned(),
            error,
        };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Taken(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The database of a process alone.
pub(super) fn database_file(data_dir: &Path) -> PathBuf {
    data_dir.join("millpond.db")
}

/// Where a process alone listens for `millpond seed`.
#[must_use]
pub fn control_socket(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// The secret of tokens that is kept in `data_dir`; made, and readable by its owner only, where
/// there is none yet.
///
/// # Errors
/// Those of the file system.
pub fn kept_secret(data_dir: &Path) -> io::Result<Vec<u8>> {
    let path = data_dir.join("jwt-secret");
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(secret) if secret.len() < SECRET_CHARS => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "is cut short; remove it",
            ));
        }
        read => return read,
    }
    let secret: String = rand::rng()
        .sample_iter(Alphanumeric)
        .take(SECRET_CHARS)
        .map(char::from)
        .collect();
    // Whole or not at all, and the first one stays: a crash or another process in between must
    // leave neither half a secret nor two.
    let unfinished = data_dir.join(format!("jwt-secret.{}", std::process::id()));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    match fs::hard_link(&unfinished, &path) {
        Ok(()) => fs::remove_file(&unfinished)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(&unfinished)?,
        // Not every file system has links.
        Err(_) => fs::rename(&unfinished, &path)?,
    }
    File::open(data_dir)?.sync_all()?;
    fs::read(path)
}
