//! The files of a store: who may have them open, and who may look into them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::fault;
use crate::error::StoreError;

/// Only the owner reads and writes: sealed secrets and names of people are inside.
const FILE_MODE: u32 = 0o600;

/// Bits that refuse the file: changed by others, or read by anyone. A group that may read (for backups) is let be.
const EXPOSED_MODE: u32 = 0o027;

/// `<path>.<suffix>`
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Takes the lock file, so that no second process opens the store. The lock goes with the handle, also when
/// the process dies; the file stays, since removing it would let two processes lock two different ones.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let lock = beside(path, "lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE_MODE)
        .open(&lock)
        .map_err(|error| fault::io(path, "its lock file cannot be opened", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned(), lock }),
        Err(TryLockError::Error(error)) => {
            Err(fault::io(path, "its lock file cannot be locked", &error))
        }
    }
}

/// Creates an empty file for SQLite to fill, or checks the one that is there.
pub(super) fn create_or_check(path: &Path) -> Result<(), StoreError> {
    match create_private(path) {
        Ok(_) => sync_directory(path)
            .map_err(|error| fault::io(path, "its directory cannot be synced", &error)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_mode(path),
        Err(error) => Err(fault::io(path, "it cannot be created", &error)),
    }
}

/// A new file that only its owner may touch; refused if there is one.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).write(true).mode(FILE_MODE).open(path)
}

/// Makes the creation or removal of the file durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

fn check_mode(path: &Path) -> Result<(), StoreError> {
    let metadata =
        path.metadata().map_err(|error| fault::io(path, "it cannot be looked at", &error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & EXPOSED_MODE != 0 {
        return Err(StoreError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}
