//! The keys we sign with: P-256, one use each.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use secrecy::SecretSlice;

use crate::error::{KeyError, MintError};
use crate::jwk::PublicKey;
use crate::verifying::VerifyingKey;

/// The longest PKCS#8 document read.
const PKCS8_BYTES_MAX: usize = 1024;

/// What a key signs. A key has one use, so that a token of one kind can never be made with the
/// key of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyUse {
    /// Access tokens (`at+jwt`).
    AccessToken,
    /// JWT-SVIDs.
    JwtSvid,
    /// DPoP proofs (`dpop+jwt`), on the side of the client.
    DpopProof,
    /// Tokens of other issuers. None of ours is signed with such a key.
    Foreign,
}

impl KeyUse {
    /// The `use` member of a published key.
    pub(crate) const fn jwk_use(self) -> &'static str {
        match self {
            Self::AccessToken | Self::DpopProof | Self::Foreign => "sig",
            Self::JwtSvid => "jwt-svid",
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::AccessToken => "access tokens",
            Self::JwtSvid => "JWT-SVIDs",
            Self::DpopProof => "proofs",
            Self::Foreign => "tokens of other issuers",
        }
    }
}

/// An ES256 signing key. Clones share the one secret.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<EcdsaKeyPair>,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// A fresh key from the cryptographic library's random generator.
    pub fn generate(key_use: KeyUse) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::of_pair(pair.map_err(|_| KeyError::Generation)?, key_use)
    }

    /// The key in a PKCS#8 document. The use is not in the document: keep it with the key.
    pub fn from_pkcs8(key_use: KeyUse, pkcs8: &[u8]) -> Result<Self, KeyError> {
        if pkcs8.len() > PKCS8_BYTES_MAX {
            return Err(KeyError::TooLarge { bytes_max: PKCS8_BYTES_MAX });
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8);
        Self::of_pair(pair.map_err(|_| KeyError::NotAKeyPair)?, key_use)
    }

    /// The key as a PKCS#8 document, to be sealed.
    pub fn to_pkcs8(&self) -> Result<SecretSlice<u8>, KeyError> {
        let document = self.pair.to_pkcs8v1().map_err(|_| KeyError::Generation)?;
        Ok(document.as_ref().to_vec().into())
    }

    /// The key's name: the RFC 7638 thumbprint of its public half.
    pub fn kid(&self) -> &str {
        self.verifying.kid()
    }

    /// What it signs.
    pub fn key_use(&self) -> KeyUse {
        self.verifying.key_use()
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.verifying.clone()
    }

    /// The signature over `message`, where the key is for `needed`.
    pub(crate) fn sign(&self, needed: KeyUse, message: &[u8]) -> Result<Vec<u8>, MintError> {
        if self.key_use() != needed {
            return Err(MintError::KeyUseRefused { needed: needed.noun() });
        }
        let signature = self.pair.sign(&SystemRandom::new(), message);
        signature.map(|s| s.as_ref().to_vec()).map_err(|_| MintError::Signing)
    }

    /// The members of the public half, for a proof's `jwk`.
    pub(crate) fn public_members(&self) -> serde_json::Map<String, serde_json::Value> {
        self.verifying.members()
    }

    fn of_pair(pair: EcdsaKeyPair, key_use: KeyUse) -> Result<Self, KeyError> {
        let public = PublicKey::from_p256_point(pair.public_key().as_ref());
        let verifying = public.and_then(|public| VerifyingKey::of_public(public, key_use));
        let verifying = verifying.ok_or(KeyError::NotAKeyPair)?;
        Ok(Self { pair: Arc::new(pair), verifying })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, {})", self.key_use(), self.kid())
    }
}
