//! `carnet ledger`: what was decided, and whether the record of it is whole.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use carnet_core::Timestamp;
use carnet_ledger::{LedgerKeys, Problem, Report, Verdict, VerifyingKey};
use clap::{Args, Subcommand};
use comfy_table::Cell;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Session, exit};
use crate::client::Client;
use crate::output::{Output, Tone, fields};
use crate::shown::{escaped, escaped_json, time_us};

/// The exit code of `carnet ledger verify` called the wrong way, which 2 is not: that is
/// "incomplete".
pub(crate) const VERIFY_USAGE: u8 = 3;
/// How often new leaves are looked for.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// The most leaves of one request.
const PAGE_MAX: u64 = 1_000;

/// Read the ledger, and prove that it is whole
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  carnet ledger tail")]
pub(crate) enum LedgerCommand {
    Tail(Tail),
    Show(Show),
    Verify(Verify),
    Checkpoint(SignNow),
}

/// Show the newest leaves
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet ledger tail -n 50 --follow

With --follow --output json, each leaf is a line.")]
pub(crate) struct Tail {
    /// How many
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(0..=PAGE_MAX))]
    count: u64,
    /// Go on, and show each new leaf as it comes
    #[arg(short = 'f', long)]
    follow: bool,
}

/// Show one leaf, with the sealed values that can be opened
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet ledger show 42")]
pub(crate) struct Show {
    /// Its place in the log, from 0
    #[arg(value_name = "INDEX")]
    index: u64,
}

/// Verify the ledger from its files. Nothing needs to run, and no secret is needed with --key
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  carnet ledger verify
  carnet ledger verify ./copy-of-ledger --lock-dir ./copy-of-lock --key key.txt

--key is what `carnet ledger checkpoint` prints: take it from there once, and keep it away from
the machine that is verified.

Exit codes: 0 whole, 1 tampered, 2 incomplete, 3 called the wrong way.")]
pub(crate) struct Verify {
    /// The ledger's directory [default: that of the configuration]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where the last checkpoint is kept once more [default: that of the configuration; with DIR, none]
    #[arg(long, value_name = "DIR")]
    lock_dir: Option<PathBuf>,
    /// The key that checks its signatures, as text, or a file with it [default: this installation's]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Sign a checkpoint now, and print its size and the key that checks it
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carnet ledger checkpoint")]
pub(crate) struct SignNow {}

/// A leaf, as Carnet tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LeafShown {
    index: u64,
    kind: String,
    id: String,
    at: Timestamp,
    node: String,
    pub(crate) header: Map<String, Value>,
    sealed: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Page {
    size: u64,
    leaves: Vec<LeafShown>,
}

impl LedgerCommand {
    /// Whether it has the exit codes of a verifier.
    pub(crate) const fn is_verify(&self) -> bool {
        matches!(self, Self::Verify(_))
    }

    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        match self {
            Self::Tail(tail) => tail.run(session).await,
            Self::Show(show) => show.run(session).await,
            Self::Verify(verify) => verify.run(session),
            Self::Checkpoint(_) => checkpoint(session).await,
        }
    }
}

impl Tail {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let client = session.client()?;
        let page: Page = client.get(&format!("/v1/ledger/leaves?limit={}", self.count)).await?;
        if self.follow {
            return follow(session, &client, page).await;
        }
        session.output.print(&page, || {
            let rows = page.leaves.iter().map(|leaf| row(session.output, leaf)).collect();
            session.output.table(&["leaf", "at", "kind", "id", "decided", "what"], rows)
        })?;
        exit::done()
    }
}

fn row(output: Output, leaf: &LeafShown) -> Vec<Cell> {
    let decided = decided(leaf);
    vec![
        leaf.index.to_string().into(),
        time_us(leaf.at).into(),
        escaped(&leaf.kind).into(),
        escaped(&leaf.id).into(),
        output.cell(tone(&decided), decided),
        what(&leaf.header).into(),
    ]
}

/// A leaf on a line of its own.
fn line(output: Output, leaf: &LeafShown) -> String {
    let (decided, what) = (decided(leaf), what(&leaf.header));
    let (kind, id) = (escaped(&leaf.kind), escaped(&leaf.id));
    let decided = output.paint(tone(&decided), &format!("{decided:6}"));
    format!("{:>6}  {}  {kind:11}  {id}  {decided}  {what}", leaf.index, time_us(leaf.at))
}

fn decided(leaf: &LeafShown) -> String {
    leaf.header.get("decision").and_then(Value::as_str).map(escaped).unwrap_or_default()
}

/// What a leaf says, in one line.
fn what(header: &Map<String, Value>) -> String {
    let word = |name: &str| header.get(name).and_then(Value::as_str).map(escaped);
    let named = ["outcome", "transition", "event", "action", "agent", "method"];
    let mut parts: Vec<String> = named.iter().filter_map(|name| word(name)).collect();
    parts.extend(word("by").map(|by| format!("by {by}")));
    let reasons = header.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let reasons: Vec<String> = reasons.filter_map(Value::as_str).map(escaped).collect();
    if !reasons.is_empty() {
        parts.push(format!("({})", reasons.join(", ")));
    }
    parts.join(" ")
}

/// The colour of a decision's word.
pub(crate) fn tone(decision: &str) -> Tone {
    match decision {
        "permit" => Tone::Good,
        "ask" => Tone::Waiting,
        _ => Tone::Bad,
    }
}

async fn follow(session: &Session, client: &Client, page: Page) -> anyhow::Result<ExitCode> {
    let mut next = page.size;
    let mut leaves = page.leaves;
    loop {
        for leaf in &leaves {
            next = next.max(leaf.index.saturating_add(1));
            session.output.print_line(leaf, || line(session.output, leaf))?;
        }
        tokio::time::sleep(FOLLOW_EVERY).await;
        let path = format!("/v1/ledger/leaves?from={next}&limit={PAGE_MAX}");
        leaves = client.get::<Page>(&path).await?.leaves;
    }
}

