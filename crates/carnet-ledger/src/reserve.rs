//! Space kept back for revocations when the disk is full.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{IoContext, LedgerError};

/// Two preallocated files: the next segment and the next sidecar file of a full disk.
pub(crate) struct Reserve {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    bytes: u64,
}

impl Reserve {
    pub(crate) fn new(disk: &Arc<dyn Disk>, dir: &Path, bytes: u64) -> Self {
        Self { disk: Arc::clone(disk), dir: dir.join("reserve"), bytes }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn segment(&self) -> PathBuf {
        self.dir.join("segment")
    }

    pub(crate) fn sidecar(&self) -> PathBuf {
        self.dir.join("sidecar")
    }

    /// Sets aside what is missing.
    pub(crate) fn fill(&self) -> Result<(), LedgerError> {
        let names = self.disk.list(&self.dir).at("list", &self.dir)?;
        for path in [self.segment(), self.sidecar()] {
            if names.iter().any(|name| path.file_name().is_some_and(|own| own == name.as_str())) {
                continue;
            }
            let next = self.dir.join("next.tmp");
            let file = self.disk.create(&next).at("make", &next)?;
            if let Err(error) = file.allocate(self.bytes).at("set aside space for", &next) {
                let _ = self.disk.remove(&next);
                return Err(error);
            }
            file.sync().at("sync", &next)?;
            self.disk.rename(&next, &path).at("rename", &next)?;
            self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;
        }
        Ok(())
    }
}
