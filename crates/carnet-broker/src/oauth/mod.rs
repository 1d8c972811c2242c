//! The token endpoint, the delegation endpoint and the documents that lead to them: what an agent meets before a gateway.
//!
//! An agent proves who it is with a JWT-SVID, or by a connection with its X.509-SVID, shows the key it holds with a DPoP proof, names one
//! resource on one path, and gets one token for one task. Everything here is standard OAuth: client
//! credentials (RFC 6749) authenticated by assertion (RFC 7523, SPIFFE client authentication),
//! resource indicators (RFC 8707), rich authorization requests (RFC 9396), DPoP (RFC 9449), and the
//! metadata of RFC 8414 and RFC 9728. Work is handed on by token exchange (RFC 8693); tokens are asked
//! about (RFC 7662) and taken back (RFC 7009) here too.
//!
//! It decides nothing. It reads a request strictly and asks the broker, which decides anew for
//! every token. People come in by the authorization endpoint and get one token for a code. There is no refresh
//! token, no client secret and no registration: none of them is earned at request time.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable
    )
)]

mod assertion;
pub(crate) mod authorize;
mod certificate;
mod delegate;
mod details;
mod discovery;
mod exchange;
mod federate;
#[cfg(test)]
pub(crate) mod fixture;
mod form;
mod guard;
mod identify;
mod introspect;
mod issuer;
mod metadata;
mod nonce;
mod prove;
mod refusal;
mod revoke;
mod schema;
mod shown;
mod subject;
mod surface;
#[cfg(test)]
mod tests;
mod token;
mod wanted;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::broker::Broker;
use crate::oauth::surface::Surface;

pub use authorize::{LoginOptions, ProviderOptions};
pub use issuer::IssuerError;

/// Bounds of the token endpoint, and whether it demands nonces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthOptions {
    /// Whether every proof must hold a nonce of ours. It bounds how early a proof can be made
    /// without trusting the client's clock, at the price of one more round trip.
    pub dpop_nonce: bool,
    /// Whether the listener asks for client certificates, so that X.509-SVIDs authenticate clients and
    /// bind tokens.
    pub mutual_tls: bool,
    /// The most token requests worked on at once; more are told to come again.
    pub requests_max: usize,
    /// The most DPoP proofs remembered; when full, proofs are refused until the window moves on.
    pub proofs_max: usize,
    /// The most assertions remembered; when full, assertions are refused until some expire.
    pub assertions_max: usize,
    /// The most of them of one agent, so that one cannot shut out the others.
    pub assertions_of_agent_max: usize,
    /// How people come in.
    pub login: LoginOptions,
}

impl Default for OAuthOptions {
    fn default() -> Self {
        Self {
            dpop_nonce: false,
            mutual_tls: false,
            requests_max: 256,
            proofs_max: 1 << 18,
            assertions_max: 1 << 16,
            assertions_of_agent_max: 1 << 12,
            login: LoginOptions::default(),
        }
    }
}

/// The routes of the token endpoint and of all metadata, to be served on the agents' listener
/// beside the gateway.
///
/// What was issued before this call is refused, since what it had been used for is not known: an
/// agent fetches a fresh SVID after a restart.
pub fn router(broker: Arc<Broker>, options: OAuthOptions) -> Result<Router, IssuerError> {
    let now = broker.now().wall;
    Surface::new(broker, options, now).map(|surface| routes(Arc::new(surface)))
}

fn routes(surface: Arc<Surface>) -> Router {
    Router::new()
        .route("/oauth/token", post(token::issue))
        .route("/oauth/delegate", post(delegate::delegate))
        .route("/oauth/introspect", post(introspect::introspect))
        .route("/oauth/revoke", post(revoke::revoke))
        .route("/oauth/authorize", get(authorize::authorize))
        .route("/oauth/login/{id}", get(authorize::show))
        .route("/oauth/login/{id}/provider", get(authorize::leave))
        .route("/oauth/callback", get(authorize::callback))
        .route("/oauth/client-jwks", get(metadata::client_keys))
        .route("/oauth/consent/{id}", post(authorize::answer))
        .route("/oauth/jwks", get(metadata::keys))
        .route("/oauth/schemas/{file}", get(schema::schema))
        .route("/oauth/bundle", get(metadata::bundle))
        .route("/.well-known/oauth-authorization-server", get(metadata::authorization_server))
        .route("/oauth/federation-jwks", get(discovery::keys))
        .route("/.well-known/openid-configuration", get(discovery::configuration))
        .route(
            "/.well-known/oauth-protected-resource/{path}/mcp/{resource}",
            get(metadata::protected_resource),
        )
        .layer(from_fn_with_state(Arc::clone(&surface), guard::check))
        .with_state(surface)
}
