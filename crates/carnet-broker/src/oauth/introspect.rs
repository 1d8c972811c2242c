//! Introspection (RFC 7662): whether a token of ours is still good, told to its own agent and to those
//! that handed its task on.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use carnet_core::{AgentName, Caller as Call, Now, Reason, Snapshot, check_caller};
use carnet_identity::{AccessClaims, Confirmation, DelegationClaims, Verified};
use serde_json::{Map, Value, json};

use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::shown::{Shown, may_know};
use crate::oauth::surface::Surface;
use crate::oauth::token::with_nonce;
use crate::oauth::wanted::scope_of;

/// Tells whether a token is active.
pub(crate) async fn introspect(State(surface): State<Arc<Surface>>, request: Request) -> Response {
    let response = match surface.introspection(request).await {
        Ok(told) => {
            let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            ([no_store], Json(told)).into_response()
        }
        Err(refusal) => refusal.into_response(),
    };
    with_nonce(&surface, response)
}

impl Surface {
    async fn introspection(&self, request: Request) -> Result<Value, Refusal> {
        let asking = self.asked_about(request, &self.introspection_endpoint).await?;
        let (view, now) = (self.broker.view(), self.broker.now());
        if !view.snapshot.is_fresh(now) {
            return Err(Refusal::for_reason(Kind::Unavailable, Reason::SnapshotStale));
        }
        let shown = self.shown(&asking.token, now.wall);
        let agent = &asking.caller.agent;
        let shown = shown.filter(|shown| may_know(&view.snapshot, agent, shown.task()));
        let told = shown.and_then(|shown| match shown {
            Shown::Access(token) => access(&view.snapshot, &token, now),
            Shown::Delegation(token) => self.delegation(&view.snapshot, &token.claims, now),
        });
        Ok(told.unwrap_or_else(|| json!({ "active": false })))
    }

    fn delegation(
        &self,
        snapshot: &Snapshot,
        claims: &DelegationClaims,
        now: Now,
    ) -> Option<Value> {
        let held = snapshot.check_task(&claims.task, now.wall).ok()?;
        self.broker.check_chain(claims, &held.task.agent).ok()?;
        active(serde_json::to_value(claims).ok()?, "N_A", scope_of(&claims.task))
    }
}

/// What is told of an access token: what a gateway would let in, and nothing else is active.
fn access(snapshot: &Snapshot, token: &Verified, now: Now) -> Option<Value> {
    let claims = &token.claims;
    let agent: AgentName = claims.agent_name()?;
    let call = Call {
        agent,
        instance: claims.instance.clone(),
        task: claims.task.clone(),
        path: claims.path,
        resource: claims.resource.clone(),
        token: claims.jti.clone(),
        key: token.kid.clone(),
        expires: claims.exp,
        thumbprint: thumbprint_of(snapshot, claims),
    };
    check_caller(snapshot, &call, now).ok()?;
    let is_of_key = claims.cnf.as_ref().is_some_and(|cnf| cnf.jkt().is_some());
    let token_type = if is_of_key { "DPoP" } else { "Bearer" };
    active(serde_json::to_value(&**claims).ok()?, token_type, scope_of(&claims.task))
}

/// The key the copy it was issued to holds. A certificate's is the copy's own, which the connection
/// shows where the token is used.
fn thumbprint_of(snapshot: &Snapshot, claims: &AccessClaims) -> Option<String> {
    match claims.cnf.as_ref()? {
        Confirmation::Key { jkt } => Some(jkt.to_string()),
        Confirmation::Certificate { .. } => {
            snapshot.instances.get(&claims.instance)?.thumbprint.clone()
        }
    }
}

fn active(claims: Value, token_type: &str, scope: String) -> Option<Value> {
    let Value::Object(claims) = claims else { return None };
    let mut told = Map::new();
    told.insert("active".to_owned(), json!(true));
    told.extend(claims);
    told.insert("token_type".to_owned(), json!(token_type));
    told.entry("scope").or_insert_with(|| json!(scope));
    Some(Value::Object(told))
}
