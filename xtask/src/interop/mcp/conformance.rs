//! The official conformance suite, directly and through Carnet.
//!
//! The suite's runner can show no token, so a forwarder stands before the gateway that adds one. What
//! stands behind it is one server with one address, so everything the suite calls is reviewed as a
//! read that stays inside; what the book does not carry on any path stays out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use super::lab::{FIXTURE, Lab};
use crate::beside::{self, Beside};
use crate::interop::cases::{Cases, expect};

/// The sets of scenarios.
const REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];
/// How long one run of the suite may take.
const WITHIN: Duration = Duration::from_secs(300);
/// How many scenarios must pass without Carnet, or the fixture is broken and nothing is shown.
const DIRECT_MIN: usize = 40;
/// How many scenarios may be about what is not carried.
const NOT_CARRIED_MAX: usize = 8;
/// What the book says is not carried: scenarios by how they begin, and why.
const NOT_CARRIED: [(&str, &str); 1] =
    [("tasks-", "task handles: a handle outlives the decision that made it")];

const ALLOWED: [(&str, &str, &str); 4] = [
    ("fixture.tool.*", "read", ""),
    ("fixture.prompt.*", "read", ""),
    ("fixture.resource.read", "read", ""),
    ("fixture.method.*.*", "read", ""),
];

/// What became of each scenario of one run.
type Verdicts = BTreeMap<String, Verdict>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    passed: bool,
    /// Whether the revision requires it; others are run and shown.
    is_required: bool,
}

/// How the runs compare.
#[derive(Debug, Default)]
struct Compared {
    direct: usize,
    lost: Vec<String>,
    not_carried: Vec<String>,
    lost_unrequired: Vec<String>,
}

/// Runs the suite of every revision twice.
pub(super) fn run(lab: &Lab<'_>, cases: &mut Cases) -> anyhow::Result<()> {
    lab.review_all_as_reads(FIXTURE)?;
    let task = lab.task(&ALLOWED)?;
    let mut compared = Compared::default();
    for revision in REVISIONS {
        let direct = suite(lab, &lab.fixture_url, revision, &format!("direct-{revision}"))?;
        let token_file = lab.token_file(&task, FIXTURE)?;
        let forwarder = forward(lab, &token_file)?;
        let url = forwarder.first_line()?;
        let through = suite(lab, &url, revision, &format!("through-{revision}"))?;
        compared.add(revision, &direct, &through);
    }
    compared.tell(cases);
    Ok(())
}

impl Compared {
    fn add(&mut self, revision: &str, direct: &Verdicts, through: &Verdicts) {
        for (name, verdict) in direct.iter().filter(|(_, verdict)| verdict.passed) {
            let passes = through.get(name).is_some_and(|verdict| verdict.passed);
            let is_carried = !NOT_CARRIED.iter().any(|(prefix, _)| name.starts_with(prefix));
            let shown = format!("{revision} {name}");
            self.direct += usize::from(verdict.is_required);
            match (passes, is_carried, verdict.is_required) {
                (true, ..) => {}
                (false, false, _) => self.not_carried.push(shown),
                (false, true, true) => self.lost.push(shown),
                (false, true, false) => self.lost_unrequired.push(shown),
            }
        }
    }

    fn tell(&self, cases: &mut Cases) {
        let Self { direct, lost, not_carried, lost_unrequired } = self;
        let all = lost.iter().map(|name| (name, "lost"));
        let all = all.chain(not_carried.iter().map(|name| (name, "not carried")));
        let all = all.chain(lost_unrequired.iter().map(|name| (name, "lost, not required")));
        for (name, what) in all {
            println!("    {what}: {name}");
        }
        cases.figure("conformance_direct", *direct);
        cases.figure("conformance_lost", lost.len());
        cases.figure("conformance_not_carried", not_carried.len());
        cases.figure("conformance_lost_not_required", lost_unrequired.len());
        let enough = *direct >= DIRECT_MIN;
        cases.case("conformance: the fixture passes by itself", || {
            expect(enough, || format!("only {direct} scenarios pass, not {DIRECT_MIN}"))
        });
        cases.case("conformance: nothing is lost through Carnet", || {
            expect(lost.is_empty(), || lost.join(", "))
        });
        cases.case("conformance: little is not carried", || {
            expect(not_carried.len() <= NOT_CARRIED_MAX, || not_carried.join(", "))
        });
    }
}

