//! The X.509 authorities among the keys: what they vouch for, and what is published of them.

use std::sync::Arc;

use carnet_core::Timestamp;
use carnet_identity::{SigningKey, X509Authority, X509Bundles};
use serde_json::Value;

use super::{KeyPurpose, KeyRecord, missing};
use crate::broker::Broker;
use crate::clock::fresh_bits;
use crate::error::BrokerError;

impl Broker {
    /// The authorities X.509-SVIDs are verified with, by trust domain.
    pub fn x509_bundles(&self) -> Arc<X509Bundles> {
        self.ring.load().x509_bundles()
    }

    /// The SPIFFE bundle of the built-in trust domain: the keys of both kinds of SVID.
    pub fn spiffe_bundle(&self, sequence: u64, refresh_hint_s: u64) -> Value {
        let ring = self.ring.load();
        let mut bundle =
            ring.verifying(KeyPurpose::JwtSvid).spiffe_bundle(sequence, refresh_hint_s);
        if let Some(keys) = bundle.get_mut("keys").and_then(Value::as_array_mut) {
            keys.extend(ring.authorities().map(|authority| authority.to_jwk()));
        }
        bundle
    }

    /// The authority that issues X.509-SVIDs now.
    pub(crate) fn x509_authority(&self) -> Result<Arc<X509Authority>, BrokerError> {
        let authority = self.ring.load().authority(self.now().wall);
        authority.ok_or_else(|| missing(KeyPurpose::X509Svid))
    }

    /// The record with a certificate, where its key needs one.
    pub(super) fn certified(
        &self,
        record: KeyRecord,
        key: &SigningKey,
        now: Timestamp,
    ) -> Result<KeyRecord, BrokerError> {
        if record.purpose != KeyPurpose::X509Svid {
            return Ok(record);
        }
        let certificate = X509Authority::certify(key, &self.trust_domain, fresh_bits(), now);
        let certificate = certificate.map_err(|error| BrokerError::Key(error.to_string()))?;
        Ok(record.certified(&certificate))
    }
}
