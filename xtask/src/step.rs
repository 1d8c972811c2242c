//! Steps of a run: each is shown, timed, counted; none stops the others.

use std::time::{Duration, Instant};

/// What came out of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// One check that held.
    Passed,
    /// One check that did not, and why.
    Failed(String),
    /// One check that was not made, and why.
    Skipped(String),
    /// Many tests.
    Counted(Counts),
}

/// How many tests passed, failed and were skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl From<anyhow::Result<()>> for Outcome {
    fn from(result: anyhow::Result<()>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(error) => Self::Failed(format!("{error:#}")),
        }
    }
}

impl Outcome {
    fn counts(&self) -> Counts {
        let none = Counts::default();
        match self {
            Self::Passed => Counts { passed: 1, ..none },
            Self::Failed(_) => Counts { failed: 1, ..none },
            Self::Skipped(_) => Counts { skipped: 1, ..none },
            Self::Counted(counts) => *counts,
        }
    }

    fn word(&self) -> &'static str {
        match self.counts() {
            Counts { failed: 1.., .. } => "FAILED",
            Counts { passed: 0, .. } => "SKIPPED",
            _ => "ok",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Passed => String::new(),
            Self::Failed(why) | Self::Skipped(why) => why.clone(),
            Self::Counted(counts) => counts.to_string(),
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// A run of steps.
#[derive(Debug, Default)]
pub(crate) struct Run {
    done: Vec<(&'static str, Outcome, Duration)>,
}

impl Run {
    /// Does one step.
    pub(crate) fn step(&mut self, name: &'static str, step: impl FnOnce() -> Outcome) {
        println!("==> {name}");
        let began = Instant::now();
        let outcome = step();
        let took = began.elapsed();
        println!("<== {name}: {} ({:.1} s)", outcome.word(), took.as_secs_f64());
        self.done.push((name, outcome, took));
    }

    /// Shows what came out, with the counts alone on the last line.
    pub(crate) fn finish(self) -> Counts {
        println!("\nsummary");
        let mut all = Counts::default();
        for (name, outcome, took) in &self.done {
            all += outcome.counts();
            let (word, s) = (outcome.word(), took.as_secs_f64());
            println!(
                "{}",
                format!("  {word:<8} {s:>7.1} s  {name:<10} {}", outcome.detail()).trim_end()
            );
        }
        println!("{all}");
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_runs_and_is_counted_even_after_a_failure() {
        let mut run = Run::default();
        run.step("a", || anyhow::anyhow!("broken").context("step a").into_err());
        run.step("b", || Outcome::Skipped("no peer".into()));
        run.step("c", || Outcome::Counted(Counts { passed: 40, failed: 0, skipped: 2 }));
        run.step("d", || Ok(()).into());
        assert_eq!(run.finish(), Counts { passed: 41, failed: 1, skipped: 3 });
    }

    #[test]
    fn the_closing_line_is_the_three_counts() {
        let counts = Counts { passed: 3, failed: 0, skipped: 1 };
        assert_eq!(counts.to_string(), "3 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn one_failed_test_among_many_is_a_failed_step() {
        let counts = Counts { passed: 400, failed: 1, skipped: 0 };
        assert_eq!(Outcome::Counted(counts).word(), "FAILED");
        assert_eq!(Outcome::Counted(Counts::default()).word(), "SKIPPED");
    }

    trait IntoErr {
        fn into_err(self) -> Outcome;
    }

    impl IntoErr for anyhow::Error {
        fn into_err(self) -> Outcome {
            Err(self).into()
        }
    }
}
