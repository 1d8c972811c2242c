//! Answers that say: a person must approve this first, come back later.

use std::time::Duration;

use carnet_gateway::mcp::codec::{PENDING_CODE, Response};
use serde::Deserialize;
use serde_json::{Value, json};

/// When to come back, where the answer does not say.
const RETRY_AFTER_S: u64 = 5;
/// The longest we stay away.
const RETRY_AFTER_S_MAX: u64 = 60;
/// The key under which Carnet asks its own question.
const APPROVAL_KEY: &str = "carnet_approval";

/// A call that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    /// When to try again.
    pub(crate) retry_after: Duration,
    /// What is waited for, where it is said.
    pub(crate) approval: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Value,
}

impl Pending {
    /// What `response` waits for, if it says that it waits for a person.
    pub(crate) fn of(response: &Response) -> Option<Self> {
        let answer: Answer = serde_json::from_slice(response.bytes()).ok()?;
        if answer.error.get("code").and_then(Value::as_i64) == Some(PENDING_CODE) {
            return Some(Self::from_facts(answer.error.get("data")?));
        }
        let result = &answer.result;
        if result.get("isError") == Some(&Value::Bool(true)) {
            let facts = result.get("_meta")?.get("carnet/decision")?;
            return facts.get("approval").is_some().then(|| Self::from_facts(facts));
        }
        // Only a question of Carnet's own: what a server asks is for the client.
        let asked = result.get("inputRequests").and_then(Value::as_object)?;
        let is_ours = asked.len() == 1 && asked.contains_key(APPROVAL_KEY);
        is_ours.then(|| Self::from_facts(&Value::Null))
    }

    fn from_facts(facts: &Value) -> Self {
        let retry_after_s = facts.get("retry_after_s").and_then(Value::as_u64);
        let retry_after_s = retry_after_s.unwrap_or(RETRY_AFTER_S).clamp(1, RETRY_AFTER_S_MAX);
        let approval = facts.get("approval").and_then(Value::as_str).map(str::to_owned);
        Self { retry_after: Duration::from_secs(retry_after_s), approval }
    }

    /// A sign of life for a client that wants to hear of progress under `token`.
    pub(crate) fn progress(&self, token: &Value, waited: Duration, hold: Duration) -> String {
        let message = match &self.approval {
            Some(approval) => format!("Waiting for a person: {approval}"),
            None => "Waiting for a person".to_owned(),
        };
        let params = json!({
            "progressToken": token,
            "progress": waited.as_secs(),
            "total": hold.as_secs(),
            "message": message,
        });
        json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use carnet_core::{ApprovalId, DecisionId, Reason};
    use carnet_gateway::mcp::codec::{
        Ask, Capabilities, Denial, Id, Message, Revision, Sender, asked, denied, read_message,
    };

    use super::*;

    fn response(bytes: Bytes) -> Response {
        match read_message(bytes, Sender::Server).unwrap() {
            Message::Response(response) => response,
            other => panic!("{other:?}"),
        }
    }

    fn pending(revision: Revision, method: &str, elicits_form: bool) -> Option<Pending> {
        let (decision, approval) = (DecisionId::from_bits(1), ApprovalId::from_bits(2));
        let ask = Ask {
            reason: "approval_needed",
            decision: &decision,
            approval: &approval,
            retry_after_s: 7,
            state: "carnet:x",
            url: None,
            capabilities: Capabilities { elicits_form, ..Capabilities::default() },
        };
        let answer = asked(revision, method, false, &Id::Number(1), &ask);
        Pending::of(&response(answer.body))
    }

    #[test]
    fn every_form_of_a_question_of_carnets_own_is_recognised() {
        for revision in Revision::ALL {
            for method in ["tools/call", "prompts/get"] {
                let pending = pending(revision, method, false).unwrap();
                assert_eq!(pending.retry_after, Duration::from_secs(7));
                let approval = ApprovalId::from_bits(2).to_string();
                assert_eq!(pending.approval, Some(approval));
            }
        }
        let asked = pending(Revision::V2026_07_28, "tools/call", true).unwrap();
        assert_eq!(asked.retry_after, Duration::from_secs(RETRY_AFTER_S));
    }

    #[test]
    fn a_denial_a_result_and_a_servers_own_question_are_not_waited_for() {
        let decision = DecisionId::from_bits(1);
        let denial = Denial::of(Reason::NotCovered, &decision);
        for method in ["tools/call", "prompts/get"] {
            let answer = denied(Revision::V2025_11_25, method, false, &Id::Number(1), &denial);
            assert_eq!(Pending::of(&response(answer.body)), None);
        }
        for result in [
            r#"{"content":[]}"#,
            r#"{"isError":true,"content":[]}"#,
            r#"{"resultType":"input_required","inputRequests":{"q":{"method":"roots/list"}}}"#,
        ] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
            assert_eq!(Pending::of(&response(Bytes::from(body))), None, "{result}");
        }
    }
}
