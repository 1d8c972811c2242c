//! An authority of a trust domain: makes its own certificate once, and SVIDs under it.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carnet_core::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm,
};
use serde_json::{Value, json};

use crate::signing::{KeyUse, SigningKey};
use crate::spiffe::{SpiffeId, TrustDomain};
use crate::x509::read::Certificate;
use crate::x509::{X509_BACKDATED_S, X509_SVID_TTL_S_MAX, X509Error};

/// How long an authority's certificate is good: longer than anybody keeps its key.
pub const AUTHORITY_TTL_S: i64 = 10 * 365 * 24 * 3600;
/// The last second certificates can name: the end of the year 9999.
const LAST_S: u64 = 253_402_300_799;
/// Who certificates say they are of. Nobody decides anything on it.
const ORGANIZATION: &str = "Carnet";

/// A key of a trust domain and its self-signed certificate. The certificate is made once and kept
/// with the key: everybody who trusts it trusts these bytes.
pub struct X509Authority {
    key: SigningKey,
    certificate: Vec<u8>,
    domain: TrustDomain,
}

/// An SVID as issued: public, its key is apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedX509 {
    /// The certificate, in DER.
    pub certificate: Vec<u8>,
    /// When it ends.
    pub expires: Timestamp,
}

impl X509Authority {
    /// Makes the certificate of `key` for `domain`, to be kept with the key.
    pub fn certify(
        key: &SigningKey,
        domain: &TrustDomain,
        serial: u128,
        now: Timestamp,
    ) -> Result<Vec<u8>, X509Error> {
        let uri = domain.id();
        let life = (now.plus_s(-X509_BACKDATED_S), now.plus_s(AUTHORITY_TTL_S));
        let mut params = params(&uri, serial, life)?;
        params.distinguished_name.push(DnType::CommonName, key.kid());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let made = params.self_signed(&Signer(key)).map_err(|_| X509Error::Issue)?;
        Ok(made.der().to_vec())
    }

    /// The authority of a key and the certificate that was made for it.
    pub fn of(
        key: SigningKey,
        certificate: Vec<u8>,
        domain: &TrustDomain,
    ) -> Result<Self, X509Error> {
        let read = Certificate::read(&certificate)?;
        read.check_authority()?;
        if read.uri()? != domain.id() {
            return Err(X509Error::WrongTrustDomain);
        }
        match read.point == key.public_point() && key.key_use() == KeyUse::X509Authority {
            true => Ok(Self { key, certificate, domain: domain.clone() }),
            false => Err(X509Error::OtherKey),
        }
    }

    /// Issues an SVID for `id` over the public half of `leaf`, good for `ttl_s` from now.
    pub fn issue(
        &self,
        leaf: &SigningKey,
        id: &SpiffeId,
        serial: u128,
        now: Timestamp,
        ttl_s: i64,
    ) -> Result<IssuedX509, X509Error> {
        if id.trust_domain() != &self.domain {
            return Err(X509Error::WrongTrustDomain);
        }
        if leaf.key_use() != KeyUse::X509Svid || !(1..=X509_SVID_TTL_S_MAX).contains(&ttl_s) {
            return Err(X509Error::Issue);
        }
        let expires = Timestamp::from_s(now.s()).plus_s(ttl_s);
        let mut params = params(id.as_str(), serial, (now.plus_s(-X509_BACKDATED_S), expires))?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let above = self.above();
        let issuer = Issuer::from_params(&above, Signer(&self.key));
        let made = params.signed_by(&Signer(leaf), &issuer).map_err(|_| X509Error::Issue)?;
        Ok(IssuedX509 { certificate: made.der().to_vec(), expires })
    }

    /// Its certificate, in DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The name of its key.
    pub fn kid(&self) -> &str {
        self.key.kid()
    }

    /// It as a key of a SPIFFE bundle: `use` is `x509-svid`, with its one certificate and no `kid`.
    pub fn to_jwk(&self) -> Value {
        let mut jwk = self.key.public_members();
        jwk.insert("use".to_owned(), KeyUse::X509Authority.jwk_use().into());
        jwk.insert("x5c".to_owned(), json!([STANDARD.encode(&self.certificate)]));
        Value::Object(jwk)
    }

    /// What an SVID says of who issued it: the same name as in the certificate.
    fn above(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = organization();
        params.distinguished_name.push(DnType::CommonName, self.key.kid());
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    }
}

impl fmt::Debug for X509Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X509Authority({}, {})", self.domain, self.kid())
    }
}

/// What every certificate of ours has.
fn params(
    uri: &str,
    serial: u128,
    (from, until): (Timestamp, Timestamp),
) -> Result<CertificateParams, X509Error> {
    let mut params = CertificateParams::default();
    let uri = uri.to_owned().try_into().map_err(|_| X509Error::Issue)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.distinguished_name = organization();
    // A positive number of at most 16 octets, never zero (RFC 5280, section 4.1.2.2).
    let serial = (serial >> 1).max(1);
    params.serial_number = Some(SerialNumber::from_slice(&serial.to_be_bytes()));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(from)?;
    params.not_after = epoch + since_epoch(until)?;
    Ok(params)
}

fn organization() -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, ORGANIZATION);
    name
}

fn since_epoch(time: Timestamp) -> Result<Duration, X509Error> {
    match u64::try_from(time.s()) {
        Ok(s) if s <= LAST_S => Ok(Duration::from_secs(s)),
        _ => Err(X509Error::Issue),
    }
}

/// A key as the maker of certificates wants it.
struct Signer<'a>(&'a SigningKey);

impl PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(KeyUse::X509Authority, message);
        signature.ok().and_then(|fixed| to_der(&fixed)).ok_or(rcgen::Error::RemoteKeyError)
    }
}

/// An ECDSA signature as X.509 writes it: a sequence of two numbers (RFC 3279, section 2.2.3).
fn to_der(fixed: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = fixed.split_at_checked(fixed.len() / 2)?;
    let body = [number(r)?, number(s)?].concat();
    let length = u8::try_from(body.len()).ok().filter(|length| *length < 0x80)?;
    Some([vec![0x30, length], body].concat())
}

/// A positive number, in as few octets as it takes.
fn number(bytes: &[u8]) -> Option<Vec<u8>> {
    let start = bytes.iter().position(|b| *b != 0)?;
    let digits = bytes.get(start..)?;
    let sign = digits.first().is_some_and(|b| *b >= 0x80);
    let length = u8::try_from(digits.len() + usize::from(sign)).ok()?;
    let mut number = vec![0x02, length];
    number.extend(sign.then_some(0));
    number.extend_from_slice(digits);
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_two_numbers_in_as_few_octets_as_it_takes() {
        let mut fixed = [0u8; 64];
        (fixed[31], fixed[32]) = (1, 0x80);
        let der = to_der(&fixed).unwrap();
        assert_eq!(der[..6], [0x30, 38, 0x02, 1, 1, 0x02]);
        assert_eq!(der[6..9], [33, 0, 0x80]);
        assert!(to_der(&[0; 64]).is_none() && to_der(&[]).is_none());
    }
}
