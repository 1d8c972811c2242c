//! `carnet policy`: sets of rules, checked here and put in force there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use carnet_policy::{CedarPolicy, LoadError, LoadErrors, PolicySource, Summary};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::task::instants;
use super::{Session, exit};
use crate::output::{Output, Tone, fields};
use crate::shown::escaped;

/// Check policy sets and put them in force
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  carnet policy check ./policy")]
pub(crate) enum PolicyCommand {
    Check(Check),
    Activate(Activate),
    Rollback(Rollback),
    Show(Show),
}

/// Say what is wrong with a policy set. Nothing needs to run for it
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet policy check ./policy --output json")]
pub(crate) struct Check {
    /// The folder with permit/, forbid/ and ask/
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Put a policy set in force
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet policy activate ./policy

It is checked first, here and there. `carnet policy rollback` takes it back.")]
pub(crate) struct Activate {
    /// The folder with permit/, forbid/ and ask/
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Put the set before this one in force again. Policy cannot take this away
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet policy rollback")]
pub(crate) struct Rollback {}

/// Show which set is in force
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet policy show")]
pub(crate) struct Show {}

impl PolicyCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check(check) => check.run(session),
            Self::Activate(activate) => activate.run(session).await,
            Self::Rollback(_) => rollback(session).await,
            Self::Show(_) => show(session).await,
        }
    }
}

fn read(dir: &Path) -> anyhow::Result<PolicySource> {
    PolicySource::read_dir(dir)
        .map_err(|error| anyhow::anyhow!("the policy set {}: {error}", dir.display()))
}

impl Check {
    fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let source = read(&self.dir)?;
        let output = session.output;
        match CedarPolicy::load(&source) {
            Ok(policy) => {
                let (digest, summary) = (source.digest(), policy.summary());
                let document = json!({ "valid": true, "digest": digest, "summary": summary });
                output.print(&document, || {
                    format!(
                        "{}\n  digest  {digest}\n{}",
                        "the policy set can be used",
                        counts(&summary)
                    )
                })?;
                exit::done()
            }
            Err(errors) => {
                let document =
                    json!({ "valid": false, "errors": errors.errors(), "more": errors.more() });
                output.print(&document, || wrong(output, &errors))?;
                Ok(ExitCode::from(exit::FAILED))
            }
        }
    }
}

fn counts(summary: &Summary) -> String {
    let tiers = &summary.tiers;
    let mut text = fields(
        2,
        &[
            ("permit", tiers.permit.to_string()),
            ("forbid", tiers.forbid.to_string()),
            ("ask", tiers.ask.to_string()),
        ],
    );
    for policy in &summary.unscoped {
        text.push_str(&format!(
            "note: {}:{}: `{}` names no entity in its scope: every request pays for it\n",
            escaped(&policy.file),
            policy.line,
            policy.id
        ));
    }
    text
}

/// The errors, each with its place and what to do.
fn wrong(output: Output, errors: &LoadErrors) -> String {
    let count = errors.errors().len() + errors.more();
    let plural = if count == 1 { "" } else { "s" };
    let mut text =
        output.paint(Tone::Bad, &format!("the policy set is refused: {count} error{plural}"));
    text.push('\n');
    for error in errors.errors() {
        text.push_str(&one(output, error));
    }
    if errors.more() > 0 {
        text.push_str(&format!("and {} more\n", errors.more()));
    }
    text
}

fn one(output: Output, error: &LoadError) -> String {
    let place = match (error.file.as_str(), error.line) {
        ("", _) => "the set as a whole".to_owned(),
        (file, 0) => escaped(file),
        (file, line) => format!("{}:{line}:{}", escaped(file), error.column),
    };
    let policy = error.policy.as_ref().map(|id| format!(" policy `{}`", escaped(id)));
    let mut text = format!(
        "\n{}{}\n  {}\n",
        output.paint(Tone::Heading, &place),
        policy.unwrap_or_default(),
        escaped(&error.what)
    );
    if let Some(suggestion) = &error.suggestion {
        text.push_str(&format!("  {}\n", escaped(suggestion)));
    }
    text
}

impl Activate {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let source = read(&self.dir)?;
        if let Err(errors) = CedarPolicy::load(&source) {
            session.output.say(&wrong(session.output, &errors))?;
            bail!(
                "{} was not put in force: mend it, and see `carnet policy check`",
                self.dir.display()
            );
        }
        let files: BTreeMap<&str, &str> = source.files().collect();
        let answer: Value =
            session.client()?.post("/v1/policy/activate", &json!({ "files": files })).await?;
        session.output.print(&answer, || in_force(&answer))?;
        exit::done()
    }
}

async fn rollback(session: &Session) -> anyhow::Result<ExitCode> {
    let answer: Value = session.client()?.post("/v1/policy/rollback", &json!({})).await?;
    session.output.print(&answer, || in_force(&answer))?;
    exit::done()
}

fn in_force(answer: &Value) -> String {
    let digest = answer.get("digest").and_then(Value::as_str).unwrap_or_default();
    format!("in force: {}\n{}", escaped(digest), instants(answer))
}

async fn show(session: &Session) -> anyhow::Result<ExitCode> {
    let active: Value = session.client()?.get("/v1/policy").await?;
    session.output.print(&active, || {
        let digest = |name: &str| active.get(name).and_then(Value::as_str).map(escaped);
        match digest("digest") {
            None => "no policy set is in force: everything is denied; see `carnet policy activate`"
                .into(),
            Some(now) => fields(
                0,
                &[
                    ("in force", now),
                    ("before it", digest("previous").unwrap_or_else(|| "none".to_owned())),
                ],
            ),
        }
    })?;
    exit::done()
}
