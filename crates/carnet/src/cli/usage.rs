//! `carnet agent review`: what agents were given against what they used.

use std::process::ExitCode;

use carnet_broker::operator::{AgentUsage, Authority};
use carnet_core::{Owner, Timestamp};
use clap::Args;

use super::{Session, exit};
use crate::output::{Output, Tone};
use crate::shown::{escaped, time};

/// Review agents by owner: when each was last used, and what it was given and never used
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet agent review --unused

What is unused is told from the grants the store still has and the newest million leaves of the
ledger. What an agent never uses need not be in the intents of its tasks.")]
pub(crate) struct Review {
    /// Only what was never used, and agents whose owner is gone
    #[arg(long)]
    unused: bool,
}

impl Review {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let mut usages: Vec<AgentUsage> = session.client()?.get("/v1/agents/review").await?;
        if self.unused {
            for usage in &mut usages {
                usage.authority.retain(|line| line.used == 0);
            }
            usages.retain(|usage| !usage.authority.is_empty() || !usage.owner_known);
        }
        session.output.print(&usages, || text(session.output, &usages))?;
        exit::done()
    }
}

fn text(output: Output, usages: &[AgentUsage]) -> String {
    if usages.is_empty() {
        return "nothing to review".to_owned();
    }
    usages.iter().map(|usage| of_agent(output, usage)).collect::<Vec<_>>().join("\n")
}

fn of_agent(output: Output, usage: &AgentUsage) -> String {
    let mut text = format!("{} of {}", usage.agent, escaped(&usage.owner.to_string()));
    if !usage.owner_known {
        let gone = match usage.owner {
            Owner::User(_) => "its owner is gone: it gets nothing",
            Owner::Team(_) => "nobody is in that team",
        };
        let gone = output.paint(Tone::Bad, gone);
        text.push_str(&format!(" ({gone})"));
    }
    text.push_str(&format!(", last used {}\n", when(usage.last_used)));
    if usage.authority.is_empty() {
        text.push_str("  no grants\n");
        return text;
    }
    let row = |line: &Authority| {
        let tone = if line.used == 0 { Tone::Waiting } else { Tone::Good };
        vec![
            line.path.to_string().into(),
            escaped(&line.action).into(),
            output.cell(tone, format!("{} of {}", line.used, line.granted)),
            line.live.to_string().into(),
            when(line.last_used).into(),
        ]
    };
    let head = ["path", "action", "grants used", "live", "last used"];
    text.push_str(&output.table(&head, usage.authority.iter().map(row).collect()));
    text.push('\n');
    text
}

fn when(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "never".to_owned(), time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_used_and_whose_owner_is_gone_is_said() {
        let line = Authority {
            action: "desk.tool.pay".into(),
            path: carnet_core::Path::Write,
            granted: 3,
            used: 0,
            live: 1,
            last_used: None,
        };
        let usage = AgentUsage {
            agent: "desk-agent".parse().unwrap(),
            owner: "user:dee".parse().unwrap(),
            owner_known: false,
            last_used: None,
            authority: vec![line],
        };
        let text = text(Output::plain(), &[usage]);
        assert!(text.contains("desk-agent of user:dee (its owner is gone"), "{text}");
        assert!(text.contains("0 of 3") && text.contains("never"), "{text}");
    }
}
