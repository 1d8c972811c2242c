//! Revocation (RFC 7009): an agent takes back a token of its own, or of a task it handed on. A brake:
//! no policy is asked.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carnet_core::{AgentName, Closure, Principal, Reason, RevokedToken};
use carnet_identity::claimed_trust_domain;

use crate::error::BrokerError;
use crate::oauth::refusal::{Kind, NamedIn, Refusal};
use crate::oauth::shown::{Shown, may_know};
use crate::oauth::surface::Surface;
use crate::oauth::token::with_nonce;

/// Takes a token back.
pub(crate) async fn revoke(State(surface): State<Arc<Surface>>, request: Request) -> Response {
    let response = match surface.revocation(request).await {
        Ok(()) => {
            let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            (StatusCode::OK, [no_store]).into_response()
        }
        Err(refusal) => refusal.into_response(),
    };
    with_nonce(&surface, response)
}

impl Surface {
    async fn revocation(&self, request: Request) -> Result<(), Refusal> {
        let asking = self.asked_about(request, &self.revocation_endpoint).await?;
        let agent = &asking.caller.agent;
        let Some(shown) = self.shown(&asking.token, self.broker.now().wall) else {
            return refuse_svid(&asking.token);
        };
        // The latest state and not the view: what was handed on a moment ago is taken back too.
        let (is_open, may) = self.broker.latest_of(|snapshot| {
            let is_open = snapshot.task(shown.task()).is_some();
            (is_open, may_know(snapshot, agent, shown.task()))
        });
        // What is over needs no taking back.
        if !is_open {
            return Ok(());
        }
        if !may {
            let advice = "the token is another agent's, and its task was not handed on by you";
            return Err(Refusal::new(Kind::UnauthorizedClient, "token_of_another", advice));
        }
        self.take_back(&shown, agent).await.map_err(|error| refusal_of(&error))?;
        tracing::info!(%agent, task = %shown.task(), "a token was taken back");
        Ok(())
    }

    async fn take_back(&self, shown: &Shown, by: &AgentName) -> Result<(), BrokerError> {
        let done = match shown {
            Shown::Access(token) => {
                let claims = &token.claims;
                let agent = claims.agent_name().unwrap_or_else(|| by.clone());
                let (jti, task, expires) = (claims.jti.clone(), claims.task.clone(), claims.exp);
                let token = RevokedToken { jti, agent, task, expires };
                self.broker.revoke_token(&token, by).await
            }
            Shown::Delegation(token) => {
                let by = Principal::Agent(by.clone());
                self.broker.close_task(&token.claims.task, Closure::Revoked, &by).await
            }
        };
        match done {
            Ok(done) if done.revision.is_none() => {
                tracing::error!("a revocation is in force and not durable");
                Ok(())
            }
            // It ended meanwhile.
            Ok(_) | Err(BrokerError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// An SVID dies by itself; anything else that is no token of ours is as good as taken back.
fn refuse_svid(token: &str) -> Result<(), Refusal> {
    match claimed_trust_domain(token) {
        Ok(_) => Err(Refusal::new(
            Kind::UnsupportedTokenType,
            "token_not_revocable",
            "an SVID is not taken back; it dies within minutes, and an operator can lock its agent",
        )),
        Err(_) => Ok(()),
    }
}

fn refusal_of(error: &BrokerError) -> Refusal {
    match error {
        BrokerError::Refused { reason: Reason::BudgetSpent, .. } => Refusal::new(
            Kind::Unavailable,
            "revocations_full",
            "too many tokens were taken back at once; come again, or let the task be closed",
        ),
        _ => Refusal::of_broker(error, Kind::InvalidClient, NamedIn::Nothing),
    }
}
