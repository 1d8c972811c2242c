//! Carries ledger records from the store's outbox to the ledger: in order, at least once. The
//! ledger knows each position, so a record carried twice becomes one leaf.

use std::sync::Arc;
use std::time::Duration;

use carnet_core::View;
use carnet_ledger::{Append, Entry, Kind, LedgerError, OutboxPosition, fault_point};
use carnet_store::OutboxRecord;
use serde_json::json;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::outbox;

/// How many records are carried in one go.
const DRAIN_BATCH: usize = 256;
/// How long to wait before trying again after a failure: the first time, and the longest.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long a change waits for its leaf before whoever asked is told that it does not count yet.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The same where the ledger is known to have stopped.
const STOPPED_TIMEOUT: Duration = Duration::from_millis(500);

/// How far the outbox has been carried, and what is in the way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drained {
    pub(crate) through: u64,
    pub(crate) problem: Option<Arc<str>>,
}

impl Broker {
    /// What keeps ledger records from their ledger, where something does: nothing is widened then.
    pub fn outbox_problem(&self) -> Option<Arc<str>> {
        self.drained.borrow().problem.clone()
    }

    /// Carries everything that waits, once.
    pub(crate) async fn drain_all(&self) -> Result<(), BrokerError> {
        loop {
            let after = self.drained.borrow().through;
            let waiting = self.store.outbox(after, DRAIN_BATCH).await?;
            if waiting.is_empty() {
                self.set_drained(after, None);
                return Ok(());
            }
            let (through, carried) = self.carry(after, waiting).await;
            fault_point("drained");
            let problem = carried.as_ref().err().map(|error| error.to_string().into());
            self.set_drained(through, problem);
            if through > after {
                self.store.drained(through).await?;
            }
            carried?;
        }
    }

    /// Carries `waiting`, as far as it can. A record that cannot be opened holds up all that come
    /// after it: passed over, it would be lost, and the right key opens it.
    async fn carry(
        &self,
        after: u64,
        waiting: Vec<OutboxRecord>,
    ) -> (u64, Result<(), BrokerError>) {
        let (mut entries, mut unopened) = (Vec::with_capacity(waiting.len()), Ok(()));
        for record in waiting {
            let position = OutboxPosition { seq: record.seq, revision: record.revision.number() };
            match outbox::open(&self.vault, &record.bytes, position) {
                Ok(entry) => entries.push((record.seq, entry)),
                Err(error) => {
                    unopened = Err(error);
                    break;
                }
            }
        }
        let mut through = after;
        let appends = match self.append_all(entries).await {
            Ok(appends) => appends,
            Err(error) => return (through, Err(error)),
        };
        for (seq, entry, append) in appends {
            if let Err(error) = self.confirm(entry, append).await {
                return (through, Err(BrokerError::Ledger(error.to_string())));
            }
            through = seq;
        }
        (through, unopened)
    }

    /// Hands entries in. The first record of a subject makes its key durable: that is no work for
    /// the threads that serve.
    async fn append_all(
        &self,
        entries: Vec<(u64, Entry)>,
    ) -> Result<Vec<(u64, Entry, Append)>, BrokerError> {
        let ledger = self.ledger.clone();
        let append = move || {
            let append = |(seq, entry): (u64, Entry)| {
                let append = ledger.append(entry.clone());
                (seq, entry, append)
            };
            entries.into_iter().map(append).collect()
        };
        let appends = tokio::task::spawn_blocking(append).await;
        appends.map_err(|error| BrokerError::Ledger(error.to_string()))
    }

    /// Waits until an entry is durable. One that was refused while a later one was taken (what
    /// narrows finds room on a full disk) is written without its position, which the ledger would
    /// not take any more; its header says which it was.
    async fn confirm(&self, mut entry: Entry, append: Append) -> Result<(), LedgerError> {
        match append.await {
            // It is refused for what it is, and would be for ever: a gap takes its place.
            Err(
                error @ (LedgerError::Invalid { .. }
                | LedgerError::LeafTooLarge { .. }
                | LedgerError::SealedTooLarge { .. }),
            ) if entry.kind != Kind::Gap
                && let Some(position) = entry.position =>
            {
                let problem = error.to_string();
                tracing::error!(seq = position.seq, problem, "the ledger does not take a record");
                let gap = outbox::gap_of(&entry, position, &problem);
                Box::pin(self.confirm(gap.clone(), self.ledger.append(gap))).await
            }
            Err(LedgerError::OutboxOrder { seq, .. }) => {
                entry.header.insert("late_seq".to_owned(), json!(seq));
                entry.position = None;
                self.ledger.append(entry).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// What waited for the ledger enters the view, and only then is it said to be drained.
    fn set_drained(&self, through: u64, problem: Option<Arc<str>>) {
        self.advance(through);
        self.drained.send_if_modified(|drained| {
            let changed = drained.through != through || drained.problem != problem;
            (drained.through, drained.problem) = (through, problem);
            changed
        });
    }

    /// Waits until the record at `seq` is durable in the ledger: not for long where it has stopped.
    pub(crate) async fn wait_drained(&self, seq: u64) -> Result<(), BrokerError> {
        let mut drained = self.drained.subscribe();
        let is_settled = |drained: &Drained| drained.through >= seq || drained.problem.is_some();
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained.wait_for(is_settled)).await;
        let reached = drained.wait_for(|drained| drained.through >= seq);
        match tokio::time::timeout(STOPPED_TIMEOUT, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(BrokerError::Ledger("it was closed".into())),
            Err(_) => {
                let problem = self.outbox_problem();
                let why = problem.as_deref().unwrap_or("it did not answer in time");
                Err(BrokerError::Ledger(format!(
                    "{why} (the change is stored and counts once its record is in the ledger)"
                )))
            }
        }
    }

    /// Waits until the view has what a change made a moment ago is about to bring into it.
    pub(crate) async fn wait_in_force(&self, is_there: impl Fn(&View) -> bool) {
        let mut drained = self.drained.subscribe();
        // The view is published before it is said that the record was drained.
        let arrived = drained.wait_for(|_| is_there(&self.view()));
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, arrived).await;
    }

    /// Drains for as long as the broker runs.
    pub(crate) async fn drain_forever(self: Arc<Self>) {
        loop {
            self.outbox_waiting.notified().await;
            let (mut retry, mut last) = (RETRY, String::new());
            while let Err(error) = self.drain_all().await {
                let problem = error.to_string();
                if problem != last {
                    tracing::error!(%error, "records wait in the outbox; nothing is widened until they are durable");
                    last = problem;
                }
                tokio::time::sleep(retry).await;
                retry = retry.saturating_mul(2).min(RETRY_MAX);
            }
            if self.make_whole()
                && let Err(error) = self.freshen().await
            {
                tracing::error!(%error, "the store did not answer: nothing is permitted");
            }
        }
    }
}
