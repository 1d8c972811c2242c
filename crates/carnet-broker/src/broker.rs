//! The broker: one writer of state, which publishes what nodes decide from.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use carnet_core::{Now, Policy, Principal, Timestamp, View};
use carnet_identity::{SigningKey, TrustDomain};
use carnet_ledger::{Ledger, OutboxPosition};
use carnet_store::{Key, Kind, Revision, Store, StoreError};
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::draft::{Composed, Draft};
use crate::error::BrokerError;
use crate::item::Item;
use crate::outbox;
use crate::state::State;
use crate::vault::Vault;

/// How often a change is composed again when others changed the same records.
const ATTEMPTS_MAX: u32 = 16;

/// What a broker is built from.
pub struct BrokerParts {
    /// Where state lives.
    pub store: Arc<dyn Store>,
    /// Where records go.
    pub ledger: Ledger,
    /// The last outbox position the ledger has, as its recovery told.
    pub last_outbox: Option<OutboxPosition>,
    /// What seals at rest.
    pub vault: Vault,
    /// The key access tokens are signed with.
    pub access_key: SigningKey,
    /// The key JWT-SVIDs are signed with.
    pub svid_key: SigningKey,
    /// The built-in trust domain.
    pub trust_domain: TrustDomain,
    /// The issuer: the address agents reach Carnet at.
    pub issuer: String,
    /// How long a node may decide on the view it has.
    pub freshness_window: Duration,
}

/// The control plane. Every change to state goes through it.
pub struct Broker {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: Ledger,
    pub(crate) vault: Vault,
    pub(crate) access_key: SigningKey,
    pub(crate) svid_key: SigningKey,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) issuer: String,
    pub(crate) clock: Clock,
    pub(crate) freshness_window: Duration,
    /// The latest state: what changes are composed from.
    state: Mutex<State>,
    /// The state in force: what widens enters it only once its leaf is durable.
    published: Mutex<State>,
    view: ArcSwap<View>,
    revisions: watch::Sender<u64>,
    pub(crate) outbox_waiting: Notify,
    pub(crate) drained: watch::Sender<u64>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// The store revision that holds it, or none where the store could not write and the change
    /// holds in memory only: *not durable*.
    pub revision: Option<Revision>,
    /// When it was durable.
    pub committed_at: Timestamp,
    /// When this node's view had it.
    pub effective_at: Timestamp,
}

