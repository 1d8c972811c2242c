//! SPIFFE identities, read strictly (SPIFFE-ID, sections 2.1 to 2.4). An identity has one spelling.

use std::fmt;
use std::str::FromStr;

use carnet_core::AgentName;
use serde::{Deserialize, Serialize};

/// The scheme, in the only spelling accepted.
const SCHEME: &str = "spiffe://";
/// The longest SPIFFE ID.
const ID_BYTES_MAX: usize = 2048;
/// The longest trust domain name.
const TRUST_DOMAIN_BYTES_MAX: usize = 255;
/// The first segment of an agent's file path in our own trust domain.
const AGENT_SEGMENT: &str = "agent";

/// Why a text is not a SPIFFE ID or a trust domain. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Too long or empty.
    #[error("a SPIFFE ID has at most 2048 bytes and a trust domain 1 to 255")]
    Length,
    /// Not `spiffe://`.
    #[error("a SPIFFE ID begins with `spiffe://`, in lower case")]
    Scheme,
    /// The trust domain has a character it may not have.
    #[error("a trust domain is made of a-z, 0-9, `.`, `-` and `_`, without port or user")]
    TrustDomain,
    /// No path, an empty segment, `.`, `..`, a trailing slash or another character.
    #[error(
        "a SPIFFE ID's segments are made of A-Z, a-z, 0-9, `.`, `-` and `_`; there is at least one, none is empty, `.` or `..`"
    )]
    Segments,
}

/// The name of a trust domain: whose keys speak for an identity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(String);

/// The identity of a workload: `spiffe://<trust domain>/<segments>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId {
    text: String,
    trust_domain: TrustDomain,
}

impl TrustDomain {
    /// The trust domain's name, without scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain's own SPIFFE ID, without segments: `spiffe://<trust domain>`. It names the
    /// bundle; no workload has it.
    pub fn id(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }
}

impl SpiffeId {
    /// The identity of a registered agent: `spiffe://<trust domain>/agent/<name>`.
    pub fn agent(trust_domain: &TrustDomain, name: &AgentName) -> Self {
        let text = format!("{SCHEME}{trust_domain}/{AGENT_SEGMENT}/{name}");
        Self { text, trust_domain: trust_domain.clone() }
    }

    /// The trust domain that must vouch for it.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What follows the trust domain, beginning with `/`.
    pub fn segments(&self) -> &str {
        let start = SCHEME.len() + self.trust_domain.0.len();
        self.text.get(start..).unwrap_or_default()
    }

    /// The whole identity as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The agent this is the identity of, where it has the form [`SpiffeId::agent`] makes.
    pub fn agent_name(&self) -> Option<AgentName> {
        let name = self.segments().strip_prefix('/')?.strip_prefix(AGENT_SEGMENT)?;
        name.strip_prefix('/')?.parse().ok()
    }
}

fn is_segment_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')
}

fn is_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..") && segment.bytes().all(is_segment_byte)
}

impl FromStr for TrustDomain {
    type Err = SpiffeError;
    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        if !(1..=TRUST_DOMAIN_BYTES_MAX).contains(&text.len()) {
            return Err(SpiffeError::Length);
        }
        if !text.bytes().all(|b| is_segment_byte(b) && !b.is_ascii_uppercase()) {
            return Err(SpiffeError::TrustDomain);
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;
    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        if text.len() > ID_BYTES_MAX {
            return Err(SpiffeError::Length);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeError::Scheme)?;
        let (domain, segments) = match rest.split_once('/') {
            Some((domain, segments)) => (domain, Some(segments)),
            None => (rest, None),
        };
        let trust_domain = domain.parse()?;
        match segments {
            Some(segments) if segments.split('/').all(is_segment) => {
                Ok(Self { text: text.to_owned(), trust_domain })
            }
            _ => Err(SpiffeError::Segments),
        }
    }
}

macro_rules! text_forms {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = SpiffeError;
            fn try_from(text: String) -> Result<Self, SpiffeError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.as_str().to_owned()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

text_forms!(TrustDomain);
text_forms!(SpiffeId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_identity_gives_its_name_back() {
        let domain: TrustDomain = "carnet.example".parse().unwrap();
        let id = SpiffeId::agent(&domain, &"desk-agent".parse().unwrap());
        assert_eq!(id.to_string(), "spiffe://carnet.example/agent/desk-agent");
        assert_eq!(id.to_string().parse::<SpiffeId>().unwrap(), id);
        assert_eq!(id.agent_name().unwrap().as_str(), "desk-agent");
        for other in ["agent", "agent/a/b", "agent/A", "agents/a", "x/agent/a"] {
            let id: SpiffeId = format!("spiffe://carnet.example/{other}").parse().unwrap();
            assert_eq!(id.agent_name(), None, "{other}");
        }
    }

    #[test]
    fn an_identity_has_one_spelling() {
        let long = format!("spiffe://td/{}", "a".repeat(2048));
        let wide = format!("spiffe://{}/a", "a".repeat(256));
        let refused = [
            "",
            "spiffe://",
            "spiffe:///a",
            "spiffe://td",
            "spiffe://td/",
            "spiffe://td/a/",
            "spiffe://td//a",
            "spiffe://td/./a",
            "spiffe://td/../a",
            "spiffe://td/a/..",
            "SPIFFE://td/a",
            "spiffe:/td/a",
            "http://td/a",
            "spiffe://TD/a",
            "spiffe://td:8/a",
            "spiffe://u@td/a",
            "spiffe://td/a?q",
            "spiffe://td/a#f",
            "spiffe://td/%61",
            "spiffe://td/a b",
            "spiffe://td/é",
            "spiffe://tд/a",
            " spiffe://td/a",
            "spiffe://td/a\n",
            "spiffe://td/a\0",
            "spiffe://td/a;b",
            "spiffe://td\\a",
            &long,
            &wide,
        ];
        for text in refused {
            assert!(text.parse::<SpiffeId>().is_err(), "{text:?}");
        }
        for text in ["spiffe://td/a", "spiffe://t_d-1.x/A/..a/_/-", "spiffe://td/..."] {
            assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_trust_domain_is_a_name_and_not_an_id() {
        for text in ["", "spiffe://td", "td/", "TD", "td:1", "u@td", "t d", &"a".repeat(256)] {
            assert!(text.parse::<TrustDomain>().is_err(), "{text:?}");
        }
        assert_eq!("td".parse::<TrustDomain>().unwrap().id(), "spiffe://td");
    }
}
