//! Following the store: every commit, in order, whoever made it and whether or not they waited.

use std::sync::Arc;
use std::time::Duration;

use carnet_store::{Batch, Revision, Watch, WatchError};

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::item::Item;
use crate::published::Taken;
use crate::state::State;

/// How long to wait before loading everything again is tried again.
const RETRY: Duration = Duration::from_millis(250);

impl Broker {
    /// Follows for as long as the broker runs. Where it cannot go on, the view goes stale and stays
    /// so: nothing is permitted on what may be out of date.
    pub(crate) async fn follow_forever(self: Arc<Self>, mut watch: Watch) {
        loop {
            let error = match watch.next().await {
                Ok(batch) => match taken(batch) {
                    Ok(taken) => {
                        self.take_in(taken);
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
                Err(error @ WatchError::Closed) => {
                    tracing::error!(%error, "the store is not followed any more: nothing is permitted");
                    self.go_stale();
                    return;
                }
                Err(error) => error.to_string(),
            };
            tracing::error!(error, "the store could not be followed and is loaded again");
            self.go_stale();
            watch = loop {
                match self.reload().await {
                    Ok(watch) => break watch,
                    Err(error) => {
                        tracing::error!(%error, "the store could not be loaded: nothing is permitted");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
        }
    }

    /// Loads everything again, and waits until the ledger has all of it.
    async fn reload(&self) -> Result<Watch, BrokerError> {
        let (revision, records) = self.store.load().await?;
        let state = State::load(revision, records);
        let mut drained = self.drained.subscribe();
        loop {
            let through = drained.borrow_and_update().through;
            if self.store.outbox(through, 1).await?.is_empty() {
                break;
            }
            self.outbox_waiting.notify_one();
            // The drain says how far it came; should it not, it is looked at again.
            let _ = tokio::time::timeout(RETRY, drained.changed()).await;
        }
        self.begin_anew(state);
        Ok(self.store.watch(revision))
    }

    /// Waits until the latest state has `revision`.
    pub(crate) async fn wait_followed(&self, revision: Revision) {
        let mut followed = self.followed.subscribe();
        let reached = followed.wait_for(|followed| *followed >= revision.number());
        // The sender is this broker's own: it cannot be gone.
        let _ = reached.await;
    }
}

fn taken(batch: Batch) -> Result<Taken, BrokerError> {
    let mut touched = Vec::with_capacity(batch.changes.len());
    for (key, record) in batch.changes {
        match record {
            None => touched.push((key, None)),
            Some(record) => {
                if let Some(item) = Item::decode(&key, &record.value)? {
                    touched.push((key, Some(item)));
                }
            }
        }
    }
    Ok(Taken {
        revision: batch.revision,
        touched,
        narrows: batch.narrows,
        is_recorded: !batch.seqs.is_empty(),
        last_seq: batch.seqs.end.saturating_sub(1),
    })
}
