//! `carnet lease`: what was handed out and a target may still honour.

use std::process::ExitCode;

use carnet_core::{Lease, LeaseState, TaskId};
use clap::{Args, Subcommand};

use super::{Session, exit};
use crate::client::segment;
use crate::output::{Output, Tone};
use crate::shown::{escaped, now, span, time};

/// Look at leases: credentials a target honours without asking Carnet
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  carnet lease list")]
pub(crate) enum LeaseCommand {
    List(List),
}

/// List what may still be out at a target, of every task or of one
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet lease list --task task_01

A federation token cannot be called back: closing its task lets no other out, and what is out is listed
here until the token and whatever the target gives for it are over.")]
pub(crate) struct List {
    /// Of this task and those below it
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,
}

impl LeaseCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let Self::List(list) = self;
        let path = match &list.task {
            Some(task) => format!("/v1/leases?task={}", segment(task.as_str())),
            None => "/v1/leases".to_owned(),
        };
        let leases: Vec<Lease> = session.client()?.get(&path).await?;
        session.output.print(&leases, || match leases.is_empty() {
            true => "nothing is out at any target".to_owned(),
            false => table(session.output, &leases),
        })?;
        exit::done()
    }
}

/// Leases as a table.
pub(crate) fn table(output: Output, leases: &[Lease]) -> String {
    let row = |lease: &Lease| {
        let role = lease.role.as_deref().map(escaped).unwrap_or_default();
        vec![
            lease.id.to_string().into(),
            lease.task.to_string().into(),
            lease.agent.to_string().into(),
            format!("{} ({})", lease.resource, lease.path).into(),
            role.into(),
            output.cell(tone(&lease.state), lease.state.as_str()),
            time(lease.expires).into(),
        ]
    };
    let head = ["lease", "task", "agent", "target", "role", "state", "good until"];
    output.table(&head, leases.iter().map(row).collect())
}

/// What is left of a closed task, a line each: what is still good, where, and until when.
pub(crate) fn left(leases: &[Lease]) -> String {
    let line = |lease: &Lease| {
        let left_s = lease.expires.s().saturating_sub(now().s()).max(0);
        format!(
            "  still good until {} (in {}) at {}: {}\n",
            time(lease.expires),
            span(left_s),
            lease.resource,
            lease.id
        )
    };
    leases.iter().map(line).collect()
}

const fn tone(state: &LeaseState) -> Tone {
    match state {
        LeaseState::Intended | LeaseState::Issuing | LeaseState::Revoking { .. } => Tone::Waiting,
        LeaseState::Active => Tone::Good,
        LeaseState::RevokeFailed { .. } | LeaseState::Revoked { .. } => Tone::Bad,
        LeaseState::Expired { .. } => Tone::Good,
    }
}
