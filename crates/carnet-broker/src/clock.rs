//! The one place that reads clocks and makes identifiers.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use carnet_core::{Monotonic, Now, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// The node's clocks: wall time for records, monotonic time for freshness. The monotonic one counts
/// suspension: a machine that slept has a stale view when it wakes.
#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> Now + Send + Sync>,
}

impl Default for Clock {
    fn default() -> Self {
        let origin_us = since_boot_us();
        Self::from_fn(move || {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let wall = i64::try_from(wall.as_micros()).unwrap_or(i64::MAX);
            let mono = since_boot_us().saturating_sub(origin_us);
            Now { wall: Timestamp::from_us(wall), mono: Monotonic::from_us(mono) }
        })
    }
}

impl Clock {
    /// A clock that is read by `read`, which never goes back: for tests that turn it by hand.
    pub fn from_fn(read: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read) }
    }

    /// The moment now.
    pub fn now(&self) -> Now {
        (self.read)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").field("now", &self.now()).finish()
    }
}

fn since_boot_us() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let s = u64::try_from(time.tv_sec).unwrap_or_default();
    let ns = u64::try_from(time.tv_nsec).unwrap_or_default();
    s.saturating_mul(1_000_000).saturating_add(ns / 1_000)
}

/// Fresh bits for an identifier: time-ordered, unguessable in their second half.
pub fn fresh_bits() -> u128 {
    uuid::Uuid::now_v7().as_u128()
}

/// When identifiers made of `bits` were made.
pub(crate) fn made_at(bits: u128) -> Timestamp {
    let ms = i64::try_from(bits >> 80).unwrap_or(i64::MAX);
    Timestamp::from_us(ms.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_tells_when_it_was_made() {
        let before = Clock::default().now().wall.us() / 1_000;
        let made = made_at(fresh_bits()).us() / 1_000;
        let after = Clock::default().now().wall.us() / 1_000;
        assert!((before..=after).contains(&made));
    }
}
