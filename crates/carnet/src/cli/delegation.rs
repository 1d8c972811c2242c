//! `carnet task delegate`: an agent hands a part of its task on.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use carnet_core::AgentName;
use carnet_identity::DpopKey;
use clap::Args;

use super::{Session, exit, intent_file};
use crate::agent::delegation::{Delegated, GrantTold};
use crate::agent::http::HttpClient;
use crate::agent::key;
use crate::agent::place::PlaceOptions;
use crate::agent::token::{TokenClient, TokenClientParts};
use crate::agent::workload::Workload;
use crate::output::Output;
use crate::shown::{escaped, span};

const AFTER_HELP: &str = "\
Example:
  carnet task delegate --task task_01 --to mail-agent --intent part.toml

It is run by the agent whose task it is, as `carnet token` is, and not by an operator. The intent says
what the child task will do: a part of what the task has left, with the same purpose. Uses, totals and
calls move to the child and do not come back. The other agent works on it with its own identity:
`carnet connect --task CHILD`. Ending the task ends the child. See docs/intent.md.";

/// Hand a part of a task on to another agent, as the agent this process is
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Delegate {
    /// Who is to do it
    #[arg(long, value_name = "AGENT")]
    to: AgentName,
    /// What they will do; `-` is standard input
    #[arg(long, value_name = "INTENT.toml")]
    intent: PathBuf,
    /// The key that proves which running copy asks, in PKCS#8; made there, for its owner alone, where
    /// there is none [default: a key of this one command]
    #[arg(long, value_name = "FILE")]
    dpop_key: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceOptions,
}

impl Delegate {
    /// Asks for the child task and prints it.
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let intent = intent_file::read(&self.intent)?;
        let place = self.place.resolve(&session.place)?;
        let Some(task) = place.task else {
            return Err(exit::usage("name the task a part of is handed on: --task or CARNET_TASK"));
        };
        let key = match self.dpop_key.as_deref() {
            Some(file) => key::load_or_create(file)?,
            None => DpopKey::generate()?,
        };
        let tokens = TokenClient::new(TokenClientParts {
            http: HttpClient::new(&place.issuer)?,
            identity: Arc::new(Workload::new(place.socket, place.spiffe_id)),
            issuer: place.issuer,
            key: Some(key),
            task: None,
        });
        let delegated = tokens.delegate(&task, &self.to, &intent).await?;
        session.output.print(&delegated, || text(session.output, &delegated))?;
        exit::done()
    }
}

fn text(output: Output, delegated: &Delegated) -> String {
    let Delegated { task, agent, parent, expires_in, grants } = delegated;
    let mut text = format!("handed on {task} to {agent}, a part of {parent}");
    if let Some(left_s) = expires_in {
        text.push_str(&format!(", for {}", span(*left_s)));
    }
    let row = |told: &GrantTold| {
        vec![escaped(&told.grant), escaped(&told.action), escaped(&told.path), escaped(&told.state)]
    };
    let rows: Vec<Vec<String>> = grants.iter().map(row).collect();
    text.push_str("\n\n");
    text.push_str(&output.table(&["grant", "action", "path", "state"], rows));
    if grants.iter().any(|grant| grant.state == "pending") {
        text.push_str("\n\nwhat is pending waits for a person");
    }
    text
}
