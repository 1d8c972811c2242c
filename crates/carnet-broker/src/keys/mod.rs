//! The keys the broker signs with: one purpose each, sealed at rest, changed without an
//! interruption.
//!
//! A key is *published* first, so that whoever keeps a copy of the key set learns it in time; then it
//! *signs*; and once another signs in its place it stays for *verifying* until all it signed has
//! expired. Where each stands follows from the times in the records and nothing else. Removing a key
//! is a brake: all it signed is refused at once.

mod record;
mod ring;
#[cfg(test)]
mod tests;
mod x509;

use std::collections::BTreeMap;
use std::sync::Arc;

use carnet_core::{Principal, Timestamp, Transport, UserName};
use carnet_identity::{KeySet, KeyUse, SigningKey, TrustBundles};
use carnet_store::{Key, Kind};
use serde_json::json;

use crate::broker::{Broker, Done};
use crate::draft::Draft;
use crate::error::BrokerError;
use crate::item::Item;
use crate::state::State;
use crate::work::sweep::carnet;

pub use record::{KeyPurpose, KeyRecord, Phase};
pub(crate) use ring::KeyRing;

/// How long a key is kept once another signs, and published before it does where it is our own
/// that read it: key sets are kept for five minutes by who fetched them, and no token that is signed
/// lives longer than that. Certificates live longer, see [`KeyPurpose::kept_s`].
pub const OVERLAP_S: i64 = 360;
/// The most keys of one purpose at a time.
const KEYS_MAX: usize = 8;

/// The keys there are, by name.
pub(crate) type Keys = BTreeMap<String, Arc<KeyRecord>>;

impl Broker {
    /// The keys there are, each with its phase now.
    pub fn keys(&self) -> Vec<(Arc<KeyRecord>, Phase)> {
        let keys = self.in_force(|state| Arc::clone(&state.keys));
        let now = self.now().wall;
        keys.values().map(|key| (Arc::clone(key), phase(&keys, key, now))).collect()
    }

    /// The keys SVIDs of the built-in trust domain are verified with.
    pub fn svid_keys(&self) -> Arc<KeySet> {
        self.ring.load().verifying(KeyPurpose::JwtSvid)
    }

    /// The keys access tokens are verified with.
    pub fn access_keys(&self) -> Arc<KeySet> {
        self.ring.load().verifying(KeyPurpose::AccessToken)
    }

    /// The keys clouds verify federation tokens with.
    pub fn federation_keys(&self) -> Arc<KeySet> {
        self.ring.load().verifying(KeyPurpose::Federation)
    }

    /// The keys delegation tokens are verified with. Nobody else verifies any: they are not published.
    pub fn delegation_keys(&self) -> Arc<KeySet> {
        self.ring.load().verifying(KeyPurpose::Delegation)
    }

    /// The keys an identity provider knows us by, as its client.
    pub fn client_keys(&self) -> Arc<KeySet> {
        self.ring.load().verifying(KeyPurpose::Client)
    }

    /// The same as [`svid_keys`](Self::svid_keys), under the name of their trust domain.
    pub(crate) fn trust_bundles(&self) -> Arc<TrustBundles> {
        self.ring.load().bundles()
    }

    /// How often the keys have changed.
    pub(crate) fn keys_changed(&self) -> u64 {
        self.ring.load().changes()
    }

    /// The key that signs for `purpose` now.
    pub(crate) fn signing_key(&self, purpose: KeyPurpose) -> Result<SigningKey, BrokerError> {
        let missing = || missing(purpose);
        self.ring.load().signing(purpose, self.now().wall).ok_or_else(missing)
    }

    /// Makes a key that takes over from the one that signs for `purpose`: after everybody has had the
    /// time to learn it, or at once.
    pub async fn rotate_key(
        &self,
        purpose: KeyPurpose,
        at_once: bool,
        by: &UserName,
    ) -> Result<(Arc<KeyRecord>, Done), BrokerError> {
        let _lane = self.lanes.enter(&("keys", purpose.as_str())).await;
        let signs_in_s = if at_once { 0 } else { purpose.lead_s() };
        self.make_key(purpose, signs_in_s, &Principal::User(by.clone())).await
    }

    /// Takes a key away. A brake: no policy can disable it. Where it was the only one of its purpose,
    /// another takes its place.
    pub async fn remove_key(&self, kid: &str, by: &UserName) -> Result<Done, BrokerError> {
        let (purpose, done) = self
            .transact(&Principal::User(by.clone()), |state, draft, now| {
                draft.brakes();
                let there = state.keys.get(kid).filter(|key| key.removed_at.is_none());
                let key = there.ok_or_else(|| BrokerError::Missing {
                    kind: "key",
                    id: kid.to_owned(),
                    hint: "see `carnet keys list`",
                })?;
                record(draft, key, "key_removed");
                draft.put(Item::Key(key.removed(now)))?;
                Ok(key.purpose)
            })
            .await?;
        self.ensure_key(purpose).await?;
        Ok(done)
    }

    /// Makes the keys that are not there yet. One for federation is made where there is a target.
    pub(crate) async fn ensure_keys(&self) -> Result<(), BrokerError> {
        for purpose in KeyPurpose::ALL {
            if purpose != KeyPurpose::Federation || self.has_federation_target() {
                self.ensure_key(purpose).await?;
            }
        }
        Ok(())
    }

