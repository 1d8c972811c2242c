//! Space kept back so that authority can still be taken away when the disk is full.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::files;

/// After a failed try to set the space aside again, how long not to try once more.
const HOLD_AGAIN_WAIT_S: u64 = 5;

/// Written at a time while filling the file.
const CHUNK_BYTES: usize = 64 * 1024;

/// A file of nothing that is removed when the disk is full during a narrowing commit.
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    held: bool,
    failed_at: Option<Instant>,
}

impl Reserve {
    /// Sets the space aside. On a full disk it is opened without, as spent: revoking must be possible even then.
    pub(super) fn hold(path: PathBuf, bytes: u64) -> Self {
        let mut reserve = Self { path, bytes, held: false, failed_at: None };
        if let Err(error) = reserve.hold_again() {
            tracing::warn!(
                path = %reserve.path.display(), %error,
                "no reserve could be set aside; until there is space only narrowing commits pass"
            );
        }
        reserve
    }

    pub(super) const fn is_held(&self) -> bool {
        self.held
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives the space back to the disk.
    pub(super) fn release(&mut self) -> io::Result<()> {
        self.held = false;
        self.failed_at = None;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => files::sync_directory(&self.path),
        }
    }

    /// Sets the space aside again, unless that failed a moment ago.
    pub(super) fn hold_again(&mut self) -> io::Result<()> {
        let wait = Duration::from_secs(HOLD_AGAIN_WAIT_S);
        if self.failed_at.is_some_and(|at| at.elapsed() < wait) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let filled = self.fill();
        self.held = filled.is_ok();
        if filled.is_err() {
            self.failed_at = Some(Instant::now());
            // A part of it would only take space from the commits it is for.
            let _ = fs::remove_file(&self.path);
        }
        filled
    }

    fn fill(&self) -> io::Result<()> {
        if fs::metadata(&self.path).is_ok_and(|found| found.len() == self.bytes) {
            return Ok(());
        }
        let _ = fs::remove_file(&self.path);
        let mut file = files::create_private(&self.path)?;
        let chunk = noise();
        let mut left = self.bytes;
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            file.write_all(chunk.get(..count).unwrap_or(&chunk))?;
            left = left.saturating_sub(count as u64);
        }
        file.sync_all()?;
        files::sync_directory(&self.path)
    }
}

/// Bytes that do not compress: on some file systems zeros would take no space and so keep none back.
fn noise() -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    (0..CHUNK_BYTES / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect()
}
