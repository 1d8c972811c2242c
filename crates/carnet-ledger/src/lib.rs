//! The ledger: an append-only, durable, verifiable log of decisions.
//!
//! A *leaf* is one record: canonical JSON whose exact stored bytes are hashed into an RFC 6962
//! tree. A *checkpoint* is a signed statement of the tree's size and root. *Tiles* and entry bundles
//! publish the tree in the C2SP tlog-tiles form, so that tools no one here wrote can check it.
//! Values that may be personal are *sealed*: the leaf holds a salted commitment, the *sidecar* holds
//! the value under its subject's key, and destroying the key erases it while every proof still
//! holds. The *lock* is the last checkpoint, kept elsewhere: it shows that a log was cut or set back.
//!
//! A record is acknowledged only when leaf and sealed values are synced to disk; many are synced
//! together. After any failed sync nothing is acknowledged any more. On a full disk, records that
//! narrow authority still find room in a *reserve*.
//!
//! What this crate does *not* do: decide what to record, keep state, export to other formats, or
//! talk to a witness.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable
    )
)]

mod canonical;
mod committer;
mod config;
mod decision;
mod disk;
mod entry;
mod error;
mod fault_point;
#[cfg(any(test, feature = "fault"))]
mod forgetful;
mod frame;
mod fuzz;
mod keys;
mod leaf;
mod ledger;
mod lock;
mod merkle;
mod note;
mod outbox;
mod pace;
mod proof;
mod publisher;
mod queue;
mod reader;
mod recovery;
mod reserve;
mod scan;
mod series;
mod sidecar;
mod subject;
mod text;
mod tiles;
mod verify;

pub use config::{LINGER_MAX, LedgerConfig, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use decision::{caller_header, decision_entry, decision_subject, operation_entry};
pub use disk::{Disk, DiskFile, Hold, RealDisk};
pub use entry::{
    Entry, Kind, LEAF_BYTES_MAX, NAME_BYTES_MAX, OutboxPosition, SEALED_BYTES_MAX,
    SEALED_FIELDS_MAX, SUBJECT_BYTES_MAX, Sealed,
};
pub use error::LedgerError;
pub use fault_point::fault_point;
#[cfg(any(test, feature = "fault"))]
pub use forgetful::ForgetfulDisk;
pub use fuzz::fuzz_recovery;
pub use keys::LedgerKeys;
pub use leaf::Leaf;
pub use ledger::{Ledger, Recovered};
pub use note::{Checkpoint, VerifyingKey};
pub use proof::check_proof;
pub use queue::{Append, Appended};
pub use sidecar::{Missing, Unsealed};
pub use verify::{FINDINGS_MAX, Finding, Problem, Report, Verdict, verify, verify_on};

/// Fills `bytes` with randomness from the system.
fn random(bytes: &mut [u8]) -> Result<(), LedgerError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| LedgerError::Crypto { what: "drawing randomness" })
}
