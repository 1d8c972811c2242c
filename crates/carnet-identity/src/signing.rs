//! The keys we sign with: one use each, and the one algorithm of that use.

use std::fmt;

use secrecy::SecretSlice;

use crate::error::{KeyError, MintError};
use crate::pair::Pair;
use crate::verifying::VerifyingKey;

/// The longest PKCS#8 document read.
const PKCS8_BYTES_MAX: usize = 4096;

/// What a key signs. A key has one use, so that a token of one kind can never be made with the
/// key of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyUse {
    /// Access tokens (`at+jwt`).
    AccessToken,
    /// JWT-SVIDs.
    JwtSvid,
    /// Delegation tokens (`carnet-delegation+jwt`).
    Delegation,
    /// DPoP proofs (`dpop+jwt`), on the side of the client.
    DpopProof,
    /// Assertions of who we are, where we are the client of an identity provider.
    Client,
    /// Federation tokens: what clouds and other relying parties take from us as an OIDC issuer.
    Federation,
    /// Certificates: the key of an X.509 authority.
    X509Authority,
    /// TLS handshakes, on the side of a workload: the key of an X.509-SVID. No token is signed with it.
    X509Svid,
    /// Tokens of other issuers. None of ours is signed with such a key.
    Foreign,
}

impl KeyUse {
    /// The `use` member of a published key.
    pub(crate) const fn jwk_use(self) -> &'static str {
        match self {
            Self::AccessToken
            | Self::Delegation
            | Self::DpopProof
            | Self::Client
            | Self::Federation
            | Self::Foreign => "sig",
            Self::JwtSvid => "jwt-svid",
            Self::X509Authority | Self::X509Svid => "x509-svid",
        }
    }

    /// Whether its keys are RSA: the one kind that every cloud takes. All others are P-256.
    pub(crate) const fn is_rsa(self) -> bool {
        matches!(self, Self::Federation)
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::AccessToken => "access tokens",
            Self::JwtSvid => "JWT-SVIDs",
            Self::Delegation => "delegation tokens",
            Self::DpopProof => "proofs",
            Self::Client => "client assertions",
            Self::Federation => "federation tokens",
            Self::X509Authority => "certificates",
            Self::X509Svid => "X.509-SVIDs",
            Self::Foreign => "tokens of other issuers",
        }
    }
}

/// A signing key: RS256 for federation, ES256 for everything else. Clones share the one secret.
#[derive(Clone)]
pub struct SigningKey {
    pair: Pair,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// A fresh key from the cryptographic library's random generator. One for federation may take
    /// a second: primes are searched for.
    pub fn generate(key_use: KeyUse) -> Result<Self, KeyError> {
        Self::of_pair(Pair::generate(key_use)?, key_use)
    }

    /// The key in a PKCS#8 document. The use is not in the document: keep it with the key.
    pub fn from_pkcs8(key_use: KeyUse, pkcs8: &[u8]) -> Result<Self, KeyError> {
        if pkcs8.len() > PKCS8_BYTES_MAX {
            return Err(KeyError::TooLarge { bytes_max: PKCS8_BYTES_MAX });
        }
        Self::of_pair(Pair::from_pkcs8(key_use, pkcs8)?, key_use)
    }

    /// The key as a PKCS#8 document, to be sealed.
    pub fn to_pkcs8(&self) -> Result<SecretSlice<u8>, KeyError> {
        self.pair.to_pkcs8()
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
        self.pair.sign(message)
    }

    /// The public half, as the curve's point without compression; nothing for a key of no curve.
    pub(crate) fn public_point(&self) -> &[u8] {
        self.pair.public_point()
    }

    /// The members of the public half, for a proof's `jwk`.
    pub(crate) fn public_members(&self) -> serde_json::Map<String, serde_json::Value> {
        self.verifying.members()
    }

    fn of_pair(pair: Pair, key_use: KeyUse) -> Result<Self, KeyError> {
        let public = pair.public();
        let verifying = public.and_then(|public| VerifyingKey::of_public(public, key_use));
        let verifying = verifying.ok_or(KeyError::NotAKeyPair)?;
        Ok(Self { pair, verifying })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, {})", self.key_use(), self.kid())
    }
}
