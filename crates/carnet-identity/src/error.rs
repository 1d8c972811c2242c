//! What can be wrong with a token, a key or a request to mint. No message holds any part of a
//! token: problems are named from a fixed list, so an error can be logged and shown as it is.

/// Why a token or a proof was refused.
///
/// `Display` is for the operator; callers are told [`TokenError::code`] and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than its kind may be.
    #[error("the token is longer than {bytes_max} bytes, the most its kind may have")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// Not a compact JWS of strict base64url and strict JSON.
    #[error("the token's {part} {problem}")]
    Malformed {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A token of another kind.
    #[error("the token's `typ` is not that of {expected}; a token is good in one place only")]
    WrongType {
        /// The kind wanted here.
        expected: &'static str,
    },
    /// A header that is not known or never allowed here.
    #[error("the token's header {problem}")]
    HeaderRefused {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// `none`, a symmetric algorithm, one not for this kind, or not the key's own.
    #[error("the token's `alg` is not the one its key is pinned to, or not allowed for its kind")]
    AlgorithmRefused,
    /// No `kid`.
    #[error("the token names no key: `kid` is missing or not a plain text")]
    KeyMissing,
    /// A `kid` no key has.
    #[error("the token's `kid` is not in the key set; if keys have rotated, refresh it once")]
    KeyUnknown,
    /// The key is for another kind of token.
    #[error("the key the token names is for another kind of token")]
    KeyUseRefused,
    /// The signature is not the key's over these bytes.
    #[error("the token's signature does not verify")]
    Signature,
    /// A claim is missing or has a value it may not have.
    #[error("the token's claim `{name}` {problem}")]
    Claim {
        /// Which claim.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Past its `exp`.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lie ahead of our clock by more than the skew allowed.
    #[error("the token is not valid yet; compare the clocks of issuer and verifier")]
    NotYetValid,
    /// Longer-lived than its kind may be.
    #[error("the token's life is longer than the {ttl_s_max} s its kind and path may have")]
    TooLongLived {
        /// The bound.
        ttl_s_max: i64,
    },
    /// Issued by someone else.
    #[error("the token's `iss` is not the issuer expected here")]
    WrongIssuer,
    /// Issued for another place.
    #[error("the token's `aud` is not exactly the audience of this place")]
    WrongAudience,
    /// The subject is not of the trust domain the keys speak for.
    #[error("the identity is not of the trust domain whose keys were used, or that is unknown")]
    WrongTrustDomain,
    /// Not bound to a key though its path demands it.
    #[error("a token without `cnf` is never valid on the write or admin path")]
    Unbound,
    /// The proof's embedded key.
    #[error("the proof's `jwk` {problem}")]
    ProofKey {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Made for another method.
    #[error("the proof's `htm` is not the method of this request")]
    ProofMethod,
    /// Made for another URL.
    #[error("the proof's `htu` is not the URL of this request")]
    ProofUrl,
    /// Made for another token, or for none where one is shown, or the reverse.
    #[error("the proof's `ath` is not that of the token it came with")]
    ProofToken,
    /// The nonce demanded is missing or not the current one.
    #[error("the proof lacks the nonce demanded here; send one made with the nonce in the answer")]
    ProofNonce,
    /// The token is bound to a key and came without a proof.
    #[error("the token is bound to a key: it needs a proof and cannot be sent as a bearer")]
    ProofMissing,
    /// The proof is another key's.
    #[error("the proof was made by another key than the one the token is bound to")]
    ProofWrongKey,
    /// The token is bound to a certificate and came over a connection without one.
    #[error("the token is bound to a client certificate: it is good over TLS with that one only")]
    CertificateMissing,
    /// The connection's certificate is another than the one the token is bound to.
    #[error("the connection's client certificate is another than the one the token is bound to")]
    CertificateDiffers,
    /// Too old or too new.
    #[error("the proof's `iat` is outside the window; compare the clocks")]
    ProofStale,
    /// We were asked to expect something impossible: a fault in our own configuration.
    #[error("this place's own {what} is not usable: correct the configuration")]
    Expectation {
        /// What is unusable.
        what: &'static str,
    },
}

impl TokenError {
    /// The stable reason code: what callers are told and what records hold.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "token_too_large",
            Self::Malformed { .. } => "token_malformed",
            Self::WrongType { .. } => "token_wrong_type",
            Self::HeaderRefused { .. } => "token_header_refused",
            Self::AlgorithmRefused => "token_algorithm_refused",
            Self::KeyMissing => "token_key_missing",
            Self::KeyUnknown => "token_key_unknown",
            Self::KeyUseRefused => "token_key_use_refused",
            Self::Signature => "token_signature",
            Self::Claim { .. } => "token_claim",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::TooLongLived { .. } => "token_too_long_lived",
            Self::WrongIssuer => "token_wrong_issuer",
            Self::WrongAudience => "token_wrong_audience",
            Self::WrongTrustDomain => "token_wrong_trust_domain",
            Self::Unbound => "token_unbound",
            Self::ProofKey { .. } => "proof_key",
            Self::ProofMethod => "proof_method",
            Self::ProofUrl => "proof_url",
            Self::ProofToken => "proof_token",
            Self::ProofNonce => "proof_nonce",
            Self::ProofMissing => "proof_missing",
            Self::ProofWrongKey => "proof_wrong_key",
            Self::ProofStale => "proof_stale",
            Self::CertificateMissing => "certificate_missing",
            Self::CertificateDiffers => "certificate_differs",
            Self::Expectation { .. } => "expectation_unusable",
        }
    }
}

/// Why a key or a key set was refused or could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The document is longer than a key set may be.
    #[error("the key set is longer than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// More keys than a set may have.
    #[error("the key set has more than {keys_max} keys")]
    TooMany {
        /// The bound.
        keys_max: usize,
    },
    /// The document is not a strict JSON key set.
    #[error("the key set {problem}")]
    Malformed {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// One key of the set is not acceptable, so the set is not.
    #[error("key {index} of the set {problem}; the whole set is refused")]
    Refused {
        /// Its place in the set, from zero.
        index: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two keys share a `kid`.
    #[error("two keys of the set have the same `kid`; the whole set is refused")]
    DuplicateKid,
    /// The PKCS#8 bytes are not a P-256 key pair.
    #[error("the bytes are not a PKCS#8 P-256 key pair")]
    NotAKeyPair,
    /// The cryptographic library failed.
    #[error("the cryptographic library could not make a key")]
    Generation,
}

impl KeyError {
    /// The stable reason code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "keys_too_large",
            Self::TooMany { .. } => "keys_too_many",
            Self::Malformed { .. } => "keys_malformed",
            Self::Refused { .. } => "keys_refused",
            Self::DuplicateKid => "keys_duplicate_kid",
            Self::NotAKeyPair => "key_not_a_pair",
            Self::Generation => "key_generation",
        }
    }
}

/// Why a token or a proof could not be minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// The key is for another kind of token.
    #[error("the signing key is for another use; this needs a key for {needed}")]
    KeyUseRefused {
        /// What the key would have to be for.
        needed: &'static str,
    },
    /// The claims would not be accepted by our own verifier.
    #[error("the claims would be refused by the verifier: {0}")]
    Claims(TokenError),
    /// The life asked for is not possible.
    #[error("a life of 1 to {ttl_s_max} s is possible here")]
    Ttl {
        /// The bound.
        ttl_s_max: i64,
    },
    /// The URL cannot be proved.
    #[error("the URL is not an absolute http or https URL in canonical form")]
    Url,
    /// The cryptographic library failed.
    #[error("the cryptographic library could not sign")]
    Signing,
}

impl MintError {
    /// The stable reason code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::KeyUseRefused { .. } => "mint_key_use_refused",
            Self::Claims(_) => "mint_claims",
            Self::Ttl { .. } => "mint_ttl",
            Self::Url => "mint_url",
            Self::Signing => "mint_signing",
        }
    }
}
