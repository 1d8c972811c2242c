//! Policy sets: stored by digest, put in force by activation, taken back by rollback.

use std::sync::Arc;

use carnet_core::{Digest, Document, Policy, Principal, UserName, Verdict};
use carnet_ledger::Sealed;
use carnet_policy::{CedarPolicy, PolicySource};
use carnet_store::{Change, Commit, Key, Kind};
use serde_json::json;

use crate::broker::{Broker, Done};
use crate::error::BrokerError;
use crate::item::{ActivePolicy, Item};

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

impl Broker {
    /// Puts a policy set in force. It was loaded, so it validates; the digest names it for ever.
    pub async fn activate_policy(
        &self,
        source: &PolicySource,
        by: &UserName,
    ) -> Result<(Digest, Done), BrokerError> {
        let policy = load(source)?;
        let digest = source.digest();
        self.keep(digest, source).await?;
        let done = self.make_active(digest, "activated", by).await?;
        self.publish_policy(policy);
        Ok((digest, done))
    }

    /// Puts the previous policy set in force again. A brake: no policy can disable it.
    pub async fn rollback_policy(&self, by: &UserName) -> Result<(Digest, Done), BrokerError> {
        let active = self.state().active_policy.and_then(|active| active.previous);
        let previous = active.ok_or_else(|| {
            BrokerError::invalid("policy", "there is no set before the active one to go back to")
        })?;
        let policy = load(&self.policy_source(previous).await?)?;
        let done = self.make_active(previous, "rolled_back", by).await?;
        self.publish_policy(policy);
        Ok((previous, done))
    }

    /// The digest in force, and the one before it.
    pub fn active_policy(&self) -> Option<ActivePolicy> {
        self.state().active_policy
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

    pub(crate) async fn load_active_policy(&self) -> Result<(), BrokerError> {
        let Some(active) = self.state().active_policy else {
            return Ok(());
        };
        let source = self.policy_source(active.digest).await?;
        self.publish_policy(load(&source)?);
        Ok(())
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
        digest: Digest,
        transition: &str,
        by: &UserName,
    ) -> Result<Done, BrokerError> {
        let (_, done) = self
            .transact(&Principal::User(by.clone()), |state, draft, _| {
                let active = state.active_policy.as_ref();
                let previous = match active {
                    Some(active) if active.digest == digest => active.previous,
                    Some(active) => Some(active.digest),
                    None => None,
                };
                draft.widens();
                let details = json!({ "previous": previous });
                let id = digest.to_string();
                let none: Option<(&str, Vec<Sealed>)> = None;
                let kind = carnet_ledger::Kind::Policy;
                draft.record(kind, &id, transition, false, &details, none);
                draft.put(Item::ActivePolicy(ActivePolicy { digest, previous }))
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
