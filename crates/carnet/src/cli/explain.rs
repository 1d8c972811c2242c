//! `carnet explain`: why a decision is what it is.

use std::process::ExitCode;

use carnet_broker::operator::Explained;
use carnet_core::{DecisionId, Document, GrantId, Miss, Principal, Target};
use clap::Args;
use serde_json::Value;

use super::ledger::{LeafShown, json_lines, tone};
use super::{Session, exit, resource};
use crate::client::segment;
use crate::output::{Output, Tone, fields};
use crate::shown::{escaped, escaped_json};

/// Explain a decision: who, what, why, and what to do about it
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  carnet explain dec_01

It is told from the ledger: from the inputs the decision was made from, and the policy set it names.
A refused agent learns the id of its decision; `carnet ledger tail` lists them too.")]
pub(crate) struct Explain {
    /// The decision
    #[arg(value_name = "DECISION")]
    id: DecisionId,
}

impl Explain {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/decisions/{}", segment(self.id.as_str()));
        let explained: Explained = session.client()?.get(&path).await?;
        session.output.print(&explained, || text(session.output, &self.id, &explained))?;
        exit::done()
    }
}

/// The explanation for a person.
fn text(output: Output, id: &DecisionId, explained: &Explained) -> String {
    let leaf: Option<LeafShown> = serde_json::from_value(explained.decision.clone()).ok();
    let header = leaf.map(|leaf| leaf.header).unwrap_or_default();
    let word = |name: &str| match header.get(name) {
        Some(Value::String(text)) => escaped(text),
        Some(Value::Null) | None => String::new(),
        Some(value) => escaped_json(&value.to_string()),
    };
    let verdict = output.paint(tone(&word("decision")), &word("decision"));
    let mut text = format!("{id}: {verdict} {}\n", word("action"));
    let heading = |name: &str| format!("\n{}\n", output.paint(Tone::Heading, name));
    text.push_str(&heading("who"));
    text.push_str(&fields(2, &who(explained, &word)));
    text.push_str(&heading("what"));
    text.push_str(&what(explained, &word));
    text.push_str(&heading("why"));
    text.push_str(&why(explained, &word));
    text.push_str(&policies(output, &explained.policies));
    if let Some(outcome) = &explained.outcome {
        text.push_str(&heading("what became of it"));
        text.push_str(&outcome_text(outcome));
    }
    if let Some(why) = explained.task.pointer("/suspension/why").and_then(Value::as_str) {
        text.push_str(&format!("\nThe task is suspended now: {}\n", escaped(why)));
    }
    if !explained.advice.is_empty() {
        text.push_str(&heading("what to do"));
        for advice in &explained.advice {
            text.push_str(&format!("  {}\n", escaped(advice)));
        }
    }
    if let Some(missing) = explained.missing.as_object().filter(|missing| !missing.is_empty()) {
        text.push_str(&heading("not known any more"));
        for (name, why) in missing {
            let why = why.as_str().map(escaped).unwrap_or_default();
            text.push_str(&format!("  {}: {why}\n", escaped(name)));
        }
    }
    text
}

fn read<T: serde::de::DeserializeOwned>(explained: &Explained, name: &str) -> Option<T> {
    serde_json::from_value(explained.inputs.get(name)?.clone()).ok()
}

/// The document is stored without the arguments, which are beside it.
fn document(explained: &Explained) -> Option<Document> {
    let mut document = explained.inputs.get("document")?.clone();
    let arguments = explained.inputs.get("arguments").cloned().unwrap_or_default();
    document.as_object_mut()?.insert("arguments".to_owned(), arguments);
    serde_json::from_value(document).ok()
}

fn who(explained: &Explained, word: &impl Fn(&str) -> String) -> Vec<(&'static str, String)> {
    let mut lines =
        vec![("agent", word("agent")), ("instance", word("instance")), ("task", word("task"))];
    let document = document(explained);
    if let Some(task) = document.as_ref().and_then(|document| document.task.as_ref()) {
        lines.push(("purpose", escaped(&task.purpose)));
        lines.push(("on behalf of", task.subject.to_string()));
        lines.push(("opened by", task.opened_by.to_string()));
    }
    if let Some(document) = &document {
        lines.push(("owner", escaped(&document.principal.owner)));
        lines.push(("environment", escaped(&document.principal.environment)));
    }
    lines.retain(|(_, value)| !value.is_empty());
    lines
}

