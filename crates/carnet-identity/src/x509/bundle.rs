//! The authorities of trust domains.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carnet_core::Timestamp;
use serde_json::Value;

use crate::json;
use crate::spiffe::TrustDomain;
use crate::thumbprint::Thumbprint;
use crate::x509::read::Certificate;
use crate::x509::{AUTHORITIES_MAX, X509Error};

/// The longest bundle read.
const BUNDLE_BYTES_MAX: usize = 1 << 20;

/// Which authorities vouch for which trust domain.
pub type X509Bundles = BTreeMap<TrustDomain, Arc<X509Bundle>>;

/// The authorities of one trust domain, in the order they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct X509Bundle {
    authorities: Vec<Trusted>,
}

/// One authority's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trusted {
    pub(super) der: Vec<u8>,
    pub(super) digest: Thumbprint,
    pub(super) expires: Timestamp,
}

impl X509Bundle {
    /// The bundle of these certificates, each a CA's.
    pub fn of(
        certificates: impl IntoIterator<Item = impl Into<Vec<u8>>>,
    ) -> Result<Self, X509Error> {
        let mut authorities = Vec::new();
        for der in certificates {
            if authorities.len() >= AUTHORITIES_MAX {
                return Err(X509Error::Bundle { problem: "it has too many authorities" });
            }
            let der = der.into();
            let certificate = Certificate::read(&der)?;
            certificate.check_authority()?;
            let (digest, expires) = (certificate.digest, certificate.expires);
            authorities.push(Trusted { der, digest, expires });
        }
        Ok(Self { authorities })
    }

    /// Reads a SPIFFE bundle (SPIFFE Trust Domain and Bundle, section 4): its `x509-svid` keys,
    /// each with exactly one certificate; keys for other uses are passed over.
    pub fn from_spiffe_bundle(bytes: &[u8]) -> Result<Self, X509Error> {
        let refused = |problem| X509Error::Bundle { problem };
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(refused("it is too long"));
        }
        let document = json::object(bytes).map_err(refused)?;
        let keys = document.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or(refused("it has no `keys`"))?;
        let ours = keys.iter().filter(|key| key.get("use") == Some(&"x509-svid".into()));
        let certificates = ours.map(|key| match key.get("x5c").and_then(Value::as_array) {
            Some(chain) => match chain.as_slice() {
                [Value::String(one)] => STANDARD.decode(one).map_err(|_| X509Error::Malformed),
                _ => Err(refused("a key of it has not exactly one certificate")),
            },
            None => Err(refused("a key of it has no certificate")),
        });
        Self::of(certificates.collect::<Result<Vec<_>, _>>()?)
    }

    /// All certificates one after the other, as the Workload API hands them out.
    pub fn to_der(&self) -> Vec<u8> {
        self.authorities.iter().flat_map(|authority| authority.der.iter().copied()).collect()
    }

    /// Whether nobody vouches.
    pub fn is_empty(&self) -> bool {
        self.authorities.is_empty()
    }

    /// Whether the authority of this certificate vouches at `now`.
    pub(super) fn vouches(&self, authority: &Thumbprint, now: Timestamp) -> bool {
        self.authorities.iter().any(|it| it.digest == *authority && now < it.expires)
    }

    pub(super) fn authorities(&self) -> &[Trusted] {
        &self.authorities
    }
}
