//! What a delegation token says, and whether it may still be redeemed. The chain is the store's: a
//! token that tells of another is refused, whoever signed it.

use carnet_core::{AgentName, Closure, Principal, Reason, Snapshot, TaskId};
use carnet_identity::{
    Act, DELEGATION_TTL_S_MAX, DelegationClaims, MayAct, SpiffeId, Thumbprint, mint_delegation,
};
use serde_json::{Map, json};

use crate::broker::Broker;
use crate::clock::fresh_bits;
use crate::error::BrokerError;
use crate::keys::KeyPurpose;
use crate::work::token::unknown;
use crate::work::turned_down::Refused;

/// A delegation token and how long it is good.
#[derive(Debug, Clone)]
pub(crate) struct DelegationToken {
    /// The token itself. It is shown to who hands on and never logged.
    pub(crate) token: secrecy::SecretString,
    /// Its lifetime in seconds.
    pub(crate) ttl_s: i64,
}

impl Broker {
    /// The token that tells the agent of `child` that the task was handed on to it, with the token
    /// named `parent_jti`.
    pub(crate) async fn delegation_token(
        &self,
        child: &TaskId,
        parent_jti: &str,
    ) -> Result<DelegationToken, BrokerError> {
        let made = self.make_delegation(child, parent_jti).await;
        if made.is_err()
            && let Some(held) = self.view().snapshot.task(child)
        {
            // Nobody would ever learn of it: what moved to it stays spent.
            let by = &held.task.opened_by;
            let _ = self.close_task(child, Closure::Failed, by).await;
        }
        made
    }

    async fn make_delegation(
        &self,
        child: &TaskId,
        parent_jti: &str,
    ) -> Result<DelegationToken, BrokerError> {
        let claims = self.delegation_claims(child, parent_jti)?;
        let key = self.signing_key(KeyPurpose::Delegation)?;
        let token =
            mint_delegation(&key, &claims).map_err(|error| BrokerError::Key(error.to_string()))?;
        self.record_delegation(&claims).await?;
        let ttl_s = claims.exp.s() - claims.iat.s();
        Ok(DelegationToken { token: token.into(), ttl_s })
    }

    fn delegation_claims(
        &self,
        child: &TaskId,
        parent_jti: &str,
    ) -> Result<DelegationClaims, BrokerError> {
        let (view, now) = (self.view(), self.now().wall);
        let held = view.snapshot.task(child).ok_or_else(|| unknown(child))?;
        let act = self.chain_above(&view.snapshot, child).ok_or_else(|| unknown(child))?;
        Ok(DelegationClaims {
            iss: self.issuer.clone(),
            sub: self.name_of(&held.task.subject),
            aud: self.issuer.clone(),
            iat: now,
            exp: now.plus_s(DELEGATION_TTL_S_MAX).min(held.task.deadline),
            jti: format!("tok_{:032x}", fresh_bits()),
            may_act: MayAct { sub: self.id_of(&held.task.agent) },
            act,
            task: child.clone(),
            parent_jti: parent_jti.to_owned(),
        })
    }

    /// Whether the task of a delegation token may be redeemed by `agent`: it is that agent's, it was
    /// handed on with that very token, nothing of it was taken back, and the chain is the same.
    /// What is refused is recorded.
    pub(crate) fn check_redeemable(
        &self,
        claims: &DelegationClaims,
        agent: &AgentName,
    ) -> Result<(), BrokerError> {
        let checked = self.check_chain(claims, agent);
        if let Err(BrokerError::Refused { reason, .. }) = &checked {
            let mut header = Map::new();
            header.insert("task".into(), json!(claims.task));
            header.insert("delegation".into(), json!(claims.jti));
            let (event, reason) = ("exchange_refused", *reason);
            self.record_turned_down(Refused { agent, event, reason, header });
        }
        checked
    }

    pub(crate) fn check_chain(
        &self,
        claims: &DelegationClaims,
        agent: &AgentName,
    ) -> Result<(), BrokerError> {
        let view = self.view();
        let snapshot = &view.snapshot;
        if !snapshot.is_fresh(self.now()) {
            return Err(BrokerError::refused(Reason::SnapshotStale, "this node's view is stale"));
        }
        let held = snapshot.task(&claims.task).ok_or_else(|| unknown(&claims.task))?;
        if snapshot.tokens_revoked.contains_key(&claims.parent_jti) {
            let detail = format!("{} was handed on with a token that is revoked", claims.task);
            return Err(BrokerError::refused(Reason::TokenRevoked, detail));
        }
        let is_same = held.task.agent == *agent
            && claims.may_act.sub == self.id_of(agent)
            && claims.sub == self.name_of(&held.task.subject)
            && held.task.opened_with.as_ref() == Some(&claims.parent_jti)
            && self.chain_above(snapshot, &claims.task).as_ref() == Some(&claims.act);
        match is_same {
            true => Ok(()),
            false => {
                let detail = format!("{} was handed on by another chain", claims.task);
                Err(BrokerError::refused(Reason::ChainBroken, detail))
            }
        }
    }

    /// Whether `key` is known as that of another agent than `agent`.
    pub(crate) fn is_key_of_another(&self, key: &Thumbprint, agent: &AgentName) -> bool {
        let key = key.to_string();
        let view = self.view();
        let mut instances = view.snapshot.instances.values();
        instances
            .any(|instance| instance.agent != *agent && instance.thumbprint.as_ref() == Some(&key))
    }

    /// Everybody above `child`, from the one who handed it on outward in.
    fn chain_above(&self, snapshot: &Snapshot, child: &TaskId) -> Option<Act> {
        let actors = snapshot.actors(child).ok()?;
        let above = actors.into_iter().skip(1).rev();
        above.fold(None, |act, agent| {
            Some(Act { sub: self.id_of(agent), iss: None, act: act.map(Box::new) })
        })
    }

    /// The name of an agent of ours in tokens.
    pub(crate) fn id_of(&self, agent: &AgentName) -> String {
        SpiffeId::agent(&self.trust_domain, agent).to_string()
    }

    async fn record_delegation(&self, claims: &DelegationClaims) -> Result<(), BrokerError> {
        let by = self.view().snapshot.task(&claims.task).map(|held| held.task.opened_by.clone());
        let by: Principal = by.ok_or_else(|| unknown(&claims.task))?;
        let details = json!({
            "task": claims.task, "to": claims.may_act.sub, "with": claims.parent_jti,
            "expires_us": claims.exp,
        });
        self.transact(&by, |_, draft, _| {
            draft.widens();
            let kind = carnet_ledger::Kind::Grant;
            draft.record(kind, &claims.jti, "delegation_issued", false, &details, None);
            Ok(())
        })
        .await?;
        Ok(())
    }
}
