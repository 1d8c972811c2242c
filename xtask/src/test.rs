//! `test` and `check`: the steps a change must pass.
//!
//! One profile and one set of features throughout, so that nothing is built twice: the whole
//! workspace with all its targets, and everything else runs what that built.

use std::process::ExitCode;

use crate::step::{Counts, Outcome, Run};
use crate::{deny, process, tidy};

/// Everything.
pub(crate) fn run() -> ExitCode {
    let mut run = Run::default();
    quick(&mut run);
    let build = ["build", "--workspace", "--all-targets"];
    run.step("build", || process::run(process::cargo().args(build)).into());
    run.step("tests", tests);
    run.step("doc tests", doc_tests);
    run.step("docs", docs);
    run.step("deny", deny::run);
    run.step("demo", || demo().into());
    close(run)
}

/// The quick part.
pub(crate) fn check() -> ExitCode {
    let mut run = Run::default();
    quick(&mut run);
    close(run)
}

fn close(run: Run) -> ExitCode {
    if run.finish().failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn quick(run: &mut Run) {
    run.step("format", || process::run(process::cargo().args(["fmt", "--all", "--check"])).into());
    run.step("tidy", || tidy::run().into());
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    run.step("clippy", || process::run(process::cargo().args(clippy)).into());
}

fn tests() -> Outcome {
    let has_nextest = process::is_there("cargo-nextest", &["nextest", "--version"]);
    let args: &[&str] = match has_nextest {
        true => &["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests", "pass"],
        false => &["test", "--workspace", "--all-targets", "--no-fail-fast"],
    };
    let count = if has_nextest { count_nextest } else { count_libtest };
    counted(args, count)
}

fn doc_tests() -> Outcome {
    counted(&["test", "--doc", "--workspace", "--no-fail-fast"], count_libtest)
}

fn docs() -> Outcome {
    let args = ["doc", "--no-deps", "--workspace"];
    process::run(process::cargo().args(args).env("RUSTDOCFLAGS", "-D warnings")).into()
}

/// As a person would run it, in a process of its own: whatever happens to it, the run is closed. Not
/// this program again: building the workspace may have put another in its place.
fn demo() -> anyhow::Result<()> {
    process::run(process::cargo().args(["xtask", "demo"]))
}

fn counted(args: &[&str], count: fn(&str) -> Counts) -> Outcome {
    match process::watch(process::cargo().args(args).env("CARGO_TERM_COLOR", "never")) {
        Ok((printed, is_ok)) => judge(count(&printed), is_ok),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

/// A runner that fails without a failed test (it did not compile, a test binary died) is a failure
/// too; a runner that ran nothing proved nothing.
fn judge(mut counts: Counts, is_ok: bool) -> Outcome {
    if !is_ok && counts.failed == 0 {
        counts.failed = 1;
    }
    if is_ok && counts == Counts::default() {
        return Outcome::Failed("no test was run, or their count could not be read".into());
    }
    Outcome::Counted(counts)
}

/// Reads `Summary [ 1.2s] 9 tests run: 7 passed (1 slow), 2 failed, 3 skipped`.
fn count_nextest(printed: &str) -> Counts {
    let Some((_, counts)) = printed
        .lines()
        .filter(|line| line.trim_start().starts_with("Summary ["))
        .filter_map(|line| line.split_once(" run: "))
        .next_back()
    else {
        return Counts::default();
    };
    let mut all = Counts::default();
    for part in without_brackets(counts).split(',') {
        all += match number_and_word(part) {
            Some((n, "passed")) => Counts { passed: n, ..Counts::default() },
            Some((n, "skipped")) => Counts { skipped: n, ..Counts::default() },
            // `failed`, `timed out`, `exec failed`: whatever is not a pass.
            Some((n, _)) => Counts { failed: n, ..Counts::default() },
            None => Counts::default(),
        };
    }
    all
}

/// Adds up `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out`.
fn count_libtest(printed: &str) -> Counts {
    let mut all = Counts::default();
    for line in printed.lines() {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|l| l.split_once(". "))
        else {
            continue;
        };
        for part in counts.split(';') {
            all += match number_and_word(part) {
                Some((n, "passed")) => Counts { passed: n, ..Counts::default() },
                Some((n, "failed")) => Counts { failed: n, ..Counts::default() },
                Some((n, "ignored")) => Counts { skipped: n, ..Counts::default() },
                _ => Counts::default(),
            };
        }
    }
    all
}

fn number_and_word(part: &str) -> Option<(u64, &str)> {
    let mut words = part.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?))
}

fn without_brackets(text: &str) -> String {
    let mut depth = 0_u32;
    let keep = |c: &char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    text.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_nextest_are_read() {
        let printed = "        PASS [   0.1s] a b\n     Summary [   1.234s] 12/15 tests run: \
                       7 passed (1 slow, 1 flaky), 2 failed, 2 timed out, 1 exec failed, 3 skipped\n";
        assert_eq!(count_nextest(printed), Counts { passed: 7, failed: 5, skipped: 3 });
        assert_eq!(count_nextest("error: could not compile"), Counts::default());
    }

    #[test]
    fn counts_of_the_standard_runner_are_added_up() {
        let printed = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out\n\
                       test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; \
                       finished in 0.1s\n";
        assert_eq!(count_libtest(printed), Counts { passed: 7, failed: 3, skipped: 1 });
    }

    #[test]
    fn a_runner_that_did_not_compile_is_a_failure() {
        let judged = judge(Counts::default(), false);
        assert_eq!(judged, Outcome::Counted(Counts { failed: 1, ..Counts::default() }));
    }

    #[test]
    fn a_runner_that_ran_nothing_is_a_failure() {
        assert!(matches!(judge(Counts::default(), true), Outcome::Failed(_)));
    }
}
