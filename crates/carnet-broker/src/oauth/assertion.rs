//! What an assertion was used for, for as long as it lives.
//!
//! RFC 7523 lets a server take an assertion once only. An SVID has no `jti`, and an agent that
//! works on three paths needs three tokens, so "once" is said of the *key*: the first use binds
//! the assertion to the key proved with it, and from then on it is good with that key and no
//! other. Who steals a used assertion gets nothing with it. Without a key there is nothing to bind
//! to, and an assertion used so is good once.

use std::collections::{BTreeSet, HashMap};

use carnet_core::{AgentName, Digest, Timestamp};
use carnet_identity::Thumbprint;

/// How long an assertion is remembered past its end: a clock may step back by this much.
const KEPT_S: i64 = 10;

/// What an assertion is remembered by, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Once {
    /// The same for every form of it that verifies, and for no other.
    pub(crate) digest: Digest,
    /// When it dies.
    pub(crate) expires: Timestamp,
    /// Whether it is good once even with the same key: its maker promised so by a `jti`.
    pub(crate) is_single: bool,
}

/// The assertions used and not yet expired. Bounded: when full it refuses, and it forgets nothing
/// that could still be used.
pub(crate) struct AssertionCache {
    uses: HashMap<Digest, Use>,
    ends: BTreeSet<(Timestamp, Digest)>,
    of_agent: HashMap<AgentName, usize>,
    forgotten_until: Timestamp,
    entries_max: usize,
    entries_of_agent_max: usize,
}

struct Use {
    agent: AgentName,
    key: Option<Thumbprint>,
}

/// Why an assertion is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AssertionError {
    /// It was used with another key, or without one.
    Used,
    /// The cache, or this agent's share of it, is full.
    Full,
}

impl AssertionCache {
    /// A cache of at most `entries_max` assertions, `entries_of_agent_max` of them of one agent.
    pub(crate) fn new(entries_max: usize, entries_of_agent_max: usize) -> Self {
        Self {
            uses: HashMap::new(),
            ends: BTreeSet::new(),
            of_agent: HashMap::new(),
            forgotten_until: Timestamp::from_us(i64::MIN),
            entries_max,
            entries_of_agent_max,
        }
    }

    /// Remembers a use of a verified assertion of `agent` with `key`, or refuses it.
    pub(crate) fn admit(
        &mut self,
        once: Once,
        agent: &AgentName,
        key: Option<&Thumbprint>,
        now: Timestamp,
    ) -> Result<(), AssertionError> {
        self.forget(now);
        let Once { digest, expires, is_single } = once;
        let key = key.filter(|_| !is_single);
        if let Some(earlier) = self.uses.get(&digest) {
            let same = key.is_some() && earlier.key.as_ref() == key;
            return if same { Ok(()) } else { Err(AssertionError::Used) };
        }
        let ends = expires.plus_s(KEPT_S);
        // The clock went back past ones already forgotten: this may be one of them.
        if ends <= self.forgotten_until {
            return Err(AssertionError::Used);
        }
        let of_agent = self.of_agent.get(agent).copied().unwrap_or(0);
        if self.uses.len() >= self.entries_max || of_agent >= self.entries_of_agent_max {
            return Err(AssertionError::Full);
        }
        self.of_agent.insert(agent.clone(), of_agent + 1);
        self.ends.insert((ends, digest));
        self.uses.insert(digest, Use { agent: agent.clone(), key: key.copied() });
        Ok(())
    }

