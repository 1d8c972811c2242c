//! Times of many rounds, and what is told of them.

use std::fmt;

/// What one round came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    p50_us: f64,
    p99_us: f64,
    per_s: f64,
}

/// The rounds of one thing that is measured.
#[derive(Debug, Default)]
pub(crate) struct Series(Vec<Round>);

impl Round {
    /// Of calls one after the other.
    pub(crate) fn of(mut times_us: Vec<f64>) -> Self {
        let per_s = times_us.len() as f64 * 1e6 / times_us.iter().sum::<f64>();
        times_us.sort_by(f64::total_cmp);
        Self { p50_us: at(&times_us, 50), p99_us: at(&times_us, 99), per_s }
    }

    /// Of calls side by side, which took `whole_us` together.
    pub(crate) fn side_by_side(times_us: Vec<f64>, whole_us: f64) -> Self {
        let per_s = times_us.len() as f64 * 1e6 / whole_us;
        Self { per_s, ..Self::of(times_us) }
    }
}

impl Series {
    pub(crate) fn add(&mut self, round: Round) {
        self.0.push(round);
    }

    pub(crate) fn p50_us(&self) -> f64 {
        self.median(|round| round.p50_us)
    }

    pub(crate) fn p99_us(&self) -> f64 {
        self.median(|round| round.p99_us)
    }

    pub(crate) fn per_s(&self) -> f64 {
        self.median(|round| round.per_s)
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        let mut values: Vec<f64> = self.0.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        at(&values, 50)
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let medians = self.0.iter().map(|round| round.p50_us);
        let (low, high) = medians.fold((f64::MAX, 0.0_f64), |(l, h), us| (l.min(us), h.max(us)));
        let (p50, p99) = (self.p50_us(), self.p99_us());
        write!(f, "p50 {p50:>8.1} us (rounds {low:.1} to {high:.1}), p99 {p99:.1} us")
    }
}

fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbed_round_does_not_move_the_figure() {
        let mut series = Series::default();
        for us in [100.0, 9_000.0, 110.0] {
            series.add(Round::of(vec![us; 50]));
        }
        assert_eq!((series.p50_us(), series.p99_us()), (110.0, 110.0));
        assert_eq!(series.per_s().round(), 9_091.0);
    }

    #[test]
    fn what_runs_side_by_side_is_counted_against_the_whole() {
        let mut series = Series::default();
        series.add(Round::side_by_side(vec![1_000.0; 80], 10_000.0));
        assert_eq!((series.per_s(), series.p50_us()), (8_000.0, 1_000.0));
    }
}
