//! The broker: one writer of state, which publishes what nodes decide from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use carnet_core::{ContextRules, Digest, Monotonic, Now, Policy, Timestamp, View};
use carnet_identity::TrustDomain;
use carnet_ledger::{Ledger, OutboxPosition};
use carnet_store::{Revision, Store};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::drain::Drained;
use crate::error::BrokerError;
use crate::hold::Held;
use crate::keys::{KeyRing, Keys};
use crate::lane::Lanes;
use crate::oauth::authorize::flows::Flows;
use crate::policy_set::NoPolicy;
use crate::published::{Published, Taken};
use crate::state::State;
use crate::trust::Trust;
use crate::vault::Vault;
use crate::work::turned_down::TurnedDown;

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
    pub(crate) ring: ArcSwap<KeyRing>,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) issuer: String,
    pub(crate) clock: Clock,
    pub(crate) freshness_window: Duration,
    /// The latest state: what changes are composed from. It follows the store.
    latest: Mutex<State>,
    /// How far it has followed.
    pub(crate) followed: watch::Sender<u64>,
    /// The state in force: what widens enters it only once its leaf is durable.
    published: Mutex<Published>,
    view: ArcSwap<View>,
    revisions: watch::Sender<u64>,
    /// The revision no node permits on an older one than, where a node has said so.
    pub(crate) acknowledged: watch::Sender<Option<u64>>,
    /// The policy sets that are loaded, by digest.
    pub(crate) policies: Mutex<BTreeMap<Digest, Arc<dyn Policy>>>,
    /// Brakes in force that the store could not write, in their order.
    pub(crate) held: Mutex<Vec<Held>>,
    pub(crate) lanes: Lanes,
    /// Lanes of their own: who opens a standing task enters one of the others meanwhile.
    pub(crate) standing_lanes: Lanes,
    /// What is done when the context of tasks changes.
    pub(crate) rules: ArcSwap<ContextRules>,
    pub(crate) turned_down: TurnedDown,
    /// Who else vouches for agents and people.
    pub(crate) trust: ArcSwap<Trust>,
    /// Authorizations that wait for a person.
    pub(crate) flows: Mutex<Flows>,
    pub(crate) outbox_waiting: Notify,
    pub(crate) drained: watch::Sender<Drained>,
    running: Mutex<JoinSet<()>>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// The store revision that holds it, or none where the store could not write and the change
    /// holds in memory only: *not durable*.
    pub revision: Option<Revision>,
    /// When it was durable.
    pub committed_at: Timestamp,
    /// When no node permitted on an older view any more.
    pub effective_at: Timestamp,
    /// When nothing was left to do of it.
    pub complete_at: Timestamp,
}

impl Broker {
    /// Loads the state and refuses to start on a store older than the ledger says it was.
    pub async fn start(parts: BrokerParts) -> Result<Arc<Self>, BrokerError> {
        Self::start_by(parts, Clock::default()).await
    }

    /// [`start`](Self::start) by another clock.
    pub async fn start_by(parts: BrokerParts, clock: Clock) -> Result<Arc<Self>, BrokerError> {
        let (revision, records) = parts.store.load().await?;
        check_not_rolled_back(parts.last_outbox, revision)?;
        let state = State::load(revision, records);
        // What does not open now would not open later: better not to start.
        KeyRing::open(Arc::clone(&state.keys), &parts.vault, &parts.trust_domain, 0)?;
        let watch = parts.store.watch(revision);
        let broker = Arc::new(Self::of(parts, clock, state));
        // What widened must be in the ledger before anything is decided on it. Without a ledger that
        // writes nothing is permitted; the brakes work all the same.
        match broker.drain_all().await {
            Ok(()) => drop(broker.make_whole()),
            Err(BrokerError::Ledger(problem)) => {
                tracing::error!(
                    problem,
                    "records wait in the outbox: nothing is permitted until the ledger takes them"
                );
                broker.outbox_waiting.notify_one();
            }
            Err(error) => return Err(error),
        }
        broker.load_active_policy().await;
        broker.spawn(Arc::clone(&broker).follow_forever(watch));
        broker.spawn(Arc::clone(&broker).drain_forever());
        broker.freshen().await?;
        broker.recover().await?;
        match broker.ensure_keys().await {
            Err(BrokerError::Ledger(problem)) => {
                tracing::error!(problem, "a key is missing and cannot be made: no token is issued");
            }
            made => made?,
        }
        broker.spawn(Arc::clone(&broker).freshen_forever());
        broker.spawn(Arc::clone(&broker).sweep_forever());
        Ok(broker)
    }

