//! The signature of a token is checked once, its place and moment every time.

use std::collections::HashMap;
use std::sync::Arc;

use carnet_core::{Digest, Timestamp};

use crate::access::{AccessClaims, ExpectedAccess, check_here, verify_signed};
use crate::error::TokenError;
use crate::keyset::KeySet;
use crate::verifying::VerifyingKey;

/// Access tokens whose signature has been verified, bounded, by the SHA-256 of the whole token.
///
/// A hit is worth exactly as much as verifying again: the key that verified the token must still
/// be in the key set handed in, the same in name, numbers, algorithm and use; issuer, audience and
/// times are judged again. It remembers no refusal and it says nothing about the task.
pub struct TokenCache {
    young: HashMap<Digest, Entry>,
    old: HashMap<Digest, Entry>,
    generation_max: usize,
}

struct Entry {
    claims: Arc<AccessClaims>,
    key: VerifyingKey,
}

/// A token that verified.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What it says.
    pub claims: Arc<AccessClaims>,
    /// The name of the key that signed it.
    pub kid: String,
}

impl TokenCache {
    /// A cache of at most `entries_max` tokens.
    pub fn new(entries_max: usize) -> Self {
        let generation_max = (entries_max / 2).max(1);
        Self { young: HashMap::new(), old: HashMap::new(), generation_max }
    }

    /// The same answer as [`crate::verify_access`], sooner for a token seen before.
    pub fn verify(
        &mut self,
        token: &str,
        keys: &KeySet,
        expected: &ExpectedAccess<'_>,
        now: Timestamp,
    ) -> Result<Verified, TokenError> {
        let digest = Digest::of(token.as_bytes());
        let verified = match self.hit(&digest, keys) {
            Some(verified) => verified,
            None => self.miss(token, digest, keys)?,
        };
        check_here(&verified.claims, expected, now)?;
        Ok(verified)
    }

    /// How many tokens it holds.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    fn hit(&self, digest: &Digest, keys: &KeySet) -> Option<Verified> {
        let entry = self.young.get(digest).or_else(|| self.old.get(digest))?;
        let current = keys.key(entry.key.kid())?;
        current.is_same_as(&entry.key).then(|| entry.verified())
    }

    fn miss(&mut self, token: &str, digest: Digest, keys: &KeySet) -> Result<Verified, TokenError> {
        let (claims, key) = verify_signed(token, keys)?;
        let claims = Arc::new(claims);
        let entry = Entry { claims, key: key.clone() };
        let verified = entry.verified();
        // Two generations: forgetting costs no scan, and forgetting here is harmless.
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, entry);
        Ok(verified)
    }
}

impl Entry {
    fn verified(&self) -> Verified {
        Verified { claims: Arc::clone(&self.claims), kid: self.key.kid().to_owned() }
    }
}
