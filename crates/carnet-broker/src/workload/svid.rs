//! Identities of the built-in trust domain.

use carnet_core::{AgentName, LockTarget, Reason};
use carnet_identity::{ASSERTION_TTL_S_MAX, SpiffeId, mint_svid};
use secrecy::SecretString;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::keys::KeyPurpose;

impl Broker {
    /// Mints a JWT-SVID of `agent` for `audience`, good for five minutes. That whoever gets it is
    /// the agent is for the caller to have attested. A locked agent gets none.
    pub fn mint_svid(
        &self,
        agent: &AgentName,
        audience: &str,
    ) -> Result<SecretString, BrokerError> {
        let id = self.identity(agent)?;
        let key = self.signing_key(KeyPurpose::JwtSvid)?;
        mint_svid(&key, &id, audience, self.now().wall, ASSERTION_TTL_S_MAX)
            .map(SecretString::from)
            .map_err(|error| BrokerError::Key(error.to_string()))
    }

    /// The name `agent` may show, where it may have one now.
    pub(crate) fn identity(&self, agent: &AgentName) -> Result<SpiffeId, BrokerError> {
        let (view, now) = (self.view(), self.now());
        if !view.snapshot.is_fresh(now) {
            return Err(BrokerError::refused(Reason::SnapshotStale, "this node's view is stale"));
        }
        if !view.snapshot.agents.contains_key(agent) {
            let detail = format!("{agent} is not registered");
            return Err(BrokerError::refused(Reason::AgentUnknown, detail));
        }
        if self.is_agent_locked(agent) {
            return Err(BrokerError::refused(Reason::Locked, format!("{agent} is locked")));
        }
        Ok(SpiffeId::agent(&self.trust_domain, agent))
    }

    /// Whether a lock stops the agent, its trust domain or everything.
    pub(crate) fn is_agent_locked(&self, agent: &AgentName) -> bool {
        let domain = self.trust_domain.as_str().to_owned();
        let targets = [LockTarget::Agent(agent.clone()), LockTarget::TrustDomain(domain)];
        let view = self.view();
        targets.iter().any(|target| view.snapshot.is_locked(target))
    }
}
