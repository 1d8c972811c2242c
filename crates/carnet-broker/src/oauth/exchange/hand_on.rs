//! Handing on by exchange: an agent shows its own live token and the key it is bound to, and names who
//! is to do which part. It opens the same task as the delegation endpoint, by the same way, and gets a
//! token that is of no use to itself.

use carnet_core::{AgentName, Caller as Call, Identity, Now, Reason, check_caller};
use carnet_identity::{AccessClaims, DpopProof, Possession, SpiffeId, Verified, verify_issued};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::details::{self, DELEGATION_TYPE, Delegation};
use super::{Exchange, JWT, check_requested, of_subject, refused};
use crate::oauth::delegate::Asked;
use crate::oauth::form::Form;
use crate::oauth::refusal::{Kind, NamedIn, Refusal};
use crate::oauth::surface::Surface;
use crate::oauth::wanted::scope_of;

impl Surface {
    pub(super) async fn exchange_to_hand_on(
        &self,
        exchange: Exchange<'_>,
    ) -> Result<Value, Refusal> {
        let Exchange { caller, refused, form, ref proof, .. } = exchange;
        check_form(form)?;
        let agent = self.actor_to_be(form)?;
        let details = form.get("authorization_details").ok_or(details::refused())?;
        let Delegation { intent, said } = Delegation::parse(details)?;
        let now = self.broker.now();
        let subject = self.own_live_token(&exchange, now)?;
        self.spend(caller, refused, Some(proof), now.wall)?;

        let (parent, jti) = (subject.claims.task.clone(), subject.claims.jti.clone());
        let opened_with = Some(jti.clone());
        let asked = Asked { parent: parent.clone(), agent: agent.clone(), intent, opened_with };
        let child = self.hand_on(caller, proof.thumbprint, asked).await?;
        let made = self.broker.delegation_token(&child, &jti).await;
        let token = made
            .map_err(|error| Refusal::of_broker(&error, Kind::InvalidClient, NamedIn::Subject))?;
        let granted = granted(self.told(&child, &parent, &agent), said);
        Ok(json!({
            "access_token": token.token.expose_secret(),
            "issued_token_type": JWT,
            "token_type": "N_A",
            "expires_in": token.ttl_s,
            "scope": scope_of(&child),
            "authorization_details": [granted],
        }))
    }

    /// Who is to act: an agent of ours by its SPIFFE ID. Whether there is such an agent is asked after
    /// policy was.
    fn actor_to_be(&self, form: &Form) -> Result<AgentName, Refusal> {
        let missing = "name who is to do it in audience, by its SPIFFE ID";
        let audience = form.get("audience");
        let audience =
            audience.ok_or(Refusal::new(Kind::InvalidTarget, "audience_missing", missing))?;
        let unknown = Refusal::new(Kind::InvalidTarget, "audience_unknown", missing);
        let id: SpiffeId = audience.parse().map_err(|_| unknown.clone())?;
        if id.trust_domain() == self.broker.trust_domain() {
            return id.agent_name().ok_or(unknown);
        }
        let view = self.broker.view();
        let named = view.snapshot.agent_of(&Identity::Spiffe { id: id.to_string() });
        // Of a stranger nothing is told: neither that it is known nor that it is not.
        let stranger = Refusal::for_reason(Kind::UnauthorizedClient, Reason::PolicyDoesNotPermit);
        named.map(|agent| agent.name.clone()).ok_or(stranger)
    }

    /// The subject token, where it is the caller's own, live, and bound to the key that was proved.
    fn own_live_token(&self, exchange: &Exchange<'_>, now: Now) -> Result<Verified, Refusal> {
        let (keys, issuer) = (self.broker.access_keys(), self.issuer.as_str());
        let subject = verify_issued(exchange.subject_token, &keys, issuer, now.wall);
        let subject = subject.map_err(of_subject)?;
        let (claims, proof) = (&subject.claims, &exchange.proof);
        if claims.client_id != self.broker.id_of(&exchange.caller.agent) {
            let advice = "the subject token is another agent's; show your own";
            return Err(refused("subject_of_another", advice));
        }
        check_possession(claims, proof)?;
        let call = Call {
            agent: exchange.caller.agent.clone(),
            instance: claims.instance.clone(),
            task: claims.task.clone(),
            path: claims.path,
            resource: claims.resource.clone(),
            token: claims.jti.clone(),
            key: subject.kid.clone(),
            expires: claims.exp,
            thumbprint: Some(proof.thumbprint.to_string()),
        };
        check_caller(&self.broker.view().snapshot, &call, now).map_err(|reason| match reason {
            Reason::SnapshotStale => Refusal::for_reason(Kind::Unavailable, reason),
            Reason::TaskOfAnother => refused("task_unknown", Reason::TaskUnknown.advice()),
            _ => Refusal::for_reason(Kind::InvalidRequest, reason),
        })?;
        Ok(subject)
    }
}

fn check_possession(claims: &AccessClaims, proof: &DpopProof) -> Result<(), Refusal> {
    match claims.possession(Some(proof)) {
        Ok(Possession::Proved) => Ok(()),
        Ok(Possession::Bearer) => {
            let advice = "the subject token is bound to no key; get one with a proof";
            Err(refused("subject_unbound", advice))
        }
        Err(_) => {
            let advice = "the subject token is bound to another key than the proof is of";
            Err(refused("subject_wrong_key", advice))
        }
    }
}

/// What was granted: the task as it is, and the intent as it was said.
fn granted(mut told: Value, said: Value) -> Value {
    if let Some(told) = told.as_object_mut() {
        told.remove("expires_in");
        told.insert("type".to_owned(), json!(DELEGATION_TYPE));
        told.insert("intent".to_owned(), said);
    }
    told
}

/// What handing on has no use for is refused: somebody meant something by it.
fn check_form(form: &Form) -> Result<(), Refusal> {
    check_requested(form, JWT)?;
    if form.get("actor_token").is_some() || form.get("actor_token_type").is_some() {
        let advice = "the other agent acts by itself when it redeems; send no actor_token here";
        return Err(refused("actor_unexpected", advice));
    }
    if !form.resources().is_empty() {
        let advice = "what is handed on is a task; its resources are in the intent";
        return Err(Refusal::new(Kind::InvalidTarget, "target_unexpected", advice));
    }
    match form.get("scope") {
        None => Ok(()),
        Some(_) => Err(Refusal::new(
            Kind::InvalidScope,
            "scope_unexpected",
            "say what is handed on in authorization_details; send no scope",
        )),
    }
}
