//! Areas: parts of the product that are held against others, measured or hurt, one at a time.
//!
//! Whatever an area prints on its way, its last line is one JSON object, so that a machine can read
//! what came out without reading the rest.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Map, Value, json};

/// What is done to an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Held against other implementations.
    Interop,
    /// Measured.
    Bench,
    /// Hurt on purpose.
    Fault,
}

/// One area of one kind.
#[derive(Debug)]
pub(crate) struct Area {
    pub(crate) name: &'static str,
    pub(crate) run: fn() -> anyhow::Result<Report>,
}

/// What came out: counts of what was checked, and figures where something was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: u64,
    failed: u64,
    skipped: u64,
    figures: Map<String, Value>,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Interop => "interop",
            Self::Bench => "bench",
            Self::Fault => "fault",
        }
    }
}

impl Report {
    /// Counts one check.
    pub(crate) fn check(&mut self, holds: bool) {
        *(if holds { &mut self.passed } else { &mut self.failed }) += 1;
    }

    /// Counts one check that could not be made here.
    pub(crate) fn skip(&mut self) {
        self.skipped += 1;
    }

    /// Adds one figure; its unit is the last part of its name.
    pub(crate) fn figure(&mut self, name: &str, value: Value) {
        self.figures.insert(name.to_owned(), value);
    }

    /// What is printed last.
    pub(crate) fn to_json(&self, kind: Kind, area: &str) -> Value {
        let mut members = Map::new();
        members.insert("area".into(), json!(area));
        members.insert("kind".into(), json!(kind.as_str()));
        members.insert("passed".into(), json!(self.passed));
        members.insert("failed".into(), json!(self.failed));
        members.insert("skipped".into(), json!(self.skipped));
        members.extend(self.figures.clone());
        Value::Object(members)
    }
}

/// Runs the area `name`, prints its report as the last line, and fails where anything did.
pub(crate) fn run(kind: Kind, areas: &[Area], name: &str) -> anyhow::Result<ExitCode> {
    let area = find(kind, areas, name)?;
    let report = match (area.run)() {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {} {name}: {error:#}", kind.as_str());
            let figures = [("error".to_owned(), json!(format!("{error:#}")))];
            Report { failed: 1, figures: figures.into_iter().collect(), ..Report::default() }
        }
    };
    println!("{}", report.to_json(kind, name));
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find<'a>(kind: Kind, areas: &'a [Area], name: &str) -> anyhow::Result<&'a Area> {
    if let Some(area) = areas.iter().find(|area| area.name == name) {
        return Ok(area);
    }
    let known: Vec<&str> = areas.iter().map(|area| area.name).collect();
    let kind = kind.as_str();
    bail!("there is no {kind} area `{name}`; `cargo xtask {kind}` knows: {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREAS: &[Area] = &[
        Area { name: "one", run: || Ok(Report { passed: 2, ..Report::default() }) },
        Area { name: "two", run: || bail!("no such thing") },
    ];

    #[test]
    fn an_unknown_area_is_refused_with_those_that_exist() {
        let error = find(Kind::Bench, AREAS, "thre").unwrap_err().to_string();
        assert!(error.contains("`thre`") && error.ends_with("one, two"), "{error}");
    }

    #[test]
    fn an_area_that_fails_is_a_failed_run() {
        assert_eq!(run(Kind::Fault, AREAS, "one").unwrap(), ExitCode::SUCCESS);
        assert_eq!(run(Kind::Fault, AREAS, "two").unwrap(), ExitCode::FAILURE);
    }

    #[test]
    fn one_failed_check_among_passed_ones_is_kept() {
        let mut report = Report::default();
        report.check(true);
        report.check(false);
        report.figure("p50_us", json!(7));
        let expected = json!({
            "area": "x", "kind": "interop", "passed": 1, "failed": 1, "skipped": 0, "p50_us": 7
        });
        assert_eq!(report.to_json(Kind::Interop, "x"), expected);
    }
}
