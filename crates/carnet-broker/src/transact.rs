//! Changing state: composed from the latest, committed with its records, and in force when it may.

use std::time::Duration;

use carnet_core::{Principal, Reason, Timestamp};
use carnet_ledger::fault_point;
use carnet_store::{Commit, Committed, Revision, StoreError};

use crate::broker::{Broker, Done};
use crate::draft::{Composed, Draft};
use crate::error::BrokerError;
use crate::hold::Held;
use crate::outbox;
use crate::state::State;

/// How often a change is composed again when others changed the same records.
const ATTEMPTS_MAX: u32 = 16;
/// The same for a brake, which then takes effect in memory and is written when it can be.
const BRAKE_ATTEMPTS_MAX: u32 = 64;
/// How long a commit may take to come round through the store's watch.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of a composed change.
pub(crate) enum Made {
    /// There was nothing to do: the store has it already.
    Nothing(Revision),
    /// It is in the store.
    Stored { committed: Committed, narrows: bool, at: Timestamp },
    /// The store could not write it, and it holds in memory.
    Held(Timestamp),
}

impl Broker {
    /// Composes a change with `compose`, commits it with its records, and waits until it is in
    /// force: at once where it narrows, once its leaf is durable where it widens.
    pub(crate) async fn transact<T>(
        &self,
        by: &Principal,
        compose: impl Fn(&State, &mut Draft<'_>, Timestamp) -> Result<T, BrokerError>,
    ) -> Result<(T, Done), BrokerError> {
        let (out, made) = self.commit(by, compose).await?;
        Ok((out, self.take_effect(made).await?))
    }

    /// Composes a change and commits it. It comes into force whether or not anybody waits for it.
    pub(crate) async fn commit<T>(
        &self,
        by: &Principal,
        compose: impl Fn(&State, &mut Draft<'_>, Timestamp) -> Result<T, BrokerError>,
    ) -> Result<(T, Made), BrokerError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (out, composed) = self.compose(by, &compose)?;
            if composed.is_empty() {
                return Ok((out, Made::Nothing(Revision::new(self.latest().snapshot.revision))));
            }
            let is_brake = composed.is_brake;
            if self.is_holding() {
                return Ok((out, self.hold_or_refuse(composed)?));
            }
            match self.store.commit(commit_of(&composed)).await {
                Ok(committed) => {
                    fault_point("committed");
                    let (narrows, at) = (composed.narrows, self.now().wall);
                    self.outbox_waiting.notify_one();
                    return Ok((out, Made::Stored { committed, narrows, at }));
                }
                Err(StoreError::Conflict { found, .. })
                    if attempt < if is_brake { BRAKE_ATTEMPTS_MAX } else { ATTEMPTS_MAX } =>
                {
                    self.catch_up(found).await;
                }
                // A revocation takes effect even where it cannot be written: safety before evidence.
                Err(error) if is_brake => {
                    tracing::error!(%error, "a revocation is in force in memory only");
                    return Ok((out, self.hold_or_refuse(composed)?));
                }
                Err(StoreError::Conflict { .. }) => {
                    return Err(BrokerError::Contended { attempts: ATTEMPTS_MAX });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn compose<T>(
        &self,
        by: &Principal,
        compose: &impl Fn(&State, &mut Draft<'_>, Timestamp) -> Result<T, BrokerError>,
    ) -> Result<(T, Composed), BrokerError> {
        let now = self.now().wall;
        let state = self.latest();
        let mut draft = Draft::new(&state, by, now);
        let out = compose(&state, &mut draft, now)?;
        Ok((out, draft.compose(|entry| outbox::seal(&self.vault, entry))?))
    }

    /// While a brake holds in memory, further brakes join it and nothing else is done.
    fn hold_or_refuse(&self, composed: Composed) -> Result<Made, BrokerError> {
        if !composed.is_brake {
            let detail = "a revocation is not durable yet: until the store can write it, nothing else is done; see its disk";
            return Err(BrokerError::refused(Reason::ControlUnavailable, detail));
        }
        self.hold_in_memory(Held::of(composed));
        Ok(Made::Held(self.now().wall))
    }

    /// Waits until the latest state has what another commit changed.
    async fn catch_up(&self, found: Option<Revision>) {
        match found {
            Some(found) => {
                let _ = tokio::time::timeout(FOLLOW_TIMEOUT, self.wait_followed(found)).await;
            }
            // It was deleted; when is not told.
            None => tokio::task::yield_now().await,
        }
    }

    /// Waits until a change is in force.
    pub(crate) async fn take_effect(&self, made: Made) -> Result<Done, BrokerError> {
        let done = |revision, committed_at| {
            let now = self.now().wall;
            Done { revision, committed_at, effective_at: now, complete_at: now }
        };
        let (committed, narrows, at) = match made {
            Made::Nothing(revision) => return Ok(done(Some(revision), self.now().wall)),
            Made::Held(at) => return Ok(done(None, at)),
            Made::Stored { committed, narrows, at } => (committed, narrows, at),
        };
        self.settle_in(committed.revision).await?;
        if narrows {
            self.wait_acknowledged(committed.revision).await;
        } else if let Some(last) = committed.seqs.clone().last() {
            self.wait_drained(last).await?;
        }
        Ok(done(Some(committed.revision), at))
    }

    /// Waits until the latest state has `revision`.
    pub(crate) async fn settle_in(&self, revision: Revision) -> Result<(), BrokerError> {
        let followed = tokio::time::timeout(FOLLOW_TIMEOUT, self.wait_followed(revision)).await;
        followed.map_err(|_| {
            let detail =
                "the change is stored, but this node does not follow its store: restart it";
            BrokerError::refused(Reason::SnapshotStale, detail)
        })
    }

    /// Waits until every node has acknowledged `revision`, or may not permit any more without it.
    async fn wait_acknowledged(&self, revision: Revision) {
        let mut acknowledged = self.acknowledged.subscribe();
        if acknowledged.borrow().is_none() {
            return;
        }
        let reached =
            acknowledged.wait_for(|known| known.is_some_and(|known| known >= revision.number()));
        let _ = tokio::time::timeout(self.freshness_window, reached).await;
    }
}

fn commit_of(composed: &Composed) -> Commit {
    Commit {
        expected: composed.expected.clone(),
        changes: composed.changes.clone(),
        outgoing: composed.outgoing.clone(),
        narrows: composed.narrows,
    }
}
