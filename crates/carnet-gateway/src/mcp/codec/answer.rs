//! The answers Carnet gives itself. A caller learns a reason code and a decision id, no more.

use bytes::Bytes;
use carnet_core::{ApprovalId, DecisionId, Reason};
use serde_json::{Map, Value, json};

use super::input::Capabilities;
use super::message::Id;
use super::refusal::Refusal;
use super::revision::Revision;

/// The JSON-RPC error code of a denied method that is not a tool. Outside the reserved range.
pub const DENIED_CODE: i64 = 40_300;
/// The JSON-RPC error code of a method that waits for an approval.
pub const PENDING_CODE: i64 = 40_301;
/// The key under which a client finds its own question again.
const APPROVAL_KEY: &str = "carnet_approval";

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON-RPC message.
    pub body: Bytes,
}

/// What is said of a denial, and of an operation that was sent and has no answer.
#[derive(Debug, Clone, Copy)]
pub struct Denial<'a> {
    /// Why.
    pub reason: Reason,
    /// Under which the operator finds the rest.
    pub decision: &'a DecisionId,
    /// What else the caller may know: a sentence, without anything the caller sent.
    pub detail: Option<&'a str>,
    /// Where the operation travels instead.
    pub address: Option<&'a str>,
}

impl<'a> Denial<'a> {
    /// A denial of which nothing else is said.
    pub const fn of(reason: Reason, decision: &'a DecisionId) -> Self {
        Self { reason, decision, detail: None, address: None }
    }
}

/// What is said of a question to a person.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The reason code.
    pub reason: &'a str,
    /// Under which the operator finds the rest.
    pub decision: &'a DecisionId,
    /// What is waited for.
    pub approval: &'a ApprovalId,
    /// When to try again.
    pub retry_after_s: u32,
    /// What the client must send back with its next attempt: sealed by the caller.
    pub state: &'a str,
    /// Where the person answers, if the client may be told.
    pub url: Option<&'a str>,
    /// What the client can be asked.
    pub capabilities: Capabilities,
}

/// The answer to a message that was refused. Without an id where none could be read.
pub fn refused(refusal: &Refusal, id: Option<&Id>) -> Answer {
    let mut error = Map::new();
    error.insert("code".to_owned(), refusal.code().into());
    error.insert("message".to_owned(), refusal.to_string().into());
    if let Some(data) = refusal.data() {
        error.insert("data".to_owned(), data);
    }
    failure(refusal.status(), id, Value::Object(error))
}

/// The answer to a denied `method`: a tool's own error for a tool, so that a model can read it, a
/// JSON-RPC error for anything else.
///
/// `has_output_schema` keeps the facts out of `structuredContent`, which a client would hold
/// against the tool's schema; they are always in `_meta`.
pub fn denied(
    revision: Revision,
    method: &str,
    has_output_schema: bool,
    id: &Id,
    denial: &Denial<'_>,
) -> Answer {
    let text = told(denial);
    let mut facts = Map::new();
    facts.insert("reason".to_owned(), json!(denial.reason));
    facts.insert("decision".to_owned(), json!(denial.decision));
    if let Some(address) = denial.address {
        facts.insert("address".to_owned(), address.into());
    }
    let facts = Value::Object(facts);
    if method == "tools/call" {
        return tool_error(revision, has_output_schema, id, &text, facts);
    }
    let error = json!({ "code": DENIED_CODE, "message": text, "data": facts });
    failure(200, Some(id), error)
}

