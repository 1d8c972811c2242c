//! Who we are, where we are somebody else's client: `private_key_jwt` (RFC 7523 section 2.2, OpenID
//! Connect Core section 9).
//!
//! There is no verifier for them here beside the one for clients of ours: no place of Carnet's takes one
//! of its own.

use carnet_core::Timestamp;
use serde_json::json;

use crate::error::MintError;
use crate::jws;
use crate::signing::{KeyUse, SigningKey};

/// How long a client assertion of ours lives, in seconds.
pub const CLIENT_ASSERTION_TTL_S: i64 = 60;

/// Signs that we are the client `client_id`, for the provider `audience` alone, under the name `jti` that
/// is used once.
pub fn mint_client_assertion(
    key: &SigningKey,
    client_id: &str,
    audience: &str,
    jti: &str,
    now: Timestamp,
) -> Result<String, MintError> {
    let header = json!({ "alg": "ES256", "kid": key.kid(), "typ": "JWT" });
    let claims = json!({
        "iss": client_id, "sub": client_id, "aud": audience, "jti": jti,
        "iat": now.s(), "exp": now.s().saturating_add(CLIENT_ASSERTION_TTL_S),
    });
    jws::sign(key, KeyUse::Client, &header, &claims)
}
