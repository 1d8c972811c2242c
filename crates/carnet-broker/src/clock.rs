//! The one place that reads clocks and makes identifiers.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use carnet_core::{Monotonic, Now, Timestamp};

/// The node's clocks: wall time for records, monotonic time for freshness.
#[derive(Debug, Clone)]
pub struct Clock {
    origin: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock {
    /// The moment now.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = i64::try_from(wall.as_micros()).unwrap_or(i64::MAX);
        let mono = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { wall: Timestamp::from_us(wall), mono: Monotonic::from_us(mono) }
    }
}

/// Fresh bits for an identifier: time-ordered, unguessable in their second half.
pub fn fresh_bits() -> u128 {
    uuid::Uuid::now_v7().as_u128()
}
