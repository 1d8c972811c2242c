//! The messages of the X.509 profile of `workload.proto`. Those that hold a key have no `Debug`.

use std::collections::BTreeMap;

use prost::Message;

/// A request for SVIDs.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct X509SvidRequest {}

/// The SVIDs issued.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct X509SvidResponse {
    /// One for each identity.
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<X509SvidMessage>,
    /// Lists of revoked certificates; none: what is revoked loses its authority or its agent.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) crl: Vec<Vec<u8>>,
    /// Bundles of other trust domains, by their SPIFFE IDs.
    #[prost(btree_map = "string, bytes", tag = "3")]
    pub(crate) federated_bundles: BTreeMap<String, Vec<u8>>,
}

/// One SVID with its key.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct X509SvidMessage {
    /// Whose it is.
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    /// The certificate and those above it but the authority's, in DER, one after the other.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) x509_svid: Vec<u8>,
    /// Its key, in PKCS#8.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) x509_svid_key: Vec<u8>,
    /// The authorities of its trust domain, in DER, one after the other.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) bundle: Vec<u8>,
    /// Which of several it is: the agent's name.
    #[prost(string, tag = "5")]
    pub(crate) hint: String,
}

/// A request for the bundles.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct X509BundlesRequest {}

/// The bundles.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct X509BundlesResponse {
    /// Lists of revoked certificates; none.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) crl: Vec<Vec<u8>>,
    /// Authorities in DER by the SPIFFE ID of their trust domain.
    #[prost(btree_map = "string, bytes", tag = "2")]
    pub(crate) bundles: BTreeMap<String, Vec<u8>>,
}
