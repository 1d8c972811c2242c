//! From what SQLite and the disk say to what the caller and the operator need to know.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use rusqlite::ErrorCode;

use crate::error::StoreError;

/// Why a statement or a row could not be used.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite says so.
    Sql(rusqlite::Error),
    /// A row holds what no version of this crate writes.
    Damaged(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    pub(super) fn to_error(&self, path: &Path, unchanged: bool) -> StoreError {
        match self {
            Self::Sql(error) => unavailable(path, error, unchanged),
            Self::Damaged(cause) => {
                StoreError::Damaged { path: path.to_owned(), cause: cause.clone() }
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Sql(error) if code(error) == Some(ErrorCode::DiskFull))
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(
            self,
            Self::Sql(error)
                if matches!(code(error), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
        )
    }
}

/// The failure after which nothing more is answered. What the disk holds is then in doubt (after a failed
/// sync the kernel may have dropped the pages and call the next sync a success), so only opening anew,
/// which reads the file from the start, makes it certain again.
#[derive(Default)]
pub(super) struct Failure(OnceLock<StoreError>);

impl Failure {
    pub(super) fn set(&self, error: StoreError) {
        let _ = self.0.set(error);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.get().is_some()
    }

    /// The failure, if there was one: what is asked after it was surely not done.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.0.get() {
            None => Ok(()),
            Some(StoreError::Unavailable { path, cause, advice, .. }) => {
                Err(StoreError::Unavailable {
                    path: path.clone(),
                    cause: cause.clone(),
                    advice: advice.clone(),
                    unchanged: true,
                })
            }
            Some(error) => Err(error.clone()),
        }
    }
}

fn code(error: &rusqlite::Error) -> Option<ErrorCode> {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => Some(failure.code),
        _ => None,
    }
}

pub(super) fn unavailable(path: &Path, error: &rusqlite::Error, unchanged: bool) -> StoreError {
    let code = code(error);
    if matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) {
        return StoreError::Damaged { path: path.to_owned(), cause: error.to_string() };
    }
    StoreError::Unavailable {
        path: path.to_owned(),
        cause: error.to_string(),
        advice: advice(code).to_owned(),
        unchanged,
    }
}

fn advice(code: Option<ErrorCode>) -> &'static str {
    match code {
        Some(ErrorCode::DiskFull) => {
            "free space on its disk (or raise `file_bytes_max`); narrowing commits still pass on the reserve"
        }
        Some(ErrorCode::SystemIoFailure) => {
            "look at the disk (kernel log, SMART), then restart to open the file anew"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds the file open for writing; stop it, only Carnet may write here"
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            "check that the file and its directory belong to the user Carnet runs as"
        }
        _ => "see the log for what came before, then restart",
    }
}

/// The store was closed, or one of its threads ended.
pub(super) fn closed(path: &Path, unchanged: bool) -> StoreError {
    StoreError::Unavailable {
        path: path.to_owned(),
        cause: "it was closed".to_owned(),
        advice: "see the log for what came before, then open it again".to_owned(),
        unchanged,
    }
}

/// Space given back is not there for everyone: while the reserve is spent only narrowing commits pass.
pub(super) fn reserve_spent(path: &Path, cause: &io::Error) -> StoreError {
    StoreError::Unavailable {
        path: path.to_owned(),
        cause: format!("its reserve is spent and cannot be set aside again ({cause})"),
        advice: "free space on its disk; narrowing commits still pass until then".to_owned(),
        unchanged: true,
    }
}

pub(super) fn io(path: &Path, what: &str, error: &io::Error) -> StoreError {
    StoreError::Unavailable {
        path: path.to_owned(),
        cause: format!("{what}: {error}"),
        advice: "check that the directory exists, has space and belongs to the user Carnet runs as"
            .to_owned(),
        unchanged: true,
    }
}
