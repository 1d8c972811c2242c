//! # carnet-store
//!
//! The state of Carnet, kept so that it can be trusted after a crash: a revisioned set of records behind one
//! narrow trait, [`Store`], and the embedded driver for it, [`SqliteStore`].
//!
//! The words:
//!
//! - **record**: bytes under a [`Key`], with the revision of its last change;
//! - **revision**: a number for the whole store that grows by exactly one with each commit;
//! - **commit**: expected revisions, changes and outgoing ledger records, taken all together or not at all;
//! - **outbox**: ledger records committed with the state they explain, waiting to be drained to the ledger at
//!   least once; the ledger deduplicates them by id;
//! - **narrowing**: a commit that only takes authority away. It passes ahead of others and may use the reserve;
//! - **watch**: every commit after a revision, in order, without a gap.
//!
//! What it does not do: it does not know lifecycles, does not read the bytes it keeps, does not encrypt (secrets
//! arrive sealed), and does not decide when a record may enter a snapshot. A driver for a fleet implements the
//! same trait and must pass the same contract suite (feature `contract`).
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

mod commit;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod error;
pub mod limits;
mod record;
mod sqlite;
mod store;
mod watch;

pub use commit::{Change, Commit, Committed, Expected, OutboxRecord, Outgoing};
pub use error::StoreError;
pub use record::{Batch, Key, Kind, Record, Revision};
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::Store;
pub use watch::{Watch, WatchError, WatchSource};
