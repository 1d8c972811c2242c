//! The public documents: what Carnet offers, and the keys to check it by.

use std::sync::Arc;

use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carnet_core::{Path, ResourceName};
use serde_json::{Map, Value, json};

use crate::oauth::exchange::TOKEN_EXCHANGE;
use crate::oauth::exchange::details::DELEGATION_TYPE;
use crate::oauth::schema;
use crate::oauth::subject::ID_JAG_PROFILE;
use crate::oauth::surface::Surface;
use crate::work::DETAILS_TYPE;

/// How long anybody may keep a document: keys change no faster.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");
/// How often a SPIFFE bundle should be fetched again.
const REFRESH_HINT_S: u64 = 300;
/// What proofs may be signed with.
const DPOP_ALGORITHMS: [&str; 2] = ["ES256", "EdDSA"];
/// What assertions may be signed with: each key has one of them.
const ASSERTION_ALGORITHMS: [&str; 10] =
    ["ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
/// How a client says who it is, at every endpoint alike.
const AUTH_METHODS: [&str; 2] = ["private_key_jwt", "spiffe_jwt"];
/// Where a client may say it by its connection.
const CERTIFICATE_ENDPOINTS: [&str; 4] = [
    "token_endpoint",
    "carnet_delegation_endpoint",
    "introspection_endpoint",
    "revocation_endpoint",
];
/// The same at the token endpoint, where a person's client with a code may be without a key.
const TOKEN_AUTH_METHODS: [&str; 3] = ["private_key_jwt", "spiffe_jwt", "none"];

/// The metadata of the authorization server (RFC 8414).
pub(crate) async fn authorization_server(State(surface): State<Arc<Surface>>) -> Response {
    document(&server(&surface))
}

/// What the authorization server says of itself: each part says what one endpoint does.
pub(crate) fn server(surface: &Surface) -> Value {
    let parts =
        [of_issuer(surface), of_tokens(surface), of_delegation(surface), of_asking(surface)];
    let members = parts.into_iter().filter_map(|part| part.as_object().cloned()).flatten();
    let mut told: Map<String, Value> = members.collect();
    if surface.mutual_tls {
        tell_of_mutual_tls(&mut told);
    }
    Value::Object(told)
}

/// The keys an identity provider verifies our client assertions with.
pub(crate) async fn client_keys(State(surface): State<Arc<Surface>>) -> Response {
    cached(surface.broker.client_keys().to_client_jwks().to_string(), "application/jwk-set+json")
}

fn of_issuer(surface: &Surface) -> Value {
    let issuer = surface.issuer.as_str();
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/oauth/authorize"),
        "jwks_uri": format!("{issuer}/oauth/jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "client_id_metadata_document_supported": true,
        "authorization_response_iss_parameter_supported": true,
    })
}

fn of_tokens(surface: &Surface) -> Value {
    json!({
        "token_endpoint": surface.token_endpoint,
        "grant_types_supported": [
            "authorization_code",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            TOKEN_EXCHANGE,
        ],
        "authorization_grant_profiles_supported": [ID_JAG_PROFILE],
        "token_endpoint_auth_methods_supported": TOKEN_AUTH_METHODS,
        "token_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "dpop_signing_alg_values_supported": DPOP_ALGORITHMS,
    })
}

fn of_delegation(surface: &Surface) -> Value {
    let schemas = schema::TYPES.into_iter().map(|(name, _)| {
        let place = format!("{}{}/{name}.json", surface.issuer.as_str(), schema::PLACE);
        (name.to_owned(), Value::String(place))
    });
    json!({
        "carnet_delegation_endpoint": surface.delegation_endpoint,
        "authorization_details_types_supported": [DETAILS_TYPE, DELEGATION_TYPE],
        "carnet_authorization_details_schemas": Value::Object(schemas.collect()),
    })
}

/// Asking about tokens and taking them back.
fn of_asking(surface: &Surface) -> Value {
    json!({
        "introspection_endpoint": surface.introspection_endpoint,
        "introspection_endpoint_auth_methods_supported": AUTH_METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "revocation_endpoint": surface.revocation_endpoint,
        "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
    })
}

/// What there is besides where client certificates are asked for (RFC 8705). It is asked for at every
/// address, so that the addresses are the same.
fn tell_of_mutual_tls(told: &mut Map<String, Value>) {
    let alias = |name: &str| (name.to_owned(), told.get(name).cloned().unwrap_or_default());
    let aliases: Map<String, Value> = CERTIFICATE_ENDPOINTS.into_iter().map(alias).collect();
    told.insert("tls_client_certificate_bound_access_tokens".to_owned(), true.into());
    told.insert("mtls_endpoint_aliases".to_owned(), aliases.into());
    for endpoint in ["token", "introspection", "revocation"] {
        let methods = told.get_mut(&format!("{endpoint}_endpoint_auth_methods_supported"));
        if let Some(methods) = methods.and_then(Value::as_array_mut) {
            methods.extend(["tls_client_auth", "spiffe_x509"].map(Value::from));
        }
    }
}

/// The metadata of a protected resource (RFC 9728). Any well-formed name has one, registered or
/// not: that a resource exists is not for everybody to learn.
pub(crate) async fn protected_resource(
    State(surface): State<Arc<Surface>>,
    UrlPath((path, resource)): UrlPath<(String, String)>,
) -> Response {
    let (Ok(path), Ok(resource)) = (path.parse::<Path>(), resource.parse::<ResourceName>()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let issuer = surface.issuer.as_str();
    let mut told = json!({
        "resource": surface.broker.audience(path, &resource),
        "authorization_servers": [issuer],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": DPOP_ALGORITHMS,
        // Over mutual TLS a token may be bound to the certificate instead.
        "dpop_bound_access_tokens_required": path != Path::Read && !surface.mutual_tls,
        "authorization_details_types_supported": [DETAILS_TYPE],
    });
    if let Some(members) = told.as_object_mut().filter(|_| surface.mutual_tls) {
        members.insert("tls_client_certificate_bound_access_tokens".to_owned(), true.into());
    }
    document(&told)
}

/// The keys access tokens are verified with.
pub(crate) async fn keys(State(surface): State<Arc<Surface>>) -> Response {
    cached(surface.broker.access_keys().to_jwks().to_string(), "application/jwk-set+json")
}

/// The SPIFFE bundle of the built-in trust domain.
pub(crate) async fn bundle(State(surface): State<Arc<Surface>>) -> Response {
    // A start is later than the one before, by more than the keys changed in between.
    let started_s = u64::try_from(surface.started.s()).unwrap_or_default();
    let sequence = started_s + surface.broker.keys_changed();
    let bundle = surface.broker.spiffe_bundle(sequence, REFRESH_HINT_S);
    cached(bundle.to_string(), "application/json")
}

pub(crate) fn document(value: &Value) -> Response {
    cached(value.to_string(), "application/json")
}

pub(crate) fn cached(body: String, media_type: &'static str) -> Response {
    let media_type = HeaderValue::from_static(media_type);
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, CACHE)], body).into_response()
}