fn forward(lab: &Lab<'_>, token_file: &Path) -> anyhow::Result<Beside> {
    let mut command = beside::tied(&lab.programs.forwarder);
    command.arg("--to").arg(lab.carnet.address(FIXTURE)).arg("--token-file").arg(token_file);
    Beside::start("the forwarder", &mut command, &lab.dir().join("forwarder.log"))
}

/// One run of the suite; what it printed is kept beside what it found.
fn suite(lab: &Lab<'_>, url: &str, revision: &str, name: &str) -> anyhow::Result<Verdicts> {
    let found = lab.dir().join(name);
    let mut command = beside::tied(&lab.programs.node);
    command.arg(&lab.programs.suite).args(["server", "--url", url, "--requirements", revision]);
    let ended = beside::finish(command.arg("--output-dir").arg(&found), WITHIN)?;
    std::fs::write(lab.dir().join(format!("{name}.log")), format!("{}{}", ended.out, ended.err))?;
    let verdicts = verdicts_of(&ended.out);
    ensure!(!verdicts.is_empty(), "the suite told nothing: {}{}", ended.out, ended.err);
    let passed = verdicts.values().filter(|verdict| verdict.passed).count();
    println!("    {name}: {passed} of {} scenarios pass", verdicts.len());
    Ok(verdicts)
}

/// What the runner's summary says: `✓ name: 3 passed, 0 failed`, and behind it, indented, the names
/// of those that the revision does not require.
fn verdicts_of(printed: &str) -> Verdicts {
    let summary = printed.split_once("=== SUMMARY ===").map_or("", |(_, summary)| summary);
    let mut verdicts = Verdicts::new();
    for line in summary.lines() {
        let is_required = !line.starts_with(' ');
        let line = line.trim();
        let (passed, rest) = match (line.strip_prefix('✓'), line.strip_prefix('✗')) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => continue,
        };
        let name = rest.trim().split([':', ' ']).next().unwrap_or_default().to_owned();
        verdicts.insert(name, Verdict { passed, is_required });
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "Running requirements\n✓ not: part\n=== SUMMARY ===\n\
        ✓ ping: 2 passed, 0 failed\n✗ tools-list: 1 passed, 2 failed\n✓ tasks-x: 1 passed, 0 failed\n\
        ✓ extra: 3 passed, 0 failed\n\nTotal: 4 passed, 2 failed\n\n\
        Not scored for 2026-07-28: 2 scenario(s) run.\n  ✓ extra (pending)\n  ✓ tasks-x (extension)\n";

    #[test]
    fn the_summary_of_the_runner_is_read() {
        let verdicts = verdicts_of(PRINTED);
        assert_eq!(verdicts.len(), 4);
        assert_eq!(verdicts["ping"], Verdict { passed: true, is_required: true });
        assert_eq!(verdicts["tools-list"], Verdict { passed: false, is_required: true });
        assert_eq!(verdicts["extra"], Verdict { passed: true, is_required: false });
    }

    #[test]
    fn what_fails_directly_cannot_be_lost_and_what_is_not_carried_is_not() {
        let direct = verdicts_of(PRINTED);
        let mut compared = Compared::default();
        compared.add("r", &direct, &Verdicts::new());
        assert_eq!(compared.lost, ["r ping"]);
        assert_eq!(compared.not_carried, ["r tasks-x"]);
        assert_eq!(compared.lost_unrequired, ["r extra"]);
        assert_eq!(compared.direct, 1);
        let mut same = Compared::default();
        same.add("r", &direct, &direct);
        assert!(same.lost.is_empty() && same.not_carried.is_empty());
    }
}
