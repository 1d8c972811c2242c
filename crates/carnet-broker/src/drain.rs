//! Carries ledger records from the store's outbox to the ledger: in order, at least once. The
//! ledger knows each position, so a record carried twice becomes one leaf.

use std::sync::Arc;
use std::time::Duration;

use carnet_ledger::OutboxPosition;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::outbox;

/// How many records are carried in one go.
const DRAIN_BATCH: usize = 256;
/// How long to wait before trying again after a failure.
const RETRY: Duration = Duration::from_millis(100);
/// How long a widening waits for its leaf before it is given up on.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

impl Broker {
    /// Carries everything that waits, once.
    pub(crate) async fn drain_all(&self) -> Result<(), BrokerError> {
        loop {
            let after = *self.drained.borrow();
            let waiting = self.store.outbox(after, DRAIN_BATCH).await?;
            let Some(last) = waiting.last().map(|record| record.seq) else {
                return Ok(());
            };
            let mut appends = Vec::with_capacity(waiting.len());
            for record in waiting {
                let position =
                    OutboxPosition { seq: record.seq, revision: record.revision.number() };
                let entry = outbox::open(&self.vault, &record.bytes, position)?;
                appends.push(self.ledger.append(entry));
            }
            for append in appends {
                append.await.map_err(|error| BrokerError::Ledger(error.to_string()))?;
            }
            self.drained.send_replace(last);
            self.store.drained(last).await?;
        }
    }

    /// Waits until the record at `seq` is durable in the ledger.
    pub(crate) async fn wait_drained(&self, seq: u64) -> Result<(), BrokerError> {
        let mut drained = self.drained.subscribe();
        let reached = drained.wait_for(|through| *through >= seq);
        match tokio::time::timeout(DRAIN_TIMEOUT, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(BrokerError::Ledger("it was closed".into())),
            Err(_) => Err(BrokerError::Ledger("the record did not become durable in time".into())),
        }
    }

    /// Drains for as long as the broker lives.
    pub(crate) async fn drain_forever(self: Arc<Self>) {
        loop {
            self.outbox_waiting.notified().await;
            while let Err(error) = self.drain_all().await {
                tracing::error!(%error, "records wait in the outbox; nothing is widened until they are durable");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
