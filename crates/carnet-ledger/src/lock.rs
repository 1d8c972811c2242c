//! The lock: the last signed checkpoint, kept outside the log directory and changed only by
//! comparing and swapping. Storage is not trusted; the lock is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, Hold, read_small, replace_small};
use crate::error::{IoContext, LedgerError};
use crate::note::{Checkpoint, VerifyingKey};

/// The lock of one origin.
pub(crate) struct Lock {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// What we last read or wrote.
    seen: Option<Vec<u8>>,
    /// Keeps a second process with the same origin away.
    _hold: Box<dyn Hold>,
}

/// The file of an origin in a lock directory.
pub(crate) fn lock_path(dir: &Path, origin: &str) -> PathBuf {
    let plain = |byte: u8, at: usize| {
        byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || (byte == b'.' && at > 0)
    };
    let name: String =
        origin
            .bytes()
            .enumerate()
            .map(|(at, byte)| {
                if plain(byte, at) { char::from(byte).to_string() } else { format!("%{byte:02x}") }
            })
            .collect();
    dir.join(format!("{name}.checkpoint"))
}

impl Lock {
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        origin: &str,
    ) -> Result<Self, LedgerError> {
        disk.make_dir(dir).at("make", dir)?;
        let path = lock_path(dir, origin);
        let hold = hold(&**disk, &path.with_extension("held"))?;
        disk.sync_dir(dir).at("sync", dir)?;
        let seen = read_small(&**disk, &path).at("read", &path)?;
        Ok(Self { disk: Arc::clone(disk), path, seen, _hold: hold })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint in the lock.
    pub(crate) fn checkpoint(&self, key: &VerifyingKey) -> Result<Option<Checkpoint>, LedgerError> {
        self.seen.as_deref().map(|bytes| open_note(bytes, &self.path, key)).transpose()
    }

    /// Puts `next` in place of what was seen last.
    pub(crate) fn swap(&mut self, next: &Checkpoint) -> Result<(), LedgerError> {
        let now = read_small(&*self.disk, &self.path).at("read", &self.path)?;
        if now != self.seen {
            return Err(LedgerError::LockConflict { path: self.path.clone() });
        }
        let bytes = next.note.as_bytes();
        replace_small(&*self.disk, &self.path, bytes).at("write", &self.path)?;
        self.seen = Some(bytes.to_vec());
        Ok(())
    }
}

/// Reads a checkpoint file and checks its signature.
pub(crate) fn open_note(
    bytes: &[u8],
    path: &Path,
    key: &VerifyingKey,
) -> Result<Checkpoint, LedgerError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| LedgerError::note(format!("`{}`", path.display()), "it is not text"))?;
    Checkpoint::open(text, key).map_err(|error| match error {
        LedgerError::Note { why, .. } => LedgerError::note(format!("`{}`", path.display()), why),
        other => other,
    })
}

/// Holds a file for this process alone.
pub(crate) fn hold(disk: &dyn Disk, path: &Path) -> Result<Box<dyn Hold>, LedgerError> {
    match disk.hold(path) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(LedgerError::InUse { path: path.to_path_buf() })
        }
        other => other.at("lock", path),
    }
}
