//! Access tokens (`at+jwt`, RFC 9068): one task, one audience, one path, bound to one key.

use std::sync::Arc;

use carnet_core::{AgentName, InstanceId, Path, ResourceName, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::CLOCK_SKEW_S_MAX;
use crate::algorithm::Algorithm;
use crate::cache::Verified;
use crate::claims::{Claims, is_plain};
use crate::dpop::DpopProof;
use crate::error::{MintError, TokenError};
use crate::jws::{self, Kind, Unverified};
use crate::keyset::KeySet;
use crate::signing::{KeyUse, SigningKey};
use crate::spiffe::SpiffeId;
use crate::thumbprint::Thumbprint;
use crate::verifying::VerifyingKey;

/// The longest name or URL in a claim.
const NAME_BYTES_MAX: usize = 2048;
/// The longest `jti`.
const JTI_BYTES_MAX: usize = 128;
/// The longest `scope`.
const SCOPE_BYTES_MAX: usize = 1024;
/// The deepest `act` chain: the agents of a task and of every task there can be above it.
const ACT_DEPTH_MAX: usize = 9;
/// The most authorization details.
const DETAILS_MAX: usize = 32;

const ACCESS: Kind = Kind {
    name: "an access token",
    // RFC 9068 section 4 names both forms.
    types: &["at+jwt", "application/at+jwt"],
    type_optional: false,
    headers: &["alg", "kid", "typ"],
    algorithms: &[Algorithm::Es256],
    key_use: KeyUse::AccessToken,
    bytes_max: 16 * 1024,
};

/// What an access token says. Field by field the token's payload; the claims that are ours alone
/// carry the prefix `carnet_`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessClaims {
    /// Who issued it.
    pub iss: String,
    /// On whose behalf: a user, or the agent itself.
    pub sub: String,
    /// The agent, by its SPIFFE ID.
    pub client_id: String,
    /// The one place it is good at.
    pub aud: String,
    /// When it was issued; whole seconds in the token.
    #[serde(with = "seconds")]
    pub iat: Timestamp,
    /// When it begins.
    #[serde(with = "seconds")]
    pub nbf: Timestamp,
    /// When it dies.
    #[serde(with = "seconds")]
    pub exp: Timestamp,
    /// Its own name, unique.
    pub jti: String,
    /// OAuth scopes, separated by single spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What it is bound to. Only read-path tokens can be without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// Who acts, and for whom in turn (RFC 8693 section 4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    /// The task.
    #[serde(rename = "carnet_task")]
    pub task: TaskId,
    /// The path.
    #[serde(rename = "carnet_path")]
    pub path: Path,
    /// The resource behind the gateway.
    #[serde(rename = "carnet_resource")]
    pub resource: ResourceName,
    /// The instance it was issued to.
    #[serde(rename = "carnet_instance")]
    pub instance: InstanceId,
    /// What was granted, in full (RFC 9396); objects with a `type`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<Value>,
}

/// What a token is bound to (RFC 7800): exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Confirmation {
    /// A key, shown by a proof (RFC 9449 section 6.1).
    Key {
        /// Its thumbprint.
        jkt: Thumbprint,
    },
    /// A client certificate, shown by the connection (RFC 8705 section 3.1).
    Certificate {
        /// SHA-256 over the whole certificate.
        #[serde(rename = "x5t#S256")]
        x5t: Thumbprint,
    },
}

impl Confirmation {
    /// The thumbprint of the key, where it is one that proofs show.
    pub const fn jkt(&self) -> Option<&Thumbprint> {
        match self {
            Self::Key { jkt } => Some(jkt),
            Self::Certificate { .. } => None,
        }
    }
}

/// An actor, and who it acts for in turn. The outermost is the one acting now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// The actor's SPIFFE ID or name.
    pub sub: String,
    /// Who vouches for that name, where it is not the token's issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The actor before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Act>>,
}

/// What is known of whoever sent a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a bearer is accepted only where policy says so"]
pub enum Possession {
    /// It holds the key the token is bound to.
    Proved,
    /// The token is bound to no key: it could be anyone's by now. Only read-path tokens can be.
    Bearer,
}