impl Show {
    async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let leaf: LeafShown =
            session.client()?.get(&format!("/v1/ledger/leaves/{}", self.index)).await?;
        session.output.print(&leaf, || {
            let mut text = format!("leaf {}\n", leaf.index);
            text.push_str(&fields(
                2,
                &[
                    ("kind", escaped(&leaf.kind)),
                    ("id", escaped(&leaf.id)),
                    ("at", time_us(leaf.at)),
                    ("node", escaped(&leaf.node)),
                ],
            ));
            text.push_str("in clear:\n");
            text.push_str(&json_lines(&Value::Object(leaf.header.clone())));
            if let Some(values) = &leaf.values {
                text.push_str("sealed, opened:\n");
                text.push_str(&json_lines(values));
            }
            text
        })?;
        exit::done()
    }
}

/// JSON for people: a member a line, everything hidden written out.
pub(crate) fn json_lines(value: &Value) -> String {
    let pretty = serde_json::to_string_pretty(value).unwrap_or_default();
    escaped_json(&pretty).lines().map(|line| format!("  {line}\n")).collect()
}

impl Verify {
    fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let (dir, lock_dir, key) = self.places(session)?;
        if !dir.is_dir() {
            anyhow::bail!("{} is no directory", dir.display());
        }
        let report = carnet_ledger::verify(&dir, lock_dir.as_deref(), &key);
        let document = document(&report, &key);
        session
            .output
            .print(&document, || told(session.output, &report, &dir, lock_dir.as_deref()))?;
        Ok(ExitCode::from(report.verdict.exit_code()))
    }

    fn places(self, session: &Session) -> anyhow::Result<(PathBuf, Option<PathBuf>, VerifyingKey)> {
        let given = self.key.as_deref().map(key_of).transpose()?;
        if let (Some(dir), Some(key)) = (&self.dir, &given) {
            return Ok((dir.clone(), self.lock_dir, key.clone()));
        }
        let config = session.config()?;
        let state = config.state_dir();
        let key = match given {
            Some(key) => key,
            None => {
                let keys = state.join("keys").join("ledger");
                let keys = LedgerKeys::load(&keys)
                    .context("this installation's key cannot be read; give it with --key")?;
                keys.verifying_key(&format!("{}/ledger", config.trust.domain))?
            }
        };
        match self.dir {
            Some(dir) => Ok((dir, self.lock_dir, key)),
            None => {
                let lock_dir = self.lock_dir.unwrap_or_else(|| state.join("ledger-lock"));
                Ok((state.join("ledger"), Some(lock_dir), key))
            }
        }
    }
}

fn key_of(text: &str) -> anyhow::Result<VerifyingKey> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let file = std::fs::read_to_string(text)
        .with_context(|| format!("--key: `{text}` is neither a key (name+id+base64) nor a file"))?;
    file.trim().parse().with_context(|| format!("--key: {text}"))
}

fn document(report: &Report, key: &VerifyingKey) -> Value {
    let problem = |problem: Problem| match problem {
        Problem::Note => "note",
        Problem::Incomplete => "incomplete",
        Problem::Tampered => "tampered",
    };
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|it| json!({ "problem": problem(it.problem), "file": it.path, "what": it.what }))
        .collect();
    json!({
        "verdict": verdict(report.verdict), "leaves": report.leaves, "live": report.live,
        "origin": key.origin(), "key": key.to_string(),
        "checkpoint": report.checkpoint.as_ref().map(|checkpoint| json!({ "size": checkpoint.size })),
        "findings": findings, "unlisted": report.unlisted,
    })
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Whole => "whole",
        Verdict::Tampered => "tampered",
        Verdict::Incomplete => "incomplete",
    }
}

fn told(output: Output, report: &Report, dir: &Path, lock_dir: Option<&Path>) -> String {
    let tone = match report.verdict {
        Verdict::Whole => Tone::Good,
        Verdict::Incomplete => Tone::Waiting,
        Verdict::Tampered => Tone::Bad,
    };
    let signed = report.checkpoint.as_ref().map(|it| format!("{} leaves", it.size));
    let lock = lock_dir.map(|dir| dir.display().to_string());
    let none = "none: whether the log was set back cannot be told";
    let mut text = format!("{}\n", output.paint(tone, verdict(report.verdict)));
    text.push_str(&fields(
        2,
        &[
            ("ledger", dir.display().to_string()),
            ("lock", lock.unwrap_or_else(|| none.to_owned())),
            ("leaves", report.leaves.to_string()),
            ("signed", signed.unwrap_or_else(|| "no checkpoint could be checked".to_owned())),
        ],
    ));
    if report.live {
        text.push_str("  a running Carnet is writing it\n");
    }
    for finding in &report.findings {
        text.push_str(&format!("{}\n", escaped(&finding.to_string())));
    }
    if report.unlisted > 0 {
        text.push_str(&format!("and {} more\n", report.unlisted));
    }
    text
}

async fn checkpoint(session: &Session) -> anyhow::Result<ExitCode> {
    let answer: Value = session.client()?.post("/v1/ledger/checkpoint", &json!({})).await?;
    session.output.print(&answer, || {
        let key = answer.get("key").and_then(Value::as_str).map(escaped).unwrap_or_default();
        let size = answer.get("size").map(ToString::to_string).unwrap_or_default();
        fields(0, &[("signed", format!("{size} leaves")), ("key", key)])
    })?;
    exit::done()
}
