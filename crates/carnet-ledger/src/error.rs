//! What can go wrong with a ledger, and what to do about it.

use std::path::{Path, PathBuf};

/// Why a ledger could not be opened, written, read or checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The configuration or an entry breaks a rule; nothing was written.
    #[error("{what} is not valid for a ledger: {why}")]
    Invalid {
        /// Which field or setting.
        what: String,
        /// The rule it breaks.
        why: String,
    },
    /// The leaf would be longer than a tlog-tiles entry may be. It is never truncated.
    #[error(
        "the leaf of `{id}` would take {bytes} bytes, at most {bytes_max} fit: shorten the header \
         or move values to the sealed part"
    )]
    LeafTooLarge {
        /// The record.
        id: String,
        /// Bytes needed.
        bytes: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// The sealed values of one record are too long.
    #[error(
        "the sealed values of `{id}` take {bytes} bytes, at most {bytes_max} fit: record a digest \
         of the longest one instead"
    )]
    SealedTooLarge {
        /// The record.
        id: String,
        /// Bytes needed.
        bytes: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// The queue to the committer is full. The record was not taken; deny, and try again later.
    #[error("the ledger's queue is full ({entries} entries wait): the disk does not keep up")]
    Busy {
        /// How many wait.
        entries: usize,
    },
    /// The disk is full. Only records that narrow authority are still taken.
    #[error("the ledger's disk is full: free space or move the ledger; revocations still work")]
    Full,
    /// The disk is full, and so is the reserve kept for revocations.
    #[error("the ledger's disk is full and its reserve is used up: this record is not durable")]
    ReserveSpent,
    /// The ledger stopped acknowledging after a disk error. Only a restart helps.
    #[error("the ledger stopped: {why}; check the disk, then restart the node")]
    Unavailable {
        /// The first error.
        why: String,
    },
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
    /// An outbox position lies below written ones and was never written itself.
    #[error(
        "outbox position {seq} was never written although {last} was: drain the outbox in order"
    )]
    OutboxOrder {
        /// The position handed in.
        seq: u64,
        /// The last one written.
        last: u64,
    },
    /// Another process holds the directory.
    #[error("`{path}` is held by another process: stop it before opening this ledger")]
    InUse {
        /// The file that is held.
        path: PathBuf,
    },
    /// The log holds less than its lock says was signed.
    #[error(
        "the log in `{dir}` holds {leaves} leaves, but {signed} were signed: leaves are lost. \
         Restore the newest copy of the log directory; Carnet does not go on without them"
    )]
    Lost {
        /// The log directory.
        dir: PathBuf,
        /// Leaves found.
        leaves: u64,
        /// The size of the signed checkpoint in the lock.
        signed: u64,
    },
    /// The leaves differ from what was signed.
    #[error(
        "the first {signed} leaves in `{dir}` are not those that were signed: the log was changed. \
         Keep the directory as evidence, run `carnet ledger verify`, and restore the newest copy"
    )]
    Changed {
        /// The log directory.
        dir: PathBuf,
        /// The size of the signed checkpoint in the lock.
        signed: u64,
    },
    /// The log has leaves or a checkpoint, and its lock is gone.
    #[error(
        "the lock `{path}` is missing although the log was used: restore it or name the right \
         lock directory; an origin is never signed again without its lock"
    )]
    LockMissing {
        /// Where the lock should be.
        path: PathBuf,
    },
    /// The lock changed under a running ledger.
    #[error("the lock `{path}` was changed by someone else: this ledger stopped; restart the node")]
    LockConflict {
        /// The lock file.
        path: PathBuf,
    },
    /// A stored file does not read as what it should be.
    #[error("`{path}` is damaged at byte {offset}: {why}; run `carnet ledger verify`")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// A signed note or a key does not read or does not verify.
    #[error("{what} is not acceptable: {why}")]
    Note {
        /// Which note or key.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// There is no such leaf.
    #[error("there is no leaf {index}: the log has {size}")]
    NoSuchLeaf {
        /// The leaf asked for.
        index: u64,
        /// Durable leaves.
        size: u64,
    },
    /// A leaf's bytes are not a leaf.
    #[error("leaf {index} does not read: {why}")]
    NotALeaf {
        /// Its index.
        index: u64,
        /// What is wrong.
        why: String,
    },
    /// A sealed value is there and is not the one committed to.
    #[error("the sealed value `{name}` of leaf {index} was changed: {why}")]
    SealedChanged {
        /// The leaf.
        index: u64,
        /// The field.
        name: String,
        /// How it shows.
        why: String,
    },
    /// The cryptographic library refused an operation.
    #[error("{what} failed in the cryptographic library")]
    Crypto {
        /// Which operation.
        what: &'static str,
    },
    /// The operating system refused a file operation.
    #[error("could not {doing} `{path}`: {why}")]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
        /// Whether the reason is a full disk.
        full: bool,
    },
}

impl LedgerError {
    pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), why: why.into() }
    }

    pub(crate) fn note(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Note { what: what.into(), why: why.into() }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, why: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_path_buf(), offset, why: why.into() }
    }

    /// Whether the reason is a full disk.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full | Self::ReserveSpent | Self::Io { full: true, .. })
    }
}

/// Names the operation and the file in an I/O error.
pub(crate) trait IoContext<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, LedgerError>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, LedgerError> {
        self.map_err(|error| LedgerError::Io {
            doing,
            path: path.to_path_buf(),
            why: error.to_string(),
            full: matches!(
                error.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            ),
        })
    }
}