/// What this place demands of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedAccess<'a> {
    /// The issuer, exactly.
    pub issuer: &'a str,
    /// This place's own audience, exactly.
    pub audience: &'a str,
}

impl AccessClaims {
    /// The registered agent the token was issued to, where its identity is one of ours.
    pub fn agent_name(&self) -> Option<AgentName> {
        self.client_id.parse::<SpiffeId>().ok()?.agent_name()
    }

    /// Whether whoever sent this token holds its key, as `proof` shows. A bound token without a
    /// proof, or with another key's, is refused; so a bound token can never pass as a bearer.
    pub fn possession(&self, proof: Option<&DpopProof>) -> Result<Possession, TokenError> {
        self.possession_on(proof, None)
    }

    /// The same for a token that came over a connection with this client certificate. One that is
    /// bound to a certificate is good there and nowhere else, whatever proof comes with it.
    pub fn possession_on(
        &self,
        proof: Option<&DpopProof>,
        certificate: Option<&Thumbprint>,
    ) -> Result<Possession, TokenError> {
        match (&self.cnf, proof, certificate) {
            (Some(Confirmation::Key { jkt }), Some(proof), _) if *jkt == proof.thumbprint => {
                Ok(Possession::Proved)
            }
            (Some(_), Some(_), _) => Err(TokenError::ProofWrongKey),
            (Some(Confirmation::Key { .. }), None, _) => Err(TokenError::ProofMissing),
            (Some(Confirmation::Certificate { x5t }), None, Some(shown)) if x5t == shown => {
                Ok(Possession::Proved)
            }
            (Some(Confirmation::Certificate { .. }), None, Some(_)) => {
                Err(TokenError::CertificateDiffers)
            }
            (Some(Confirmation::Certificate { .. }), None, None) => {
                Err(TokenError::CertificateMissing)
            }
            (None, _, _) => Ok(Possession::Bearer),
        }
    }

    /// What must hold of any access token, whoever asks.
    fn check(&self) -> Result<(), TokenError> {
        let refused = |name, problem| Err(TokenError::Claim { name, problem });
        for (name, text) in [("iss", &self.iss), ("aud", &self.aud), ("sub", &self.sub)] {
            if !is_plain(text, NAME_BYTES_MAX) {
                return refused(name, "is not printable ASCII of acceptable length");
            }
        }
        if self.client_id.parse::<SpiffeId>().is_err() {
            return refused("client_id", "is not a SPIFFE ID in its one spelling");
        }
        if !is_plain(&self.jti, JTI_BYTES_MAX) {
            return refused("jti", "is not 1 to 128 printable ASCII characters");
        }
        if !self.scope.as_deref().is_none_or(is_scope) {
            return refused("scope", "is not a list of scopes separated by single spaces");
        }
        self.act.as_ref().map_or(Ok(()), |act| act.check(1))?;
        self.check_details()?;
        self.check_life()
    }

    fn check_details(&self) -> Result<(), TokenError> {
        let typed = |detail: &Value| detail.get("type").is_some_and(Value::is_string);
        if self.authorization_details.len() > DETAILS_MAX
            || !self.authorization_details.iter().all(typed)
        {
            let problem = "is not a bounded list of objects with a `type`";
            return Err(TokenError::Claim { name: "authorization_details", problem });
        }
        Ok(())
    }

    fn check_life(&self) -> Result<(), TokenError> {
        if self.exp <= self.iat || self.nbf >= self.exp {
            let problem = "does not lie after `iat` and `nbf`";
            return Err(TokenError::Claim { name: "exp", problem });
        }
        let ttl_s_max = self.path.token_ttl_s_max();
        if self.exp > self.iat.plus_s(ttl_s_max) {
            return Err(TokenError::TooLongLived { ttl_s_max });
        }
        if self.cnf.is_none() && self.path != Path::Read {
            return Err(TokenError::Unbound);
        }
        Ok(())
    }

    /// What this place and this moment demand. Asked again at every use of a cached token.
    fn check_here(&self, expected: &ExpectedAccess<'_>, now: Timestamp) -> Result<(), TokenError> {
        if self.iss != expected.issuer {
            return Err(TokenError::WrongIssuer);
        }
        if self.aud != expected.audience {
            return Err(TokenError::WrongAudience);
        }
        self.check_now(now)
    }

