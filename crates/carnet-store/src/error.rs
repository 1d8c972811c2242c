//! What can go wrong, with what to do about it.

use std::path::PathBuf;

use crate::record::{Key, Revision};

/// Why the store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A record was not as expected: somebody else changed it first. Nothing was changed.
    #[error(
        "{key} was expected {} but is {}; read it again and decide again",
        state(.expected), state(.found)
    )]
    Conflict {
        /// The record that differs; the first one, in the order of the commit.
        key: Key,
        /// What the caller expected.
        expected: Option<Revision>,
        /// What is there.
        found: Option<Revision>,
    },
    /// A bound was exceeded. Nothing was changed.
    #[error("{found} {what} were asked for, and at most {max} are allowed; ask for less at a time")]
    Exceeds {
        /// What is bounded.
        what: &'static str,
        /// How much there was.
        found: usize,
        /// How much there may be.
        max: usize,
    },
    /// The request makes no sense. Nothing was changed.
    #[error("the request to the store is malformed: {reason}; this is a mistake of the caller")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// An outgoing record has the id of one that still waits. The ledger would drop the second, so it is refused.
    #[error(
        "an outgoing record with the id {} already waits in the outbox; give each record its own id",
        .id.escape_debug()
    )]
    DuplicateOutgoing {
        /// The id.
        id: String,
    },
    /// The ledger is not taking its records, so nothing that needs explaining may happen. Narrowing commits still pass.
    #[error(
        "{waiting} ledger records wait in the outbox, and at most {max} may; see why the ledger does not take them"
    )]
    OutboxFull {
        /// How many wait.
        waiting: u64,
        /// How many may.
        max: u64,
    },
    /// As many records as may live at once. Narrowing commits still pass.
    #[error("the store holds {live} records, and at most {max} may live; close or delete some")]
    Full {
        /// How many there are.
        live: u64,
        /// How many there may be.
        max: u64,
    },
    /// The store cannot be used now: disk full, input or output failed, or it is closed.
    #[error(
        "the store {} is unavailable: {cause}; {advice}{}",
        .path.display(),
        if *.unchanged { "" } else { " (whether the commit is durable is not known)" }
    )]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// What happened.
        cause: String,
        /// What an operator does.
        advice: String,
        /// True if it is certain that nothing was changed; otherwise the commit may turn out to be durable.
        unchanged: bool,
    },
    /// Another process has the store open.
    #[error(
        "the store {} is in use by another process, which holds {}; stop that one first, two must never share a store",
        .path.display(), .lock.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// The file was written by a later version.
    #[error(
        "the store {} has format {found}, and this version knows up to {known}; run the version that wrote it or a later one",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format this version knows.
        known: i64,
    },
    /// The file is a database of something else.
    #[error(
        "{} is not a Carnet store (application id {found:#010x}); name another file, this one was not touched",
        .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its application id.
        found: i64,
    },
    /// Others than the owner could change the file, or anybody could read it.
    #[error(
        "the store {} is open to others (mode {mode:03o}); make it `chmod 600` and see who could have changed it",
        .path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not say what a store can say.
    #[error(
        "the store {} is damaged: {cause}; keep the file for study and restore a backup",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        cause: String,
    },
}

impl StoreError {
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed { reason: reason.into() }
    }
}

fn state(revision: &Option<Revision>) -> String {
    match revision {
        Some(revision) => format!("at revision {revision}"),
        None => "absent".to_owned(),
    }
}
