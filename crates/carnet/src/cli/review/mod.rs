//! `carnet resource review`: a person says what each operation does and which path it travels on.

mod candidate;
mod decided;
mod file;
mod rules;
#[cfg(test)]
mod tests;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use carnet_broker::operator::registry::Offer;
use carnet_core::{Resource, ResourceName};
use carnet_gateway::mcp::codec::difference;
use clap::Args;
use comfy_table::Cell;
use serde_json::{Value, json};

use self::candidate::{Candidate, State};
use self::decided::{Decided, Plan, Said};
use self::file::ReviewFile;
use self::rules::Rules;
use super::glob::Glob;
use super::{Session, exit, resource};
use crate::client::segment;
use crate::output::{Output, Tone};
use crate::shown::{escaped, escaped_json};

/// How much of a description is shown unasked.
const DESCRIPTION_CHARS_MAX: usize = 160;

/// Look at what a resource offers, and decide what each operation is
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  carnet resource review desk
  carnet resource review desk --read 'get_*' --inside 'get_*' --write issue_refund --off 'debug_*'
  carnet resource review desk --accept-suggestions --write 'prompt/*' --yes
  carnet resource review desk --file review.toml --yes

Without a decision it only shows. Nothing is sent without --yes, or a yes on the terminal.
GLOB matches a name, or a kind and a name such as 'tool/get_*'. What is not named stays as it is; a
later flag wins over an earlier one, a flag over --file, and --file over --accept-suggestions.
Suggestions come from what the server says of itself: they are no more than that. What looks
suspicious, and any method, is not accepted unless it is named.")]
pub(crate) struct ReviewCommand {
    /// The resource
    #[arg(value_name = "NAME")]
    name: ResourceName,
    #[command(flatten)]
    rules: Rules,
    /// Accept what is suggested for whatever is new or changed and not named
    #[arg(long)]
    accept_suggestions: bool,
    /// Decisions written down, an `operation` table each, with name, kind, path, reversible, egress, arguments
    #[arg(long, value_name = "REVIEW.toml")]
    file: Option<PathBuf>,
    /// Show the whole definition of what matches (repeatable)
    #[arg(long, value_name = "GLOB")]
    show: Vec<String>,
    /// Send the decisions without asking
    #[arg(long)]
    yes: bool,
}

impl ReviewCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let file = self.file.as_deref().map(ReviewFile::read).transpose()?.unwrap_or_default();
        let said = Said { rules: self.rules, file, accept_suggestions: self.accept_suggestions };
        let client = session.client()?;
        let path = format!("/v1/resources/{}", segment(self.name.as_str()));
        let offers: Vec<Offer> = client.get(&format!("{path}/offers")).await?;
        let known: Resource = client.get(&path).await?;
        let mut candidates: Vec<Candidate> =
            offers.iter().cloned().map(Candidate::of_offer).collect();
        candidates.extend(Candidate::gone(&known, &candidates));
        let plan = said.plan(&candidates)?;
        let show: Vec<Glob> = self.show.iter().map(|text| Glob::new(text)).collect();
        session.output.say(&looked(session.output, &candidates, &show))?;
        let is_sent = !plan.reviews.is_empty() && agreed(session.output, &plan, self.yes)?;
        if is_sent {
            let _: Value = client.post(&format!("{path}/review"), &plan.reviews()).await?;
        }
        let gone: Vec<&str> = candidates
            .iter()
            .filter(|candidate| candidate.state == State::Gone)
            .map(|candidate| candidate.action.as_str())
            .collect();
        let held: Vec<&str> = plan.held_back.iter().map(|it| it.action.as_str()).collect();
        let document = json!({
            "resource": self.name, "offers": offers, "gone": gone, "reviews": plan.reviews(),
            "held_back": held, "sent": is_sent,
        });
        session.output.print(&document, || outcome(&plan, said.is_empty(), is_sent))?;
        if !plan.reviews.is_empty() && !is_sent {
            bail!("nothing was sent: say --yes, or answer y on a terminal");
        }
        exit::done()
    }
}