/// What happened, in words: only what was refused is called denied, and only what surely was not
/// sent is said to be so.
fn told(denial: &Denial<'_>) -> String {
    let Denial { reason, decision, detail, address } = denial;
    let what = match reason {
        Reason::OutcomeUnknown => "Carnet has no answer",
        Reason::AnswerWithheld => "Carnet withholds the answer",
        Reason::UpstreamFailed => "Carnet could not reach or understand the server",
        _ => "Denied by Carnet",
    };
    let detail = match address {
        Some(address) => format!(" It travels on {address}."),
        None => detail.map(|detail| format!(" {detail}")).unwrap_or_default(),
    };
    let advice = match reason {
        Reason::OutcomeUnknown => {
            "It was sent; whether it was carried out is not known. Find that out before you make \
             the call again."
        }
        Reason::AnswerWithheld => {
            "It was sent and the server answered: making the call again may do it twice."
        }
        Reason::UpstreamFailed
        | Reason::SnapshotStale
        | Reason::LedgerUnavailable
        | Reason::ControlUnavailable
        | Reason::QuestionsPending => "Try again later.",
        _ => "Repeating the same call will not help.",
    };
    format!("{what}: {reason}.{detail} Decision {decision}. {advice}")
}

/// The answer to a `method` that a person must approve first.
///
/// A client that can be asked (2026-07-28, and it says so) gets a result that asks it to wait and
/// come back; its own answer is no approval. Any other gets an error that says when to try again.
pub fn asked(
    revision: Revision,
    method: &str,
    has_output_schema: bool,
    id: &Id,
    ask: &Ask<'_>,
) -> Answer {
    let askable = matches!(method, "tools/call" | "resources/read" | "prompts/get");
    let question = elicitation(ask).filter(|_| revision.asks_by_result() && askable);
    if let Some(question) = question {
        let result = json!({
            "resultType": "input_required",
            "inputRequests": { APPROVAL_KEY: question },
            "requestState": ask.state,
        });
        return success(id, result);
    }
    let text = format!(
        "Not yet: a person must approve this ({}). Decision {}. Make the same call again in {} s.",
        ask.approval, ask.decision, ask.retry_after_s
    );
    let facts = json!({
        "reason": ask.reason,
        "decision": ask.decision,
        "approval": ask.approval,
        "retry_after_s": ask.retry_after_s,
    });
    if method == "tools/call" {
        return tool_error(revision, has_output_schema, id, &text, facts);
    }
    let error = json!({ "code": PENDING_CODE, "message": "approval pending", "data": facts });
    failure(200, Some(id), error)
}

fn elicitation(ask: &Ask<'_>) -> Option<Value> {
    let message = format!(
        "A person must approve this in Carnet: {}. Nothing you answer here approves it; answer \
         to check again.",
        ask.approval
    );
    let params = match ask.url {
        Some(url) if ask.capabilities.elicits_url => {
            json!({ "mode": "url", "message": message, "url": url })
        }
        _ if ask.capabilities.elicits_form => {
            let schema = json!({ "type": "object", "properties": {} });
            json!({ "mode": "form", "message": message, "requestedSchema": schema })
        }
        _ => return None,
    };
    Some(json!({ "method": "elicitation/create", "params": params }))
}

fn tool_error(
    revision: Revision,
    has_output_schema: bool,
    id: &Id,
    text: &str,
    facts: Value,
) -> Answer {
    let mut result = Map::new();
    if revision.asks_by_result() {
        result.insert("resultType".to_owned(), "complete".into());
    }
    result.insert("content".to_owned(), json!([{ "type": "text", "text": text }]));
    result.insert("isError".to_owned(), true.into());
    result.insert("_meta".to_owned(), json!({ "carnet/decision": facts }));
    if !has_output_schema {
        result.insert("structuredContent".to_owned(), facts);
    }
    success(id, Value::Object(result))
}

fn success(id: &Id, result: Value) -> Answer {
    let body = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    Answer { status: 200, body: Bytes::from(body.to_string()) }
}

fn failure(status: u16, id: Option<&Id>, error: Value) -> Answer {
    let mut body = Map::new();
    body.insert("jsonrpc".to_owned(), "2.0".into());
    if let Some(id) = id {
        body.insert("id".to_owned(), json!(id));
    }
    body.insert("error".to_owned(), error);
    Answer { status, body: Bytes::from(Value::Object(body).to_string()) }
}
