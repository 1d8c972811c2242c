//! A question to a person, as text: built by Carnet from the operation. What an agent wrote is
//! labelled so, and what cannot be shown whole is not shown at all.

use std::collections::BTreeMap;

use carnet_core::{Answer, ApprovalId, ApprovalState, ApprovalTerms, Digest, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::output::{Output, Tone, fields};
use crate::shown::{escaped, escaped_json, now, span, time};

/// The longest value that is shown.
const VALUE_BYTES_MAX: usize = 4 << 10;
/// The most lines of one value that are shown.
const VALUE_LINES_MAX: usize = 40;
/// The most lines of all values together: more cannot be read with care.
const LINES_MAX: usize = 400;
/// The longest JSON value that stands on one line.
const LINE_CHARS_MAX: usize = 80;

/// One question, as Carnet tells it.
#[derive(Debug, Deserialize)]
pub(crate) struct Question {
    pub(crate) id: ApprovalId,
    state: ApprovalState,
    task: Option<TaskBrief>,
    asked: Value,
    from_agent: Option<FromAgent>,
    pub(crate) digest: Digest,
    terms: ApprovalTerms,
    answers: Vec<Answer>,
    asked_at: Timestamp,
    expires: Timestamp,
    decision: Option<String>,
}

#[derive(Debug, Deserialize)]
struct TaskBrief {
    id: String,
    agent: String,
    purpose: String,
    subject: Value,
    opened_by: Value,
}

#[derive(Debug, Deserialize)]
struct FromAgent {
    arguments: BTreeMap<String, Value>,
}

/// A value, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    /// All of it.
    Whole(Vec<String>),
    /// How long it is, in bytes and lines, and its digest.
    TooLong { bytes: usize, lines: usize, digest: String },
}

impl Question {
    /// Why it cannot be approved from what a person can see here, if so.
    pub(crate) fn not_whole(&self) -> Option<String> {
        let mut lines_all = 0;
        for (name, value) in self.values() {
            match shown(value) {
                Shown::Whole(lines) => lines_all += lines.len(),
                Shown::TooLong { bytes, lines, .. } => {
                    return Some(format!(
                        "`{}` has {bytes} bytes on {lines} lines (at most {VALUE_BYTES_MAX} on \
                         {VALUE_LINES_MAX} are shown)",
                        escaped(name)
                    ));
                }
            }
        }
        (lines_all > LINES_MAX)
            .then(|| format!("it has {lines_all} lines in all (at most {LINES_MAX} are shown)"))
    }

    /// Every value somebody outside Carnet chose.
    fn values(&self) -> Vec<(&str, &Value)> {
        let arguments = self.from_agent.iter().flat_map(|from| &from.arguments);
        let mut values: Vec<(&str, &Value)> =
            arguments.map(|(name, value)| (name.as_str(), value)).collect();
        let bindings = self.asked.pointer("/allowance/where").and_then(Value::as_object);
        values.extend(bindings.into_iter().flatten().map(|(name, value)| (name.as_str(), value)));
        values
    }

    /// The question for a person.
    pub(crate) fn text(&self, output: Output) -> String {
        let mut text = format!("{}\n", output.paint(Tone::Heading, self.id.as_str()));
        text.push_str(&fields(2, &self.head(output)));
        if let Some(allowance) = self.asked.get("allowance") {
            text.push_str(&allowance_text(allowance));
        }
        if let Some(from) = &self.from_agent {
            let label = "from the agent (its words, not checked by Carnet):";
            text.push_str(&format!("  {}\n", output.paint(Tone::Waiting, label)));
            let values = from.arguments.iter().map(|(name, value)| (name.as_str(), value));
            text.push_str(&values_text(output, values));
        }
        if self.not_whole().is_some() {
            text.push_str(&format!(
                "  {}\n",
                output.paint(
                    Tone::Bad,
                    "it cannot be shown whole, and so it cannot be approved here"
                )
            ));
        }
        text
    }

    fn head(&self, output: Output) -> Vec<(&'static str, String)> {
        let mut lines = vec![("asks for", self.asks(output))];
        lines.extend(self.covered(output).map(|covered| ("declared", covered)));
        if let Some(task) = &self.task {
            lines.push(("task", format!("{} “{}”", escaped(&task.id), escaped(&task.purpose))));
            lines.push(("agent", escaped(&task.agent)));
            lines.push(("on behalf of", principal(&task.subject)));
            lines.push(("opened by", principal(&task.opened_by)));
        }
        let yes = self.answers.iter().filter(|answer| answer.yes);
        let said: Vec<String> = yes.map(|answer| answer.by.to_string()).collect();
        let approvers: Vec<String> =
            self.terms.approvers.iter().map(|approver| escaped(approver)).collect();
        let needed = format!("{} of {}", self.terms.threshold, approvers.join(", "));
        lines.push((
            "approvers",
            match said.is_empty() {
                true => needed,
                false => format!("{needed}; yes from {}", said.join(", ")),
            },
        ));
        let left = span(self.expires.s().saturating_sub(now().s()));
        lines.push(("asked", time(self.asked_at)));
        lines.push((
            "lapses",
            match self.state {
                ApprovalState::Asked => format!("{} (in {left})", time(self.expires)),
                state => format!("{} ({})", time(self.expires), state.as_str()),
            },
        ));
        if let Some(decision) = &self.decision {
            lines.push(("decision", escaped(decision)));
        }
        lines.push(("digest", self.digest.to_string()));
        lines
    }

