//! `carnet lock` and `unlock`: the switch.

use std::process::ExitCode;
use std::str::FromStr;

use carnet_core::{Lock, LockId, LockTarget};
use clap::Args;
use serde_json::{Value, json};

use super::task::instants;
use super::{Session, exit};
use crate::client::segment;
use crate::output::Output;
use crate::shown::{escaped, time};

/// Stop something at once. Policy cannot take this away
#[derive(Debug, Args)]
#[command(
    name = "lock",
    after_help = "\
Example:
  carnet lock agent:support-agent --reason 'it asked for other customers'

TARGET is agent:NAME, user:NAME, task:ID, grant:ID, resource:NAME, instance:ID,
trust-domain:NAME, or everything. An instance is one key: while one is locked, no copy of
its agent with a new key is let in. Where the agent itself may be hijacked, lock the agent."
)]
pub(crate) struct SetLock {
    /// What to stop
    #[arg(value_name = "TARGET", value_parser = target)]
    target: LockTarget,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Lift a lock
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  carnet unlock lock_01\n\nThe locks in force are in `carnet status`."
)]
pub(crate) struct Unlock {
    /// The lock
    #[arg(value_name = "ID")]
    id: LockId,
}

impl SetLock {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let body = json!({ "target": self.target, "reason": self.reason });
        let answer: Value = session.client()?.post("/v1/locks", &body).await?;
        let id = answer.get("lock").and_then(Value::as_str).unwrap_or_default();
        session.output.print(&answer, || {
            let target = target_text(&self.target);
            let unknown = match answer.get("known") {
                Some(Value::Bool(false)) => format!(
                    "\nNothing is known by the name {target}: is it spelt right? The lock stands and stops it should it appear; `carnet unlock {}` lifts it",
                    escaped(id)
                ),
                _ => String::new(),
            };
            format!("locked {target}: {}\n{}{unknown}", escaped(id), instants(&answer))
        })?;
        exit::done()
    }
}

impl Unlock {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/locks/{}", segment(self.id.as_str()));
        let answer: Value = session.client()?.delete(&path).await?;
        session.output.print(&answer, || format!("lifted {}\n{}", self.id, instants(&answer)))?;
        exit::done()
    }
}

fn target(text: &str) -> Result<LockTarget, String> {
    if text == "everything" {
        return Ok(LockTarget::Everything);
    }
    let form = "write agent:NAME, user:NAME, task:ID, grant:ID, resource:NAME, instance:ID, \
                trust-domain:NAME, or everything";
    let Some((kind, name)) = text.split_once(':') else { return Err(form.to_owned()) };
    match kind {
        "agent" => named(name, LockTarget::Agent),
        "user" => named(name, LockTarget::User),
        "task" => named(name, LockTarget::Task),
        "grant" => named(name, LockTarget::Grant),
        "resource" => named(name, LockTarget::Resource),
        "instance" => named(name, LockTarget::Instance),
        "trust-domain" => {
            let domain: carnet_identity::TrustDomain =
                name.parse().map_err(|error| format!("{error}"))?;
            Ok(LockTarget::TrustDomain(domain.to_string()))
        }
        _ => Err(form.to_owned()),
    }
}

fn named<T: FromStr<Err: ToString>>(
    name: &str,
    target: impl FnOnce(T) -> LockTarget,
) -> Result<LockTarget, String> {
    name.parse().map(target).map_err(|error: T::Err| error.to_string())
}

fn target_text(target: &LockTarget) -> String {
    match target {
        LockTarget::User(name) => format!("user:{name}"),
        LockTarget::Agent(name) => format!("agent:{name}"),
        LockTarget::Instance(id) => format!("instance:{id}"),
        LockTarget::Task(id) => format!("task:{id}"),
        LockTarget::Grant(id) => format!("grant:{id}"),
        LockTarget::Resource(name) => format!("resource:{name}"),
        LockTarget::TrustDomain(name) | LockTarget::ForeignDomain(name) => {
            format!("trust-domain:{}", escaped(name))
        }
        LockTarget::Everything => "everything".to_owned(),
    }
}

/// Locks as a table.
pub(crate) fn table(output: Output, locks: &[Lock]) -> String {
    let row = |lock: &Lock| {
        vec![
            lock.id.to_string(),
            target_text(&lock.target),
            lock.state.as_str().to_owned(),
            time(lock.set_at),
            lock.set_by.to_string(),
            escaped(&lock.reason),
        ]
    };
    output
        .table(&["lock", "target", "state", "set", "by", "reason"], locks.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_back_as_it_was_written() {
        for text in [
            "agent:support-agent",
            "user:ana",
            "task:task_1",
            "grant:grant_1",
            "resource:desk",
            "instance:inst_1",
            "trust-domain:carnet.local",
            "everything",
        ] {
            assert_eq!(target_text(&target(text).unwrap()), text);
        }
    }

    #[test]
    fn a_target_that_names_nothing_is_refused() {
        for text in ["", "all", "agent", "agent:", "task:grant_1", "path:read"] {
            assert!(target(text).is_err(), "{text}");
        }
    }
}
