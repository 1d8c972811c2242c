//! The one trait every driver implements.

use async_trait::async_trait;

use crate::commit::{Commit, Committed, OutboxRecord};
use crate::error::StoreError;
use crate::record::{Key, Kind, Record, Revision};
use crate::watch::Watch;

/// A revisioned set of records, narrow enough for an embedded file and for a distributed engine.
///
/// What every driver guarantees, and the contract suite checks:
///
/// - a commit happens whole or not at all, its outgoing records included;
/// - what was acknowledged is durable, and every read that starts afterwards sees it;
/// - each commit makes the revision one larger; a refused one uses no revision up;
/// - what a read returned, a watch from its revision does not repeat and misses nothing after.
///
/// A dropped future of `commit` does not take the commit back: it may still happen.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Every live record and the revision they were read at, in the order of their keys within a kind.
    ///
    /// Ledger records of some may still wait in the outbox: drain it before widening a snapshot by these.
    async fn load(&self) -> Result<(Revision, Vec<Record>), StoreError>;

    /// One record, or `None` if it does not exist.
    async fn read(&self, key: &Key) -> Result<Option<Record>, StoreError>;

    /// The records of a kind in the byte order of their ids, those after `after` only.
    ///
    /// A page may be shorter than `limit`; only an empty one is the end.
    async fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// Compares and swaps: all changes and outgoing records if everything is as expected, else none.
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError>;

    /// Every commit after `from`, in order. Take `from` from [`Store::load`] or from the last batch seen.
    fn watch(&self, from: Revision) -> Watch;

    /// The ledger records that wait with a place greater than `after`, in order.
    ///
    /// A page may be shorter than `limit`; only an empty one is the end. They stay until drained, so after a
    /// crash some come again.
    async fn outbox(&self, after: u64, limit: usize) -> Result<Vec<OutboxRecord>, StoreError>;

    /// Removes the waiting records up to and with the place `through`; call it when they are durable in the ledger.
    async fn drained(&self, through: u64) -> Result<(), StoreError>;

    /// The revision now: never less than that of any commit acknowledged before the call.
    async fn revision(&self) -> Result<Revision, StoreError>;
}
