//! What can be wrong with a certificate. No message holds any part of one.

/// Why a certificate or a chain of them was refused, or could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509Error {
    /// A certificate or a chain is longer than it may be, or empty.
    #[error("there is no certificate, one is too long, or there are too many of them")]
    Size,
    /// Not one DER certificate, or an extension of it is malformed or there twice.
    #[error("the certificate is not strict DER of one X.509 certificate")]
    Malformed,
    /// Not exactly one URI name, or that is no SPIFFE ID.
    #[error("the certificate does not name exactly one SPIFFE ID, as its only URI")]
    Identity,
    /// A leaf that could issue, or an issuer that could not.
    #[error("the certificate is a CA's where it must be a workload's, or the other way round")]
    Authority,
    /// The key may not be used for this.
    #[error(
        "the certificate's key usage is not a workload's: critical, and to sign digitally only"
    )]
    KeyUsage,
    /// It is not for both sides of TLS.
    #[error("the certificate's extended key usage lacks client or server authentication")]
    ExtendedKeyUsage,
    /// No bundle of its trust domain is known.
    #[error("no bundle of the certificate's trust domain is known, or it is another's")]
    WrongTrustDomain,
    /// No authority of its trust domain signed it.
    #[error("no authority of the certificate's trust domain vouches for it")]
    Chain,
    /// Past its end.
    #[error("the certificate, or one above it, has expired")]
    Expired,
    /// Before its beginning.
    #[error("the certificate, or one above it, is not valid yet; compare the clocks")]
    NotYetValid,
    /// The key is not the certificate's.
    #[error("the certificate belongs to another key")]
    OtherKey,
    /// It cannot be made: a life that is not possible, or a key for something else.
    #[error(
        "the certificate cannot be made: the key is for another use, or its life is not possible"
    )]
    Issue,
    /// A bundle that is not read.
    #[error("the bundle is not one of X.509 authorities: {problem}")]
    Bundle {
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl X509Error {
    /// The stable reason code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Size => "certificate_size",
            Self::Malformed => "certificate_malformed",
            Self::Identity => "certificate_identity",
            Self::Authority => "certificate_authority",
            Self::KeyUsage => "certificate_key_usage",
            Self::ExtendedKeyUsage => "certificate_extended_key_usage",
            Self::WrongTrustDomain => "certificate_wrong_trust_domain",
            Self::Chain => "certificate_chain",
            Self::Expired => "certificate_expired",
            Self::NotYetValid => "certificate_not_yet_valid",
            Self::OtherKey => "certificate_other_key",
            Self::Issue => "certificate_issue",
            Self::Bundle { .. } => "certificate_bundle",
        }
    }
}
