//! `carnet status`: how it stands.

use std::process::ExitCode;

use carnet_core::Lock;
use clap::Args;
use serde_json::Value;

use super::{Session, exit, lock};
use crate::output::{Tone, fields};
use crate::shown::{escaped, escaped_json};

/// Show how Carnet stands: policy in force, open tasks, waiting approvals, locks, ledger
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet status --output json")]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let status: Value = session.client()?.get("/v1/status").await?;
        session.output.print(&status, || text(session, &status))?;
        exit::done()
    }
}

/// How many tasks are open, and which of them are suspended and why.
fn tasks_open(open: &Value, suspended: &Value) -> String {
    let Value::Array(suspended) = suspended else { return open.to_string() };
    let text = |value: &Value, pointer: &str| {
        escaped(value.pointer(pointer).and_then(Value::as_str).unwrap_or_default())
    };
    let named = suspended
        .iter()
        .map(|it| format!("{} suspended: {}", text(it, "/task"), text(it, "/suspension/why")));
    std::iter::once(open.to_string()).chain(named).collect::<Vec<_>>().join("; ")
}

fn text(session: &Session, status: &Value) -> String {
    let output = session.output;
    let at = |pointer: &str| status.pointer(pointer).cloned().unwrap_or_default();
    let word = |pointer: &str| match at(pointer) {
        Value::String(text) => escaped(&text),
        value => value.to_string(),
    };
    let is = |pointer: &str| at(pointer).as_bool().unwrap_or(false);
    let policy = match at("/policy/digest") {
        Value::String(digest) => digest,
        _ => output.paint(Tone::Bad, "none: everything is denied; `carnet policy activate DIR`"),
    };
    let view = match is("/fresh") {
        true => output.paint(Tone::Good, "fresh"),
        false => output.paint(Tone::Bad, "stale: everything is denied; look at the store"),
    };
    let ledger = match is("/ledger/writable") {
        true => format!("{} leaves", word("/ledger/leaves")),
        false => output.paint(Tone::Bad, "it cannot write: everything is denied; look at its disk"),
    };
    let locks: Vec<Lock> = serde_json::from_value(at("/locks")).unwrap_or_default();
    let mut text = fields(
        0,
        &[
            ("you are", word("/operator")),
            ("issuer", word("/issuer")),
            ("view", format!("{view}, revision {}", word("/revision"))),
            ("policy", policy),
            ("agents", word("/agents")),
            ("resources", word("/resources")),
            ("tasks open", tasks_open(&at("/tasks_open"), &at("/tasks_suspended"))),
            ("approvals waiting", word("/approvals_waiting")),
            ("ledger", ledger),
            ("locks", locks.iter().filter(|lock| lock.is_in_force()).count().to_string()),
        ],
    );
    if is("/holding") {
        let held =
            "the store could not write a brake: it holds in memory, nothing else is permitted";
        text.push_str(&fields(0, &[("holding", output.paint(Tone::Bad, held))]));
    }
    if let Value::String(problem) = at("/ledger/problem") {
        text.push_str(&fields(
            0,
            &[("ledger problem", output.paint(Tone::Bad, &escaped(&problem)))],
        ));
    }
    if let Value::Array(unreadable) = at("/unreadable")
        && !unreadable.is_empty()
    {
        let named: Vec<String> =
            unreadable.iter().map(|it| escaped_json(&it.to_string())).collect();
        let told = format!("left out, and nothing is permitted on it: {}", named.join(", "));
        text.push_str(&fields(0, &[("unreadable", output.paint(Tone::Bad, &told))]));
    }
    for authority in at("/authorities").as_array().into_iter().flatten() {
        text.push_str(&vouching(output, authority));
    }
    if !locks.is_empty() {
        text.push('\n');
        text.push_str(&lock::table(output, &locks));
    }
    text
}

/// How one of those stands who vouch for agents and people.
fn vouching(output: crate::output::Output, authority: &Value) -> String {
    let word = |name: &str| escaped(authority[name].as_str().unwrap_or_default());
    let problem = match authority["problem"].as_str() {
        Some(problem) => format!(": {}", escaped(problem)),
        None => String::new(),
    };
    let told = match authority["keys"].as_u64().unwrap_or(0) {
        0 => output.paint(Tone::Bad, &format!("vouches for nobody{problem}")),
        keys => format!("{keys} keys{problem}"),
    };
    fields(0, &[("authority", format!("{} {}: {told}", word("kind"), word("name")))])
}
