//! Federation tokens at the token endpoint: the client credentials grant for a resource that is a
//! federation target. Who asks is proved as for any token; the broker decides.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::oauth::form::Form;
use crate::oauth::issuer::{FEDERATION, Issuer};
use crate::oauth::prove::Caller;
use crate::oauth::refusal::{Kind, Refusal};
use crate::oauth::surface::Surface;
use crate::oauth::wanted::{Wanted, scope_of};
use crate::work::{Federated, FederationRequest, FederationToken};

/// What the token is (RFC 8693 section 3): a JWT, and no access token of ours.
const ISSUED_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
/// How it is used here: not at all (RFC 8693 section 2.2.1).
const TOKEN_TYPE: &str = "N_A";

/// Whether `form` asks for a token for a federation target.
pub(crate) fn is_asked(form: &Form, issuer: &Issuer) -> bool {
    form.resources().iter().any(|resource| issuer.target_of(resource, FEDERATION).is_some())
}

impl Surface {
    /// Issues a federation token to who proved who they are.
    pub(crate) async fn federate(
        &self,
        caller: &Caller,
        refused: Kind,
        headers: &HeaderMap,
        form: &Form,
    ) -> Result<Response, Refusal> {
        let now = self.broker.now().wall;
        let proof = self.prove(headers, &self.token_endpoint, now)?;
        let wanted = Wanted::of(form, &self.issuer, FEDERATION)?;
        self.spend(caller, refused, proof.as_ref(), now)?;
        let request = FederationRequest {
            agent: caller.agent.clone(),
            thumbprint: proof.map(|proof| proof.thumbprint),
            task: wanted.task,
            resource: wanted.resource,
            path: wanted.path,
            role: form.get("role").map(str::to_owned),
            session_name: form.get("session_name").map(str::to_owned),
        };
        let answered = self.broker.federate(request).await.map_err(|error| {
            // The operator learns the rest.
            tracing::info!(agent = %caller.agent, %error, "the broker refused a federation token");
            Refusal::of_broker(&error, refused, wanted.named_in)
        })?;
        match answered {
            Federated::Issued(issued) => {
                tracing::info!(agent = %caller.agent, task = %issued.task, lease = %issued.lease, "federation token issued");
                Ok(granted(&issued))
            }
            Federated::Asked(approval) => {
                let advice = "a person must say yes first; ask again as often as Retry-After says";
                let pending = Refusal::new(Kind::Pending, "approval_needed", advice);
                Err(pending.with_detail(approval.to_string()))
            }
        }
    }
}

fn granted(issued: &FederationToken) -> Response {
    let body = json!({
        "access_token": issued.token.expose_secret(),
        "issued_token_type": ISSUED_TYPE,
        "token_type": TOKEN_TYPE,
        "expires_in": issued.ttl_s,
        "scope": scope_of(&issued.task),
        "authorization_details": issued.details,
    });
    let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let no_cache = (header::PRAGMA, HeaderValue::from_static("no-cache"));
    ([no_store, no_cache], Json(body)).into_response()
}
