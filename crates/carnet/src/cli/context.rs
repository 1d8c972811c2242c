//! `carnet context`: what is done when what tasks rest on changes.

use std::process::ExitCode;

use carnet_broker::operator::RuleShown;
use clap::{Args, Subcommand};

use super::{Session, exit};
use crate::shown::escaped;

/// Look at what is done when the context of tasks changes
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  carnet context rules")]
pub(crate) enum ContextCommand {
    Rules(Rules),
}

/// Show the rules in force, and where each comes from
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet context rules --output json

The rules are changed under [context] in carnet.toml; see docs/context.md.")]
pub(crate) struct Rules {}

impl ContextCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let Self::Rules(_) = self;
        let rules: Vec<RuleShown> = session.client()?.get("/v1/context/rules").await?;
        let row = |rule: &RuleShown| {
            vec![
                rule.event.as_str().to_owned(),
                rule.reaction.as_str().to_owned(),
                escaped(&rule.from),
            ]
        };
        session.output.print(&rules, || {
            let head = ["event", "what is done", "from"];
            session.output.table(&head, rules.iter().map(row).collect())
        })?;
        exit::done()
    }
}
