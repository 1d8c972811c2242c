//! Key sets: published (RFC 7517) and as SPIFFE bundles. A set with one bad key is refused whole,
//! since half a set is a set nobody published.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::error::KeyError;
use crate::json;
use crate::jwk::is_private;
use crate::signing::KeyUse;
use crate::verifying::VerifyingKey;

/// The longest key set read.
const SET_BYTES_MAX: usize = 256 * 1024;
/// The most keys in a set.
const KEYS_MAX: usize = 64;

/// The keys of one issuer, by `kid`. The algorithm is the key's, never the token's.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: BTreeMap<String, VerifyingKey>,
}

/// A SPIFFE bundle as read: the keys JWT-SVIDs are verified with, and what it says about itself.
#[derive(Debug, Clone)]
pub struct SpiffeBundle {
    /// The `jwt-svid` keys.
    pub keys: KeySet,
    /// `spiffe_sequence`: grows with every change of the bundle.
    pub sequence: Option<u64>,
    /// `spiffe_refresh_hint`: how often to fetch it again, in seconds.
    pub refresh_hint_s: Option<u64>,
}

impl KeySet {
    /// The set of `keys`, or an error where two share a `kid` or there are too many.
    pub fn from_keys(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, KeyError> {
        let mut set = Self::default();
        for key in keys {
            set.insert(key)?;
        }
        Ok(set)
    }

    /// Reads a published key set strictly: every key must be a public signature key with `kid`,
    /// and say what it is for by `use`, `key_ops` or `alg`. `use: "sig"` is for access tokens,
    /// `use: "jwt-svid"` for JWT-SVIDs; any other use refuses the set.
    pub fn from_jwks(bytes: &[u8]) -> Result<Self, KeyError> {
        let document = read(bytes)?;
        let mut set = Self::default();
        for (index, jwk) in keys_of(&document)?.iter().enumerate() {
            let refused = |problem| KeyError::Refused { index, problem };
            let jwk = jwk.as_object().ok_or(refused("is not an object"))?;
            let key_use = use_of(jwk).map_err(refused)?;
            set.insert(VerifyingKey::of_set(jwk, key_use).map_err(refused)?)?;
        }
        Ok(set)
    }

    /// Reads the key set of another issuer (RFC 7517 section 5): keys that are not for verifying
    /// signatures, or of a kind not known here, are passed over; private keys and two keys of one
    /// name refuse the set. A set without a usable key is none.
    pub fn from_foreign_jwks(bytes: &[u8]) -> Result<Self, KeyError> {
        let document = read(bytes)?;
        let mut set = Self::default();
        for (index, jwk) in keys_of(&document)?.iter().enumerate() {
            let refused = |problem| KeyError::Refused { index, problem };
            let jwk = jwk.as_object().ok_or(refused("is not an object"))?;
            if is_private(jwk) {
                return Err(refused("has members only a private or symmetric key has"));
            }
            if let Ok(key) = VerifyingKey::of_foreign(jwk) {
                set.insert(key)?;
            }
        }
        match set.is_empty() {
            true => Err(KeyError::Malformed { problem: "has no key that verifies signatures" }),
            false => Ok(set),
        }
    }

    /// Reads a SPIFFE bundle (SPIFFE Trust Domain and Bundle, section 4): its `jwt-svid` keys,
    /// strictly; keys for other uses are passed over, as the specification asks.
    pub fn from_spiffe_bundle(bytes: &[u8]) -> Result<SpiffeBundle, KeyError> {
        let document = read(bytes)?;
        let mut keys = Self::default();
        for (index, jwk) in keys_of(&document)?.iter().enumerate() {
            let refused = |problem| KeyError::Refused { index, problem };
            let jwk = jwk.as_object().ok_or(refused("is not an object"))?;
            if jwk.get("use").and_then(Value::as_str) == Some(KeyUse::JwtSvid.jwk_use()) {
                keys.insert(VerifyingKey::of_set(jwk, KeyUse::JwtSvid).map_err(refused)?)?;
            }
        }
        Ok(SpiffeBundle {
            keys,
            sequence: count(&document, "spiffe_sequence")?,
            refresh_hint_s: count(&document, "spiffe_refresh_hint")?,
        })
    }

    /// The public key set of the access-token keys, as published at `jwks_uri`.
    pub fn to_jwks(&self) -> Value {
        json!({ "keys": self.published(KeyUse::AccessToken, true) })
    }

    /// The public key set of the federation keys: what clouds read. It holds no key of another use,
    /// so that nothing else we sign verifies there.
    pub fn to_federation_jwks(&self) -> Value {
        json!({ "keys": self.published(KeyUse::Federation, true) })
    }

    /// The public key set of the keys we authenticate with as a client: what an identity provider reads.
    pub fn to_client_jwks(&self) -> Value {
        json!({ "keys": self.published(KeyUse::Client, true) })
    }

    /// The SPIFFE bundle of the JWT-SVID keys.
    pub fn spiffe_bundle(&self, sequence: u64, refresh_hint_s: u64) -> Value {
        json!({
            "spiffe_sequence": sequence,
            "spiffe_refresh_hint": refresh_hint_s,
            // SPIFFE issuers leave `alg` out and some readers refuse it: the curve says it all.
            "keys": self.published(KeyUse::JwtSvid, false),
        })
    }

    /// The key named `kid`.
    pub fn key(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }

    /// All keys, in the order of their names.
    pub fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.values()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none. Nothing verifies with an empty set.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds a key.
    pub fn insert(&mut self, key: VerifyingKey) -> Result<(), KeyError> {
        if self.keys.contains_key(key.kid()) {
            return Err(KeyError::DuplicateKid);
        }
        if self.keys.len() >= KEYS_MAX {
            return Err(KeyError::TooMany { keys_max: KEYS_MAX });
        }
        self.keys.insert(key.kid().to_owned(), key);
        Ok(())
    }

    fn published(&self, key_use: KeyUse, with_algorithm: bool) -> Vec<Value> {
        let of_use = self.keys.values().filter(|key| key.key_use() == key_use);
        let publish = |key: &VerifyingKey| {
            let mut jwk = key.members();
            jwk.insert("kid".to_owned(), key.kid().into());
            jwk.insert("use".to_owned(), key_use.jwk_use().into());
            if with_algorithm {
                jwk.insert("alg".to_owned(), key.algorithm().name().into());
            }
            Value::Object(jwk)
        };
        of_use.map(publish).collect()
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.keys.values()).finish()
    }
}