/// Whether the person says that the plan is to be sent.
fn agreed(output: Output, plan: &Plan, yes: bool) -> anyhow::Result<bool> {
    output.say(&planned(plan))?;
    if yes {
        return Ok(true);
    }
    let stdin = std::io::stdin();
    if output.is_json() || !stdin.is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    let mut err = std::io::stderr();
    write!(err, "send {}? [y/N] ", count(plan.reviews.len()))?;
    err.flush()?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn count(reviews: usize) -> String {
    if reviews == 1 { "1 decision".to_owned() } else { format!("{reviews} decisions") }
}

/// What there is to review.
fn looked(output: Output, candidates: &[Candidate], show: &[Glob]) -> String {
    if candidates.is_empty() {
        return "it offers nothing".to_owned();
    }
    let rows = candidates.iter().map(|candidate| row(output, candidate)).collect();
    let head = ["operation", "state", "path now", "suggested", "effect", "arguments", "look at"];
    let mut text = output.table(&head, rows);
    text.push('\n');
    for candidate in candidates {
        text.push_str(&notes(output, candidate, show));
    }
    text
}

fn row(output: Output, candidate: &Candidate) -> Vec<Cell> {
    let tone = match candidate.state {
        State::New | State::Gone => Tone::Waiting,
        State::Unchanged => Tone::Good,
        State::Changed => Tone::Bad,
    };
    let now = candidate.reviewed.as_ref().map(|it| it.path.to_string());
    let Decided { path, effect, arguments } = &candidate.suggested;
    let suspicions = match candidate.suspicions.len() {
        0 => String::new(),
        1 => "1 suspicion".to_owned(),
        n => format!("{n} suspicions"),
    };
    vec![
        escaped(&candidate.label()).into(),
        output.cell(tone, candidate.state.word()),
        now.unwrap_or_else(|| "none".to_owned()).into(),
        path.map_or("off", |path| path.as_str()).into(),
        resource::effect(*effect).into(),
        resource::arguments(arguments).into(),
        output.cell(Tone::Bad, suspicions),
    ]
}

/// What the table has no room for: what the server says, what looks wrong, what changed.
fn notes(output: Output, candidate: &Candidate, show: &[Glob]) -> String {
    let label = candidate.label();
    let is_shown = show.iter().any(|glob| glob.matches(&label) || glob.matches(&candidate.name));
    let mut lines = Vec::new();
    if matches!(candidate.state, State::New | State::Changed)
        && let Some(text) = candidate.definition.get("description").and_then(Value::as_str)
    {
        let cut: String = text.chars().take(DESCRIPTION_CHARS_MAX).collect();
        let more = if cut.len() < text.len() { " … (--show)" } else { "" };
        lines.push(format!("the server says: {}{more}", escaped(&cut)));
    }
    for suspicion in &candidate.suspicions {
        lines.push(format!("{} {}", output.paint(Tone::Bad, "suspicious:"), escaped(suspicion)));
    }
    if let (State::Changed, Some(reviewed)) = (candidate.state, &candidate.reviewed) {
        lines.push("changed since it was reviewed:".to_owned());
        let changes = difference(&reviewed.definition, &candidate.definition).to_string();
        lines.extend(changes.lines().map(|line| format!("  {}", escaped_json(line))));
    }
    if is_shown {
        let pretty = serde_json::to_string_pretty(&candidate.definition).unwrap_or_default();
        lines.extend(escaped_json(&pretty).lines().map(|line| format!("  {line}")));
    }
    if lines.is_empty() {
        return String::new();
    }
    format!("\n{}\n  {}\n", escaped(&label), lines.join("\n  "))
}

fn planned(plan: &Plan) -> String {
    let mut text = "\ndecided:\n".to_owned();
    for (candidate, decided) in &plan.reviews {
        let place = match decided.path {
            Some(path) => format!("{path}, {}", resource::effect(decided.effect)),
            None => "off every path".to_owned(),
        };
        let arguments = resource::arguments(&decided.arguments);
        let line = format!("  {}  {place}  {arguments}", escaped(&candidate.label()));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn outcome(plan: &Plan, only_looked: bool, is_sent: bool) -> String {
    let mut text = String::new();
    for candidate in &plan.held_back {
        text.push_str(&format!(
            "{} looks suspicious and was left out: name it, if you mean it\n",
            escaped(&candidate.label())
        ));
    }
    match (plan.reviews.len(), is_sent) {
        (n, true) => text.push_str(&format!("sent {}", count(n))),
        (0, false) if only_looked => {
            text.push_str("\ndecide with --read, --write, --admin, --off, or --accept-suggestions");
        }
        (0, false) => text.push_str("nothing changes"),
        _ => {}
    }
    text
}
