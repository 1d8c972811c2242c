//! X.509-SVIDs: who is at the other end of a TLS connection (SPIFFE X509-SVID).
//!
//! An *authority* is a key of a trust domain with its self-signed certificate; it issues *SVIDs*. A
//! *bundle* holds the authorities of one trust domain, and vouches for that trust domain only. No
//! certificate is ever verified with the certificates a system trusts, and no host name counts.
//!
//! Nothing here asks a clock or makes a random number: time, keys and serial numbers come in.

mod authority;
mod bundle;
mod error;
mod read;
mod verify;

pub use authority::{AUTHORITY_TTL_S, IssuedX509, X509Authority};
pub use bundle::{X509Bundle, X509Bundles};
pub use error::X509Error;
pub use verify::{X509Svid, verify_x509_svid};

/// The longest life of an X.509-SVID we issue.
pub const X509_SVID_TTL_S_MAX: i64 = 3600;
/// How far an SVID's beginning lies in the past, for clocks that run behind ours.
pub const X509_BACKDATED_S: i64 = 60;
/// The longest certificate read.
const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
/// The most certificates of one chain: the SVID and those between it and its authority.
const CHAIN_MAX: usize = 4;
/// The most authorities of one trust domain.
const AUTHORITIES_MAX: usize = 64;