fn what(explained: &Explained, word: &impl Fn(&str) -> String) -> String {
    let mut lines = vec![
        ("action", word("action")),
        ("method", word("method")),
        ("resource", word("resource")),
        ("path", word("path")),
    ];
    let operation_path = word("operation_path");
    if !operation_path.is_empty() && operation_path != word("path") {
        lines.push(("belongs on", operation_path));
    }
    if let Some(Document { target: Target::Operation { labels, effect, .. }, .. }) =
        document(explained)
    {
        lines.push(("effect", resource::effect(effect)));
        let labels: Vec<String> = labels.iter().map(|label| escaped(label)).collect();
        lines.push(("labels", labels.join(", ")));
    }
    lines.retain(|(_, value)| !value.is_empty());
    let mut text = fields(2, &lines);
    match explained.inputs.get("arguments") {
        Some(Value::Object(arguments)) if arguments.is_empty() => text.push_str("  no arguments\n"),
        Some(arguments) => {
            text.push_str("  arguments, from the agent:\n");
            text.extend(json_lines(arguments).lines().map(|line| format!("  {line}\n")));
        }
        None => {}
    }
    text
}

fn why(explained: &Explained, word: &impl Fn(&str) -> String) -> String {
    let reasons = explained.decision.pointer("/header/reasons").and_then(Value::as_array);
    let reasons: Vec<String> =
        reasons.into_iter().flatten().filter_map(Value::as_str).map(escaped).collect();
    let verdict = explained.inputs.pointer("/verdict/effect").map(effect_word);
    let mut lines = vec![
        (
            "reasons",
            if reasons.is_empty() { "none: all of it held".into() } else { reasons.join(", ") },
        ),
        ("covered by", word("grant")),
        ("approved by", names(explained.decision.pointer("/header/approved_by"))),
        ("policy says", verdict.unwrap_or_else(|| "it was not asked".to_owned())),
        ("policy set", word("policy")),
        ("revision", word("revision")),
    ];
    lines.retain(|(_, value)| !value.is_empty());
    let mut text = fields(2, &lines);
    text.push_str(&hops(explained));
    let misses: Vec<(GrantId, Miss)> = read(explained, "misses").unwrap_or_default();
    if !misses.is_empty() {
        text.push_str("  grants of the task that do not cover it:\n");
        for (grant, miss) in &misses {
            text.push_str(&format!("    {grant}  {}\n", escaped(&miss_text(miss))));
        }
    }
    let errors = explained.inputs.pointer("/verdict/errors").and_then(Value::as_array);
    for error in errors.into_iter().flatten() {
        let message = error.get("message").and_then(Value::as_str).map(escaped);
        text.push_str(&format!("  failed: {}\n", message.unwrap_or_default()));
    }
    text
}

/// What policy said of each hop it was handed on by.
fn hops(explained: &Explained) -> String {
    let mut text = String::new();
    for hop in explained.inputs.get("hops").and_then(Value::as_array).into_iter().flatten() {
        let by: Option<Principal> = hop
            .pointer("/document/principal/principal")
            .and_then(|by| serde_json::from_value(by.clone()).ok());
        let by = by.map(|by| by.to_string()).unwrap_or_default();
        let task = hop.get("task").and_then(Value::as_str).map(escaped).unwrap_or_default();
        let verdict = hop.pointer("/verdict/effect").map(effect_word).unwrap_or_default();
        let permits = match hop.get("permits").and_then(Value::as_bool) {
            Some(true) => "may be handed on",
            Some(false) => "may NOT be handed on",
            None => "is not told whether it may be handed on",
        };
        text.push_str(&format!("  {by} handed it on to {task}: it {permits} ({verdict})\n"));
    }
    text
}

fn names(value: Option<&Value>) -> String {
    let names = value.and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(escaped).collect::<Vec<_>>().join(", ")
}

fn effect_word(effect: &Value) -> String {
    match effect {
        Value::String(word) => escaped(word),
        Value::Object(members) => {
            let terms = members.get("ask");
            let approvers = names(terms.and_then(|terms| terms.get("approvers")));
            let threshold = terms.and_then(|terms| terms.get("threshold")).and_then(Value::as_u64);
            format!("ask {} of {approvers}", threshold.unwrap_or(1))
        }
        other => escaped_json(&other.to_string()),
    }
}

fn miss_text(miss: &Miss) -> String {
    match miss {
        Miss::NotLive(state) => format!("it is {state}"),
        Miss::Locked => "a lock stops it".to_owned(),
        Miss::Spent => "its uses or totals are spent".to_owned(),
        Miss::Above(grant) => format!("{grant}, which it rests on, is gone or does not allow this"),
        Miss::Uncovered(uncovered) => uncovered.to_string(),
    }
}

