//! Driving other people's clients: one plan in, one line of JSON out.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::programs::Programs;
use crate::beside;

/// How long one client may take for all its steps.
const WITHIN: Duration = Duration::from_secs(90);

/// The code of an error that is Carnet's no.
const DENIED_CODE: i64 = 40_300;

/// Whose client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sdk {
    /// The TypeScript SDK of its second generation.
    TypeScript,
    /// The TypeScript SDK before it.
    OldTypeScript,
    /// The Python SDK.
    Python,
}

/// What a client did.
#[derive(Debug)]
pub(super) struct Driven {
    /// The revision that was agreed on, where the SDK says.
    pub(super) protocol: Option<String>,
    outcomes: Vec<Value>,
}

impl Sdk {
    pub(super) const ALL: [Self; 3] = [Self::TypeScript, Self::OldTypeScript, Self::Python];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TypeScript => "TypeScript SDK 2",
            Self::OldTypeScript => "TypeScript SDK 1",
            Self::Python => "Python SDK 2",
        }
    }

    /// Whether it speaks the revision without sessions.
    pub(super) const fn is_modern(self) -> bool {
        !matches!(self, Self::OldTypeScript)
    }

    /// How it is told to speak exactly `revision`, or to begin with a handshake where there is none.
    pub(super) fn mode(self, revision: Option<&str>) -> Value {
        match (self, revision) {
            (Self::TypeScript, Some(revision)) => json!({ "pin": revision }),
            (Self::OldTypeScript, _) => Value::Null,
            (_, revision) => json!(revision.unwrap_or("legacy")),
        }
    }

    /// Has a client carry out `plan`; `steps` are the pairs of a kind and a name with arguments.
    pub(super) fn drive(
        self,
        programs: &Programs,
        mut plan: Value,
        steps: &[Value],
    ) -> anyhow::Result<Driven> {
        let sdk = if self == Self::TypeScript { "new" } else { "old" };
        plan["sdk"] = json!(sdk);
        plan["steps"] = json!(steps);
        let mut command = self.command(programs);
        let ended = beside::finish(command.arg(plan.to_string()), WITHIN)?;
        let line = ended.out.lines().last().unwrap_or_default();
        let said: Value = serde_json::from_str(line)
            .with_context(|| format!("the client printed {line}{}", ended.err))?;
        if let Some(failed) = said.get("failed") {
            bail!("the client failed: {failed} {}", ended.err.trim());
        }
        let outcomes = said["outcomes"].as_array().cloned().unwrap_or_default();
        ensure!(outcomes.len() == steps.len(), "the client did not take every step: {said}");
        Ok(Driven { protocol: said["protocol"].as_str().map(str::to_owned), outcomes })
    }

    fn command(self, programs: &Programs) -> Command {
        let node = |client: &Path| {
            let mut command = beside::tied(&programs.node);
            command.arg(client);
            command
        };
        match self {
            Self::TypeScript => node(&programs.new_client),
            Self::OldTypeScript => node(&programs.old_client),
            Self::Python => {
                let mut command = beside::tied(Path::new("python3"));
                command.env("PYTHONPATH", &programs.python).arg(&programs.python_client);
                command
            }
        }
    }
}

impl Driven {
    /// What step `number` brought, as a text to look for words in; it must have been permitted.
    pub(super) fn permitted(&self, number: usize) -> anyhow::Result<String> {
        let outcome = self.outcome(number)?;
        let result = outcome.get("result").with_context(|| format!("step {number}: {outcome}"))?;
        ensure!(result["isError"] != json!(true), "step {number} was refused: {result}");
        Ok(result.to_string())
    }

    /// The names step `number` listed.
    pub(super) fn names(&self, number: usize) -> anyhow::Result<Vec<String>> {
        let outcome = self.outcome(number)?;
        serde_json::from_value(outcome["result"]["names"].clone())
            .with_context(|| format!("step {number} listed nothing: {outcome}"))
    }

    /// Step `number` must have been refused, by Carnet, for `reason`.
    pub(super) fn refused(&self, number: usize, reason: &str) -> anyhow::Result<()> {
        let outcome = self.outcome(number)?;
        // A tool is refused by a result, anything else by an error; both name the reason for machines.
        let said = outcome.pointer("/result/_meta/carnet~1decision/reason");
        let said = said.or_else(|| outcome.pointer("/error/data/reason")).and_then(Value::as_str);
        let is_refused =
            outcome["error"]["code"] == DENIED_CODE || outcome["result"]["isError"] == json!(true);
        ensure!(
            is_refused && said == Some(reason),
            "step {number} was not refused by Carnet for {reason}: {outcome}"
        );
        Ok(())
    }

    fn outcome(&self, number: usize) -> anyhow::Result<&Value> {
        self.outcomes.get(number).with_context(|| format!("there is no step {number}"))
    }
}

/// A step without a name.
pub(super) fn list(kind: &str) -> Value {
    json!({ "kind": kind })
}

/// A step about something with a name.
pub(super) fn step(kind: &str, name: &str, arguments: Value) -> Value {
    match arguments {
        Value::Null => json!({ "kind": kind, "name": name }),
        arguments => json!({ "kind": kind, "name": name, "arguments": arguments }),
    }
}
