//! Numbered cases: each is shown, and none stops the others.

use anyhow::bail;
use serde_json::json;

use crate::area::Report;

/// What came out so far.
#[derive(Debug, Default)]
pub(crate) struct Cases {
    number: u32,
    failed: Vec<String>,
    report: Report,
}

impl Cases {
    /// One case: it passes, or says why not.
    pub(crate) fn case(&mut self, name: &str, case: impl FnOnce() -> anyhow::Result<()>) {
        self.number += 1;
        let shown = format!("{:>2}. {name}", self.number);
        let outcome = case();
        self.report.check(outcome.is_ok());
        match outcome {
            Ok(()) => println!("{shown}: ok"),
            Err(error) => {
                println!("{shown}: FAILED: {error:#}");
                self.failed.push(shown);
            }
        }
    }

    /// One case that cannot be looked at here, and why.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.number += 1;
        println!("{:>2}. {name}: skipped: {reason}", self.number);
        self.report.skip();
    }

    /// One figure for the report.
    pub(crate) fn figure(&mut self, name: &str, count: usize) {
        self.report.figure(name, json!(count));
    }

    /// The report, after all that failed was named once more.
    pub(crate) fn finish(self) -> Report {
        for failed in &self.failed {
            println!("failed: {failed}");
        }
        self.report
    }
}

/// An error unless `is`.
pub(crate) fn expect(is: bool, what: impl FnOnce() -> String) -> anyhow::Result<()> {
    if !is {
        bail!("{}", what());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_that_is_skipped_is_neither_passed_nor_failed() {
        let mut cases = Cases::default();
        cases.skip("one", "there is no such thing here");
        let json = cases.finish().to_json(crate::area::Kind::Interop, "identity");
        let counts = ["passed", "failed", "skipped"].map(|name| json[name].clone());
        assert_eq!(counts, [json!(0), json!(0), json!(1)]);
    }

    #[test]
    fn a_case_that_fails_is_counted_once_and_stops_nothing() {
        let mut cases = Cases::default();
        cases.case("one", || bail!("broken"));
        cases.case("two", || Ok(()));
        cases.case("three", || expect(false, || "not so".into()));
        let json = cases.finish().to_json(crate::area::Kind::Interop, "mcp");
        assert_eq!((&json["passed"], &json["failed"]), (&json!(1), &json!(2)));
    }
}