    /// Whether an assertion may still say who asks, without being used up: it is refused where it was
    /// used up, and otherwise stays good with the key it is bound to.
    pub(crate) fn look(&mut self, once: Once, now: Timestamp) -> Result<(), AssertionError> {
        self.forget(now);
        let is_used_up = match self.uses.get(&once.digest) {
            Some(earlier) => earlier.key.is_none(),
            None => once.expires.plus_s(KEPT_S) <= self.forgotten_until,
        };
        if is_used_up { Err(AssertionError::Used) } else { Ok(()) }
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((ends, digest)) = self.ends.first().copied() {
            if ends > now {
                return;
            }
            self.ends.pop_first();
            self.forgotten_until = self.forgotten_until.max(ends);
            let Some(Use { agent, .. }) = self.uses.remove(&digest) else { continue };
            match self.of_agent.get_mut(&agent) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.of_agent.remove(&agent)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_s(1_800_000_000 + s)
    }

    fn svid(n: u8, expires: i64) -> Once {
        Once { digest: Digest::of(&[n]), expires: at(expires), is_single: false }
    }

    fn agent(name: &str) -> AgentName {
        name.parse().unwrap()
    }

    fn key(n: u8) -> Thumbprint {
        let text = ["A", "E", "I"][usize::from(n)];
        format!("{}{text}", "A".repeat(42)).parse().unwrap()
    }

    #[test]
    fn an_assertion_is_good_with_the_key_it_was_first_used_with() {
        let mut cache = AssertionCache::new(9, 9);
        let (svid, desk) = (svid(1, 300), agent("desk"));
        for s in [0, 1, 299] {
            assert_eq!(cache.admit(svid, &desk, Some(&key(0)), at(s)), Ok(()));
        }
        let used = Err(AssertionError::Used);
        assert_eq!(cache.admit(svid, &desk, Some(&key(1)), at(1)), used);
        assert_eq!(cache.admit(svid, &desk, None, at(1)), used);
    }

    #[test]
    fn an_assertion_that_only_says_who_asks_is_not_used_up() {
        let mut cache = AssertionCache::new(9, 9);
        let (bound, bare, desk) = (svid(1, 300), svid(2, 300), agent("desk"));
        assert_eq!(cache.look(bound, at(0)), Ok(()));
        assert_eq!(cache.admit(bound, &desk, Some(&key(0)), at(0)), Ok(()));
        assert_eq!(cache.look(bound, at(1)), Ok(()));
        assert_eq!(cache.admit(bound, &desk, Some(&key(0)), at(2)), Ok(()));
        assert_eq!(cache.admit(bare, &desk, None, at(0)), Ok(()));
        assert_eq!(cache.look(bare, at(1)), Err(AssertionError::Used));
    }

    #[test]
    fn an_assertion_used_without_a_key_is_good_once() {
        let mut cache = AssertionCache::new(9, 9);
        let (svid, desk) = (svid(1, 300), agent("desk"));
        assert_eq!(cache.admit(svid, &desk, None, at(0)), Ok(()));
        let used = Err(AssertionError::Used);
        assert_eq!(cache.admit(svid, &desk, None, at(1)), used);
        assert_eq!(cache.admit(svid, &desk, Some(&key(0)), at(1)), used);
    }

    #[test]
    fn a_full_cache_refuses_and_one_agent_cannot_fill_it() {
        let mut cache = AssertionCache::new(3, 2);
        let full = Err(AssertionError::Full);
        assert_eq!(cache.admit(svid(1, 300), &agent("desk"), None, at(0)), Ok(()));
        assert_eq!(cache.admit(svid(2, 400), &agent("desk"), None, at(0)), Ok(()));
        assert_eq!(cache.admit(svid(3, 300), &agent("desk"), None, at(0)), full);
        assert_eq!(cache.admit(svid(4, 300), &agent("mail"), None, at(0)), Ok(()));
        assert_eq!(cache.admit(svid(5, 300), &agent("other"), None, at(0)), full);
        assert_eq!(cache.admit(svid(3, 600), &agent("desk"), None, at(300 + KEPT_S)), Ok(()));
        assert_eq!(cache.of_agent.len(), 1, "an agent without entries takes no room");
    }

    #[test]
    fn a_clock_that_goes_back_does_not_revive_what_was_forgotten() {
        let mut cache = AssertionCache::new(9, 9);
        let desk = agent("desk");
        assert_eq!(cache.admit(svid(1, 300), &desk, None, at(0)), Ok(()));
        assert_eq!(cache.admit(svid(2, 900), &desk, None, at(600)), Ok(()));
        let used = Err(AssertionError::Used);
        assert_eq!(cache.admit(svid(1, 300), &desk, Some(&key(0)), at(1)), used);
    }
}
