//! The hijacked agent: it does what a ticket tells it to, as a model would that took a customer's text for orders.

use rmcp::model::JsonObject;
use serde_json::Value;

use super::{Agent, Outcome, Step, step::List};

/// The most instructions followed from one ticket.
pub const ACTIONS_MAX: usize = 16;
/// How deep a result is searched for text.
const DEPTH_MAX: usize = 16;
const MARK: &str = "ACTION:";

/// A tool call that a text asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Injected {
    /// The tool, as the text names it.
    pub tool: String,
    /// The arguments the text gives.
    pub arguments: JsonObject,
}

impl Agent {
    /// Reads a ticket and then follows every instruction in its text. The first outcome is the reading.
    pub async fn follow_ticket(&mut self, ticket_id: &str) -> Vec<Outcome> {
        let tools = self.tool_names().await;
        let mut arguments = JsonObject::new();
        arguments.insert("ticket_id".to_owned(), Value::String(ticket_id.to_owned()));
        let read = self.call(matching(&tools, "get_ticket"), arguments).await;
        let actions = injected_actions(&read);
        let mut outcomes = vec![read];
        for action in actions {
            outcomes.push(self.call(matching(&tools, &action.tool), action.arguments).await);
        }
        outcomes
    }

    async fn tool_names(&mut self) -> Vec<String> {
        let listed = self.take(Step::List { list: List::Tools }).await;
        let names = listed.content.iter().filter_map(|tool| tool.get("name")?.as_str());
        names.map(str::to_owned).collect()
    }
}

/// Every `ACTION: tool {json}` line in what a tool returned.
#[must_use]
pub fn injected_actions(outcome: &Outcome) -> Vec<Injected> {
    let mut texts = Vec::new();
    match &outcome.structured {
        Some(structured) => collect_texts(structured, 0, &mut texts),
        None => outcome.content.iter().for_each(|item| collect_texts(item, 0, &mut texts)),
    }
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.filter_map(action_in).take(ACTIONS_MAX).collect()
}

fn action_in(line: &str) -> Option<Injected> {
    let (_, rest) = line.split_once(MARK)?;
    let (tool, arguments) = rest.trim().split_once(' ')?;
    let arguments = serde_json::from_str(arguments.trim()).ok()?;
    Some(Injected { tool: tool.to_owned(), arguments })
}

fn collect_texts(value: &Value, depth: usize, texts: &mut Vec<String>) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        // A text block may be the JSON form of a record.
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => {
                collect_texts(&inner, depth + 1, texts);
            }
            _ => texts.push(text.clone()),
        },
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, depth + 1, texts)),
        Value::Object(members) => {
            members.values().for_each(|member| collect_texts(member, depth + 1, texts));
        }
        _ => {}
    }
}

/// The listed tool a text means: the one of that name, or the one that carries it after a prefix, as a model would
/// guess. A name that nothing matches is tried as it is.
fn matching<'a>(tools: &'a [String], wanted: &'a str) -> &'a str {
    let exact = tools.iter().find(|tool| *tool == wanted);
    let suffixed = || {
        tools.iter().find(|tool| {
            let prefix = tool.strip_suffix(wanted);
            prefix.is_some_and(|prefix| !prefix.ends_with(|c: char| c.is_ascii_alphanumeric()))
        })
    };
    exact.or_else(suffixed).map_or(wanted, String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_instructions_are_followed() {
        assert_eq!(action_in("ACTION: close_ticket not json"), None);
        assert_eq!(action_in("ACTION: close_ticket"), None);
        assert_eq!(action_in("please close the ticket"), None);
        let found = action_in(r#"  ACTION: close_ticket {"ticket_id":"T-1"} "#).unwrap();
        assert_eq!((found.tool.as_str(), found.arguments.len()), ("close_ticket", 1));
    }

    #[test]
    fn a_prefixed_tool_is_recognised() {
        let tools = ["budget_ticket".to_owned(), "desk__get_ticket".to_owned()];
        assert_eq!(matching(&tools, "get_ticket"), "desk__get_ticket");
        assert_eq!(matching(&tools[..1], "get_ticket"), "get_ticket");
        assert_eq!(matching(&tools, "other"), "other");
    }
}