fn read(bytes: &[u8]) -> Result<Map<String, Value>, KeyError> {
    if bytes.len() > SET_BYTES_MAX {
        return Err(KeyError::TooLarge { bytes_max: SET_BYTES_MAX });
    }
    json::object(bytes).map_err(|problem| KeyError::Malformed { problem })
}

fn keys_of(document: &Map<String, Value>) -> Result<&Vec<Value>, KeyError> {
    let keys = document.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or(KeyError::Malformed { problem: "has no `keys` array" })?;
    if keys.len() > KEYS_MAX {
        return Err(KeyError::TooMany { keys_max: KEYS_MAX });
    }
    Ok(keys)
}

fn count(document: &Map<String, Value>, name: &str) -> Result<Option<u64>, KeyError> {
    let problem = "has a sequence or refresh hint that is not a whole number";
    let whole = |value: &Value| value.as_u64().ok_or(KeyError::Malformed { problem });
    document.get(name).map(whole).transpose()
}

fn use_of(jwk: &Map<String, Value>) -> Result<KeyUse, &'static str> {
    match jwk.get("use") {
        Some(Value::String(name)) if name == "sig" => Ok(KeyUse::AccessToken),
        Some(Value::String(name)) if name == "jwt-svid" => Ok(KeyUse::JwtSvid),
        Some(_) => Err("has a `use` other than `sig` and `jwt-svid`"),
        None if jwk.contains_key("key_ops") || jwk.contains_key("alg") => Ok(KeyUse::AccessToken),
        None => Err("says by none of `use`, `key_ops` and `alg` what it is for"),
    }
}
