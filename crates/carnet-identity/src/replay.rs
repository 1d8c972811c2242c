//! A proof is good once (RFC 9449 section 11.1).

use std::collections::{HashMap, HashSet, VecDeque};

use carnet_core::{Digest, Timestamp};

use crate::thumbprint::Thumbprint;
use crate::{CLOCK_SKEW_S_MAX, DPOP_WINDOW_S};

/// How long a proof is remembered: one dated ahead by the whole window stays acceptable for twice
/// the window, and a clock may step back by the skew.
const KEPT_S: i64 = 2 * DPOP_WINDOW_S + 2 * CLOCK_SKEW_S_MAX;
/// The default number of proofs remembered.
const ENTRIES_MAX: usize = 1 << 18;

/// The proofs seen within the window, by key and `jti`. Bounded; when full it refuses, and it
/// never forgets a proof that could still be replayed.
///
/// One key may fill at most its own share, so that a single client cannot shut out all others.
/// Admit a proof only after it and the token it came with have been verified.
pub struct ReplayCache {
    seen: HashSet<Digest>,
    queue: VecDeque<Seen>,
    of_key: HashMap<Thumbprint, usize>,
    forgotten_until: Timestamp,
    entries_max: usize,
    entries_of_key_max: usize,
}

struct Seen {
    until: Timestamp,
    proof: Digest,
    thumbprint: Thumbprint,
}

/// Why a proof was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The same key and `jti` within the window.
    #[error("the proof has been used before; make a fresh one for each request")]
    Replayed,
    /// No room: refused rather than forgotten.
    #[error("the replay cache is full and refuses proofs until the window has moved on")]
    Full,
    /// This key has used up its share.
    #[error("this key has sent more proofs within the window than one key may")]
    KeyFull,
    /// The clock stands before proofs already forgotten, which could therefore be replayed.
    #[error("the clock has gone back behind proofs already forgotten; refused until it catches up")]
    ClockWentBack,
}

impl ReplayError {
    /// The stable reason code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Replayed => "proof_replayed",
            Self::Full => "proof_cache_full",
            Self::KeyFull => "proof_key_cache_full",
            Self::ClockWentBack => "proof_clock_went_back",
        }
    }
}

impl Default for ReplayCache {
    fn default() -> Self {
        Self::new(ENTRIES_MAX)
    }
}

impl ReplayCache {
    /// A cache of at most `entries_max` proofs, half of them of one key.
    pub fn new(entries_max: usize) -> Self {
        Self::with_share(entries_max, (entries_max / 2).max(1))
    }

    /// A cache of at most `entries_max` proofs, `entries_of_key_max` of them of one key.
    pub fn with_share(entries_max: usize, entries_of_key_max: usize) -> Self {
        Self {
            seen: HashSet::new(),
            queue: VecDeque::new(),
            of_key: HashMap::new(),
            forgotten_until: Timestamp::from_us(i64::MIN),
            entries_max,
            entries_of_key_max,
        }
    }

    /// Remembers a verified proof, or refuses it.
    pub fn admit(
        &mut self,
        thumbprint: &Thumbprint,
        jti: &str,
        now: Timestamp,
    ) -> Result<(), ReplayError> {
        self.forget(now);
        if now.plus_s(CLOCK_SKEW_S_MAX) < self.forgotten_until {
            return Err(ReplayError::ClockWentBack);
        }
        let proof = Digest::of(&[thumbprint.as_bytes(), jti.as_bytes()].concat());
        if self.seen.contains(&proof) {
            return Err(ReplayError::Replayed);
        }
        if self.seen.len() >= self.entries_max {
            return Err(ReplayError::Full);
        }
        let of_key = self.of_key.entry(*thumbprint).or_default();
        if *of_key >= self.entries_of_key_max {
            return Err(ReplayError::KeyFull);
        }
        *of_key += 1;
        self.seen.insert(proof);
        self.queue.push_back(Seen { until: now.plus_s(KEPT_S), proof, thumbprint: *thumbprint });
        Ok(())
    }

    /// How many proofs it remembers.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether it remembers none.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(first) = self.queue.pop_front() {
            if first.until > now {
                self.queue.push_front(first);
                return;
            }
            self.forgotten_until = self.forgotten_until.max(first.until);
            self.seen.remove(&first.proof);
            if let Some(count) = self.of_key.get_mut(&first.thumbprint) {
                *count -= 1;
                if *count == 0 {
                    self.of_key.remove(&first.thumbprint);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Thumbprint {
        Thumbprint::of_members(&n.to_string())
    }

    fn at(s: i64) -> Timestamp {
        Timestamp::from_s(1_800_000_000 + s)
    }

    #[test]
    fn a_proof_is_admitted_once_for_as_long_as_it_could_be_replayed() {
        let mut cache = ReplayCache::new(10);
        assert_eq!(cache.admit(&key(1), "a", at(0)), Ok(()));
        for s in [0, 1, 60, 120, KEPT_S - 1] {
            assert_eq!(cache.admit(&key(1), "a", at(s)), Err(ReplayError::Replayed));
        }
        assert_eq!(cache.admit(&key(2), "a", at(0)), Ok(()), "another key's jti is another proof");
        assert_eq!(cache.admit(&key(1), "a", at(KEPT_S)), Ok(()));
    }

    #[test]
    fn a_full_cache_refuses_and_forgets_nothing_live() {
        let mut cache = ReplayCache::with_share(2, 2);
        assert_eq!(cache.admit(&key(1), "a", at(0)), Ok(()));
        assert_eq!(cache.admit(&key(1), "b", at(10)), Ok(()));
        assert_eq!(cache.admit(&key(2), "c", at(20)), Err(ReplayError::Full));
        assert_eq!(cache.admit(&key(1), "a", at(20)), Err(ReplayError::Replayed));
        assert_eq!(cache.admit(&key(2), "c", at(KEPT_S)), Ok(()), "the first has run out");
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn one_key_cannot_take_the_room_of_all() {
        let mut cache = ReplayCache::new(4);
        assert_eq!(cache.admit(&key(1), "a", at(0)), Ok(()));
        assert_eq!(cache.admit(&key(1), "b", at(0)), Ok(()));
        assert_eq!(cache.admit(&key(1), "c", at(0)), Err(ReplayError::KeyFull));
        assert_eq!(cache.admit(&key(2), "c", at(0)), Ok(()));
        assert_eq!(cache.admit(&key(1), "c", at(KEPT_S)), Ok(()), "its share comes back");
    }

    #[test]
    fn a_clock_that_goes_back_does_not_open_the_door_to_forgotten_proofs() {
        let mut cache = ReplayCache::new(10);
        assert_eq!(cache.admit(&key(1), "a", at(0)), Ok(()));
        assert_eq!(cache.admit(&key(1), "b", at(KEPT_S + 600)), Ok(()));
        assert_eq!(cache.admit(&key(1), "a", at(1)), Err(ReplayError::ClockWentBack));
        assert_eq!(cache.admit(&key(1), "c", at(KEPT_S + 599)), Ok(()));
    }
}