    fn check_now(&self, now: Timestamp) -> Result<(), TokenError> {
        if now >= self.exp {
            return Err(TokenError::Expired);
        }
        if self.nbf.max(self.iat) > now.plus_s(CLOCK_SKEW_S_MAX) {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }
}

impl Act {
    pub(crate) fn check(&self, depth: usize) -> Result<(), TokenError> {
        let names = is_plain(&self.sub, NAME_BYTES_MAX)
            && self.iss.as_deref().is_none_or(|iss| is_plain(iss, NAME_BYTES_MAX));
        if depth > ACT_DEPTH_MAX || !names {
            let problem = "is too deep or names an actor in other than printable ASCII";
            return Err(TokenError::Claim { name: "act", problem });
        }
        self.act.as_ref().map_or(Ok(()), |act| act.check(depth + 1))
    }
}

/// Mints an access token. Claims our own verifier would refuse are refused here.
pub fn mint_access(key: &SigningKey, claims: &AccessClaims) -> Result<String, MintError> {
    claims.check().map_err(MintError::Claims)?;
    let header = json!({ "alg": "ES256", "kid": key.kid(), "typ": "at+jwt" });
    let token = jws::sign(key, KeyUse::AccessToken, &header, claims)?;
    if token.len() > ACCESS.bytes_max {
        return Err(MintError::Claims(TokenError::TooLarge { bytes_max: ACCESS.bytes_max }));
    }
    Ok(token)
}

/// Verifies an access token for this place at this moment.
///
/// It says that the token was issued and is unexpired. Whether its task still lives is asked of
/// the snapshot; whether its sender holds its key, of the proof.
pub fn verify_access(
    token: &str,
    keys: &KeySet,
    expected: &ExpectedAccess<'_>,
    now: Timestamp,
) -> Result<AccessClaims, TokenError> {
    let (claims, _) = verify_signed(token, keys)?;
    claims.check_here(expected, now)?;
    Ok(claims)
}

/// Verifies an access token of ours for its issuer, who is shown it: wherever it is good. It grants
/// nothing there.
pub fn verify_issued(
    token: &str,
    keys: &KeySet,
    issuer: &str,
    now: Timestamp,
) -> Result<Verified, TokenError> {
    let (claims, key) = verify_signed(token, keys)?;
    if claims.iss != issuer {
        return Err(TokenError::WrongIssuer);
    }
    claims.check_now(now)?;
    Ok(Verified { claims: Arc::new(claims), kid: key.kid().to_owned() })
}

/// The claims of a token of ours, and the key that signed it. Place and moment are unjudged.
pub(crate) fn verify_signed<'k>(
    token: &str,
    keys: &'k KeySet,
) -> Result<(AccessClaims, &'k VerifyingKey), TokenError> {
    let token = Unverified::parse(token, &ACCESS)?;
    let key = token.key(keys)?;
    let claims = read(token.verify(key)?.claims()?)?;
    claims.check()?;
    Ok((claims, key))
}

/// Judges claims already verified, here and now.
pub(crate) fn check_here(
    claims: &AccessClaims,
    expected: &ExpectedAccess<'_>,
    now: Timestamp,
) -> Result<(), TokenError> {
    claims.check_here(expected, now)
}

fn read(claims: Claims) -> Result<AccessClaims, TokenError> {
    // Named one by one first, so that the refusal names the claim.
    for name in ["iss", "sub", "client_id", "aud", "jti", "carnet_task", "carnet_path"] {
        claims.text(name)?;
    }
    for name in ["iat", "nbf", "exp"] {
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

/// RFC 6749 section 3.3.
fn is_scope(scope: &str) -> bool {
    let is_byte = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let is_token = |token: &str| !token.is_empty() && token.bytes().all(is_byte);
    scope.len() <= SCOPE_BYTES_MAX && scope.split(' ').all(is_token)
}

/// Timestamps as whole seconds, as RFC 7519 has them.
pub(crate) mod seconds {
    use carnet_core::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.s())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_s)
    }
}
