//! The keys in use, opened: read at every token, replaced when a key comes or goes.

use std::sync::Arc;

use carnet_core::Timestamp;
use carnet_identity::{
    KeySet, SigningKey, TrustBundles, TrustDomain, X509Authority, X509Bundle, X509Bundles,
};

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
    client: Arc<KeySet>,
    bundles: Arc<TrustBundles>,
    /// In the order they sign.
    authorities: Vec<(Timestamp, Arc<X509Authority>)>,
    x509: Arc<X509Bundles>,
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
        Self::of(Arc::default(), Vec::new(), Vec::new(), domain, 0)
    }

    /// The ring of `records`, or the first that does not open.
    pub(crate) fn open(
        records: Arc<Keys>,
        vault: &Vault,
        domain: &TrustDomain,
        changes: u64,
    ) -> Result<Self, BrokerError> {
        let there = records.values().filter(|record| record.removed_at.is_none());
        let (mut signing, mut authorities) = (Vec::new(), Vec::new());
        for record in there {
            let (purpose, from) = (record.purpose, record.signs_from);
            let key = record.open(vault)?;
            match purpose {
                KeyPurpose::X509Svid => {
                    authorities.push((from, Arc::new(record.authority(key, domain)?)));
                }
                _ => signing.push(Signing { purpose, from, key }),
            }
        }
        signing.sort_by_key(|signing| (signing.from, signing.key.kid().to_owned()));
        authorities.sort_by_key(|(from, authority)| (*from, authority.kid().to_owned()));
        Ok(Self::of(Arc::clone(&records), signing, authorities, domain, changes))
    }

    fn of(
        records: Arc<Keys>,
        signing: Vec<Signing>,
        authorities: Vec<(Timestamp, Arc<X509Authority>)>,
        domain: &TrustDomain,
        changes: u64,
    ) -> Self {
        let of_purpose = |purpose| {
            let keys = signing.iter().filter(|signing| signing.purpose == purpose);
            // Names are unique here; were one refused, nothing would verify.
            let set = KeySet::from_keys(keys.map(|signing| signing.key.verifying_key()));
            Arc::new(set.unwrap_or_default())
        };
        let (access, svid) = (of_purpose(KeyPurpose::AccessToken), of_purpose(KeyPurpose::JwtSvid));
        let federation = of_purpose(KeyPurpose::Federation);
        let delegation = of_purpose(KeyPurpose::Delegation);
        let client = of_purpose(KeyPurpose::Client);
        let bundles = Arc::new(TrustBundles::from([(domain.clone(), KeySet::clone(&svid))]));
        let certificates = authorities.iter().map(|(_, authority)| authority.certificate());
        // Each was read when it was opened; were one refused now, none would vouch.
        let x509 = X509Bundle::of(certificates).unwrap_or_default();
        let x509 = Arc::new(X509Bundles::from([(domain.clone(), Arc::new(x509))]));
        Self {
            records,
            signing,
            access,
            svid,
            federation,
            delegation,
            client,
            bundles,
            authorities,
            x509,
            changes,
        }
    }

    /// Whether it is the ring of exactly these records.
    pub(crate) fn is_of(&self, records: &Arc<Keys>) -> bool {
        Arc::ptr_eq(&self.records, records) || self.records == *records
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn verifying(&self, purpose: KeyPurpose) -> Arc<KeySet> {
        match purpose {
            KeyPurpose::AccessToken => Arc::clone(&self.access),
            KeyPurpose::JwtSvid => Arc::clone(&self.svid),
            KeyPurpose::Federation => Arc::clone(&self.federation),
            KeyPurpose::Delegation => Arc::clone(&self.delegation),
            KeyPurpose::Client => Arc::clone(&self.client),
            // Nothing that is signed with these is a token.
            KeyPurpose::X509Svid => Arc::default(),
        }
    }

    pub(crate) fn bundles(&self) -> Arc<TrustBundles> {
        Arc::clone(&self.bundles)
    }

    pub(crate) fn x509_bundles(&self) -> Arc<X509Bundles> {
        Arc::clone(&self.x509)
    }

    pub(crate) fn authorities(&self) -> impl Iterator<Item = &Arc<X509Authority>> {
        self.authorities.iter().map(|(_, authority)| authority)
    }

    /// The authority that issues at `now`, found as the key that signs is.
    pub(crate) fn authority(&self, now: Timestamp) -> Option<Arc<X509Authority>> {
        let come = self.authorities.iter().take_while(|(from, _)| *from <= now).last();
        come.or(self.authorities.first()).map(|(_, authority)| Arc::clone(authority))
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
