//! A proof is good once (RFC 9449 section 11.1).

use std::collections::{HashMap, HashSet, VecDeque};

use carnet_core::{Digest, Timestamp};

use crate::thumbprint::Thumbprint;
use crate::{CLOCK_SKEW_S_MAX, DPOP_WINDOW_S};

/// How long a proof is remembered: one dated ahead by the whole window stays acceptable for twice
/// the window, and a clock may step back by the skew.
const KEPT_S: i64 = 2 * DPOP_WINDOW_S + 2 * CLOCK_SKEW_S_MAX;
/// The proofs of how long a time are forgotten together.
const SPAN_S: i64 = 10;
/// The default number of proofs remembered.
const ENTRIES_MAX: usize = 1 << 18;

/// The proofs seen within the window, by key and `jti`. Bounded; when full it refuses, and it
/// never forgets a proof that could still be replayed.
///
/// One key may fill at most its own share, so that a single client cannot shut out all others.
/// Admit a proof only after it and the token it came with have been verified.
///
/// A proof takes 17 bytes and the air of a hash table, which is 39 bytes at worst: its name is cut
/// to 128 bits, so that two proofs that share one by chance cost one needless refusal, and the
/// proofs of a few seconds are kept in one table, which goes as a whole.
pub struct ReplayCache {
    /// Oldest first.
    spans: VecDeque<Span>,
    of_key: HashMap<Thumbprint, usize>,
    entries: usize,
    forgotten_until: Timestamp,
    entries_max: usize,
    entries_of_key_max: usize,
}

/// The proofs of a few seconds.
struct Span {
    from: Timestamp,
    until: Timestamp,
    seen: HashSet<u128>,
    of_key: HashMap<Thumbprint, usize>,
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
            spans: VecDeque::new(),
            of_key: HashMap::new(),
            entries: 0,
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
        let proof = short_name(thumbprint, jti);
        if self.spans.iter().any(|span| span.seen.contains(&proof)) {
            return Err(ReplayError::Replayed);
        }
        if self.entries >= self.entries_max {
            return Err(ReplayError::Full);
        }
        let of_key = self.of_key.entry(*thumbprint).or_default();
        if *of_key >= self.entries_of_key_max {
            return Err(ReplayError::KeyFull);
        }
        *of_key += 1;
        self.entries += 1;
        self.remember(proof, thumbprint, now);
        Ok(())
    }

    /// How many proofs it remembers.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether it remembers none.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Puts a proof with those of the same seconds. A clock that went back a little stays in the
    /// newest span, which then lives as long as its latest proof needs.
    fn remember(&mut self, proof: u128, thumbprint: &Thumbprint, now: Timestamp) {
        if self.spans.back().is_none_or(|last| now >= last.from.plus_s(SPAN_S)) {
            self.spans.push_back(Span::new(now));
        }
        if let Some(span) = self.spans.back_mut() {
            span.until = span.until.max(now.plus_s(KEPT_S));
            span.seen.insert(proof);
            *span.of_key.entry(*thumbprint).or_default() += 1;
        }
    }

    fn forget(&mut self, now: Timestamp) {
        while self.spans.front().is_some_and(|first| first.until <= now) {
            let Some(first) = self.spans.pop_front() else { return };
            self.forgotten_until = self.forgotten_until.max(first.until);
            self.entries = self.entries.saturating_sub(first.seen.len());
            for (thumbprint, count) in &first.of_key {
                if let Some(left) = self.of_key.get_mut(thumbprint) {
                    *left = left.saturating_sub(*count);
                    if *left == 0 {
                        self.of_key.remove(thumbprint);
                    }
                }
            }
        }
    }
}

impl Span {
    fn new(from: Timestamp) -> Self {
        Self { from, until: from.plus_s(KEPT_S), seen: HashSet::new(), of_key: HashMap::new() }
    }
}

/// The first 128 bits of the digest over key and `jti`. Whoever replays needs a second `jti` that
/// has the same ones, under the same key.
fn short_name(thumbprint: &Thumbprint, jti: &str) -> u128 {
    let digest = Digest::of(&[thumbprint.as_bytes(), jti.as_bytes()].concat());
    digest.as_bytes().first_chunk().map_or(0, |first| u128::from_be_bytes(*first))
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

    #[test]
    fn a_proof_lives_its_whole_time_whatever_its_neighbours_in_the_same_seconds_do() {
        let mut cache = ReplayCache::new(10);
        assert_eq!(cache.admit(&key(1), "a", at(0)), Ok(()));
        assert_eq!(cache.admit(&key(1), "b", at(SPAN_S - 1)), Ok(()));
        assert_eq!(cache.admit(&key(1), "b", at(KEPT_S + SPAN_S - 2)), Err(ReplayError::Replayed));
        assert_eq!(cache.admit(&key(1), "b", at(KEPT_S + SPAN_S - 1)), Ok(()));
    }

    #[test]
    fn a_clock_that_steps_back_a_little_shortens_no_life() {
        let mut cache = ReplayCache::new(10);
        assert_eq!(cache.admit(&key(1), "a", at(10)), Ok(()));
        assert_eq!(cache.admit(&key(1), "b", at(7)), Ok(()));
        for jti in ["a", "b"] {
            assert_eq!(cache.admit(&key(1), jti, at(7 + KEPT_S)), Err(ReplayError::Replayed));
        }
    }

    #[test]
    fn a_steady_stream_of_one_key_fits_its_share_and_is_forgotten_again() {
        let per_s = 40;
        let mut cache = ReplayCache::with_share(per_s * 180, per_s * 140);
        for s in 0..400 {
            for n in 0..per_s {
                assert_eq!(cache.admit(&key(1), &format!("{s}-{n}"), at(s)), Ok(()), "{s}");
            }
        }
        assert!(cache.len() <= per_s * 140, "{}", cache.len());
        assert_eq!(cache.admit(&key(1), "399-0", at(399)), Err(ReplayError::Replayed));
    }
}
