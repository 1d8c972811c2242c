//! The keys in use, opened: read at every token, replaced when a key comes or goes.

use std::sync::Arc;

use carnet_core::Timestamp;
use carnet_identity::{KeySet, SigningKey, TrustBundles, TrustDomain};

use super::{KeyPurpose, Keys};
use crate::error::BrokerError;
use crate::vault::Vault;

/// The keys in use.
pub(crate) struct KeyRing {
    /// The records it was opened from.
    records: Arc<Keys>,
    signing: Vec<Signing>,
    access: Arc<KeySet>,
    svid: Arc<KeySet>,
    federation: Arc<KeySet>,
    delegation: Arc<KeySet>,
    bundles: Arc<TrustBundles>,
    changes: u64,
}

struct Signing {
    purpose: KeyPurpose,
    from: Timestamp,
    key: SigningKey,
}

impl KeyRing {
    /// A ring with no key.
    pub(crate) fn empty(domain: &TrustDomain) -> Self {
        Self::of(Arc::default(), Vec::new(), domain, 0)
    }

    /// The ring of `records`, or the first that does not open.
    pub(crate) fn open(
        records: Arc<Keys>,
        vault: &Vault,
        domain: &TrustDomain,
        changes: u64,
    ) -> Result<Self, BrokerError> {
        let there = records.values().filter(|record| record.removed_at.is_none());
        let opened = there.map(|record| {
            let (purpose, from) = (record.purpose, record.signs_from);
            record.open(vault).map(|key| Signing { purpose, from, key })
        });
        let mut signing = opened.collect::<Result<Vec<_>, _>>()?;
        signing.sort_by_key(|signing| (signing.from, signing.key.kid().to_owned()));
        Ok(Self::of(Arc::clone(&records), signing, domain, changes))
    }

    fn of(records: Arc<Keys>, signing: Vec<Signing>, domain: &TrustDomain, changes: u64) -> Self {
        let of_purpose = |purpose| {
            let keys = signing.iter().filter(|signing| signing.purpose == purpose);
            // Names are unique here; were one refused, nothing would verify.
            let set = KeySet::from_keys(keys.map(|signing| signing.key.verifying_key()));
            Arc::new(set.unwrap_or_default())
        };
        let (access, svid) = (of_purpose(KeyPurpose::AccessToken), of_purpose(KeyPurpose::JwtSvid));
        let federation = of_purpose(KeyPurpose::Federation);
        let delegation = of_purpose(KeyPurpose::Delegation);
        let bundles = Arc::new(TrustBundles::from([(domain.clone(), KeySet::clone(&svid))]));
        Self { records, signing, access, svid, federation, delegation, bundles, changes }
    }

    /// Whether it is the ring of exactly these records.
    pub(crate) fn is_of(&self, records: &Arc<Keys>) -> bool {
        Arc::ptr_eq(&self.records, records) || self.records == *records
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn verifying(&self, purpose: KeyPurpose) -> Arc<KeySet> {
        Arc::clone(match purpose {
            KeyPurpose::AccessToken => &self.access,
            KeyPurpose::JwtSvid => &self.svid,
            KeyPurpose::Federation => &self.federation,
            KeyPurpose::Delegation => &self.delegation,
        })
    }

    pub(crate) fn bundles(&self) -> Arc<TrustBundles> {
        Arc::clone(&self.bundles)
    }

    /// The key that signs for `purpose` at `now`: the last whose time has come; before that, as after
    /// a clock that was set back or where the one before was removed, the first there is.
    pub(crate) fn signing(&self, purpose: KeyPurpose, now: Timestamp) -> Option<SigningKey> {
        let mut all = self.signing.iter().filter(|signing| signing.purpose == purpose);
        let first = all.next()?;
        let come = all.take_while(|signing| signing.from <= now).last();
        Some(come.unwrap_or(first).key.clone())
    }
}