impl Broker {
    /// Loads the state and refuses to start on a store older than the ledger says it was.
    pub async fn start(parts: BrokerParts) -> Result<Arc<Self>, BrokerError> {
        let (revision, records) = parts.store.load().await?;
        check_not_rolled_back(parts.last_outbox, revision)?;
        let mut state = State::default();
        // Tasks before grants and approvals: a grant of an unknown task is history.
        let (tasks, others): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| record.key.kind == Kind::Task);
        for record in tasks.into_iter().chain(others) {
            if let Some(item) = Item::decode(&record.key, &record.value)? {
                state.apply(&record.key, Some(item), record.revision);
            }
        }
        state.snapshot.revision = revision.number();
        let policy: Arc<dyn Policy> = Arc::new(crate::policy_set::NoPolicy);
        let view = View { snapshot: state.snapshot.clone(), policy };
        let broker = Arc::new(Self {
            store: parts.store,
            ledger: parts.ledger,
            vault: parts.vault,
            access_key: parts.access_key,
            svid_key: parts.svid_key,
            trust_domain: parts.trust_domain,
            issuer: parts.issuer,
            clock: Clock::default(),
            freshness_window: parts.freshness_window,
            published: Mutex::new(state.clone()),
            state: Mutex::new(state),
            view: ArcSwap::from_pointee(view),
            revisions: watch::Sender::new(revision.number()),
            outbox_waiting: Notify::new(),
            drained: watch::Sender::new(0),
        });
        broker.drain_all().await?;
        tokio::spawn(Arc::clone(&broker).drain_forever());
        broker.load_active_policy().await?;
        broker.freshen().await?;
        broker.recover().await?;
        tokio::spawn(Arc::clone(&broker).freshen_forever());
        tokio::spawn(Arc::clone(&broker).sweep_forever());
        Ok(broker)
    }

    /// The view nodes decide from.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Announces each revision as it comes into force.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }

    /// The moment now.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The ledger records go to.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The issuer: the address agents reach Carnet at.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The built-in trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Composes a change with `compose`, commits it with its records, and publishes it: at once
    /// where it narrows, once its leaf is durable where it widens.
    pub(crate) async fn transact<T>(
        &self,
        by: &Principal,
        compose: impl Fn(&State, &mut Draft<'_>, Timestamp) -> Result<T, BrokerError>,
    ) -> Result<(T, Done), BrokerError> {
        for _ in 0..ATTEMPTS_MAX {
            let state = self.state();
            let now = self.clock.now().wall;
            let mut draft = Draft::new(&state, by, now);
            let out = compose(&state, &mut draft, now)?;
            let composed = draft.compose(|entry| outbox::seal(&self.vault, entry))?;
            match self.settle(composed, now).await {
                Ok(done) => return Ok((out, done)),
                Err(BrokerError::Store(StoreError::Conflict { .. })) => {
                    tokio::task::yield_now().await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(BrokerError::Contended { attempts: ATTEMPTS_MAX })
    }

    async fn settle(&self, composed: Composed, now: Timestamp) -> Result<Done, BrokerError> {
        let Composed { commit, touched, narrows, is_brake } = composed;
        if commit.changes.is_empty() && commit.outgoing.is_empty() {
            return Ok(Done { revision: None, committed_at: now, effective_at: now });
        }
        let committed = match self.store.commit(commit).await {
            Ok(committed) => committed,
            // A revocation takes effect even where it cannot be written: safety before evidence.
            Err(StoreError::Unavailable { .. }) if is_brake => {
                tracing::error!("a revocation is in force in memory only: the store cannot write");
                return Ok(self.hold_in_memory(touched, now));
            }
            Err(error) => return Err(error.into()),
        };
        let committed_at = self.clock.now().wall;
        let revision = committed.revision;
        self.apply_latest(&touched, revision);
        self.outbox_waiting.notify_one();
        if !narrows && let Some(last) = committed.seqs.end.checked_sub(1) {
            self.wait_drained(last).await?;
        }
        self.publish(touched, revision);
        let effective_at = self.clock.now().wall;
        Ok(Done { revision: Some(revision), committed_at, effective_at })
    }

    /// Applies a narrowing that could not be written to the view, above every stored revision.
    fn hold_in_memory(&self, touched: Vec<(Key, Option<Item>)>, now: Timestamp) -> Done {
        let next = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            Revision::new(state.snapshot.revision).next()
        };
        self.publish(touched, next);
        Done { revision: None, committed_at: now, effective_at: self.clock.now().wall }
    }

    fn apply_latest(&self, touched: &[(Key, Option<Item>)], revision: Revision) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, item) in touched {
            state.apply(key, item.clone(), revision);
        }
    }

    fn publish(&self, touched: Vec<(Key, Option<Item>)>, revision: Revision) {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, item) in touched {
            published.apply(&key, item, revision);
        }
        self.swap(&published, None);
    }

    /// Puts `policy` in force together with the published state.
    pub(crate) fn publish_policy(&self, policy: Arc<dyn Policy>) {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        self.swap(&published, Some(policy));
    }

    /// Says until when the view may be permitted on.
    pub(crate) fn publish_freshness(&self, fresh_until: carnet_core::Monotonic) {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.snapshot.fresh_until = published.snapshot.fresh_until.max(fresh_until);
        self.swap(&published, None);
    }

    /// Swaps the view. The caller holds the lock on the published state, so views never go back.
    fn swap(&self, published: &State, policy: Option<Arc<dyn Policy>>) {
        let policy = policy.unwrap_or_else(|| self.view.load().policy.clone());
        let snapshot = published.snapshot.clone();
        let revision = snapshot.revision;
        self.view.store(Arc::new(View { snapshot, policy }));
        self.revisions.send_if_modified(|known| std::mem::replace(known, revision) != revision);
    }
}

/// A restored backup must not revive rights: the ledger remembers how far the store had come.
fn check_not_rolled_back(
    last: Option<OutboxPosition>,
    revision: Revision,
) -> Result<(), BrokerError> {
    match last {
        Some(position) if position.revision > revision.number() => Err(BrokerError::invalid(
            "store",
            format!(
                "it is at revision {revision}, but the ledger has records of revision {}: this is an older copy. \
                 Bring back the newest store; an older one would revive rights that were revoked since",
                position.revision
            ),
        )),
        _ => Ok(()),
    }
}
