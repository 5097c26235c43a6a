//! A small disk of a test's own, which it fills.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Bytes that are written at once while it is filled: a page of memory, which is what a `tmpfs`
/// gives away.
const FILLED_BYTES: usize = 4 << 10;

pub struct Disk {
    directory: TempDir,
}

impl Disk {
    /// # Panics
    /// Where this user may not mount.
    pub fn of(bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Who writes to it is another user, who has to get there.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let disk = Self { directory };
        fs::create_dir(disk.path()).unwrap();
        let size = format!("size={bytes},mode=0700");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(disk.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "a disk that a test can fill has to be mounted, which root alone may: {stderr}"
        );
        disk
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// Gives it to the user that owns `example`.
    pub fn give_to_owner_of(&self, example: &Path) {
        let owner = fs::metadata(example).unwrap();
        chown(self.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    /// Leaves no room in it.
    pub fn fill(&self) {
        let mut file = File::create(self.filling()).unwrap();
        let full = loop {
            if let Err(error) = file.write_all(&[1; FILLED_BYTES]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    }

    /// Makes room again.
    pub fn free(&self) {
        fs::remove_file(self.filling()).unwrap();
    }

    fn filling(&self) -> PathBuf {
        self.path().join("filling")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It goes when the last file on it is closed; a directory that is left behind is none.
        drop(
            Command::new("umount")
                .arg("--lazy")
                .arg(self.path())
                .output(),
        );
    }
}