    /// Whether an allowance of the task covers the operation. What none does is the first thing to
    /// know.
    fn covered(&self, output: Output) -> Option<String> {
        self.asked.get("one_use_of")?;
        Some(match self.asked.get("draws_on").and_then(Value::as_str) {
            Some(grant) => format!("yes, in {}", escaped(grant)),
            None => output.paint(Tone::Bad, "NO: no allowance of the task has room for this"),
        })
    }

    fn asks(&self, output: Output) -> String {
        let word = |name: &str| {
            self.asked.get(name).and_then(Value::as_str).map(escaped).unwrap_or_default()
        };
        if self.asked.get("allowance").is_some() {
            return "an allowance for the whole task, before it begins".to_owned();
        }
        let is = |pointer: &str, wanted: &Value| self.asked.pointer(pointer) == Some(wanted);
        let undo = match is("/effect/reversible", &Value::Bool(true)) {
            true => "reversible".to_owned(),
            false => output.paint(Tone::Bad, "irreversible"),
        };
        let reach = match is("/effect/reach", &Value::from("inside")) {
            true => "stays inside".to_owned(),
            false => output.paint(Tone::Bad, "leaves the organisation"),
        };
        format!("one use of {} on the {} path ({undo}, {reach})", word("one_use_of"), word("path"))
    }
}

fn principal(value: &Value) -> String {
    match value.as_object().and_then(|members| members.iter().next()) {
        Some((kind, Value::String(name))) => format!("{}:{}", escaped(kind), escaped(name)),
        _ => escaped_json(&value.to_string()),
    }
}

fn allowance_text(allowance: &Value) -> String {
    let mut text = "  it would allow:\n".to_owned();
    let mut lines = Vec::new();
    for (name, value) in allowance.as_object().into_iter().flatten() {
        if name != "where" {
            lines.push((name.as_str(), escaped_json(&value.to_string())));
        }
    }
    text.push_str(&fields(4, &lines));
    let bindings = allowance.get("where").and_then(Value::as_object);
    if let Some(bindings) = bindings.filter(|bindings| !bindings.is_empty()) {
        text.push_str("    where\n");
        let values = bindings.iter().map(|(name, value)| (name.as_str(), value));
        text.push_str(&values_text(Output::plain(), values));
    }
    text
}

fn values_text<'a>(output: Output, values: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    let mut text = String::new();
    for (name, value) in values {
        let name = escaped_name(name);
        match shown(value) {
            Shown::Whole(lines) => match lines.as_slice() {
                [line] if !is_block(value) => text.push_str(&format!("    {name} = {line}\n")),
                lines => {
                    text.push_str(&format!("    {name} =\n"));
                    for line in lines {
                        text.push_str(format!("      | {line}").trim_end());
                        text.push('\n');
                    }
                }
            },
            Shown::TooLong { bytes, lines, digest } => {
                let told = format!("not shown: {bytes} bytes on {lines} lines, {digest}");
                text.push_str(&format!("    {name} = {}\n", output.paint(Tone::Bad, &told)));
            }
        }
    }
    if text.is_empty() {
        text.push_str("    no arguments\n");
    }
    text
}

/// A name that could pass for something else is shown as JSON text.
fn escaped_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.len() <= 64 && name.chars().all(plain) {
        return name.to_owned();
    }
    let cut: String = name.chars().take(256).collect();
    let more = if cut.len() < name.len() { "…" } else { "" };
    format!("{}{more}", escaped_json(&Value::from(cut).to_string()))
}

fn is_block(value: &Value) -> bool {
    matches!(value, Value::String(text) if text.contains('\n'))
}

