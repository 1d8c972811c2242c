//! Counting what happened.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::LoadError;

/// The longest run, which also bounds how many latencies are kept.
pub const RUN_S_MAX: Duration = Duration::from_secs(600);

/// One connection's counts, later everybody's.
#[derive(Debug, Default)]
pub(super) struct Tally {
    took_ns: Vec<u64>,
    errors: u64,
    reconnects: u64,
    first_error: Option<Arc<str>>,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Calls that came back right within the measured time.
    pub requests: u64,
    /// Calls and introductions that did not.
    pub errors: u64,
    /// Connections that broke and were made anew.
    pub reconnects: u64,
    /// Right calls a second.
    pub rps: f64,
    /// The median latency, in µs.
    pub p50_us: f64,
    /// The latency nine in ten stay within, in µs.
    pub p90_us: f64,
    /// The latency 99 in a hundred stay within, in µs.
    pub p99_us: f64,
    /// The longest latency, in µs.
    pub max_us: f64,
    /// How many connections called.
    pub connections: usize,
    /// How long was measured, in seconds.
    pub seconds: f64,
    /// What the first error said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<Arc<str>>,
}

impl Tally {
    pub(super) fn succeed(&mut self, begin: Instant, end: Option<Instant>, took: Duration) {
        let now = Instant::now();
        // A call counts if it began after the warm-up and was answered before the end.
        let began = now.checked_sub(took).is_some_and(|began| began >= begin);
        if began && end.is_none_or(|end| now <= end) {
            self.took_ns.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn fail(&mut self, begin: Instant, error: &LoadError) {
        if Instant::now() >= begin {
            self.errors += 1;
        }
        if self.first_error.is_none() {
            self.first_error = Some(Arc::from(error.to_string()));
        }
    }

    pub(super) fn reconnect(&mut self, begin: Instant) {
        self.reconnects += u64::from(Instant::now() >= begin);
    }

    pub(super) fn note(&mut self, message: &Arc<str>) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| Arc::clone(message));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.took_ns.extend(other.took_ns);
        self.errors += other.errors;
        self.reconnects += other.reconnects;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    pub(super) fn report(mut self, connections: usize, measured: Duration) -> Report {
        self.took_ns.sort_unstable();
        let seconds = measured.as_secs_f64();
        let requests = self.took_ns.len() as u64;
        Report {
            requests,
            errors: self.errors,
            reconnects: self.reconnects,
            rps: round(requests as f64 / seconds.max(f64::MIN_POSITIVE)),
            p50_us: quantile_us(&self.took_ns, 0.50),
            p90_us: quantile_us(&self.took_ns, 0.90),
            p99_us: quantile_us(&self.took_ns, 0.99),
            max_us: quantile_us(&self.took_ns, 1.0),
            connections,
            seconds,
            first_error: self.first_error,
        }
    }
}

/// The smallest measured value that at least `share` of all do not exceed.
fn quantile_us(sorted_ns: &[u64], share: f64) -> f64 {
    let rank = (share * sorted_ns.len() as f64).ceil() as usize;
    let value = sorted_ns.get(rank.saturating_sub(1)).copied().unwrap_or(0);
    round(value as f64 / 1_000.0)
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values() {
        let sorted: Vec<u64> = (1..=100).map(|n| n * 1_000).collect();
        assert_eq!(quantile_us(&sorted, 0.50), 50.0);
        assert_eq!(quantile_us(&sorted, 0.99), 99.0);
        assert_eq!(quantile_us(&sorted, 1.0), 100.0);
        assert_eq!(quantile_us(&[7_000], 0.5), 7.0);
        assert_eq!(quantile_us(&[], 0.5), 0.0);
    }

    #[test]
    fn calls_of_the_warm_up_and_after_the_end_do_not_count() {
        let mut tally = Tally::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(3_600);
        tally.succeed(later, None, Duration::ZERO);
        tally.succeed(now, Some(now - Duration::from_nanos(1)), Duration::ZERO);
        assert!(tally.took_ns.is_empty());
        tally.succeed(now, Some(later), Duration::ZERO);
        assert_eq!(tally.took_ns, [0]);
    }
}