    fn has_federation_target(&self) -> bool {
        self.latest()
            .snapshot
            .resources
            .values()
            .any(|resource| matches!(resource.upstream.transport, Transport::Federation(_)))
    }

    pub(crate) async fn ensure_key(&self, purpose: KeyPurpose) -> Result<(), BrokerError> {
        let _lane = self.lanes.enter(&("keys", purpose.as_str())).await;
        let is_there = there(&self.latest().keys, purpose).next().is_some();
        if is_there {
            return Ok(());
        }
        self.make_key(purpose, 0, &carnet()?).await.map(drop)
    }

    async fn make_key(
        &self,
        purpose: KeyPurpose,
        signs_in_s: i64,
        by: &Principal,
    ) -> Result<(Arc<KeyRecord>, Done), BrokerError> {
        let key = generate(purpose).await?;
        let (record, done) = self
            .transact(by, |state, draft, now| {
                if there(&state.keys, purpose).count() >= KEYS_MAX {
                    let problem = format!(
                        "there are {KEYS_MAX} keys for {purpose}: wait until the oldest is gone, or remove one"
                    );
                    return Err(BrokerError::invalid("purpose", problem));
                }
                let signs_from = now.plus_s(signs_in_s);
                let record = KeyRecord::seal(&self.vault, purpose, &key, now, signs_from)?;
                let record = self.certified(record, &key, now)?;
                draft.widens();
                let details = json!({ "purpose": purpose, "signs_from_us": signs_from });
                let kind = carnet_ledger::Kind::Node;
                draft.record(kind, &record.kid, "key_made", false, &details, None);
                draft.put(Item::Key(record.clone()))?;
                Ok(Arc::new(record))
            })
            .await?;
        Ok((record, done))
    }
}

impl KeyPurpose {
    pub(crate) const fn key_use(self) -> KeyUse {
        match self {
            Self::AccessToken => KeyUse::AccessToken,
            Self::JwtSvid => KeyUse::JwtSvid,
            Self::Federation => KeyUse::Federation,
            Self::Delegation => KeyUse::Delegation,
            Self::Client => KeyUse::Client,
            Self::X509Svid => KeyUse::X509Authority,
        }
    }
}

/// A fresh key, made where it keeps nobody waiting: an RSA key takes a while.
async fn generate(purpose: KeyPurpose) -> Result<SigningKey, BrokerError> {
    let made = tokio::task::spawn_blocking(move || SigningKey::generate(purpose.key_use()));
    let made = made.await.map_err(|error| BrokerError::Key(error.to_string()))?;
    made.map_err(|error| BrokerError::Key(error.to_string()))
}

/// There is no key for `purpose`.
fn missing(purpose: KeyPurpose) -> BrokerError {
    let problem = "there is none yet: it is made as soon as the ledger can record it";
    BrokerError::Key(format!("the key for {purpose}: {problem}"))
}

/// Where `key` stands among `keys` at `now`.
pub(crate) fn phase(keys: &Keys, key: &KeyRecord, now: Timestamp) -> Phase {
    if let Some(at) = key.removed_at {
        return Phase::Removed { at };
    }
    // Where none has come to its time, the first signs before it.
    let signing = there(keys, key.purpose).filter(|other| other.signs_from <= now);
    let first = there(keys, key.purpose).min_by_key(|other| (other.signs_from, &other.kid));
    let is_early = first.is_some_and(|first| first.kid == key.kid) && signing.count() == 0;
    if now < key.signs_from && !is_early {
        return Phase::Published { signs_from: key.signs_from };
    }
    match successor(keys, key).filter(|next| next.signs_from <= now) {
        None => Phase::Signing,
        Some(next) => Phase::Verifying { until: next.signs_from.plus_s(key.purpose.kept_s()) },
    }
}

/// The keys of one purpose that were not taken away.
fn there(keys: &Keys, purpose: KeyPurpose) -> impl Iterator<Item = &Arc<KeyRecord>> {
    keys.values().filter(move |key| key.purpose == purpose && key.removed_at.is_none())
}

/// The key of the same purpose that signs after `key`.
fn successor<'a>(keys: &'a Keys, key: &KeyRecord) -> Option<&'a Arc<KeyRecord>> {
    let after = there(keys, key.purpose)
        .filter(|other| (other.signs_from, &other.kid) > (key.signs_from, &key.kid));
    after.min_by_key(|other| (other.signs_from, &other.kid))
}

/// The keys that have nothing left to verify.
pub(crate) fn spent(keys: &Keys, now: Timestamp) -> impl Iterator<Item = &Arc<KeyRecord>> {
    keys.values().filter(
        move |key| matches!(phase(keys, key, now), Phase::Verifying { until } if until <= now),
    )
}

/// Removes what is spent, as far as it fits in one commit, and tells whether that was all.
pub(crate) fn sweep(state: &State, draft: &mut Draft<'_>, now: Timestamp) -> bool {
    for key in spent(&state.keys, now) {
        if !draft.has_room() {
            return false;
        }
        record(draft, key, "key_retired");
        draft.delete(Key::new(Kind::Secret, key.kid.as_str()));
    }
    true
}

fn record(draft: &mut Draft<'_>, key: &KeyRecord, transition: &str) {
    let details = json!({ "purpose": key.purpose });
    draft.record(carnet_ledger::Kind::Node, &key.kid, transition, true, &details, None);
}
