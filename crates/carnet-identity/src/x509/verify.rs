//! Whether a chain of certificates is an SVID of a trust domain that is known.

use carnet_core::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::spiffe::SpiffeId;
use crate::thumbprint::Thumbprint;
use crate::x509::bundle::Trusted;
use crate::x509::read::Certificate;
use crate::x509::{CHAIN_MAX, X509_BACKDATED_S, X509Bundles, X509Error};

/// A verified SVID: who is at the other end, and until when that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct X509Svid {
    /// Who.
    pub id: SpiffeId,
    /// SHA-256 over the certificate: what a token is bound to (`x5t#S256`, RFC 8705).
    pub certificate: Thumbprint,
    /// SHA-256 over its key (SubjectPublicKeyInfo), the same in every certificate of one key.
    pub key: Thumbprint,
    /// SHA-256 over the certificate of the authority that vouches.
    authority: Thumbprint,
    /// From when it says it is good.
    begins: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

impl X509Svid {
    /// When it was issued, as far as it tells: ours say that they are good from a little before.
    pub fn issued(&self) -> Timestamp {
        self.begins.plus_s(X509_BACKDATED_S)
    }

    /// Whether it still holds: unexpired, and its authority still one of its trust domain. Asked at
    /// every use, because a connection outlives the handshake.
    pub fn is_good(&self, bundles: &X509Bundles, now: Timestamp) -> bool {
        let bundle = bundles.get(self.id.trust_domain());
        now < self.expires && bundle.is_some_and(|bundle| bundle.vouches(&self.authority, now))
    }
}

/// Verifies a chain, the workload's own certificate first, with the authorities of the trust domain
/// it names and of no other.
pub fn verify_x509_svid(
    chain: &[&[u8]],
    bundles: &X509Bundles,
    now: Timestamp,
) -> Result<X509Svid, X509Error> {
    let (leaf, between) = chain.split_first().ok_or(X509Error::Size)?;
    if chain.len() > CHAIN_MAX {
        return Err(X509Error::Size);
    }
    let certificate = Certificate::read(leaf)?;
    let id = check_leaf(&certificate)?;
    for issuer in between {
        check_between(&Certificate::read(issuer)?, &id)?;
    }
    let bundle = bundles.get(id.trust_domain()).ok_or(X509Error::WrongTrustDomain)?;
    let mut refused = X509Error::Chain;
    for authority in bundle.authorities().iter().filter(|it| now < it.expires) {
        match vouched(leaf, between, authority, now) {
            Ok(()) => {
                return Ok(X509Svid {
                    id,
                    certificate: certificate.digest,
                    key: certificate.key,
                    authority: authority.digest,
                    begins: certificate.begins,
                    expires: certificate.expires,
                });
            }
            Err(X509Error::Chain) => {}
            Err(other) => refused = other,
        }
    }
    Err(refused)
}

/// What SPIFFE asks of a workload's certificate (X509-SVID, sections 2 to 4).
fn check_leaf(certificate: &Certificate) -> Result<SpiffeId, X509Error> {
    if certificate.is_authority {
        return Err(X509Error::Authority);
    }
    let id = certificate.uri()?.parse().map_err(|_| X509Error::Identity)?;
    match &certificate.usage {
        Some(usage) if usage.is_critical && usage.signs && !usage.issues => {}
        _ => return Err(X509Error::KeyUsage),
    }
    match certificate.is_for_both_sides {
        Some(false) => Err(X509Error::ExtendedKeyUsage),
        Some(true) | None => Ok(id),
    }
}

/// What it asks of one in between: it issues, and where it names a trust domain, the same.
fn check_between(certificate: &Certificate, id: &SpiffeId) -> Result<(), X509Error> {
    certificate.check_authority()?;
    match certificate.uris.as_slice() {
        [] => Ok(()),
        [one] if *one == id.trust_domain().id() => Ok(()),
        _ => Err(X509Error::WrongTrustDomain),
    }
}

/// Whether `authority` signed the chain, and all of it is valid now.
fn vouched(
    leaf: &[u8],
    between: &[&[u8]],
    authority: &Trusted,
    now: Timestamp,
) -> Result<(), X509Error> {
    let now_s = u64::try_from(now.s()).map_err(|_| X509Error::NotYetValid)?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now_s));
    let authority = CertificateDer::from(authority.der.as_slice());
    let anchors = [anchor_from_trusted_cert(&authority).map_err(|error| of_chain(&error))?];
    let leaf = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&leaf).map_err(|error| of_chain(&error))?;
    let between: Vec<_> = between.iter().map(|der| CertificateDer::from(*der)).collect();
    let usage = KeyUsage::client_auth();
    leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &between, time, usage, None, None)
        .map(drop)
        .map_err(|error| of_chain(&error))
}

const fn of_chain(error: &webpki::Error) -> X509Error {
    match error {
        webpki::Error::CertExpired { .. } => X509Error::Expired,
        webpki::Error::CertNotValidYet { .. } => X509Error::NotYetValid,
        _ => X509Error::Chain,
    }
}
