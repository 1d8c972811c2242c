//! The secret halves: P-256, and RSA where a relying party takes nothing else. Which one a key is
//! follows from its use, so that no document can make it another.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use secrecy::SecretSlice;

use crate::error::{KeyError, MintError};
use crate::jwk::PublicKey;
use crate::signing::KeyUse;

/// The size every relying party takes.
const RSA_SIZE: KeySize = KeySize::Rsa2048;

/// A secret and its public half. It has no Debug.
#[derive(Clone)]
pub(crate) enum Pair {
    /// Signs ES256.
    P256(Arc<EcdsaKeyPair>),
    /// Signs RS256.
    Rsa(Arc<RsaKeyPair>),
}

impl Pair {
    pub(crate) fn generate(key_use: KeyUse) -> Result<Self, KeyError> {
        if key_use.is_rsa() {
            let pair = RsaKeyPair::generate(RSA_SIZE).map_err(|_| KeyError::Generation)?;
            return Ok(Self::Rsa(Arc::new(pair)));
        }
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        pair.map(Arc::new).map(Self::P256).map_err(|_| KeyError::Generation)
    }

    pub(crate) fn from_pkcs8(key_use: KeyUse, pkcs8: &[u8]) -> Result<Self, KeyError> {
        if key_use.is_rsa() {
            let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::NotAKeyPair)?;
            return Ok(Self::Rsa(Arc::new(pair)));
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8);
        pair.map(Arc::new).map(Self::P256).map_err(|_| KeyError::NotAKeyPair)
    }

    pub(crate) fn to_pkcs8(&self) -> Result<SecretSlice<u8>, KeyError> {
        let document = match self {
            Self::P256(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            Self::Rsa(pair) => {
                AsDer::<Pkcs8V1Der<'_>>::as_der(&**pair).map(|document| document.as_ref().to_vec())
            }
        };
        document.map(SecretSlice::from).map_err(|_| KeyError::Generation)
    }

    /// The point on the curve without compression; an RSA key has none.
    pub(crate) fn public_point(&self) -> &[u8] {
        match self {
            Self::P256(pair) => pair.public_key().as_ref(),
            Self::Rsa(_) => &[],
        }
    }

    pub(crate) fn public(&self) -> Option<PublicKey> {
        match self {
            Self::P256(pair) => PublicKey::from_p256_point(pair.public_key().as_ref()),
            Self::Rsa(pair) => PublicKey::from_rsa_der(pair.public_key().as_ref()),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MintError> {
        let random = SystemRandom::new();
        match self {
            Self::P256(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| MintError::Signing)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| MintError::Signing)?;
                Ok(signature)
            }
        }
    }
}
