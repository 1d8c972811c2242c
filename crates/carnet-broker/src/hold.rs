//! Brakes that the store could not write: in force in memory, said to be *not durable*, and written
//! as soon as the store can. Until then nothing else is permitted.

use carnet_store::{Change, Commit, Expected, Outgoing, Revision, StoreError};

use crate::broker::{Broker, lock};
use crate::draft::Composed;
use crate::state::Touched;

/// How often a write is tried again at once because others changed the same records.
const ATTEMPTS_MAX: u32 = 4;

/// A brake in force in memory only.
#[derive(Clone)]
pub(crate) struct Held {
    changes: Vec<Change>,
    outgoing: Vec<Outgoing>,
    touched: Vec<Touched>,
}

impl Held {
    pub(crate) fn of(composed: Composed) -> Self {
        let Composed { changes, outgoing, touched, .. } = composed;
        Self { changes, outgoing, touched }
    }

    pub(crate) fn touched(&self) -> &[Touched] {
        &self.touched
    }
}

impl Broker {
    /// Whether a brake is in force that the store does not have.
    pub fn is_holding(&self) -> bool {
        !lock(&self.held).is_empty()
    }

    /// Tries to write what is held, in its order.
    pub(crate) async fn write_held(&self) {
        if !self.is_holding() {
            return;
        }
        while let Some(held) = { lock(&self.held).first().cloned() } {
            match self.try_write(&held).await {
                Ok(revision) => {
                    tracing::warn!(%revision, "a revocation that held in memory is durable now");
                    self.release_first(revision);
                    self.outbox_waiting.notify_one();
                }
                Err(error) => {
                    tracing::error!(%error, "a revocation holds in memory only; nothing is permitted until it is written");
                    return;
                }
            }
        }
        if let Err(error) = self.freshen().await {
            tracing::error!(%error, "the store did not answer: nothing is permitted");
        }
    }

    async fn try_write(&self, held: &Held) -> Result<Revision, StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.store.commit(self.commit_of(held)).await {
                Ok(committed) => return Ok(committed.revision),
                Err(StoreError::Conflict { found: Some(found), .. }) if attempt < ATTEMPTS_MAX => {
                    self.wait_followed(found).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn commit_of(&self, held: &Held) -> Commit {
        let latest = self.latest();
        let expected = held.changes.iter().map(|change| {
            let key = change.key().clone();
            Expected { revision: latest.revision_of(&key), key }
        });
        Commit {
            expected: expected.collect(),
            changes: held.changes.clone(),
            outgoing: held.outgoing.clone(),
            narrows: true,
        }
    }
}
