//! Watching commits as they happen, and the recent past kept for those who come a little late.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::record::{Batch, Revision};

/// Why a watch yields no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The next batch is no longer kept. Load everything again and watch from there.
    #[error(
        "the watch at revision {at} fell behind, revision {oldest} is the oldest kept; load again"
    )]
    Lagged {
        /// The last revision this watch has seen.
        at: Revision,
        /// The oldest revision it could still be given.
        oldest: Revision,
    },
    /// The watch starts where the store has never been: it is another store, or an older copy of it.
    #[error(
        "the watch starts at revision {at}, which the store (at {latest}) has not reached; it may be an older copy"
    )]
    Ahead {
        /// Where the watch starts.
        at: Revision,
        /// Where the store is.
        latest: Revision,
    },
    /// The store was closed or failed.
    #[error("the store was closed; open it again, load and watch from there")]
    Closed,
}

/// What a driver implements to be watched.
#[async_trait]
pub trait WatchSource: Send {
    /// The next batch, waiting for it if need be. Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Batch, WatchError>;
}

/// Every commit after a revision, in order and without a gap.
pub struct Watch {
    source: Box<dyn WatchSource>,
}

impl Watch {
    /// A watch fed by this source; for drivers.
    pub fn new(source: impl WatchSource + 'static) -> Self {
        Self { source: Box::new(source) }
    }

    /// The next batch, waiting for it if need be. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`WatchError`]; each is final, the caller loads and watches anew.
    pub async fn next(&mut self) -> Result<Batch, WatchError> {
        self.source.next().await
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// The last batches, bounded in number and in bytes. One ring serves all watches, so a slow one costs nothing.
struct Ring {
    batches: VecDeque<(Arc<Batch>, usize)>,
    bytes: usize,
    batches_max: usize,
    bytes_max: usize,
}

impl Ring {
    fn push(&mut self, batch: Batch) {
        let bytes = byte_count(&batch);
        self.bytes = self.bytes.saturating_add(bytes);
        self.batches.push_back((Arc::new(batch), bytes));
        while self.batches.len() > self.batches_max || self.bytes > self.bytes_max {
            let Some((_, gone)) = self.batches.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(gone);
        }
    }

    fn find(&self, revision: Revision) -> Option<Arc<Batch>> {
        let (first, _) = self.batches.front()?;
        let index = revision.number().checked_sub(first.revision.number())?;
        self.batches.get(usize::try_from(index).ok()?).map(|(batch, _)| Arc::clone(batch))
    }
}

/// What a batch takes in memory, roughly; an empty one is not free.
fn byte_count(batch: &Batch) -> usize {
    const BATCH_BYTES: usize = 128;
    const CHANGE_BYTES: usize = 128;
    batch.changes.iter().fold(BATCH_BYTES, |sum, (key, record)| {
        let value = record.as_ref().map_or(0, |record| record.value.len() + record.key.id.len());
        sum + CHANGE_BYTES + key.id.len() + value
    })
}

/// The side that commits: the one place batches come from. Dropping it closes every watch.
pub(crate) struct Publisher {
    ring: Arc<Mutex<Ring>>,
    latest: watch::Sender<Revision>,
}

impl Publisher {
    /// Call in the order of revisions, each as soon as it is durable and before it is acknowledged.
    pub(crate) fn publish(&self, batch: Batch) {
        let revision = batch.revision;
        lock(&self.ring).push(batch);
        self.latest.send_replace(revision);
    }
}

/// The side that reads.
#[derive(Clone)]
pub(crate) struct History {
    ring: Arc<Mutex<Ring>>,
    latest: watch::Receiver<Revision>,
}

impl History {
    /// An empty history of a store that is at `latest`.
    pub(crate) fn new(latest: Revision, batches_max: usize, bytes_max: usize) -> (Publisher, Self) {
        let ring = Ring { batches: VecDeque::new(), bytes: 0, batches_max, bytes_max };
        let ring = Arc::new(Mutex::new(ring));
        let (sender, receiver) = watch::channel(latest);
        (Publisher { ring: Arc::clone(&ring), latest: sender }, Self { ring, latest: receiver })
    }

    /// The last revision published.
    pub(crate) fn latest(&self) -> Revision {
        *self.latest.borrow()
    }

    /// Waits until `revision` was published. A read may see a commit an instant before the watches do; held
    /// until they agree, what it returns can be watched from.
    pub(crate) async fn reach(&self, revision: Revision) -> Result<(), WatchError> {
        let mut latest = self.latest.clone();
        latest.wait_for(|latest| *latest >= revision).await.map_err(|_| WatchError::Closed)?;
        Ok(())
    }

    /// A watch of what comes after `from`.
    pub(crate) fn watch(&self, from: Revision) -> Watch {
        Watch::new(HistoryWatch { history: self.clone(), at: from })
    }
}

struct HistoryWatch {
    history: History,
    at: Revision,
}

#[async_trait]
impl WatchSource for HistoryWatch {
    async fn next(&mut self) -> Result<Batch, WatchError> {
        loop {
            let latest = *self.history.latest.borrow_and_update();
            if self.at > latest {
                return Err(WatchError::Ahead { at: self.at, latest });
            }
            if self.at < latest {
                return self.take(latest);
            }
            self.history.latest.changed().await.map_err(|_| WatchError::Closed)?;
        }
    }
}

impl HistoryWatch {
    fn take(&mut self, latest: Revision) -> Result<Batch, WatchError> {
        let wanted = self.at.next();
        let ring = lock(&self.history.ring);
        let Some(batch) = ring.find(wanted) else {
            let oldest = ring.batches.front().map_or(latest.next(), |(batch, _)| batch.revision);
            return Err(WatchError::Lagged { at: self.at, oldest });
        };
        drop(ring);
        self.at = wanted;
        Ok(Arc::unwrap_or_clone(batch))
    }
}

/// The ring is whole between any two of its statements, so a panic elsewhere does not spoil it.
fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}
