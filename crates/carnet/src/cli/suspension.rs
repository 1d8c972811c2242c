//! `carnet task suspend` and `resume`: a task whose context is in doubt.

use std::process::ExitCode;

use carnet_core::{Grant, Suspension, TaskId};
use clap::Args;
use serde_json::{Value, json};

use super::task::instants;
use super::{Session, exit, grant};
use crate::client::segment;
use crate::shown::{escaped, time};

/// Suspend a task: nothing of it, or below it, is permitted until it is resumed
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet task suspend task_01 --reason 'the customer called'

Policy cannot take this away. What people were asked for it is cancelled.")]
pub(crate) struct Suspend {
    /// The task
    #[arg(value_name = "ID")]
    id: TaskId,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Resume a suspended task, and what was suspended with it
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet task resume task_01

What a person approved before is asked again: the context is another.")]
pub(crate) struct Resume {
    /// The task
    #[arg(value_name = "ID")]
    id: TaskId,
}

impl Suspend {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/tasks/{}/suspend", segment(self.id.as_str()));
        let answer: Value =
            session.client()?.post(&path, &json!({ "reason": self.reason })).await?;
        session
            .output
            .print(&answer, || format!("suspended {}\n{}", self.id, instants(&answer)))?;
        exit::done()
    }
}

impl Resume {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/tasks/{}/resume", segment(self.id.as_str()));
        let answer: Value = session.client()?.post(&path, &json!({})).await?;
        session.output.print(&answer, || {
            let grants = answer.get("grants").cloned().unwrap_or_default();
            let grants: Vec<Grant> = serde_json::from_value(grants).unwrap_or_default();
            let table = grant::table(session.output, &grants);
            format!("resumed {}\n{}\n{table}", self.id, instants(&answer))
        })?;
        exit::done()
    }
}

/// Why a task is suspended, and since when.
pub(crate) fn text(suspension: &Suspension) -> String {
    let why = escaped(&suspension.why);
    let with = suspension.with.as_ref();
    let with = with.map(|with| format!(", with {with}")).unwrap_or_default();
    format!("{why}, since {}{with}", time(suspension.since))
}
