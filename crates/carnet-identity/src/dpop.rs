//! Proof of possession (DPoP, RFC 9449): whoever sends a token shows that it holds the key the
//! token is bound to, for this request and no other.

use carnet_core::{Digest, Timestamp};
use secrecy::SecretSlice;
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq;

use crate::algorithm::Algorithm;
use crate::claims::{Claims, is_plain};
use crate::error::{KeyError, MintError, TokenError};
use crate::htu;
use crate::json::encode_base64url;
use crate::jws::{self, Kind, Unverified};
use crate::signing::{KeyUse, SigningKey};
use crate::thumbprint::Thumbprint;
use crate::{CLOCK_SKEW_S_MAX, DPOP_WINDOW_S};

/// The longest `jti`.
const JTI_BYTES_MAX: usize = 256;
/// The longest `nonce`.
const NONCE_BYTES_MAX: usize = 512;

const PROOF: Kind = Kind {
    name: "a DPoP proof",
    types: &["dpop+jwt"],
    type_optional: false,
    headers: &["alg", "jwk", "typ"],
    algorithms: &[Algorithm::Es256, Algorithm::Ed25519],
    key_use: KeyUse::DpopProof,
    bytes_max: 4 * 1024,
};

/// The key of an instance, on the client's side.
#[derive(Debug, Clone)]
pub struct DpopKey(SigningKey);

/// A verified proof. It must still be admitted once ([`crate::ReplayCache`]), and its thumbprint
/// must be the token's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpopProof {
    /// The thumbprint of the key that made it.
    pub thumbprint: Thumbprint,
    /// Its own name.
    pub jti: String,
    /// When it was made.
    pub iat: Timestamp,
    /// The nonce in it, where there is one.
    pub nonce: Option<String>,
}

/// What this request demands of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedDpop<'a> {
    /// The request's method, as sent.
    pub method: &'a str,
    /// The request's URL as the client knows it, built from configuration and never from `Host`.
    /// A query or fragment is passed over.
    pub url: &'a str,
    /// The access token in the same request; `None` at the token endpoint.
    pub access_token: Option<&'a str>,
    /// The nonce demanded, if one is.
    pub nonce: Option<&'a str>,
}

impl DpopKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, KeyError> {
        SigningKey::generate(KeyUse::DpopProof).map(Self)
    }

    /// The key in a PKCS#8 document.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8(KeyUse::DpopProof, pkcs8).map(Self)
    }

    /// The key as a PKCS#8 document.
    pub fn to_pkcs8(&self) -> Result<SecretSlice<u8>, KeyError> {
        self.0.to_pkcs8()
    }

    /// What tokens for this key are bound to.
    pub fn thumbprint(&self) -> Thumbprint {
        self.0.verifying_key().thumbprint()
    }

    /// A proof for one request. `jti` must be fresh randomness for each.
    pub fn prove(
        &self,
        method: &str,
        url: &str,
        access_token: Option<&str>,
        jti: &str,
        now: Timestamp,
        nonce: Option<&str>,
    ) -> Result<String, MintError> {
        let htu = htu::canonical(htu::without_query(url)).ok_or(MintError::Url)?;
        if !is_plain(jti, JTI_BYTES_MAX) {
            let problem = "is not 1 to 256 printable ASCII characters";
            return Err(MintError::Claims(TokenError::Claim { name: "jti", problem }));
        }
        let header = json!({ "alg": "ES256", "jwk": self.0.public_members(), "typ": "dpop+jwt" });
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("jti", jti.into());
        put("htm", method.into());
        put("htu", htu.into());
        put("iat", now.s().into());
        if let Some(token) = access_token {
            put("ath", token_hash(token).into());
        }
        if let Some(nonce) = nonce {
            put("nonce", nonce.into());
        }
        jws::sign(&self.0, KeyUse::DpopProof, &header, &claims)
    }
}

/// Verifies a proof for this request at this moment (RFC 9449 section 4.3, steps 2 to 12; that
/// there is exactly one `DPoP` header is the caller's to see, and a comma-joined pair fails here).
pub fn verify_dpop(
    proof: &str,
    expected: &ExpectedDpop<'_>,
    now: Timestamp,
) -> Result<DpopProof, TokenError> {
    let proof = Unverified::parse(proof, &PROOF)?;
    let key = proof.embedded_key()?;
    let claims = proof.verify(&key)?.claims()?;
    if claims.text("htm")? != expected.method {
        return Err(TokenError::ProofMethod);
    }
    check_url(claims.text("htu")?, expected.url)?;
    check_token(claims.optional_text("ath")?, expected.access_token)?;
    let iat = check_times(&claims, now)?;
    let nonce = check_nonce(&claims, expected.nonce)?;
    let jti = claims.text("jti")?;
    if !is_plain(jti, JTI_BYTES_MAX) {
        let problem = "is not 1 to 256 printable ASCII characters";
        return Err(TokenError::Claim { name: "jti", problem });
    }
    Ok(DpopProof { thumbprint: key.thumbprint(), jti: jti.to_owned(), iat, nonce })
}

fn token_hash(token: &str) -> String {
    encode_base64url(Digest::of(token.as_bytes()).as_bytes())
}

fn is_same_secret(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn check_url(htu: &str, url: &str) -> Result<(), TokenError> {
    let url = htu::without_query(url);
    // What is spelled alike is alike; nearly every proof is, and reading two URLs takes a while.
    if htu == url {
        return Ok(());
    }
    let expected = htu::canonical(url);
    let expected = expected.ok_or(TokenError::Expectation { what: "public URL" })?;
    match htu::canonical(htu) {
        Some(htu) if htu == expected => Ok(()),
        _ => Err(TokenError::ProofUrl),
    }
}

fn check_token(ath: Option<&str>, token: Option<&str>) -> Result<(), TokenError> {
    match (ath, token) {
        (None, None) => Ok(()),
        (Some(ath), Some(token)) if is_same_secret(ath, &token_hash(token)) => Ok(()),
        _ => Err(TokenError::ProofToken),
    }
}

fn check_times(claims: &Claims, now: Timestamp) -> Result<Timestamp, TokenError> {
    let iat = claims.time("iat")?;
    if iat < now.plus_s(-DPOP_WINDOW_S) || iat > now.plus_s(DPOP_WINDOW_S) {
        return Err(TokenError::ProofStale);
    }
    if claims.optional_time("exp")?.is_some_and(|exp| now >= exp) {
        return Err(TokenError::Expired);
    }
    let latest = now.plus_s(CLOCK_SKEW_S_MAX);
    if claims.optional_time("nbf")?.is_some_and(|nbf| nbf > latest) {
        return Err(TokenError::NotYetValid);
    }
    Ok(iat)
}

fn check_nonce(claims: &Claims, expected: Option<&str>) -> Result<Option<String>, TokenError> {
    let nonce = claims.optional_text("nonce")?;
    if nonce.is_some_and(|nonce| !is_plain(nonce, NONCE_BYTES_MAX)) {
        let problem = "is not 1 to 512 printable ASCII characters";
        return Err(TokenError::Claim { name: "nonce", problem });
    }
    match (nonce, expected) {
        (Some(nonce), Some(expected)) if is_same_secret(nonce, expected) => {}
        (_, None) => {}
        _ => return Err(TokenError::ProofNonce),
    }
    Ok(nonce.map(str::to_owned))
}
