//! A token of ours that somebody shows its issuer, to ask about it or to take it back, and who may.

use std::sync::PoisonError;

use axum::extract::Request;
use axum::http::HeaderMap;
use carnet_core::{AgentName, Snapshot, TaskId, Timestamp};
use carnet_identity::{Verified, VerifiedDelegation, verify_delegation, verify_issued};
use tokio::sync::SemaphorePermit;

use crate::oauth::form::Form;
use crate::oauth::prove::{Caller, of_use};
use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::surface::Surface;
use crate::oauth::token::check_head;

/// The longest form: an assertion of 8 KiB and a token of 16.
const FORM_BYTES_MAX: usize = 32 * 1024;

/// A token of ours, unexpired, whose key was not taken away.
pub(crate) enum Shown {
    Access(Verified),
    Delegation(Box<VerifiedDelegation>),
}

/// Who asks about which token.
pub(crate) struct Asking<'a> {
    _turn: SemaphorePermit<'a>,
    pub(crate) caller: Caller,
    pub(crate) token: String,
}

impl Shown {
    /// The task it is for.
    pub(crate) fn task(&self) -> &TaskId {
        match self {
            Self::Access(token) => &token.claims.task,
            Self::Delegation(token) => &token.claims.task,
        }
    }
}

impl Surface {
    /// Reads who asks about which token. A client proves who it is as at the token endpoint; it need
    /// not show its key.
    pub(crate) async fn asked_about(
        &self,
        request: Request,
        endpoint: &str,
    ) -> Result<Asking<'_>, Refusal> {
        let (parts, body) = request.into_parts();
        check_head(&parts.headers, parts.uri.query())?;
        let form = Form::read(&parts.headers, body, FORM_BYTES_MAX).await?;
        let turn = self.turn()?;
        let now = self.broker.now().wall;
        let (caller, refused) = self.client_of(&parts, &form, now)?;
        let missing = Refusal::new(Kind::InvalidRequest, "token_missing", "send a token in token");
        let token = form.get("token").ok_or(missing)?.to_owned();
        self.let_ask(&caller, refused, &parts.headers, endpoint, now)?;
        Ok(Asking { _turn: turn, caller, token })
    }

    /// With a proof the assertion is bound to its key, as for a token. Without one it is not used up:
    /// nothing is gained here that somebody else could use, and its own agent still gets tokens for it.
    fn let_ask(
        &self,
        caller: &Caller,
        refused: Kind,
        headers: &HeaderMap,
        endpoint: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let proof = self.prove(headers, endpoint, now)?;
        match (&proof, caller.once) {
            (None, None) => Ok(()),
            (None, Some(once)) if !once.is_single => {
                let mut assertions = self.assertions.lock().unwrap_or_else(PoisonError::into_inner);
                assertions.look(once, now).map_err(|error| of_use(error, refused))
            }
            // What is good once is used up by this, with a key or without.
            _ => self.spend(caller, refused, proof.as_ref(), now),
        }
    }

    /// The token, where it is one of ours that could still be good.
    pub(crate) fn shown(&self, token: &str, now: Timestamp) -> Option<Shown> {
        let issuer = self.issuer.as_str();
        let access = verify_issued(token, &self.broker.access_keys(), issuer, now);
        if let Ok(access) = access {
            return Some(Shown::Access(access));
        }
        let delegation = verify_delegation(token, &self.broker.delegation_keys(), issuer, now);
        delegation.ok().map(Box::new).map(Shown::Delegation)
    }
}

/// Whether `agent` may know of tokens for `task`: it is its own, or one below its own.
pub(crate) fn may_know(snapshot: &Snapshot, agent: &AgentName, task: &TaskId) -> bool {
    snapshot.actors(task).is_ok_and(|actors| actors.contains(&agent))
}