    fn of(parts: BrokerParts, clock: Clock, state: State) -> Self {
        let revision = state.snapshot.revision;
        let view = View { snapshot: state.snapshot.clone(), policy: Arc::new(NoPolicy) };
        Self {
            store: parts.store,
            ledger: parts.ledger,
            vault: parts.vault,
            ring: ArcSwap::from_pointee(KeyRing::empty(&parts.trust_domain)),
            trust_domain: parts.trust_domain,
            issuer: parts.issuer,
            clock,
            freshness_window: parts.freshness_window,
            published: Mutex::new(Published::new(state.clone())),
            latest: Mutex::new(state),
            followed: watch::Sender::new(revision),
            view: ArcSwap::from_pointee(view),
            revisions: watch::Sender::new(revision),
            acknowledged: watch::Sender::new(None),
            policies: Mutex::default(),
            held: Mutex::default(),
            lanes: Lanes::default(),
            standing_lanes: Lanes::default(),
            rules: ArcSwap::default(),
            turned_down: TurnedDown::default(),
            trust: ArcSwap::default(),
            flows: Mutex::default(),
            outbox_waiting: Notify::new(),
            drained: watch::Sender::new(Drained::default()),
            running: Mutex::default(),
        }
    }

    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        lock(&self.running).spawn(work);
    }

    /// Ends what the broker does by itself, so that its store can be closed. What was asked and not
    /// answered may still happen.
    pub async fn stop(&self) {
        let mut running = std::mem::take(&mut *lock(&self.running));
        running.shutdown().await;
        // Nobody keeps the view true any more.
        self.go_stale();
    }

    /// The view nodes decide from.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Announces each revision as it comes into force.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }

    /// Says for a node that no permit decided on an older revision can still be forwarded by it.
    pub fn acknowledge(&self, revision: u64) {
        self.acknowledged.send_if_modified(|known| {
            let further = known.is_none_or(|known| known < revision);
            if further {
                *known = Some(revision);
            }
            further
        });
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

    /// The latest state. Nothing may wait while it is looked at.
    pub(crate) fn latest(&self) -> MutexGuard<'_, State> {
        lock(&self.latest)
    }

    /// What `look` sees in the latest state: nothing is permitted by it that is not in the view.
    pub(crate) fn latest_of<T>(&self, look: impl FnOnce(&carnet_core::Snapshot) -> T) -> T {
        look(&self.latest().snapshot)
    }

    /// What `look` sees in the state in force.
    pub(crate) fn in_force<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&lock(&self.published).state)
    }

    /// How many changes are stored and wait for the ledger before they count.
    pub fn changes_waiting(&self) -> usize {
        lock(&self.published).waiting()
    }

    /// Takes a commit of the store in: into the latest state at once, into the one in force when it
    /// may.
    pub(crate) fn take_in(&self, taken: Taken) {
        let revision = taken.revision;
        {
            let mut latest = self.latest();
            for (key, item) in &taken.touched {
                latest.apply(key, item.clone(), revision);
            }
            latest.snapshot.revision = latest.snapshot.revision.max(revision.number());
        }
        let mut published = lock(&self.published);
        if published.take_in(taken) {
            self.swap(&published);
        }
        drop(published);
        self.followed.send_replace(revision.number());
    }

    /// Puts what waited for the ledger in force, now that it has everything up to `through`.
    pub(crate) fn advance(&self, through: u64) {
        let mut published = lock(&self.published);
        if published.advance(through) {
            self.swap(&published);
        }
    }

    /// Begins anew from `state`, which the ledger has whole.
    pub(crate) fn begin_anew(&self, state: State) {
        let revision = state.snapshot.revision;
        let held = lock(&self.held);
        let mut latest = self.latest();
        let mut published = lock(&self.published);
        *latest = state.clone();
        *published = Published::new(state);
        published.advance(self.drained.borrow().through);
        published.make_whole();
        for held in held.iter() {
            latest.hold(held.touched());
            published.hold(held.touched());
        }
        self.swap(&published);
        drop((published, latest, held));
        self.followed.send_replace(revision);
    }

    /// Puts what the store could not write in force, ahead of it. Nothing else is permitted until it
    /// is written.
    pub(crate) fn hold_in_memory(&self, held: Held) {
        let mut all = lock(&self.held);
        self.latest().hold(held.touched());
        let mut published = lock(&self.published);
        published.hold(held.touched());
        self.swap(&published);
        all.push(held);
    }

    /// Lets go of the first that is held, now that the store has it at `revision`.
    pub(crate) fn release_first(&self, revision: Revision) {
        let mut all = lock(&self.held);
        if all.is_empty() {
            return;
        }
        let held = all.remove(0);
        let still: Vec<_> =
            all.iter().flat_map(|held| held.touched()).map(|(key, _)| key.clone()).collect();
        self.latest().release(held.touched(), revision, &still);
        let mut published = lock(&self.published);
        published.state.release(held.touched(), revision, &still);
        self.swap(&published);
    }

    /// Says until when the view may be permitted on, where it may at all.
    pub(crate) fn publish_freshness(&self, fresh_until: Monotonic) {
        let mut published = lock(&self.published);
        if published.freshen(fresh_until) {
            self.show(&published);
        }
    }

    /// The ledger has all records of what was loaded. Tells whether that is news.
    pub(crate) fn make_whole(&self) -> bool {
        lock(&self.published).make_whole()
    }

    /// Takes the view's freshness away: nothing is permitted until it is proved again.
    pub(crate) fn go_stale(&self) {
        let mut published = lock(&self.published);
        published.state.snapshot.fresh_until = Monotonic::default();
        self.swap(&published);
    }

    /// Puts the policy set that the state in force names in the view.
    pub(crate) fn refresh_policy(&self) {
        self.swap(&lock(&self.published));
    }

    /// Swaps the view and announces it. The caller holds the published state, so views never go back.
    fn swap(&self, published: &Published) {
        self.show(published);
        // Also where the number is the same: what waited for the ledger is older than what did not.
        self.revisions.send_replace(published.state.snapshot.revision);
    }

    fn show(&self, published: &Published) {
        let snapshot = published.state.snapshot.clone();
        debug_assert_eq!(carnet_core::invariant::check_snapshot(&snapshot), Ok(()));
        let policy = self.policy_of(published.state.active_policy.as_ref());
        self.refresh_ring(&published.state.keys);
        self.view.store(Arc::new(View { snapshot, policy }));
    }
}

impl Broker {
    /// Opens the keys in force, where they are others than before. One that does not open leaves the
    /// ring without any: nothing is signed and nothing verifies.
    fn refresh_ring(&self, keys: &Arc<Keys>) {
        let ring = self.ring.load();
        if ring.is_of(keys) {
            return;
        }
        let changes = ring.changes() + 1;
        let opened = KeyRing::open(Arc::clone(keys), &self.vault, &self.trust_domain, changes);
        let ring = opened.unwrap_or_else(|error| {
            tracing::error!(%error, "a key does not open: no token is issued and none is accepted");
            KeyRing::empty(&self.trust_domain)
        });
        self.ring.store(Arc::new(ring));
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
