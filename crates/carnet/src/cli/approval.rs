//! `carnet approvals`, `approve` and `deny`: a person's part.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use carnet_core::{ApprovalId, Digest};
use clap::Args;
use serde_json::{Value, json};

use super::question::Question;
use super::task::instants;
use super::{Session, exit};
use crate::client::segment;

/// How often new questions are looked for.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Show what waits for a person
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet approvals --watch

What is asked is built by Carnet from the operation. What the agent wrote is labelled, and what
could hide or reorder it is written out. With --watch --output json, each question is a line.")]
pub(crate) struct Approvals {
    /// Go on, and show each new question as it comes
    #[arg(long)]
    watch: bool,
}

/// Say yes to exactly what is asked, once
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet approve appr_01 --digest sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

Yes is to the question of this digest and to no other. What cannot be shown whole cannot be
approved.")]
pub(crate) struct Approve {
    /// The question
    #[arg(value_name = "ID")]
    id: ApprovalId,
    /// The digest of what you looked at: anything else is refused
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,
}

/// Say no. Policy cannot take this away
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet deny appr_01")]
pub(crate) struct Deny {
    /// The question
    #[arg(value_name = "ID")]
    id: ApprovalId,
}

impl Approvals {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let waiting: Vec<Value> = session.client()?.get("/v1/approvals").await?;
        if self.watch {
            return watch(session, waiting).await;
        }
        let questions = questions(&waiting)?;
        session.output.print(&waiting, || {
            if questions.is_empty() {
                return "nothing waits for a person".to_owned();
            }
            let texts: Vec<String> =
                questions.iter().map(|question| question.text(session.output)).collect();
            texts.join("\n")
        })?;
        exit::done()
    }
}

fn questions(waiting: &[Value]) -> anyhow::Result<Vec<Question>> {
    Ok(waiting
        .iter()
        .map(|value| serde_json::from_value(value.clone()))
        .collect::<Result<_, _>>()?)
}

async fn watch(session: &Session, mut waiting: Vec<Value>) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let mut seen: BTreeSet<ApprovalId> = BTreeSet::new();
    loop {
        let questions = questions(&waiting)?;
        for (value, question) in waiting.iter().zip(&questions) {
            if !seen.contains(&question.id) {
                session.output.print_line(value, || question.text(session.output) + "\n")?;
            }
        }
        seen = questions.into_iter().map(|question| question.id).collect();
        tokio::time::sleep(WATCH_EVERY).await;
        waiting = client.get("/v1/approvals").await?;
    }
}

impl Approve {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let client = session.client()?;
        let path = format!("/v1/approvals/{}", segment(self.id.as_str()));
        let value: Value = client.get(&path).await?;
        let question: Question = serde_json::from_value(value)?;
        if let Some(digest) = self.digest
            && digest != question.digest
        {
            bail!("{} asks something else: its digest is {}", self.id, question.digest);
        }
        session.output.say(&question.text(session.output))?;
        if let Some(why) = question.not_whole() {
            bail!(
                "not approved: what cannot be shown whole cannot be approved, and {why}; \
                 say no with `carnet deny {}`, and have the agent ask for less at a time",
                self.id
            );
        }
        let answer: Value = client.post(&format!("{path}/approve"), &json!({})).await?;
        session.output.print(&answer, || said(&answer))?;
        exit::done()
    }
}

impl Deny {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/approvals/{}/deny", segment(self.id.as_str()));
        let answer: Value = session.client()?.post(&path, &json!({})).await?;
        session.output.print(&answer, || said(&answer))?;
        exit::done()
    }
}

fn said(answer: &Value) -> String {
    let word = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    let more = match word("state") {
        "asked" => ": your yes counts, and more are needed",
        _ => "",
    };
    format!("{} is {}{more}\n{}", word("approval"), word("state"), instants(answer))
}
