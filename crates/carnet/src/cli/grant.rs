//! `carnet grant`: what is live, and what is left of it.

use std::process::ExitCode;

use carnet_core::{Approve, Grant, GrantState, TaskId};
use clap::{Args, Subcommand};
use comfy_table::Cell;

use super::{Session, exit};
use crate::client::segment;
use crate::output::{Output, Tone};
use crate::shown::{escaped, time};

/// Look at grants: allowances made live
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  carnet grant list")]
pub(crate) enum GrantCommand {
    List(List),
}

/// List the grants of the open tasks, or of one task
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet grant list --task task_01")]
pub(crate) struct List {
    /// Of this task only, open or over
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,
}

impl GrantCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let Self::List(list) = self;
        let path = match &list.task {
            Some(task) => format!("/v1/grants?task={}", segment(task.as_str())),
            None => "/v1/grants".to_owned(),
        };
        let grants: Vec<Grant> = session.client()?.get(&path).await?;
        session.output.print(&grants, || table(session.output, &grants))?;
        exit::done()
    }
}

/// Grants as a table.
pub(crate) fn table(output: Output, grants: &[Grant]) -> String {
    if grants.is_empty() {
        return "no grants".to_owned();
    }
    let row = |grant: &Grant| {
        vec![
            grant.id.to_string().into(),
            grant.allowance.path.to_string().into(),
            escaped(&grant.allowance.action.to_string()).into(),
            state(output, &grant.state),
            used(grant).into(),
            approve(grant).into(),
            time(grant.expires).into(),
        ]
    };
    let head = ["grant", "path", "action", "state", "used", "approve", "expires"];
    output.table(&head, grants.iter().map(row).collect())
}

fn used(grant: &Grant) -> String {
    let mut parts = vec![match grant.allowance.uses {
        Some(max) => format!("{} of {max}", grant.uses_spent),
        None => "uncounted".to_owned(),
    }];
    for (name, max) in &grant.allowance.total {
        let spent = grant.totals_spent.get(name).copied().unwrap_or(0);
        parts.push(format!("{} {spent} of {max}", escaped(name)));
    }
    parts.join(", ")
}

const fn approve(grant: &Grant) -> &'static str {
    match grant.allowance.approve {
        Approve::None => "none",
        Approve::UpFront => "up front",
        Approve::OnUse => "on use",
    }
}

fn state(output: Output, state: &GrantState) -> Cell {
    let (tone, word) = match state {
        GrantState::Requested => (Tone::Waiting, "requested"),
        GrantState::Pending(_) => (Tone::Waiting, "pending"),
        GrantState::Active => (Tone::Good, "active"),
        GrantState::Exhausted => (Tone::Bad, "exhausted"),
        GrantState::Expired => (Tone::Bad, "expired"),
        GrantState::Revoked => (Tone::Bad, "revoked"),
        GrantState::Withdrawn => (Tone::Bad, "withdrawn"),
        GrantState::Denied => (Tone::Bad, "denied"),
    };
    output.cell(tone, word)
}
