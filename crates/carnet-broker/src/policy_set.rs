//! Policy sets: stored by digest, put in force by activation, taken back by rollback.

use std::sync::Arc;

use carnet_core::{Digest, Document, Policy, Principal, UserName, Verdict};
use carnet_policy::{CedarPolicy, PolicySource};
use carnet_store::{Change, Commit, Key, Kind};
use serde_json::json;

use crate::broker::{Broker, Done, lock};
use crate::error::BrokerError;
use crate::item::{ActivePolicy, Item};

/// How many loaded sets are kept beside those in force.
const LOADED_MAX: usize = 16;

/// What is in force before any policy set was activated: nothing is permitted.
pub(crate) struct NoPolicy;

impl Policy for NoPolicy {
    fn digest(&self) -> Digest {
        Digest::of(b"")
    }

    fn judge(&self, _: &Document) -> Verdict {
        Verdict::failed("no policy set is active: run `carnet policy activate DIR`")
    }
}

/// What is in force where the active set cannot be loaded: nothing is permitted, and the brakes
/// still work.
struct Unloaded(Digest);

impl Policy for Unloaded {
    fn digest(&self) -> Digest {
        self.0
    }

    fn judge(&self, _: &Document) -> Verdict {
        let set = self.0;
        Verdict::failed(format!(
            "the active policy set {set} could not be loaded, see the log: run `carnet policy rollback`, or activate another"
        ))
    }
}

impl Broker {
    /// Puts a policy set in force. It was loaded, so it validates; the digest names it for ever.
    pub async fn activate_policy(
        &self,
        source: &PolicySource,
        by: &UserName,
    ) -> Result<(Digest, Done), BrokerError> {
        let digest = source.digest();
        self.remember(digest, load(source)?);
        self.keep(digest, source).await?;
        let done = self.make_active(by, "activated", |active| {
            let previous = match active {
                Some(active) if active.digest == digest => active.previous,
                Some(active) => Some(active.digest),
                None => None,
            };
            Ok(ActivePolicy { digest, previous })
        });
        Ok((digest, done.await?))
    }

    /// Puts the previous policy set in force again. A brake: no policy can disable it. It goes back
    /// once: what was taken back returns only by being activated.
    pub async fn rollback_policy(&self, by: &UserName) -> Result<(Digest, Done), BrokerError> {
        let none = || {
            BrokerError::invalid("policy", "there is no set before the active one to go back to")
        };
        let active = self.active_policy().ok_or_else(none)?;
        let previous = active.previous.ok_or_else(none)?;
        self.remember(previous, load(&self.policy_source(previous).await?)?);
        let done = self.make_active(by, "rolled_back", |known| match known {
            Some(known) if *known == active => {
                Ok(ActivePolicy { digest: previous, previous: None })
            }
            // Another operator was quicker: what this one wanted taken back is not in force.
            _ => Err(BrokerError::invalid("policy", "another set was put in force meanwhile")),
        });
        Ok((previous, done.await?))
    }

    /// The digest in force, and the one before it.
    pub fn active_policy(&self) -> Option<ActivePolicy> {
        self.latest().active_policy.clone()
    }

    /// The stored policy set with `digest`.
    pub async fn policy_source(&self, digest: Digest) -> Result<PolicySource, BrokerError> {
        let key = Key::new(Kind::Policy, digest.to_string());
        let missing = || BrokerError::Missing {
            kind: "policy set",
            id: digest.to_string(),
            hint: "activate it from its folder with `carnet policy activate DIR`",
        };
        let record = self.store.read(&key).await?.ok_or_else(missing)?;
        let source = PolicySource::from_bytes(&record.value)
            .map_err(|error| BrokerError::Policy(error.to_string()))?;
        match source.digest() == digest {
            true => Ok(source),
            false => Err(BrokerError::Policy(format!("the stored set is not {digest}"))),
        }
    }

    /// Whether a policy set is in force that can judge.
    pub(crate) fn is_policy_loaded(&self) -> bool {
        let active = self.active_policy();
        active.is_some_and(|active| lock(&self.policies).contains_key(&active.digest))
    }

    /// Loads the set in force. One that cannot be loaded permits nothing; the brakes, going back to
    /// the set before it among them, do not need it.
    pub(crate) async fn load_active_policy(&self) {
        let Some(active) = self.active_policy() else { return };
        let loaded = match self.policy_source(active.digest).await {
            Ok(source) => load(&source),
            Err(error) => Err(error),
        };
        match loaded {
            Ok(policy) => self.remember(active.digest, policy),
            Err(error) => {
                tracing::error!(%error, digest = %active.digest, "the active policy set cannot be loaded: nothing is permitted");
            }
        }
        self.refresh_policy();
    }

    /// The policy that judges while `active` is in force.
    pub(crate) fn policy_of(&self, active: Option<&ActivePolicy>) -> Arc<dyn Policy> {
        let Some(active) = active else { return Arc::new(NoPolicy) };
        let loaded = lock(&self.policies).get(&active.digest).cloned();
        loaded.unwrap_or_else(|| Arc::new(Unloaded(active.digest)))
    }

    /// Keeps a loaded set at hand, so that it enters the view together with the state that names it.
    fn remember(&self, digest: Digest, policy: Arc<dyn Policy>) {
        let latest = self.active_policy().map(|active| active.digest);
        let in_force = Some(self.view().policy.digest());
        let mut loaded = lock(&self.policies);
        if loaded.len() >= LOADED_MAX {
            loaded.retain(|known, _| [latest, in_force].contains(&Some(*known)));
        }
        loaded.insert(digest, policy);
    }

    async fn keep(&self, digest: Digest, source: &PolicySource) -> Result<(), BrokerError> {
        let key = Key::new(Kind::Policy, digest.to_string());
        let change = Change::Put { key, value: source.to_bytes() };
        let commit = Commit { changes: vec![change], ..Commit::default() };
        self.store.commit(commit).await?;
        Ok(())
    }

    async fn make_active(
        &self,
        by: &UserName,
        transition: &str,
        choose: impl Fn(Option<&ActivePolicy>) -> Result<ActivePolicy, BrokerError>,
    ) -> Result<Done, BrokerError> {
        let (_, done) = self
            .transact(&Principal::User(by.clone()), |state, draft, _| {
                let active = choose(state.active_policy.as_ref())?;
                let details = json!({ "previous": active.previous });
                let (kind, id) = (carnet_ledger::Kind::Policy, active.digest.to_string());
                draft.record(kind, &id, transition, false, &details, None);
                draft.put(Item::ActivePolicy(active))
            })
            .await?;
        Ok(done)
    }
}

fn load(source: &PolicySource) -> Result<Arc<dyn Policy>, BrokerError> {
    let policy = CedarPolicy::load(source);
    policy
        .map(|policy| Arc::new(policy) as Arc<dyn Policy>)
        .map_err(|errors| BrokerError::Policy(errors.to_string()))
}
