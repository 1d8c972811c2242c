//! A key as it is stored: its name, its purpose, its times, and the secret sealed.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carnet_core::Timestamp;
use carnet_identity::{SigningKey, TrustDomain, X509_SVID_TTL_S_MAX, X509Authority};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::error::BrokerError;
use crate::keys::OVERLAP_S;
use crate::vault::Vault;

/// How long a federation key is published before it signs: a day.
const FEDERATION_LEAD_S: i64 = 24 * 60 * 60;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyPurpose {
    /// Access tokens.
    AccessToken,
    /// JWT-SVIDs of the built-in trust domain.
    JwtSvid,
    /// Federation tokens, which clouds take. There is none before there is a federation target.
    Federation,
    /// Delegation tokens.
    Delegation,
    /// X.509-SVIDs of the built-in trust domain.
    X509Svid,
    /// Who we are at the identity provider that people log in with.
    Client,
}

impl KeyPurpose {
    /// Every purpose.
    pub const ALL: [Self; 6] = [
        Self::AccessToken,
        Self::JwtSvid,
        Self::X509Svid,
        Self::Federation,
        Self::Delegation,
        Self::Client,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access-token",
            Self::JwtSvid => "jwt-svid",
            Self::X509Svid => "x509-svid",
            Self::Federation => "federation",
            Self::Delegation => "delegation",
            Self::Client => "client",
        }
    }

    /// How long a key is published before it signs. Who reads ours keeps them for five minutes;
    /// clouds do not say for how long they do.
    pub const fn lead_s(self) -> i64 {
        match self {
            Self::Federation => FEDERATION_LEAD_S,
            _ => OVERLAP_S,
        }
    }

    /// How long a key is kept once another signs in its place: longer than what it signed lives.
    pub const fn kept_s(self) -> i64 {
        match self {
            Self::X509Svid => X509_SVID_TTL_S_MAX + OVERLAP_S,
            _ => OVERLAP_S,
        }
    }
}

impl fmt::Display for KeyPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no purpose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key is for `access-token`, `jwt-svid`, `x509-svid`, `federation`, `delegation` or `client`"
)]
pub struct KeyPurposeError;

impl FromStr for KeyPurpose {
    type Err = KeyPurposeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text).ok_or(KeyPurposeError)
    }
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Everybody may know it; it does not sign yet.
    Published {
        /// When it does.
        signs_from: Timestamp,
    },
    /// It signs.
    Signing,
    /// Another signs; what it signed is still good.
    Verifying {
        /// Until then.
        until: Timestamp,
    },
    /// It was taken away: nothing it signed counts.
    Removed {
        /// When.
        at: Timestamp,
    },
}

/// A key as it is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Its name: the RFC 7638 thumbprint of its public half.
    pub kid: String,
    /// What it signs.
    pub purpose: KeyPurpose,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it signs.
    pub signs_from: Timestamp,
    /// When it was taken away before its time. Its name is kept, so that nothing it signed counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
    /// The certificate that was made for it, in base64, where it is an X.509 authority's. Who trusts it
    /// trusts these bytes, so it is made once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The secret in PKCS#8, sealed for exactly this name and purpose, in base64; nothing where it was
    /// taken away.
    pub(crate) sealed: String,
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRecord({}, {})", self.purpose, self.kid)
    }
}

impl KeyRecord {
    pub(crate) fn seal(
        vault: &Vault,
        purpose: KeyPurpose,
        key: &SigningKey,
        made_at: Timestamp,
        signs_from: Timestamp,
    ) -> Result<Self, BrokerError> {
        let kid = key.kid().to_owned();
        let secret = key.to_pkcs8().map_err(|error| BrokerError::Key(error.to_string()))?;
        let sealed = vault.seal(&bound_to(purpose, &kid), secret.expose_secret().to_vec())?;
        let sealed = STANDARD.encode(sealed);
        Ok(Self { kid, purpose, made_at, signs_from, removed_at: None, certificate: None, sealed })
    }

    /// The record with the certificate that was made for its key.
    pub(crate) fn certified(self, certificate: &[u8]) -> Self {
        Self { certificate: Some(STANDARD.encode(certificate)), ..self }
    }

    /// The record of a key that was taken away: its name without its secret.
    pub(crate) fn removed(&self, at: Timestamp) -> Self {
        Self { removed_at: Some(at), certificate: None, sealed: String::new(), ..self.clone() }
    }

    /// The key, where it is the one the record names.
    pub(crate) fn open(&self, vault: &Vault) -> Result<SigningKey, BrokerError> {
        let problem = |problem: &str| {
            BrokerError::Key(format!("the key {} for {}: {problem}", self.kid, self.purpose))
        };
        let sealed = STANDARD.decode(&self.sealed).map_err(|_| problem("it is not base64"))?;
        let opened = vault.open(&bound_to(self.purpose, &self.kid), &sealed)?;
        let opened = secrecy::SecretSlice::from(opened);
        let key = SigningKey::from_pkcs8(self.purpose.key_use(), opened.expose_secret())
            .map_err(|error| problem(&error.to_string()))?;
        match key.kid() == self.kid {
            true => Ok(key),
            false => Err(problem("it is another key than its name says")),
        }
    }
}

impl KeyRecord {
    /// The authority it is the key of, where that is what it is for.
    pub(crate) fn authority(
        &self,
        key: SigningKey,
        domain: &TrustDomain,
    ) -> Result<X509Authority, BrokerError> {
        let problem = |problem: String| {
            BrokerError::Key(format!("the key {} for {}: {problem}", self.kid, self.purpose))
        };
        let certificate = self.certificate.as_deref().unwrap_or_default();
        let certificate = STANDARD.decode(certificate);
        let certificate =
            certificate.map_err(|_| problem("its certificate is not base64".to_owned()))?;
        let authority = X509Authority::of(key, certificate, domain);
        authority.map_err(|error| problem(error.to_string()))
    }
}

/// What the sealing is bound to.
fn bound_to(purpose: KeyPurpose, kid: &str) -> String {
    format!("key {purpose} {kid}")
}