/// The policies that determined it, with their text; or those that came nearest.
fn policies(output: Output, policies: &Value) -> String {
    let mut text = String::new();
    if let Some(why) = policies.get("unavailable").and_then(Value::as_str) {
        text.push_str(&format!("  the policy set cannot be shown: {}\n", escaped(why)));
    }
    let list =
        |name: &str| policies.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    for policy in list("determining") {
        text.push_str(&policy_text(output, "determined by", &policy));
    }
    for miss in list("nearest") {
        let policy = miss.get("policy").cloned().unwrap_or_default();
        text.push_str(&policy_text(output, "a permit that came near", &policy));
        for failed in miss.get("failed").and_then(Value::as_array).into_iter().flatten() {
            let failed = failed.as_str().map(escaped).unwrap_or_default();
            text.push_str(&format!("    did not hold: {failed}\n"));
        }
    }
    text
}

fn policy_text(output: Output, role: &str, policy: &Value) -> String {
    let word =
        |name: &str| policy.get(name).and_then(Value::as_str).map(escaped).unwrap_or_default();
    let line = policy.get("line").and_then(Value::as_u64).unwrap_or(0);
    let id = output.paint(Tone::Heading, &word("id"));
    let mut text = format!("\n  {role} {id} ({}, {}:{line})\n", word("tier"), word("file"));
    let source = policy.get("text").and_then(Value::as_str).unwrap_or_default();
    text.extend(source.lines().map(|line| format!("    | {}\n", escaped(line))));
    text
}

fn outcome_text(outcome: &Value) -> String {
    let at = |name: &str| outcome.pointer(&format!("/header/{name}"));
    let mut lines =
        vec![("outcome", at("outcome").and_then(Value::as_str).map(escaped).unwrap_or_default())];
    if let Some(bytes) = at("bytes").and_then(Value::as_u64) {
        lines.push(("bytes", bytes.to_string()));
    }
    let reasons = names(at("reasons"));
    if !reasons.is_empty() {
        lines.push(("reasons", reasons));
    }
    fields(2, &lines)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn explained() -> Explained {
        let header = json!({
            "decision": "deny", "reasons": ["not_covered"], "action": "desk.tool.issue_refund",
            "agent": "support-agent", "instance": "inst_1", "task": "task_1", "path": "write",
            "resource": "desk", "operation_path": "write", "revision": 7,
        });
        Explained {
            decision: json!({
                "index": 3, "kind": "decision", "id": "dec_1", "at": 1_000_000, "node": "n",
                "header": header, "sealed": ["arguments", "misses"],
            }),
            outcome: None,
            inputs: json!({
                "arguments": { "order_id": "O-9\u{202e}" },
                "misses": [["grant_1", { "uncovered": { "argument": {
                    "name": "order_id", "mismatch": "not_equal" } } }]],
            }),
            missing: json!({}),
            policies: json!({ "determining": [], "nearest": [{
                "policy": { "id": "p1", "tier": "permit", "file": "permit/a.cedar", "line": 4,
                            "text": "permit (\n  principal\n);" },
                "failed": ["condition: context.task.standing"],
            }]}),
            task: Value::Null,
            advice: vec!["not_covered: no allowance of the task covers this call".into()],
        }
    }

    #[test]
    fn an_explanation_says_who_what_why_and_what_to_do() {
        let text = text(Output::plain(), &"dec_1".parse().unwrap(), &explained());
        for part in [
            "dec_1: deny desk.tool.issue_refund",
            "agent     support-agent",
            "grant_1  argument `order_id` is not the value the allowance names",
            "a permit that came near p1 (permit, permit/a.cedar:4)",
            "did not hold: condition: context.task.standing",
            "    | permit (",
            "no allowance of the task covers this call",
        ] {
            assert!(text.contains(part), "{part}\n---\n{text}");
        }
    }

    #[test]
    fn each_hop_is_told_with_what_policy_said_of_it() {
        let mut explained = explained();
        explained.inputs["hops"] = json!([
            { "task": "task_2", "document": { "principal": { "principal": { "agent": "b" } } },
              "verdict": { "effect": "permit" }, "permits": true },
            { "task": "task_1", "document": { "principal": { "principal": { "agent": "a" } } },
              "verdict": { "effect": "deny" }, "permits": false },
        ]);
        let text = text(Output::plain(), &"dec_1".parse().unwrap(), &explained);
        assert!(
            text.contains("agent:b handed it on to task_2: it may be handed on (permit)"),
            "{text}"
        );
        assert!(
            text.contains("agent:a handed it on to task_1: it may NOT be handed on (deny)"),
            "{text}"
        );
    }

    #[test]
    fn what_the_agent_wrote_is_labelled_and_written_out() {
        let text = text(Output::plain(), &"dec_1".parse().unwrap(), &explained());
        let (_, from_agent) = text.split_once("arguments, from the agent:").unwrap();
        assert!(from_agent.contains("O-9\\u{202e}"), "{text}");
        assert!(!text.contains('\u{202e}'));
    }
}
