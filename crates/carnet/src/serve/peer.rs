//! Client certificates on the agents' listener: asked for, never required, and verified as X.509-SVIDs
//! by SPIFFE's rules. No certificate a system trusts counts, no host name does, and no header.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use carnet_broker::Broker;
use carnet_core::Timestamp;
use carnet_identity::{X509Bundles, X509Error, X509Svid, verify_x509_svid};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

/// How often a connection's certificate is looked at where nobody asks for anything.
const LOOK: Duration = Duration::from_secs(1);

/// Who vouches for clients, at this moment.
pub(crate) trait Vouches: Send + Sync + 'static {
    /// The authorities, by trust domain.
    fn bundles(&self) -> Arc<X509Bundles>;
    /// The time.
    fn now(&self) -> Timestamp;
}

impl Vouches for Broker {
    fn bundles(&self) -> Arc<X509Bundles> {
        self.x509_bundles()
    }

    fn now(&self) -> Timestamp {
        Self::now(self).wall
    }
}

/// Verifies client certificates in handshakes.
pub(crate) struct SvidVerifier {
    vouches: Arc<dyn Vouches>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl SvidVerifier {
    pub(crate) fn new(vouches: Arc<dyn Vouches>) -> Self {
        let algorithms =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { vouches, algorithms }
    }
}

impl fmt::Debug for SvidVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SvidVerifier")
    }
}

impl ClientCertVerifier for SvidVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Authorities come and go while the listener lives.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        verify(chain, &*self.vouches).map(|_| ClientCertVerified::assertion()).map_err(|error| {
            tracing::info!(code = error.code(), "a client certificate was refused");
            rustls::Error::InvalidCertificate(of(error))
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn verify<'a, 'b: 'a>(
    chain: impl Iterator<Item = &'a CertificateDer<'b>>,
    vouches: &dyn Vouches,
) -> Result<X509Svid, X509Error> {
    let chain: Vec<&[u8]> = chain.map(AsRef::as_ref).collect();
    verify_x509_svid(&chain, &vouches.bundles(), vouches.now())
}

/// The alert a client is told with.
const fn of(error: X509Error) -> CertificateError {
    match error {
        X509Error::Expired => CertificateError::Expired,
        X509Error::NotYetValid => CertificateError::NotValidYet,
        X509Error::Chain | X509Error::WrongTrustDomain => CertificateError::UnknownIssuer,
        X509Error::Malformed | X509Error::Size => CertificateError::BadEncoding,
        _ => CertificateError::ApplicationVerificationFailure,
    }
}

/// The client at the other end of one connection, which showed a certificate.
#[derive(Clone)]
pub(crate) struct Peer {
    svid: X509Svid,
    vouches: Arc<dyn Vouches>,
}

/// Why a client is not the one it was any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Its certificate ended.
    Expired,
    /// Its authority was taken away.
    Withdrawn,
}

impl Peer {
    /// The client of a connection. It is verified again here, because a resumed session brings the
    /// certificate of the one before without a word from the verifier.
    pub(crate) fn of(
        chain: Option<&[CertificateDer<'static>]>,
        vouches: &Arc<dyn Vouches>,
    ) -> Result<Option<Self>, X509Error> {
        let Some(chain) = chain else { return Ok(None) };
        let svid = verify(chain.iter(), &**vouches)?;
        Ok(Some(Self { svid, vouches: Arc::clone(vouches) }))
    }

    /// Tells of the client beside `request`, where it is still the one it was.
    pub(crate) fn tell<Body>(&self, request: &mut http::Request<Body>) {
        if self.over().is_none() {
            request.extensions_mut().insert(self.svid.clone());
        }
    }

    /// Waits until the client is not the one it was.
    pub(crate) async fn is_over(&self) -> Over {
        loop {
            if let Some(over) = self.over() {
                return over;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn over(&self) -> Option<Over> {
        let now = self.vouches.now();
        if now >= self.svid.expires {
            return Some(Over::Expired);
        }
        let is_good = self.svid.is_good(&self.vouches.bundles(), now);
        (!is_good).then_some(Over::Withdrawn)
    }
}
