//! Time as data. The core never reads a clock; it is handed a [`Now`].

use serde::{Deserialize, Serialize};

/// Wall-clock time: microseconds since the Unix epoch, UTC. For records, deadlines and claims.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The timestamp `us` microseconds after the epoch.
    pub const fn from_us(us: i64) -> Self {
        Self(us)
    }

    /// The timestamp `s` seconds after the epoch, as in a token's claims.
    pub const fn from_s(s: i64) -> Self {
        Self(s.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn us(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn s(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This time and `s` seconds more. Saturates at the ends of the range.
    pub const fn plus_s(self, s: i64) -> Self {
        Self(self.0.saturating_add(s.saturating_mul(1_000_000)))
    }
}

/// A monotonic reading in microseconds from an origin the node chooses; it counts suspension.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The reading `us` microseconds after the node's origin.
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// Microseconds since the node's origin.
    pub const fn us(self) -> u64 {
        self.0
    }

    /// This reading and `us` microseconds more. Saturates.
    pub const fn plus_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }
}

/// The moment a decision is made at: the wall clock for deadlines, the monotonic for freshness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall-clock time.
    pub wall: Timestamp,
    /// Monotonic time of this node.
    pub mono: Monotonic,
}
