//! A file of public keys that is followed: what is written into it counts some seconds later, so keys
//! are changed without a restart.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::auth::Authenticator;
use super::keys::{CheckingKey, NotAKeySet};

/// Between two looks at the file. Writing keys in time before they are used is the issuer's part, and
/// takes minutes where a cluster hands the file out.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Bytes of the file, at most: of as many keys as there may be, with their certificates.
const BYTES_MAX: u64 = 1 << 20;

/// Why a file has no keys to offer.
#[derive(Debug, thiserror::Error)]
pub enum BadKeyFile {
    #[error("{0}: {1}")]
    Unreadable(PathBuf, io::Error),
    #[error("{0}: has more than {BYTES_MAX} bytes")]
    TooLarge(PathBuf),
    #[error("{0}: is not UTF-8")]
    NotText(PathBuf),
    #[error(transparent)]
    Keys(#[from] NotAKeySet),
}

/// A JSON Web Key Set (RFC 7517), as it was found last.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    /// Its text, or why it could not be read.
    found: Result<String, String>,
}

impl KeyFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// [`BadKeyFile`]
    pub fn open(path: &Path) -> Result<(Self, Vec<CheckingKey>), BadKeyFile> {
        let text = read(path)?;
        let keys = CheckingKey::set_of(&text)?;
        let file = Self {
            path: path.to_owned(),
            found: Ok(text),
        };
        Ok((file, keys))
    }

    /// The keys, if the file is not as it was found last; a fault is told once.
    fn look(&mut self) -> Option<Result<Vec<CheckingKey>, BadKeyFile>> {
        let read = read(&self.path);
        let found = match &read {
            Ok(text) => Ok(text.clone()),
            Err(fault) => Err(fault.to_string()),
        };
        if self.found == found {
            return None;
        }
        self.found = found;
        Some(read.and_then(|text| Ok(CheckingKey::set_of(&text)?)))
    }
}

fn read(path: &Path) -> Result<String, BadKeyFile> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(read) if read as u64 > BYTES_MAX => Err(BadKeyFile::TooLarge(path.to_owned())),
        Ok(_) => String::from_utf8(bytes).map_err(|_| BadKeyFile::NotText(path.to_owned())),
        Err(error) => Err(BadKeyFile::Unreadable(path.to_owned(), error)),
    }
}

/// Looks at the file for as long as it is polled. Where it has no good keys, those from before stay.
///
/// # Cancel safety
/// Nothing is left behind.
pub async fn follow_keys(mut file: KeyFile, auth: Arc<Authenticator>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let look = spawn_blocking(move || {
            let found = file.look();
            (file, found)
        });
        // It fails where the runtime ends.
        let Ok((looked, found)) = look.await else {
            return;
        };
        file = looked;
        match found {
            Some(Ok(keys)) => {
                info!(
                    keys = keys.len(),
                    "tokens are checked with the keys of the changed file"
                );
                auth.renew(&keys);
            }
            Some(Err(problem)) => {
                warn!(%problem, "JWT_JWKS_FILE: the keys from before stay");
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The P-256 key of RFC 7517, appendix A.1.
    const SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256",
        "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

    #[test]
    fn what_is_found_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.json");
        fs::write(&path, SET).unwrap();
        let (mut file, keys) = KeyFile::open(&path).unwrap();
        assert_eq!(keys.len(), 1);
        let mut told = || file.look().map(|found| found.is_ok());
        assert_eq!(told(), None);
        fs::write(&path, "{").unwrap();
        assert_eq!([told(), told()], [Some(false), None]);
        fs::remove_file(&path).unwrap();
        assert_eq!([told(), told()], [Some(false), None]);
        fs::write(&path, SET).unwrap();
        assert_eq!([told(), told()], [Some(true), None]);
        fs::write(&path, SET.repeat(10_000)).unwrap();
        assert_eq!([told(), told()], [Some(false), None]);
    }
}
