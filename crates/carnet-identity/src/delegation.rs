//! Delegation tokens (`carnet-delegation+jwt`): that an agent handed a task on to another. Whoever
//! holds one can do nothing with it but be the agent it names, with that agent's own identity and
//! key, at the issuer's token endpoint.

use carnet_core::{Digest, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::CLOCK_SKEW_S_MAX;
use crate::access::{Act, seconds};
use crate::algorithm::Algorithm;
use crate::claims::{Claims, is_plain};
use crate::error::{MintError, TokenError};
use crate::jws::{self, Kind, Unverified};
use crate::keyset::KeySet;
use crate::signing::{KeyUse, SigningKey};
use crate::spiffe::SpiffeId;

/// The longest life of a delegation token.
pub const DELEGATION_TTL_S_MAX: i64 = 300;
/// The longest name or URL in a claim.
const NAME_BYTES_MAX: usize = 2048;
/// The longest `jti`.
const JTI_BYTES_MAX: usize = 128;

const DELEGATION: Kind = Kind {
    name: "a delegation token",
    types: &["carnet-delegation+jwt"],
    type_optional: false,
    headers: &["alg", "kid", "typ"],
    algorithms: &[Algorithm::Es256],
    key_use: KeyUse::Delegation,
    bytes_max: 16 * 1024,
};

/// What a delegation token says. Field by field the token's payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegationClaims {
    /// Who issued it.
    pub iss: String,
    /// On whose behalf the task is.
    pub sub: String,
    /// The one place it is good at: its issuer.
    pub aud: String,
    /// When it was issued; whole seconds in the token.
    #[serde(with = "seconds")]
    pub iat: Timestamp,
    /// When it dies.
    #[serde(with = "seconds")]
    pub exp: Timestamp,
    /// Its own name, unique.
    pub jti: String,
    /// Who may act next, and nobody else (RFC 8693 section 4.4).
    pub may_act: MayAct,
    /// Who handed it on, and for whom in turn: everybody above, from the one who did outward in.
    pub act: Act,
    /// The task that was handed on.
    #[serde(rename = "carnet_task")]
    pub task: TaskId,
    /// The name of the token it was handed on with.
    #[serde(rename = "carnet_parent_jti")]
    pub parent_jti: String,
}

/// Who may act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MayAct {
    /// The actor's SPIFFE ID.
    pub sub: String,
}

/// A delegation token that verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedDelegation {
    /// What it says.
    pub claims: DelegationClaims,
    /// The same for every form of this token that verifies, and for no other.
    pub token_digest: Digest,
}

impl DelegationClaims {
    /// What must hold of any delegation token, whoever asks.
    fn check(&self) -> Result<(), TokenError> {
        let refused = |name, problem| Err(TokenError::Claim { name, problem });
        for (name, text) in [("iss", &self.iss), ("aud", &self.aud), ("sub", &self.sub)] {
            if !is_plain(text, NAME_BYTES_MAX) {
                return refused(name, "is not printable ASCII of acceptable length");
            }
        }
        for (name, text) in [("jti", &self.jti), ("carnet_parent_jti", &self.parent_jti)] {
            if !is_plain(text, JTI_BYTES_MAX) {
                return refused(name, "is not 1 to 128 printable ASCII characters");
            }
        }
        if self.may_act.sub.parse::<SpiffeId>().is_err() {
            return refused("may_act", "does not name a SPIFFE ID in its one spelling");
        }
        self.act.check(1)?;
        if self.exp <= self.iat {
            return refused("exp", "does not lie after `iat`");
        }
        match self.exp > self.iat.plus_s(DELEGATION_TTL_S_MAX) {
            true => Err(TokenError::TooLongLived { ttl_s_max: DELEGATION_TTL_S_MAX }),
            false => Ok(()),
        }
    }

    fn check_here(&self, issuer: &str, now: Timestamp) -> Result<(), TokenError> {
        if self.iss != issuer {
            return Err(TokenError::WrongIssuer);
        }
        if self.aud != issuer {
            return Err(TokenError::WrongAudience);
        }
        if now >= self.exp {
            return Err(TokenError::Expired);
        }
        match self.iat > now.plus_s(CLOCK_SKEW_S_MAX) {
            true => Err(TokenError::NotYetValid),
            false => Ok(()),
        }
    }
}

/// Mints a delegation token. Claims our own verifier would refuse are refused here.
pub fn mint_delegation(key: &SigningKey, claims: &DelegationClaims) -> Result<String, MintError> {
    claims.check().map_err(MintError::Claims)?;
    let header = json!({ "alg": "ES256", "kid": key.kid(), "typ": "carnet-delegation+jwt" });
    let token = jws::sign(key, KeyUse::Delegation, &header, claims)?;
    match token.len() > DELEGATION.bytes_max {
        true => Err(MintError::Claims(TokenError::TooLarge { bytes_max: DELEGATION.bytes_max })),
        false => Ok(token),
    }
}

/// Verifies a delegation token at its issuer, at this moment. Whether its task lives, and the chain
/// is the one the task has, is asked of the snapshot.
pub fn verify_delegation(
    token: &str,
    keys: &KeySet,
    issuer: &str,
    now: Timestamp,
) -> Result<VerifiedDelegation, TokenError> {
    let token = Unverified::parse(token, &DELEGATION)?;
    let key = token.key(keys)?;
    let token = token.verify(key)?;
    let claims = read(token.claims()?)?;
    claims.check()?;
    claims.check_here(issuer, now)?;
    Ok(VerifiedDelegation { claims, token_digest: Digest::of(&token.identity()) })
}

fn read(claims: Claims) -> Result<DelegationClaims, TokenError> {
    // Named one by one first, so that the refusal names the claim.
    for name in ["iss", "sub", "aud", "jti", "carnet_task", "carnet_parent_jti"] {
        claims.text(name)?;
    }
    for name in ["iat", "exp"] {
        claims.time(name)?;
    }
    let map = claims.into_map();
    let refused = |problem| TokenError::Claim { name: "set", problem };
    if map.values().any(Value::is_null) {
        return Err(refused("has a null in it"));
    }
    serde_json::from_value(Value::Object(map))
        .map_err(|_| refused("has a claim unknown here, missing or of another type"))
}
