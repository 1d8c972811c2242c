//! JWT-SVIDs (SPIFFE JWT-SVID): who an agent is. They grant nothing and are good at one audience.

use std::collections::BTreeMap;

use carnet_core::{Digest, Timestamp};
use serde_json::{Value, json};

use crate::algorithm::Algorithm;
use crate::claims::Claims;
use crate::error::{MintError, TokenError};
use crate::jws::{self, Kind, Unverified, Verified};
use crate::keyset::KeySet;
use crate::signing::{KeyUse, SigningKey};
use crate::spiffe::{SpiffeId, TrustDomain};
use crate::{ASSERTION_TTL_S_MAX, CLOCK_SKEW_S_MAX, SVID_TTL_S_MAX};

/// The longest audience.
const AUDIENCE_BYTES_MAX: usize = 2048;

/// SPIFFE allows the RSA and NIST-curve algorithms, not EdDSA.
const SVID: Kind = Kind {
    name: "a JWT-SVID",
    types: &["JWT", "JOSE"],
    type_optional: true,
    headers: &["alg", "kid", "typ"],
    algorithms: &[
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
    ],
    key_use: KeyUse::JwtSvid,
    bytes_max: 8 * 1024,
};

/// A verified JWT-SVID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Svid {
    /// Who it is.
    pub id: SpiffeId,
    /// When it was issued, where it says so.
    pub issued: Option<Timestamp>,
    /// When it dies.
    pub expires: Timestamp,
    /// The same for every form of this token that verifies, and for no other: remember it until
    /// `expires` to take a token once only.
    pub token_digest: Digest,
}

/// The keys of each trust domain we trust. Keys of one never speak for another.
pub type TrustBundles = BTreeMap<TrustDomain, KeySet>;

/// Mints a JWT-SVID for `id`, good at `audience` for `ttl_s` seconds from `now`.
pub fn mint_svid(
    key: &SigningKey,
    id: &SpiffeId,
    audience: &str,
    now: Timestamp,
    ttl_s: i64,
) -> Result<String, MintError> {
    if !(1..=ASSERTION_TTL_S_MAX).contains(&ttl_s) {
        return Err(MintError::Ttl { ttl_s_max: ASSERTION_TTL_S_MAX });
    }
    if audience.is_empty() || audience.len() > AUDIENCE_BYTES_MAX {
        let problem = "is empty or too long";
        return Err(MintError::Claims(TokenError::Claim { name: "aud", problem }));
    }
    let header = json!({ "alg": "ES256", "kid": key.kid(), "typ": "JWT" });
    let claims = json!({
        "sub": id,
        // SPIFFE issuers write an array even for one, and some clients read nothing else.
        "aud": [audience],
        "iat": now.s(),
        "exp": now.s().saturating_add(ttl_s),
    });
    jws::sign(key, KeyUse::JwtSvid, &header, &claims)
}

/// Verifies a JWT-SVID of `trust_domain` for exactly `audience`.
pub fn verify_svid(
    token: &str,
    bundles: &KeySet,
    trust_domain: &TrustDomain,
    audience: &str,
    now: Timestamp,
) -> Result<Svid, TokenError> {
    let token = Unverified::parse(token, &SVID)?;
    let key = token.key(bundles)?;
    let token = token.verify(key)?;
    let claims = token.claims()?;
    let svid = svid_of(&token, &claims)?;
    if svid.id.trust_domain() != trust_domain {
        return Err(TokenError::WrongTrustDomain);
    }
    if sole_audience(&claims)? != audience {
        return Err(TokenError::WrongAudience);
    }
    check_times(&svid, &claims, now)?;
    Ok(svid)
}

/// Verifies a JWT-SVID that an agent authenticates with at the token endpoint (`jwt-spiffe` client
/// assertion): the issuer's identifier is its only audience, it has at most five minutes left, and
/// the keys are those of the trust domain its subject is in. The caller takes each
/// [`Svid::token_digest`] once.
pub fn verify_client_assertion(
    token: &str,
    bundles: &TrustBundles,
    issuer: &str,
    now: Timestamp,
) -> Result<Svid, TokenError> {
    let trust_domain = claimed_trust_domain(token)?;
    let keys = bundles.get(&trust_domain).ok_or(TokenError::WrongTrustDomain)?;
    let svid = verify_svid(token, keys, &trust_domain, issuer, now)?;
    if svid.expires > now.plus_s(ASSERTION_TTL_S_MAX + CLOCK_SKEW_S_MAX) {
        return Err(TokenError::TooLongLived { ttl_s_max: ASSERTION_TTL_S_MAX });
    }
    Ok(svid)
}

/// The trust domain a JWT-SVID *claims* to be of. Nobody has vouched for it: it is good for
/// choosing the keys to verify with, and for nothing else.
pub fn claimed_trust_domain(token: &str) -> Result<TrustDomain, TokenError> {
    let claims = Unverified::parse(token, &SVID)?.unverified_claims()?;
    subject(&claims).map(|id| id.trust_domain().clone())
}

fn svid_of(token: &Verified<'_>, claims: &Claims) -> Result<Svid, TokenError> {
    Ok(Svid {
        id: subject(claims)?,
        issued: claims.optional_time("iat")?,
        expires: claims.time("exp")?,
        token_digest: Digest::of(&token.identity()),
    })
}

fn subject(claims: &Claims) -> Result<SpiffeId, TokenError> {
    let problem = "is not a SPIFFE ID in its one spelling";
    claims.text("sub")?.parse().map_err(|_| TokenError::Claim { name: "sub", problem })
}

/// A text, or an array of exactly one.
pub(crate) fn sole_audience(claims: &Claims) -> Result<&str, TokenError> {
    let problem = "is not exactly one audience";
    let refused = TokenError::Claim { name: "aud", problem };
    match claims.get("aud") {
        Some(Value::String(audience)) => Ok(audience),
        Some(Value::Array(audiences)) => match audiences.as_slice() {
            [Value::String(audience)] => Ok(audience),
            _ => Err(refused),
        },
        _ => Err(refused),
    }
}

fn check_times(svid: &Svid, claims: &Claims, now: Timestamp) -> Result<(), TokenError> {
    if now >= svid.expires {
        return Err(TokenError::Expired);
    }
    let latest = now.plus_s(CLOCK_SKEW_S_MAX);
    let starts = [svid.issued, claims.optional_time("nbf")?];
    if starts.into_iter().flatten().any(|start| start > latest) {
        return Err(TokenError::NotYetValid);
    }
    if svid.expires > now.plus_s(SVID_TTL_S_MAX + CLOCK_SKEW_S_MAX) {
        return Err(TokenError::TooLongLived { ttl_s_max: SVID_TTL_S_MAX });
    }
    Ok(())
}
