//! Redeeming: the agent a task was handed on to shows the delegation token, with its own identity and
//! its own key, and gets an access token as from client credentials.

use std::sync::PoisonError;

use carnet_core::Timestamp;
use carnet_identity::{VerifiedDelegation, verify_delegation};
use serde_json::{Value, json};

use super::{ACCESS_TOKEN, Exchange, JWT, check_requested, of_subject, refused};
use crate::oauth::assertion::{AssertionError, Once};
use crate::oauth::form::Form;
use crate::oauth::prove::{Caller, Credential};
use crate::oauth::refusal::{Kind, NamedIn, Refusal};
use crate::oauth::surface::Surface;
use crate::oauth::token::body_of;
use crate::oauth::wanted::Wanted;
use crate::work::TokenRequest;

impl Surface {
    pub(super) async fn redeem(&self, exchange: Exchange<'_>) -> Result<Value, Refusal> {
        let Exchange { caller, refused, form, ref proof, .. } = exchange;
        check_requested(form, ACCESS_TOKEN)?;
        let wanted = Wanted::read(form, &self.issuer)?;
        let delegation = self.proved(&exchange, &wanted)?;
        let request = TokenRequest {
            agent: caller.agent.clone(),
            thumbprint: Some(proof.thumbprint),
            certificate: None,
            task: Some(delegation.claims.task),
            subject: None,
            resource: wanted.resource,
            path: wanted.path,
        };
        let issued = self.broker.issue_token(request).await.map_err(|error| {
            tracing::info!(agent = %caller.agent, %error, "the broker refused a token");
            Refusal::of_broker(&error, refused, NamedIn::Subject)
        })?;
        tracing::info!(agent = %caller.agent, task = %issued.task, "a delegation was redeemed");
        let mut body = body_of(&issued);
        if let Some(body) = body.as_object_mut() {
            body.insert("issued_token_type".to_owned(), json!(ACCESS_TOKEN));
        }
        Ok(body)
    }

    /// The delegation token, where everything about the request is in order; all it was proved with is
    /// bound to the key.
    fn proved(
        &self,
        exchange: &Exchange<'_>,
        wanted: &Wanted,
    ) -> Result<VerifiedDelegation, Refusal> {
        let Exchange { caller, refused, form, proof, subject_token } = exchange;
        let now = self.broker.now().wall;
        let actor = self.actor(form, caller, now)?;
        let keys = self.broker.delegation_keys();
        let subject = verify_delegation(subject_token, &keys, self.issuer.as_str(), now)
            .map_err(of_subject)?;
        self.check_delegation(&subject, exchange, wanted)?;
        self.spend(caller, *refused, Some(proof), now)?;
        // The proof is the same, and is not spent twice.
        if let Some(once) = actor.and_then(|actor| actor.once) {
            self.bind(once, exchange, "actor_used", now)?;
        }
        let once =
            Once { digest: subject.token_digest, expires: subject.claims.exp, is_single: false };
        self.bind(once, exchange, "delegation_used", now)?;
        Ok(subject)
    }

    /// The actor, where one is named beside the client: the client itself.
    fn actor(
        &self,
        form: &Form,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Option<Caller>, Refusal> {
        let token = match (form.get("actor_token"), form.get("actor_token_type")) {
            (None, None) => return Ok(None),
            (Some(token), Some(JWT)) => token,
            _ => {
                let advice = "send actor_token, an SVID, with actor_token_type jwt, or neither";
                return Err(refused("actor_type", advice));
            }
        };
        let actor = self.authenticate(&Credential::of_actor(token), None, now)?;
        match actor.agent == caller.agent {
            true => Ok(Some(actor)),
            false => Err(refused("actor_differs", "the actor must be the client that redeems")),
        }
    }

    /// Whether the delegation is to the caller, of the task it asks for, and as the store has it.
    fn check_delegation(
        &self,
        subject: &VerifiedDelegation,
        exchange: &Exchange<'_>,
        wanted: &Wanted,
    ) -> Result<(), Refusal> {
        let (claims, agent) = (&subject.claims, &exchange.caller.agent);
        if claims.may_act.sub != self.broker.id_of(agent) {
            let advice = "the delegation token is for another agent";
            return Err(refused("may_act_differs", advice));
        }
        // What it was redeemed with before the start is forgotten.
        if claims.iat.s() < self.started.s() {
            let advice =
                "the delegation token is older than this node's start; have it handed on anew";
            return Err(refused("delegation_before_start", advice));
        }
        if wanted.task.as_ref().is_some_and(|task| *task != claims.task) {
            let advice = "the request names another task than the delegation token; name none";
            return Err(refused("task_ambiguous", advice));
        }
        if self.broker.is_key_of_another(&exchange.proof.thumbprint, agent) {
            let advice = "the proof is of another agent's key; redeem with a key of your own";
            return Err(refused("key_of_another", advice));
        }
        self.broker.check_redeemable(claims, agent).map_err(|error| {
            tracing::info!(%agent, %error, "a delegation was not redeemed");
            Refusal::of_broker(&error, Kind::InvalidRequest, NamedIn::Subject)
        })
    }

    /// Binds a token to the key it was first used with.
    fn bind(
        &self,
        once: Once,
        exchange: &Exchange<'_>,
        code: &'static str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let key = Some(&exchange.proof.thumbprint);
        let mut assertions = self.assertions.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = assertions.admit(once, &exchange.caller.agent, key, now);
        admitted.map_err(|error| match error {
            AssertionError::Used => refused(code, "it was used with another key"),
            AssertionError::Full => {
                let advice = "too many are in use; come again later";
                Refusal::new(Kind::Unavailable, "assertions_full", advice)
            }
        })
    }
}
