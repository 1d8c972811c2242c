//! What relying parties read of Carnet as an OIDC issuer: a cloud that is to take a federation token
//! fetches the configuration and the keys it names, and nothing else.
//!
//! The keys are a set of their own. A cloud never learns a key that signs access tokens, and a resource
//! server never one that signs federation tokens, so neither can take one for the other.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::oauth::metadata::{cached, document, server};
use crate::oauth::surface::Surface;

/// What a federation token may say.
const CLAIMS: [&str; 15] = [
    "iss",
    "sub",
    "aud",
    "iat",
    "nbf",
    "exp",
    "jti",
    "act",
    "carnet_task",
    "carnet_purpose",
    "carnet_path",
    "carnet_resource",
    "carnet_subject",
    "carnet_role",
    "carnet_session_name",
];

/// The configuration of OpenID Connect Discovery, section 3: what the authorization server says of
/// itself, and what a relying party must know.
pub(crate) async fn configuration(State(surface): State<Arc<Surface>>) -> Response {
    let mut configuration = server(&surface);
    let issuer = surface.issuer.as_str();
    let federation = json!({
        "jwks_uri": format!("{issuer}/oauth/federation-jwks"),
        // Nobody is sent anywhere for an ID token; relying parties refuse a configuration without these.
        "response_types_supported": ["code", "id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": CLAIMS,
    });
    if let (Value::Object(all), Value::Object(own)) = (&mut configuration, federation) {
        all.extend(own);
    }
    document(&configuration)
}

/// The keys federation tokens are verified with. There is none before there is a target.
pub(crate) async fn keys(State(surface): State<Arc<Surface>>) -> Response {
    let keys = surface.broker.federation_keys().to_federation_jwks();
    cached(keys.to_string(), "application/jwk-set+json")
}