/// `value` in lines, or why not.
fn shown(value: &Value) -> Shown {
    let json = value.to_string();
    let lines: Vec<String> = match value {
        Value::String(text) if text.contains('\n') => text.split('\n').map(escaped).collect(),
        _ if json.chars().count() <= LINE_CHARS_MAX || value.is_string() => {
            vec![escaped_json(&json)]
        }
        _ => {
            let pretty = serde_json::to_string_pretty(value).unwrap_or(json.clone());
            escaped_json(&pretty).lines().map(str::to_owned).collect()
        }
    };
    if json.len() > VALUE_BYTES_MAX || lines.len() > VALUE_LINES_MAX {
        let digest = Digest::of_json(value);
        let digest = digest.map_or_else(|error| error.to_string(), |digest| digest.to_string());
        return Shown::TooLong { bytes: json.len(), lines: lines.len(), digest };
    }
    Shown::Whole(lines)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn question(arguments: Value) -> Question {
        serde_json::from_value(json!({
            "id": "appr_1", "state": "asked",
            "task": {
                "id": "task_1", "agent": "support-agent", "purpose": "answer T-7",
                "subject": { "user": "ana" }, "opened_by": { "user": "ana" },
            },
            "asked": {
                "one_use_of": "desk.tool.issue_refund", "resource": "desk", "path": "write",
                "effect": { "reversible": false, "reach": "inside" },
                "pin": Digest::of(b"x"), "draws_on": null,
            },
            "from_agent": { "arguments": arguments },
            "digest": Digest::of(b"q"),
            "terms": { "approvers": ["team:finance"], "threshold": 1, "timeout_s": 900 },
            "answers": [], "asked_at": 1_000_000, "expires": 901_000_000, "decision": "dec_1",
        }))
        .unwrap()
    }

    #[test]
    fn the_question_is_carnets_and_the_arguments_are_labelled_the_agents() {
        let text =
            question(json!({ "amount_cents": 4200, "reason": "late" })).text(Output::plain());
        let (carnet, agent) = text.split_once("from the agent").unwrap();
        assert!(carnet.contains("one use of desk.tool.issue_refund on the write path"), "{text}");
        assert!(carnet.contains("irreversible, stays inside"), "{text}");
        assert!(!carnet.contains("4200") && agent.contains("amount_cents = 4200"), "{text}");
    }

    #[test]
    fn what_no_allowance_covers_is_said_first() {
        let mut question = question(json!({}));
        assert!(
            question.text(Output::plain()).contains("declared      NO: no allowance of the task")
        );
        question.asked["draws_on"] = json!("grant_1");
        assert!(question.text(Output::plain()).contains("declared      yes, in grant_1"));
    }

    #[test]
    fn an_argument_cannot_pass_for_carnets_own_words() {
        let forged = "ok\n  digest  sha256:0000\u{202e}\u{200b}\u{1b}[2J";
        let text = question(json!({ "reason": forged })).text(Output::plain());
        assert!(
            text.contains("      |   digest  sha256:0000\\u{202e}\\u{200b}\\u{1b}[2J"),
            "{text}"
        );
        let lines = text.lines().filter(|line| line.trim_start().starts_with("digest")).count();
        assert_eq!(lines, 1, "{text}");
    }

    #[test]
    fn a_name_cannot_pass_for_something_else() {
        let text = question(json!({ "a = 1\n    amount_cents": 9 })).text(Output::plain());
        assert!(text.contains("\"a = 1\\n    amount_cents\" = 9"), "{text}");
    }

    #[test]
    fn what_is_too_long_is_not_shown_and_said_so() {
        for value in [json!("x".repeat(5_000)), json!("x\n".repeat(60)), json!(vec![1_000_000; 60])]
        {
            let question = question(json!({ "body": value }));
            let why = question.not_whole().unwrap();
            assert!(why.contains("`body` has"), "{why}");
            let text = question.text(Output::plain());
            assert!(text.contains("not shown:") && text.contains("sha256:"), "{text}");
            assert!(text.contains("cannot be approved"), "{text}");
        }
        assert_eq!(question(json!({ "body": "x".repeat(4_000) })).not_whole(), None);
    }

    #[test]
    fn many_short_arguments_are_too_much_to_read_as_well() {
        let many: serde_json::Map<String, Value> =
            (0..500).map(|n| (format!("a{n}"), json!(n))).collect();
        assert!(question(Value::Object(many)).not_whole().unwrap().contains("500 lines"));
    }

    #[test]
    fn an_allowance_is_shown_with_its_bindings() {
        let mut question = question(json!({}));
        question.from_agent = None;
        question.asked = json!({ "grant": "grant_1", "allowance": {
            "action": "desk.tool.issue_refund", "path": "write", "uses": 1,
            "where": { "order_id": { "equals": "O-1\u{202e}" } },
        }});
        let text = question.text(Output::plain());
        assert!(text.contains("an allowance for the whole task"), "{text}");
        assert!(text.contains("order_id = {\"equals\":\"O-1\\u{202e}\"}"), "{text}");
        question.asked["allowance"]["where"]["order_id"] = json!({ "equals": "x".repeat(5_000) });
        assert!(question.not_whole().is_some());
    }
}
