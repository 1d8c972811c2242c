//! One certificate, read once into what is asked of it.

use carnet_core::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::thumbprint::Thumbprint;
use crate::x509::{CERTIFICATE_BYTES_MAX, X509Error};

/// What a certificate says, before anybody vouches for it.
pub(super) struct Certificate {
    /// SHA-256 over the whole of it.
    pub(super) digest: Thumbprint,
    /// SHA-256 over its key (SubjectPublicKeyInfo).
    pub(super) key: Thumbprint,
    /// Its key as the algorithm writes it: a point, for an elliptic curve.
    pub(super) point: Vec<u8>,
    /// The URIs it names.
    pub(super) uris: Vec<String>,
    pub(super) is_authority: bool,
    pub(super) usage: Option<Usage>,
    /// Whether it is for both sides of TLS, where it says what it is for.
    pub(super) is_for_both_sides: Option<bool>,
    pub(super) begins: Timestamp,
    pub(super) expires: Timestamp,
}

/// What its key may do.
pub(super) struct Usage {
    pub(super) is_critical: bool,
    pub(super) signs: bool,
    pub(super) issues: bool,
}

impl Certificate {
    /// Reads exactly one certificate.
    pub(super) fn read(der: &[u8]) -> Result<Self, X509Error> {
        if der.is_empty() || der.len() > CERTIFICATE_BYTES_MAX {
            return Err(X509Error::Size);
        }
        let (rest, certificate) =
            x509_parser::parse_x509_certificate(der).map_err(|_| X509Error::Malformed)?;
        match rest.is_empty() {
            true => Self::of(der, &certificate),
            false => Err(X509Error::Malformed),
        }
    }

    fn of(der: &[u8], certificate: &X509Certificate<'_>) -> Result<Self, X509Error> {
        let malformed = |_| X509Error::Malformed;
        let constraints = certificate.basic_constraints().map_err(malformed)?;
        let purposes = certificate.extended_key_usage().map_err(malformed)?;
        let public = certificate.public_key();
        Ok(Self {
            digest: Thumbprint::of_bytes(der),
            key: Thumbprint::of_bytes(public.raw),
            point: public.subject_public_key.data.to_vec(),
            uris: uris(certificate)?,
            is_authority: constraints.is_some_and(|constraints| constraints.value.ca),
            usage: usage(certificate)?,
            is_for_both_sides: purposes.map(|it| it.value.client_auth && it.value.server_auth),
            begins: Timestamp::from_s(certificate.validity().not_before.timestamp()),
            expires: Timestamp::from_s(certificate.validity().not_after.timestamp()),
        })
    }

    /// Whether it can vouch for others.
    pub(super) fn check_authority(&self) -> Result<(), X509Error> {
        let issues = self.usage.as_ref().is_some_and(|usage| usage.issues);
        if self.is_authority && issues { Ok(()) } else { Err(X509Error::Authority) }
    }

    /// The one URI there must be.
    pub(super) fn uri(&self) -> Result<&str, X509Error> {
        match self.uris.as_slice() {
            [one] => Ok(one),
            _ => Err(X509Error::Identity),
        }
    }
}

fn uris(certificate: &X509Certificate<'_>) -> Result<Vec<String>, X509Error> {
    let names = certificate.subject_alternative_name().map_err(|_| X509Error::Malformed)?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(Ok((*uri).to_owned())),
        GeneralName::Invalid(..) => Some(Err(X509Error::Malformed)),
        _ => None,
    });
    uris.collect()
}

fn usage(certificate: &X509Certificate<'_>) -> Result<Option<Usage>, X509Error> {
    let usage = certificate.key_usage().map_err(|_| X509Error::Malformed)?;
    Ok(usage.map(|usage| Usage {
        is_critical: usage.critical,
        signs: usage.value.digital_signature(),
        issues: usage.value.key_cert_sign(),
    }))
}
