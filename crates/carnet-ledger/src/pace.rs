//! When the committer begins its next batch.
//!
//! A sync costs much the same for one record as for thirty. Where records come from several writers
//! at once, the committer lets them gather for a moment; where one writer waits for each of its
//! records, nothing is gained by waiting for more, and it does not. Which of the two it is shows in
//! what the last batch held: the more it held, the longer the next may gather, so that a few writers
//! wait a little and many, who keep the processor busy meanwhile, a little more. Every so often the
//! committer waits all the same, to see whether others have come.

use std::time::{Duration, Instant};

/// Every how many batches of one record the committer looks whether there would have been more.
const LOOK_EVERY: u32 = 128;

/// How long a batch may gather for each record of the one before that somebody waited for.
const GATHER_EACH: Duration = Duration::from_micros(500);

/// When batches began and what they held.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The most time from the beginning of one batch to the next while records gather.
    gather_max: Duration,
    began: Option<Instant>,
    /// How many records of the last batch somebody waited for.
    awaited: u32,
    /// How many batches in a row held one such record or none.
    alone: u32,
}

impl Pace {
    pub(crate) fn new(gather_max: Duration) -> Self {
        Self { gather_max, began: None, awaited: 0, alone: 1 }
    }

    /// How long the next batch may still gather; nothing where it is to begin.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        if !self.alone.is_multiple_of(LOOK_EVERY) {
            return None;
        }
        let since = now.saturating_duration_since(self.began?);
        let gather = GATHER_EACH.saturating_mul(self.awaited.max(2)).min(self.gather_max);
        gather.checked_sub(since).filter(|left| !left.is_zero())
    }

    /// A batch begins with `awaited` records that somebody waits for.
    pub(crate) fn begin(&mut self, now: Instant, awaited: usize) {
        self.began = Some(now);
        self.awaited = u32::try_from(awaited).unwrap_or(u32::MAX);
        self.alone = match awaited {
            0 | 1 => self.alone.wrapping_add(1),
            _ => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_millis(4);

    fn paced(batches: &[usize]) -> (Pace, Instant) {
        let (mut pace, now) = (Pace::new(MOST), Instant::now());
        for awaited in batches {
            pace.begin(now, *awaited);
        }
        (pace, now)
    }

    #[test]
    fn one_writer_that_waits_for_each_record_is_not_held_up() {
        for (pace, now) in [paced(&[]), paced(&[1]), paced(&[1, 1]), paced(&[8, 1])] {
            assert_eq!(pace.wait(now), None);
        }
    }

    #[test]
    fn records_of_several_writers_gather_until_the_time_is_over() {
        let (pace, now) = paced(&[1, 3]);
        let gather = GATHER_EACH * 3;
        assert_eq!(pace.wait(now), Some(gather));
        assert_eq!(pace.wait(now + gather / 4), Some(gather - gather / 4));
        assert_eq!(pace.wait(now + gather), None);
        assert_eq!(pace.wait(now + gather * 9), None, "a slow disk is not made slower");
    }

    #[test]
    fn the_more_write_at_once_the_longer_records_gather_up_to_the_most() {
        let waits = |last: usize| {
            let (pace, now) = paced(&[last]);
            pace.wait(now).unwrap()
        };
        assert_eq!([2, 4, 8, 9, 1_000].map(waits), [MOST / 4, MOST / 2, MOST, MOST, MOST]);
    }

    #[test]
    fn now_and_then_it_is_seen_whether_others_have_come() {
        let waits = |alone: usize| {
            let (pace, now) = paced(&vec![1; alone]);
            pace.wait(now).is_some()
        };
        let looked: Vec<usize> = (0..400).filter(|alone| waits(*alone)).collect();
        assert_eq!(looked, [127, 255, 383]);
    }
}
