//! One program on somebody else's library: it is run, and what it tells of its cases is counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::bail;
use serde::Deserialize;

use super::lab::Lab;
use super::programs::Programs;
use crate::beside;
use crate::interop::cases::Cases;

/// How long one program may take for all its cases.
pub(super) const WITHIN: Duration = Duration::from_secs(240);

/// Somebody else's library, and our program on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer<'a> {
    name: &'static str,
    program: Program<'a>,
    plan: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Program<'a> {
    Node(&'a Path),
    Python(&'static str),
    Built(&'a Path),
}

/// One line of what a program prints.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Named { cases: Vec<String> },
    Told { case: String, failed: Option<String>, skipped: Option<String> },
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl<'a> Peer<'a> {
    pub(super) const fn node(name: &'static str, script: &'a Path) -> Self {
        Self { name, program: Program::Node(script), plan: "plan" }
    }

    pub(super) const fn python(name: &'static str, script: &'static str) -> Self {
        Self { name, program: Program::Python(script), plan: "plan" }
    }

    pub(super) const fn program(name: &'static str, program: &'a Path) -> Self {
        Self { name, program: Program::Built(program), plan: "plan" }
    }

    /// One that knows only the Carnet in clear.
    pub(super) const fn on_loopback(name: &'static str, script: &'a Path) -> Self {
        Self { name, program: Program::Node(script), plan: "plan-plain" }
    }

    /// Runs the program and counts its cases.
    pub(super) fn run(&self, lab: &Lab<'_>, cases: &mut Cases) -> anyhow::Result<()> {
        let mut command = match self.program {
            Program::Node(script) => lab.programs.node_script(script),
            Program::Python(script) => lab.programs.python_script(script),
            Program::Built(program) => beside::tied(program),
        };
        command.arg(lab.plan(self.plan));
        for name in ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
            command.env(name, lab.ca());
        }
        let ended = match beside::finish(&mut command, WITHIN) {
            Ok(ended) => ended,
            Err(error) => {
                cases.case(&format!("{}: it ends", self.name), || Err(error));
                return Ok(());
            }
        };
        std::fs::write(lab.log(self.name), format!("{}{}", ended.out, ended.err))?;
        let told = told(&ended.out);
        if told.is_empty() {
            let why = ended.err.trim().to_owned();
            cases.case(&format!("{}: it runs", self.name), || bail!("it named no cases: {why}"));
        }
        self.count(told, cases);
        Ok(())
    }

    fn count(&self, told: Vec<(String, Outcome)>, cases: &mut Cases) {
        let passed = told.iter().filter(|(_, outcome)| *outcome == Outcome::Passed).count();
        for (case, outcome) in told {
            let name = format!("{}: {case}", self.name);
            match outcome {
                Outcome::Passed => cases.case(&name, || Ok(())),
                Outcome::Failed(why) => cases.case(&name, || bail!("{why}")),
                Outcome::Skipped(why) => cases.skip(&name, &why),
            }
        }
        let words: Vec<_> = self.name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        cases.figure(&format!("{}_passed", words.join("_").to_lowercase()), passed);
    }
}

impl Programs {
    /// A script in JavaScript.
    pub(super) fn node_script(&self, script: &Path) -> Command {
        let mut command = beside::tied(&self.node);
        command.arg(script);
        command
    }

    /// A script of ours in Python.
    pub(super) fn python_script(&self, script: &str) -> Command {
        let mut command = beside::tied(Path::new("python3"));
        let paths: Vec<PathBuf> = self.python.to_vec();
        if let Ok(paths) = std::env::join_paths(paths) {
            command.env("PYTHONPATH", paths);
        }
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(self.clients.join(script));
        command
    }
}

/// Every case a program named, with what it told of it; what it did not tell of has failed.
fn told(printed: &str) -> Vec<(String, Outcome)> {
    let mut named = Vec::new();
    let mut outcomes = BTreeMap::new();
    for line in printed.lines() {
        match serde_json::from_str(line) {
            Ok(Line::Named { cases }) => named = cases,
            Ok(Line::Told { case, failed, skipped }) => {
                let skipped = skipped.map(Outcome::Skipped);
                let outcome = failed.map(Outcome::Failed).or(skipped).unwrap_or(Outcome::Passed);
                outcomes.insert(case, outcome);
            }
            // Libraries print what they like.
            Err(_) => {}
        }
    }
    let lost = || Outcome::Failed("the program ended before it told of this".to_owned());
    let outcome = |case: String| {
        let outcome = outcomes.get(&case).cloned().unwrap_or_else(lost);
        (case, outcome)
    };
    named.into_iter().map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_a_program_never_told_of_has_failed() {
        let printed = "{\"cases\": [\"a\", \"b\", \"c\", \"d\"]}\nnoise\n{\"case\": \"a\"}\n\
            {\"case\": \"b\", \"failed\": \"no\"}\n{\"case\": \"c\", \"skipped\": \"why\"}\n";
        let told = told(printed);
        assert_eq!(told[0].1, Outcome::Passed);
        assert_eq!(told[1].1, Outcome::Failed("no".into()));
        assert_eq!(told[2].1, Outcome::Skipped("why".into()));
        assert!(matches!(&told[3].1, Outcome::Failed(_)));
    }

    #[test]
    fn what_was_told_without_being_named_counts_for_nothing() {
        assert!(told("{\"case\": \"a\"}\n").is_empty());
    }
}
