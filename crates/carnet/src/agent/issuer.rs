//! The address an agent reaches Carnet at.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use carnet_core::{Path, ResourceName};
use url::{Host, Url};

/// The issuer: scheme, host and port, in one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issuer {
    text: String,
    is_tls: bool,
}

/// Why a text is not an issuer one may send tokens to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the issuer `{text}` {problem}")]
pub(crate) struct IssuerError {
    text: String,
    problem: &'static str,
}

impl Issuer {
    /// The issuer as text, without a trailing slash.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is reached over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Where tokens are asked for.
    pub(crate) fn token_endpoint(&self) -> String {
        format!("{}/oauth/token", self.text)
    }

    /// Where a part of a task is handed on.
    pub(crate) fn delegation_endpoint(&self) -> String {
        format!("{}/oauth/delegate", self.text)
    }

    /// The address of `resource` on `path`: where messages go, and what tokens are for.
    pub(crate) fn address(&self, path: Path, resource: &ResourceName) -> String {
        format!("{}/{path}/mcp/{resource}", self.text)
    }
}

impl FromStr for Issuer {
    type Err = IssuerError;

    fn from_str(text: &str) -> Result<Self, IssuerError> {
        let refused = |problem| IssuerError { text: text.chars().take(200).collect(), problem };
        let plain = text.strip_suffix('/').unwrap_or(text);
        let url = Url::parse(plain)
            .map_err(|_| refused("is not an address: write one like `http://127.0.0.1:7480`"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("is neither http nor https"));
        }
        let is_origin = url.origin().ascii_serialization() == plain;
        if !is_origin || !url.username().is_empty() || url.password().is_some() {
            return Err(refused(
                "is more than scheme, host and port, or spelled unusually: write it as `issuer` \
                 stands in the metadata",
            ));
        }
        let is_tls = url.scheme() == "https";
        if !is_tls && !is_loopback(&url) {
            return Err(refused(
                "would carry identities in clear: use https, or an address of this machine",
            ));
        }
        Ok(Self { text: plain.to_owned(), is_tls })
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_origin() {
        for (text, kept) in [
            ("http://127.0.0.1:7480", "http://127.0.0.1:7480"),
            ("http://localhost:7480/", "http://localhost:7480"),
            ("http://[::1]:7480", "http://[::1]:7480"),
            ("https://carnet.example", "https://carnet.example"),
        ] {
            assert_eq!(text.parse::<Issuer>().unwrap().as_str(), kept);
        }
        for text in [
            "",
            "carnet.example",
            "ftp://127.0.0.1",
            "https://carnet.example/a",
            "https://carnet.example//",
            "https://carnet.example?x",
            "https://u@carnet.example",
            "https://carnet.example:443",
            "https://Carnet.example",
        ] {
            assert!(text.parse::<Issuer>().is_err(), "{text}");
        }
    }

    #[test]
    fn identities_are_not_sent_in_clear_beyond_this_machine() {
        for text in ["http://carnet.example", "http://10.0.0.1:7480", "http://localhost.evil:1"] {
            let error = text.parse::<Issuer>().unwrap_err().to_string();
            assert!(error.contains("in clear"), "{error}");
        }
    }

    #[test]
    fn each_path_has_its_own_address() {
        let issuer: Issuer = "http://127.0.0.1:7480".parse().unwrap();
        let address = issuer.address(Path::Write, &"desk".parse().unwrap());
        assert_eq!(address, "http://127.0.0.1:7480/write/mcp/desk");
        assert_eq!(issuer.token_endpoint(), "http://127.0.0.1:7480/oauth/token");
    }
}
