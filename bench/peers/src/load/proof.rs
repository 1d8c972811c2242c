//! DPoP proofs (RFC 9449): one fresh ES256 signature a request.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    digest,
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::json;
use thiserror::Error;

/// The length of one coordinate of a P-256 point.
const COORDINATE_BYTES: usize = 32;

/// Why no proof can be made.
#[derive(Debug, Error)]
pub enum ProofError {
    /// The key file is not what it should be.
    #[error("the proof key must be a P-256 private key in PKCS #8 PEM form")]
    BadKey,
    /// The random number generator or the signature failed.
    #[error("the proof could not be signed")]
    Unsigned,
}

/// The key a token is bound to.
pub struct ProofKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    /// The encoded header, which is the same in every proof.
    header: String,
    thumbprint: String,
    run: String,
    next: AtomicU64,
}

impl std::fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProofKey").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

/// The hash of a token, as a proof names it.
#[derive(Debug)]
pub(super) struct TokenHash(String);

impl TokenHash {
    pub(super) fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }
}

impl ProofKey {
    /// Reads a PKCS #8 PEM key.
    ///
    /// # Errors
    ///
    /// When it is anything but a P-256 private key.
    pub fn from_pem(pem: &str) -> Result<Self, ProofError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|_| ProofError::BadKey)?;
        Self::from_pkcs8(der.secret_pkcs8_der())
    }

    /// Reads a PKCS #8 DER key.
    ///
    /// # Errors
    ///
    /// When it is anything but a P-256 private key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, ProofError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map_err(|_| ProofError::BadKey)?;
        let point = pair.public_key().as_ref();
        let (x, y) = match point.split_first() {
            Some((4, rest)) if rest.len() == 2 * COORDINATE_BYTES => {
                rest.split_at(COORDINATE_BYTES)
            }
            _ => return Err(ProofError::BadKey),
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let header = json!({
            "typ": "dpop+jwt", "alg": "ES256", "jwk": { "kty": "EC", "crv": "P-256", "x": x, "y": y },
        });
        // RFC 7638: the required members, in lexicographic order, without white space.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let random = SystemRandom::new();
        let mut run = [0; 12];
        random.fill(&mut run).map_err(|_| ProofError::Unsigned)?;
        Ok(Self {
            pair,
            random,
            header: URL_SAFE_NO_PAD.encode(header.to_string()),
            thumbprint: sha256(canonical.as_bytes()),
            run: URL_SAFE_NO_PAD.encode(run),
            next: AtomicU64::new(0),
        })
    }

    /// The RFC 7638 thumbprint, as a token's `cnf.jkt` holds it.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// A fresh proof for one request.
    pub(super) fn prove(
        &self,
        method: &str,
        target: &str,
        token: Option<&TokenHash>,
    ) -> Result<String, ProofError> {
        let since =
            SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| ProofError::Unsigned)?;
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut claims = json!({
            "jti": format!("{}-{count}", self.run),
            "htm": method, "htu": target, "iat": since.as_secs(),
        });
        if let (Some(token), Some(claims)) = (token, claims.as_object_mut()) {
            claims.insert("ath".to_owned(), token.0.as_str().into());
        }
        let input = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature =
            self.pair.sign(&self.random, input.as_bytes()).map_err(|_| ProofError::Unsigned)?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn sha256(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    fn key() -> ProofKey {
        let der =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        ProofKey::from_pkcs8(der.unwrap().as_ref()).unwrap()
    }

    fn decode(part: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_proof_verifies_with_the_key_in_its_own_header() {
        let key = key();
        let hash = TokenHash::of("token");
        let proof = key.prove("POST", "http://127.0.0.1:1/mcp", Some(&hash)).unwrap();
        let parts: Vec<&str> = proof.split('.').collect();
        let (header, claims) = (decode(parts[0]), decode(parts[1]));
        assert_eq!((&header["typ"], &header["alg"]), (&json!("dpop+jwt"), &json!("ES256")));
        assert!(header["jwk"].get("d").is_none());
        let mut point = vec![4];
        for name in ["x", "y"] {
            let coordinate = header["jwk"][name].as_str().unwrap();
            point.extend(URL_SAFE_NO_PAD.decode(coordinate).unwrap());
        }
        let signed = format!("{}.{}", parts[0], parts[1]);
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        public.verify(signed.as_bytes(), &signature).unwrap();
        assert_eq!(
            (&claims["htm"], &claims["htu"]),
            (&json!("POST"), &json!("http://127.0.0.1:1/mcp"))
        );
        assert_eq!(claims["ath"], "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A");
    }

    #[test]
    fn no_two_proofs_have_the_same_jti() {
        let key = key();
        let jti = || {
            let proof = key.prove("POST", "http://h/", None).unwrap();
            decode(proof.split('.').nth(1).unwrap())["jti"].clone()
        };
        assert_ne!(jti(), jti());
    }

    #[test]
    fn anything_but_a_p256_key_is_refused() {
        assert!(ProofKey::from_pem("").is_err());
        let wrong = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(ProofKey::from_pem(wrong).is_err());
    }
}
