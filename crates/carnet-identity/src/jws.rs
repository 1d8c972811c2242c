//! The one reader and writer of signed tokens (JWS compact serialisation, RFC 7515, RFC 8725).
//!
//! Nothing else in Carnet takes a token apart. What is not exactly understood is refused: another
//! serialisation, a header of another kind, a key the token brings along, an algorithm its key is
//! not pinned to.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::claims::Claims;
use crate::error::{MintError, TokenError};
use crate::json::{self, decode_base64url, encode_base64url};
use crate::keyset::KeySet;
use crate::signing::{KeyUse, SigningKey};
use crate::verifying::VerifyingKey;

/// What a kind of token looks like from outside, before any key is touched.
pub(crate) struct Kind {
    /// What it is, for messages.
    pub(crate) name: &'static str,
    /// The values its `typ` may have.
    pub(crate) types: &'static [&'static str],
    /// Whether `typ` may be absent.
    pub(crate) type_optional: bool,
    /// The headers it may have. All others are refused.
    pub(crate) headers: &'static [&'static str],
    /// The algorithms it may be signed with.
    pub(crate) algorithms: &'static [Algorithm],
    /// What its key must be for.
    pub(crate) key_use: KeyUse,
    /// The longest it may be.
    pub(crate) bytes_max: usize,
}

/// A token taken apart strictly, its signature not yet checked.
pub(crate) struct Unverified<'a> {
    header: Map<String, Value>,
    algorithm: Algorithm,
    key_use: KeyUse,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// A token whose signature is its key's. What it claims is still to be judged.
pub(crate) struct Verified<'a> {
    algorithm: Algorithm,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes `token` apart as a token of `kind`.
    pub(crate) fn parse(token: &'a str, kind: &Kind) -> Result<Self, TokenError> {
        if token.len() > kind.bytes_max {
            return Err(TokenError::TooLarge { bytes_max: kind.bytes_max });
        }
        let (header, payload, signature) = split(token)?;
        let signed = token.get(..header.len() + 1 + payload.len()).unwrap_or_default();
        let header = decode(header, "header")?;
        let header = json::object(&header)
            .map_err(|problem| TokenError::Malformed { part: "header", problem })?;
        check_headers(&header, kind)?;
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name);
        let algorithm = algorithm.filter(|algorithm| kind.algorithms.contains(algorithm));
        Ok(Self {
            header,
            algorithm: algorithm.ok_or(TokenError::AlgorithmRefused)?,
            key_use: kind.key_use,
            signed,
            payload: decode(payload, "payload")?,
            signature: decode(signature, "signature")?,
        })
    }

    /// The key of `keys` that the token names.
    pub(crate) fn key<'k>(&self, keys: &'k KeySet) -> Result<&'k VerifyingKey, TokenError> {
        let kid = self.header.get("kid").and_then(Value::as_str).filter(|kid| !kid.is_empty());
        keys.key(kid.ok_or(TokenError::KeyMissing)?).ok_or(TokenError::KeyUnknown)
    }

    /// The key of `keys` that the token names; where it names none, the only one there is.
    pub(crate) fn key_or_only<'k>(&self, keys: &'k KeySet) -> Result<&'k VerifyingKey, TokenError> {
        let mut all = keys.keys();
        match (self.header.contains_key("kid"), all.next(), all.next()) {
            (false, Some(only), None) => Ok(only),
            _ => self.key(keys),
        }
    }

    /// The key the token brings along: proofs only.
    pub(crate) fn embedded_key(&self) -> Result<VerifyingKey, TokenError> {
        let jwk = self.header.get("jwk").and_then(Value::as_object);
        let jwk = jwk.ok_or(TokenError::ProofKey { problem: "is missing or not an object" })?;
        VerifyingKey::of_proof(jwk).map_err(|problem| TokenError::ProofKey { problem })
    }

    /// What the token says before anyone has vouched for it. Good only for choosing keys.
    pub(crate) fn unverified_claims(&self) -> Result<Claims, TokenError> {
        Claims::read(&self.payload)
    }

    /// Checks the signature with `key`, by the algorithm that is the key's.
    pub(crate) fn verify(self, key: &VerifyingKey) -> Result<Verified<'a>, TokenError> {
        if key.key_use() != self.key_use {
            return Err(TokenError::KeyUseRefused);
        }
        if key.algorithm() != self.algorithm {
            return Err(TokenError::AlgorithmRefused);
        }
        if !key.has_signed(self.signed.as_bytes(), &self.signature) {
            return Err(TokenError::Signature);
        }
        Ok(Verified {
            algorithm: self.algorithm,
            signed: self.signed,
            payload: self.payload,
            signature: self.signature,
        })
    }
}

impl Verified<'_> {
    /// The claims.
    pub(crate) fn claims(&self) -> Result<Claims, TokenError> {
        Claims::read(&self.payload)
    }

    /// Bytes that are the same for every form of this token that verifies, and for no other. Of
    /// an ECDSA signature only `r` counts: anyone can turn `s` into its negative, which verifies
    /// too, and a token refused as used must not pass again in that dress.
    pub(crate) fn identity(&self) -> Vec<u8> {
        let counted =
            if self.algorithm.is_ecdsa() { self.signature.len() / 2 } else { self.signature.len() };
        let proof = self.signature.get(..counted).unwrap_or_default();
        [self.signed.as_bytes(), b".", proof].concat()
    }

    #[cfg(test)]
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// Signs `claims` under `header` with a key that is for `needed`.
pub(crate) fn sign<C: Serialize>(
    key: &SigningKey,
    needed: KeyUse,
    header: &Value,
    claims: &C,
) -> Result<String, MintError> {
    let claims = serde_json::to_vec(claims).map_err(|_| MintError::Signing)?;
    let signed = format!("{}.{}", encode_base64url(header.to_string()), encode_base64url(claims));
    let signature = key.sign(needed, signed.as_bytes())?;
    Ok(format!("{signed}.{}", encode_base64url(signature)))
}

fn split(token: &str) -> Result<(&str, &str, &str), TokenError> {
    let problem = "is not three non-empty parts joined by dots";
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None)
            if !header.is_empty() && !payload.is_empty() && !signature.is_empty() =>
        {
            Ok((header, payload, signature))
        }
        _ => Err(TokenError::Malformed { part: "whole", problem }),
    }
}

fn decode(text: &str, part: &'static str) -> Result<Vec<u8>, TokenError> {
    let problem = "is not strict base64url without padding";
    decode_base64url(text).ok_or(TokenError::Malformed { part, problem })
}

fn check_headers(header: &Map<String, Value>, kind: &Kind) -> Result<(), TokenError> {
    if let Some(name) = header.keys().find(|name| !kind.headers.contains(&name.as_str())) {
        let problem = match name.as_str() {
            "crit" => "has `crit`; no critical extension is understood",
            "jku" | "x5u" => "points elsewhere for its key, which is never followed",
            "jwk" | "x5c" => "brings its own key, which is allowed to proofs only",
            "b64" => "has `b64`; only encoded payloads exist here",
            "zip" => "has `zip`; nothing is ever decompressed",
            _ => "has a member that its kind does not have",
        };
        return Err(TokenError::HeaderRefused { problem });
    }
    let right_type = match header.get("typ") {
        None => kind.type_optional,
        Some(Value::String(name)) => kind.types.contains(&name.as_str()),
        Some(_) => false,
    };
    right_type.then_some(()).ok_or(TokenError::WrongType { expected: kind.name })
}
