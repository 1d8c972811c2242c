//! A public key with everything that is fixed about it: its name, its algorithm and its use.

use std::fmt;

use aws_lc_rs::signature::ParsedPublicKey;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::jwk::PublicKey;
use crate::signing::KeyUse;
use crate::thumbprint::Thumbprint;

/// The longest `kid`.
const KID_BYTES_MAX: usize = 256;
/// The members a proof's embedded key may have; `ext` and `key_ops` come from browsers' exports.
const PROOF_MEMBERS: [&str; 9] = ["kty", "crv", "x", "y", "alg", "use", "key_ops", "kid", "ext"];

/// A key signatures are verified with. Algorithm and use are fixed when it is read; nothing a
/// token says changes them.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: String,
    algorithm: Algorithm,
    key_use: KeyUse,
    public: PublicKey,
    parsed: ParsedPublicKey,
    thumbprint: Thumbprint,
}

impl VerifyingKey {
    /// The key's name within its set.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it verifies.
    pub fn key_use(&self) -> KeyUse {
        self.key_use
    }

    /// Its RFC 7638 thumbprint.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `other` is this key in every respect, not only in name.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.kid == other.kid
            && self.algorithm == other.algorithm
            && self.key_use == other.key_use
            && self.thumbprint == other.thumbprint
    }

    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }

    /// The public half of a key of ours, named by its thumbprint.
    pub(crate) fn of_public(public: PublicKey, key_use: KeyUse) -> Option<Self> {
        let thumbprint = public.thumbprint();
        let algorithm = public.implied_algorithm();
        let parsed = public.parse(algorithm)?;
        Some(Self { kid: thumbprint.to_string(), algorithm, key_use, public, parsed, thumbprint })
    }

    /// A key of a published set, for `key_use`. The caller has looked at `use`.
    pub(crate) fn of_set(jwk: &Map<String, Value>, key_use: KeyUse) -> Result<Self, &'static str> {
        let (public, algorithm) = read(jwk)?;
        if algorithm == Algorithm::Ed25519 {
            return Err("is an EdDSA key, which neither kind of token it could be for allows");
        }
        let kid = jwk.get("kid").and_then(Value::as_str).unwrap_or_default();
        let plain = kid.bytes().all(|b| b.is_ascii_graphic());
        if kid.is_empty() || kid.len() > KID_BYTES_MAX || !plain {
            return Err("has no `kid` of 1 to 256 printable ASCII characters");
        }
        Self::finish(public, algorithm, kid.to_owned(), key_use)
    }

    /// A key of another issuer's set. Without a `kid` its name is its thumbprint.
    pub(crate) fn of_foreign(jwk: &Map<String, Value>) -> Result<Self, &'static str> {
        let (public, algorithm) = read(jwk)?;
        if jwk.get("use").is_some_and(|value| value != "sig") {
            return Err("has a `use` other than `sig`");
        }
        let kid = match jwk.get("kid") {
            None => public.thumbprint().to_string(),
            Some(kid) => kid.as_str().unwrap_or_default().to_owned(),
        };
        if !(1..=KID_BYTES_MAX).contains(&kid.len()) || !kid.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("has no `kid` of 1 to 256 printable ASCII characters");
        }
        Self::finish(public, algorithm, kid, KeyUse::Foreign)
    }

    /// The key embedded in a proof: it is bound to nothing but itself, so its name is its
    /// thumbprint whatever it calls itself.
    pub(crate) fn of_proof(jwk: &Map<String, Value>) -> Result<Self, &'static str> {
        let (public, algorithm) = read(jwk)?;
        if jwk.keys().any(|name| !PROOF_MEMBERS.contains(&name.as_str())) {
            return Err("has a member that a proof's key may not have");
        }
        if jwk.get("use").is_some_and(|value| value != "sig") {
            return Err("has a `use` other than `sig`");
        }
        if !matches!(algorithm, Algorithm::Es256 | Algorithm::Ed25519) {
            return Err("is neither a P-256 nor an Ed25519 key");
        }
        let kid = public.thumbprint().to_string();
        Self::finish(public, algorithm, kid, KeyUse::DpopProof)
    }

    fn finish(
        public: PublicKey,
        algorithm: Algorithm,
        kid: String,
        key_use: KeyUse,
    ) -> Result<Self, &'static str> {
        let parsed = public.parse(algorithm).ok_or("is not a point on its curve or not a key")?;
        let thumbprint = public.thumbprint();
        Ok(Self { kid, algorithm, key_use, public, parsed, thumbprint })
    }

    /// The members to publish, without `kid`, `use` and `alg`.
    pub(crate) fn members(&self) -> Map<String, Value> {
        self.public.members()
    }
}

/// The numbers, and the algorithm they are pinned to.
fn read(jwk: &Map<String, Value>) -> Result<(PublicKey, Algorithm), &'static str> {
    let public = PublicKey::read(jwk)?;
    if jwk.get("key_ops").is_some_and(|ops| *ops != serde_json::json!(["verify"])) {
        return Err("has `key_ops` other than exactly `verify`");
    }
    let algorithm = match jwk.get("alg") {
        None => public.implied_algorithm(),
        Some(name) => {
            let named = name.as_str().and_then(Algorithm::from_name);
            named.ok_or("has an `alg` that is not a known signature algorithm")?
        }
    };
    if !public.fits(algorithm) {
        return Err("has an `alg` that is not its key type's or curve's");
    }
    Ok((public, algorithm))
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({:?}, {}, {})", self.key_use, self.algorithm.name(), self.kid)
    }
}
