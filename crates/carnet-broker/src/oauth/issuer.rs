//! The issuer: the one origin agents reach Carnet at, from which every address is built. Nothing
//! is ever built from a request's own `Host`.

use axum::http::Uri;
use carnet_core::{Path, ResourceName};

/// What a resource behind the MCP gateway is addressed by.
pub(crate) const MCP: &str = "mcp";
/// What a federation target is addressed by.
pub(crate) const FEDERATION: &str = "federation";

/// The configured issuer, read once.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    text: String,
    authority: String,
    port_default: &'static str,
}

/// Why a text cannot be the issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the issuer `{text}` {problem}; write the origin agents reach Carnet at, such as `https://carnet.example`"
)]
pub struct IssuerError {
    text: String,
    problem: &'static str,
}

impl Issuer {
    /// Reads an issuer: `http` or `https`, a host in lower case, perhaps a port, and nothing else.
    /// It has one spelling, because clients compare it byte for byte.
    pub(crate) fn parse(text: &str) -> Result<Self, IssuerError> {
        let refused = |problem| IssuerError { text: text.chars().take(200).collect(), problem };
        let (scheme, authority) =
            text.split_once("://").ok_or_else(|| refused("is not an absolute URL"))?;
        let port_default = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return Err(refused("is neither http nor https")),
        };
        if authority.contains(['/', '?', '#']) {
            return Err(refused("has a path, query or fragment, or a trailing slash"));
        }
        let uri: Uri = text.parse().map_err(|_| refused("is not a URL"))?;
        let host = uri.host().unwrap_or_default();
        if host.is_empty() || authority.contains('@') {
            return Err(refused("has no host, or a user"));
        }
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(refused("is not in lower case"));
        }
        if authority.ends_with(port_default) || authority.ends_with(':') {
            return Err(refused("spells out the default port"));
        }
        Ok(Self { text: text.to_owned(), authority: authority.to_owned(), port_default })
    }

    /// The issuer as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `authority`, as a request has it, is the issuer's.
    pub(crate) fn is_authority(&self, authority: &str) -> bool {
        let plain = authority.strip_suffix(self.port_default).unwrap_or(authority);
        plain.eq_ignore_ascii_case(&self.authority)
    }

    /// The path and resource that `resource` addresses, where it is one of ours behind a gateway.
    #[cfg(test)]
    pub(crate) fn target(&self, resource: &str) -> Option<(Path, ResourceName)> {
        self.target_of(resource, MCP)
    }

    /// The path and resource that `resource` addresses, where it is one of ours that speaks
    /// `protocol`. Scheme and host may be in upper case; everything else has one spelling.
    pub(crate) fn target_of(&self, resource: &str, protocol: &str) -> Option<(Path, ResourceName)> {
        let (origin, rest) = resource.split_at_checked(self.text.len())?;
        if !origin.eq_ignore_ascii_case(&self.text) {
            return None;
        }
        let (path, rest) = rest.strip_prefix('/')?.split_once('/')?;
        let name = rest.strip_prefix(protocol)?.strip_prefix('/')?;
        Some((path.parse().ok()?, name.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_origin_in_one_spelling() {
        for text in [
            "https://carnet.example",
            "http://127.0.0.1:8700",
            "http://[::1]:8700",
            "https://carnet.example:8443",
        ] {
            assert_eq!(Issuer::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "carnet.example",
            "ftp://carnet.example",
            "https://",
            "https://carnet.example/",
            "https://carnet.example/a",
            "https://carnet.example?a",
            "https://carnet.example#a",
            "https://Carnet.example",
            "HTTPS://carnet.example",
            "https://u@carnet.example",
            "https://carnet.example:443",
            "http://carnet.example:80",
            "https://carnet.example:",
            "https://carnet .example",
        ] {
            assert!(Issuer::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_our_own_audiences_are_targets() {
        let issuer = Issuer::parse("https://carnet.example").unwrap();
        let (path, name) = issuer.target("HTTPS://Carnet.Example/write/mcp/desk").unwrap();
        assert_eq!((path, name.as_str()), (Path::Write, "desk"));
        for text in [
            "",
            "https://carnet.example",
            "https://carnet.example/",
            "https://carnet.example/read/mcp/",
            "https://carnet.example/read/mcp/desk/",
            "https://carnet.example/read/mcp/desk?a",
            "https://carnet.example/read/mcp/desk#a",
            "https://carnet.example/READ/mcp/desk",
            "https://carnet.example/read/MCP/desk",
            "https://carnet.example/read/mcp/Desk",
            "https://carnet.example/read/mcp/../desk",
            "https://carnet.example//read/mcp/desk",
            "https://carnet.example/delete/mcp/desk",
            "https://carnet.example:443/read/mcp/desk",
            "https://carnet.example.evil/read/mcp/desk",
            "https://carnet.example@evil/read/mcp/desk",
            "http://carnet.example/read/mcp/desk",
            "https://carnet.exampl\u{e9}/read/mcp/desk",
        ] {
            assert!(issuer.target(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn the_authority_may_name_the_default_port_and_no_other() {
        let issuer = Issuer::parse("https://carnet.example").unwrap();
        for same in ["carnet.example", "CARNET.example", "carnet.example:443"] {
            assert!(issuer.is_authority(same), "{same}");
        }
        for other in ["", "carnet.example:80", "carnet.example:8443", "evil", "carnet.example."] {
            assert!(!issuer.is_authority(other), "{other}");
        }
    }
}
