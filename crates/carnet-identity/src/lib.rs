//! Who is asking: verify and mint identities and tokens.
//!
//! Everything here is a pure function of bytes, keys and the time handed in. Four kinds of token
//! of ours exist, each with its own `typ`, its own keys and its own place, and each is refused everywhere
//! else: a *JWT-SVID* says who an agent is and grants nothing; an *access token* (`at+jwt`) is one
//! task, one audience, one path, bound to one key; a *proof* (`dpop+jwt`) shows that whoever sends
//! the token holds that key; a *delegation token* (`carnet-delegation+jwt`) tells one agent that another
//! handed a task on to it.
//!
//! All of them are read by one strict reader (`jws`): compact form only, strict base64url, no
//! duplicate members, bounded size and depth, algorithm pinned to the key that `kid` names.
//!
//! What this crate does *not* do: fetch keys, keep keys on disk, remember which task is live, or
//! decide anything. A verified token says only that it was issued; whether its task still lives is
//! asked of the snapshot at every call.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable
    )
)]

mod access;
mod algorithm;
mod assertion;
mod cache;
mod claims;
mod delegation;
mod dpop;
mod error;
mod federation;
mod foreign;
mod fuzz;
mod htu;
mod json;
mod jwk;
mod jws;
mod keyset;
mod pair;
mod replay;
mod signing;
mod spiffe;
mod svid;
mod thumbprint;
mod verifying;
mod x509;

#[cfg(test)]
mod wycheproof;

pub use access::{
    AccessClaims, Act, Confirmation, ExpectedAccess, Possession, mint_access, verify_access,
    verify_issued,
};
pub use assertion::{CLIENT_ASSERTION_TTL_S, mint_client_assertion};
pub use cache::{TokenCache, Verified};
pub use delegation::{
    DELEGATION_TTL_S_MAX, DelegationClaims, MayAct, VerifiedDelegation, mint_delegation,
    verify_delegation,
};
pub use dpop::{DpopKey, DpopProof, ExpectedDpop, verify_dpop};
pub use error::{KeyError, MintError, TokenError};
pub use federation::{AwsTags, FEDERATION_TTL_S_MAX, FederationClaims, mint_federation};
pub use foreign::{
    ExpectedForeign, FOREIGN_TTL_S_MAX, ForeignClaims, ForeignKind, claimed_issuer,
    claimed_subject, verify_foreign,
};
#[doc(hidden)]
pub use fuzz::fuzz_token;
pub use keyset::{KeySet, SpiffeBundle};
pub use replay::{ReplayCache, ReplayError};
pub use signing::{KeyUse, SigningKey};
pub use spiffe::{SpiffeError, SpiffeId, TrustDomain};
pub use svid::{
    Svid, TrustBundles, claimed_trust_domain, mint_svid, verify_client_assertion, verify_svid,
};
pub use thumbprint::{Thumbprint, ThumbprintError};
pub use verifying::VerifyingKey;
pub use x509::{
    AUTHORITY_TTL_S, IssuedX509, X509_BACKDATED_S, X509_SVID_TTL_S_MAX, X509Authority, X509Bundle,
    X509Bundles, X509Error, X509Svid, verify_x509_svid,
};

/// How far ahead of our clock another's may run: `iat` and `nbf` may lie this far in the future.
/// There is no leeway the other way; a token is dead at its `exp`.
pub const CLOCK_SKEW_S_MAX: i64 = 5;
/// The longest life of a JWT-SVID we mint or take as a client assertion.
pub const ASSERTION_TTL_S_MAX: i64 = 300;
/// The longest life left in a JWT-SVID we accept at all.
pub const SVID_TTL_S_MAX: i64 = 3600;
/// How far a proof's `iat` may lie from our clock, on either side.
pub const DPOP_WINDOW_S: i64 = 60;
