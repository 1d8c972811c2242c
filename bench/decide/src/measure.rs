//! Taking times so that what else the machine does falls on everything alike: all subjects in
//! turns, call by call, in several rounds.

use std::time::Instant;

/// Something to take the time of, for the `n`th time.
pub(crate) type Subject<'a> = Box<dyn FnMut(usize) + 'a>;

const ROUNDS: usize = 9;
const CALLS: usize = 4_000;
const WARM_UP: usize = 1_000;

/// The median of each round, in microseconds, sorted.
#[derive(Debug)]
pub(crate) struct Rounds {
    medians_us: Vec<f64>,
    p99_us: f64,
}

/// Takes the times of all `subjects` in turns.
pub(crate) fn take<const N: usize>(subjects: &mut [Subject<'_>; N]) -> [Rounds; N] {
    for n in 0..WARM_UP {
        subjects.iter_mut().for_each(|subject| subject(n));
    }
    let mut rounds = [(); N].map(|()| Rounds { medians_us: Vec::new(), p99_us: 0.0 });
    for _ in 0..ROUNDS {
        let mut times = [(); N].map(|()| Vec::with_capacity(CALLS));
        for n in 0..CALLS {
            for turn in 0..N {
                // There and back, so that none always follows the same other, which leaves the
                // caches in the state it likes.
                let turn = if n % 2 == 0 { turn } else { N - 1 - turn };
                let began = Instant::now();
                subjects[turn](n);
                times[turn].push(began.elapsed().as_secs_f64() * 1e6);
            }
        }
        for (rounds, times) in rounds.iter_mut().zip(times) {
            rounds.add(times);
        }
    }
    rounds
}

impl Rounds {
    fn add(&mut self, mut times_us: Vec<f64>) {
        times_us.sort_by(f64::total_cmp);
        self.medians_us.push(at(&times_us, 50));
        self.medians_us.sort_by(f64::total_cmp);
        self.p99_us = self.p99_us.max(at(&times_us, 99));
    }

    /// The median of the rounds' medians.
    pub(crate) fn p50_us(&self) -> f64 {
        rounded(at(&self.medians_us, 50))
    }

    /// How many times as long it takes as `other`.
    pub(crate) fn ratio_to(&self, other: &Self) -> f64 {
        rounded(at(&self.medians_us, 50) / at(&other.medians_us, 50))
    }
}

impl std::fmt::Display for Rounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [low, high] = [0, 100].map(|percent| at(&self.medians_us, percent));
        let (p50, p99) = (self.p50_us(), self.p99_us);
        write!(f, "p50 {p50:>7.2} us (rounds {low:.2} to {high:.2}), worst p99 {p99:.1} us")
    }
}

fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or(f64::NAN)
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbed_round_does_not_move_the_figure() {
        let mut rounds = Rounds { medians_us: Vec::new(), p99_us: 0.0 };
        for us in [5.0, 500.0, 5.2, 5.1, 4.9] {
            rounds.add(vec![us; 3]);
        }
        assert_eq!(rounds.p50_us(), 5.1);
        let twice = Rounds { medians_us: vec![10.2], p99_us: 0.0 };
        assert_eq!(twice.ratio_to(&rounds), 2.0);
    }

    #[test]
    fn every_subject_is_called_equally_often() {
        let (a, b) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let mut subjects: [Subject<'_>; 2] =
            [Box::new(|_| a.set(a.get() + 1)), Box::new(|_| b.set(b.get() + 1))];
        let [first, _] = take(&mut subjects);
        assert_eq!((a.get(), b.get()), (WARM_UP + ROUNDS * CALLS, WARM_UP + ROUNDS * CALLS));
        assert_eq!(first.medians_us.len(), ROUNDS);
    }
}
