//! The journal: one line of JSON for every write the desk carried out.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use thiserror::Error;

use crate::credential::Credential;

/// The journal could not be written.
#[derive(Debug, Error)]
#[error("the journal {path} cannot be written ({source}); check the file and its folder")]
pub struct JournalError {
    path: PathBuf,
    source: std::io::Error,
}

/// Where executed writes are noted, if anywhere.
#[derive(Debug)]
pub struct Journal {
    path: Option<PathBuf>,
    seq: u64,
}

impl Journal {
    /// A journal that keeps nothing.
    #[must_use]
    pub fn nowhere() -> Self {
        Self { path: None, seq: 0 }
    }

    /// A journal appended to `path`. Opened anew for each line, so that it may be moved away in between.
    ///
    /// # Errors
    ///
    /// When the file's folder does not exist.
    pub fn to_file(path: &Path) -> Result<Self, JournalError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        match folder.map(Path::metadata) {
            Some(Err(source)) => Err(JournalError { path: path.to_owned(), source }),
            _ => Ok(Self { path: Some(path.to_owned()), seq: 0 }),
        }
    }

    pub(super) fn append(
        &mut self,
        credential: Credential,
        tool: &str,
        record: &Value,
    ) -> Result<(), JournalError> {
        self.seq += 1;
        let Some(path) = &self.path else { return Ok(()) };
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut line = json!({
            "seq": self.seq, "at_ms": at_ms as u64, "tool": tool,
            "credential": credential.as_str(), "record": record,
        })
        .to_string();
        line.push('\n');
        let written = open(path).and_then(|mut file| {
            file.write_all(line.as_bytes())?;
            file.sync_data()
        });
        written.map_err(|source| JournalError { path: path.clone(), source })
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
