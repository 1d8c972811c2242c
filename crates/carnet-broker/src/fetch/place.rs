//! Where a document is: an address read strictly, and the hosts it may be on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;

use super::FetchError;

/// The longest address.
const URL_BYTES_MAX: usize = 2048;

/// Who chose the address, and so how far it may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The operator: anywhere, in clear on this machine only.
    Configured,
    /// Somebody else: to public addresses only, and never in clear.
    Public,
}

/// An address taken apart.
pub(super) struct Place {
    pub(super) is_tls: bool,
    pub(super) host: String,
    pub(super) authority: String,
    /// Path and query.
    pub(super) target: String,
    port: u16,
    url: String,
}

impl Place {
    pub(super) fn parse(url: &str) -> Result<Self, FetchError> {
        let shown: String = url.chars().take(200).collect();
        let refused = |problem| FetchError::Address { url: shown.clone(), problem };
        if url.len() > URL_BYTES_MAX || url.contains('#') {
            return Err(refused("is too long or has a fragment"));
        }
        let uri: Uri = url.parse().map_err(|_| refused("is not an address"))?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refused("is neither https nor http")),
        };
        let authority = uri.authority().ok_or_else(|| refused("has no host"))?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(refused("has a user, or no host"));
        }
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
        let (host, authority) = (authority.host().to_owned(), authority.as_str().to_owned());
        Ok(Self { is_tls, host, authority, target, port, url: shown })
    }

    /// The addresses of the host, all of them such that may be connected to.
    pub(super) async fn resolve(&self, reach: Reach) -> Result<Vec<SocketAddr>, FetchError> {
        let refused = |problem| FetchError::Address { url: self.url.clone(), problem };
        // Said before anybody is asked where it is.
        if reach == Reach::Public && !self.is_tls {
            return Err(refused("is not https"));
        }
        let name = self.host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((name, self.port)).await;
        let found: Vec<_> = found
            .map_err(|error| FetchError::Unreachable {
                host: self.host.clone(),
                problem: error.to_string(),
            })?
            .collect();
        // One that may not be is enough to refuse: whoever answers chooses which one comes first.
        let all = |is_good: fn(IpAddr) -> bool| found.iter().all(|it| is_good(it.ip()));
        match reach {
            Reach::Public if !all(is_public) => {
                Err(refused("leads to an address that is not public"))
            }
            Reach::Configured if !self.is_tls && !all(|ip| ip.is_loopback()) => {
                Err(refused("is not https, and beyond this machine everything is"))
            }
            _ => Ok(found),
        }
    }
}

/// Whether `ip` is an address of the public internet (IANA special-purpose registries).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !is_special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return is_public_v4(ip);
    }
    let [first, second, ..] = ip.segments();
    // Only 2000::/3 is handed out; in it, documentation, Teredo and 6to4 lead elsewhere.
    let is_global = first & 0xe000 == 0x2000;
    let is_special = (first == 0x2001 && (second == 0x0db8 || second < 0x0200))
        || first == 0x2002
        || first == 0x3fff;
    is_global && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for ip in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.1.2.3",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fec0::1",
            "100::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn an_address_is_https_or_http_with_a_host_and_no_user() {
        for url in ["https://a.example", "https://a.example:8443/b?c", "http://127.0.0.1:1/"] {
            assert!(Place::parse(url).is_ok(), "{url}");
        }
        let long = format!("https://a/{}", "b".repeat(2048));
        for url in [
            "",
            "a.example",
            "/a",
            "file:///etc/passwd",
            "https://",
            "https://u@a/",
            "https://a/#b",
            &long,
        ] {
            assert!(Place::parse(url).is_err(), "{url}");
        }
    }
}
