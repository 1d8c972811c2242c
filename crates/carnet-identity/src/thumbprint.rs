//! The RFC 7638 thumbprint of a public key: its `kid` here, and what a token is bound to.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use carnet_core::Digest;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::json::{decode_base64url, encode_base64url};

/// SHA-256 over the canonical members of a public key (RFC 7638), written in base64url. Compared
/// in constant time.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Thumbprint([u8; 32]);

/// The text is not a thumbprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key thumbprint: expected 43 characters of unpadded base64url")]
pub struct ThumbprintError;

impl Thumbprint {
    /// The thumbprint whose canonical JSON is `members`.
    pub(crate) fn of_members(members: &str) -> Self {
        Self(*Digest::of(members.as_bytes()).as_bytes())
    }

    /// The SHA-256 over a certificate, or over a key as certificates have it.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self(*Digest::of(bytes).as_bytes())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Thumbprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Thumbprint {}

impl Hash for Thumbprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_base64url(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Thumbprint {
    type Err = ThumbprintError;
    fn from_str(text: &str) -> Result<Self, ThumbprintError> {
        let bytes = decode_base64url(text).ok_or(ThumbprintError)?;
        bytes.try_into().map(Self).map_err(|_| ThumbprintError)
    }
}

impl TryFrom<String> for Thumbprint {
    type Error = ThumbprintError;
    fn try_from(text: String) -> Result<Self, ThumbprintError> {
        text.parse()
    }
}

impl From<Thumbprint> for String {
    fn from(thumbprint: Thumbprint) -> Self {
        thumbprint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_has_one_spelling() {
        let thumbprint = Thumbprint::of_members("{}");
        let text = thumbprint.to_string();
        assert_eq!(text.parse::<Thumbprint>().unwrap(), thumbprint);
        let short = text.get(1..).unwrap().to_owned();
        for other in [format!("{text}="), short, format!("{text}A"), String::new()] {
            assert!(other.parse::<Thumbprint>().is_err(), "{other}");
        }
    }
}
