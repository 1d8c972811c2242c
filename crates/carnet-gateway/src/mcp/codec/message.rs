//! The JSON-RPC 2.0 envelope.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::json::{Limits, SAFE_INTEGER_MAX, read};
use super::refusal::Refusal;
use super::revision::Revision;
use super::splice;

/// The longest text of an id.
pub(crate) const ID_BYTES_MAX: usize = 256;
/// The longest method name.
const METHOD_BYTES_MAX: usize = 128;

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The MCP client: an agent.
    Client,
    /// The MCP server behind the gateway.
    Server,
}

/// The id of a request. `1` and `"1"` are two ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// An integer within ±(2^53 − 1).
    Number(i64),
    /// A text of at most 256 bytes.
    Text(String),
}

impl Id {
    /// The id that `value` is, if it is one.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number
                .as_i64()
                .filter(|integer| (-SAFE_INTEGER_MAX..=SAFE_INTEGER_MAX).contains(integer))
                .map(Self::Number),
            Value::String(text) if text.len() <= ID_BYTES_MAX => Some(Self::Text(text.clone())),
            _ => None,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "\"{}\"", text.escape_debug()),
        }
    }
}

/// One message.
#[derive(Debug, Clone)]
pub enum Message {
    /// It wants an answer.
    Request(Request),
    /// It wants none.
    Notification(Notification),
    /// It is the answer.
    Response(Response),
}

/// A message that wants an answer.
#[derive(Debug, Clone)]
pub struct Request {
    /// What the answer will name.
    pub id: Id,
    /// The method.
    pub method: String,
    /// The parameters; absent ones are empty.
    pub params: Map<String, Value>,
    bytes: Bytes,
}

impl Request {
    /// The original bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes without `inputResponses` and `requestState` in the parameters, all else as it
    /// was. For the retry of a question Carnet itself asked: the server never saw it.
    pub fn bytes_without_retry(&self) -> Result<Bytes, Refusal> {
        splice::without_members(&self.bytes, "params", &["inputResponses", "requestState"])
            .map_err(Refusal::Parse)
    }
}

/// A message that wants no answer.
#[derive(Debug, Clone)]
pub struct Notification {
    /// The method.
    pub method: String,
    /// The parameters; absent ones are empty.
    pub params: Map<String, Value>,
    bytes: Bytes,
}

impl Notification {
    /// The original bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Response {
    /// The request it answers. Only a server's error may have none.
    pub id: Option<Id>,
    /// What came of it.
    pub outcome: Outcome,
    bytes: Bytes,
}

impl Response {
    /// The original bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The members of the result.
    Result(Map<String, Value>),
    /// The error.
    Failure(Failure),
}

/// A JSON-RPC error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its code.
    pub code: i64,
    /// Its message, which the other side chose.
    pub message: String,
}

/// Reads one message that `sender` sent, within the limits for that sender.
pub fn read_message(bytes: Bytes, sender: Sender) -> Result<Message, Refusal> {
    let limits = match sender {
        Sender::Client => &Limits::REQUEST,
        Sender::Server => &Limits::ANSWER,
    };
    let (value, bytes) = read(bytes, limits)?.into_parts();
    let mut members = match value {
        Value::Object(members) => members,
        Value::Array(_) => return Err(Refusal::Request("batches are not carried: send one")),
        _ => return Err(Refusal::Request("it is not an object")),
    };
    if members.remove("jsonrpc").as_ref().and_then(Value::as_str) != Some("2.0") {
        return Err(Refusal::Request("`jsonrpc` is not \"2.0\""));
    }
    let answers = members.contains_key("result") || members.contains_key("error");
    match (members.remove("method"), answers) {
        (Some(_), true) => Err(Refusal::Request("it has both a method and an outcome")),
        (None, false) => Err(Refusal::Request("it has neither a method nor an outcome")),
        (Some(method), false) => asking(method, members, bytes),
        (None, true) => answering(members, bytes, sender),
    }
}

fn asking(
    method: Value,
    mut members: Map<String, Value>,
    bytes: Bytes,
) -> Result<Message, Refusal> {
    let method = match method {
        Value::String(method) if is_method(&method) => method,
        _ => return Err(Refusal::Request("`method` is not a method name")),
    };
    let params = match members.remove("params") {
        None => Map::new(),
        Some(Value::Object(params)) => params,
        // Before the revision is known, its status cannot be: the oldest one's is used.
        Some(_) => {
            let rule = "is not an object: name the parameters";
            return Err(Refusal::params(Revision::V2025_06_18, "/params", rule));
        }
    };
    let id = members.remove("id");
    closed(&members)?;
    match id.as_ref().map(Id::of) {
        None => Ok(Message::Notification(Notification { method, params, bytes })),
        Some(Some(id)) => Ok(Message::Request(Request { id, method, params, bytes })),
        Some(None) => Err(Refusal::Request("`id` is neither a short text nor a safe integer")),
    }
}

fn answering(
    mut members: Map<String, Value>,
    bytes: Bytes,
    sender: Sender,
) -> Result<Message, Refusal> {
    let outcome = match (members.remove("result"), members.remove("error")) {
        (Some(Value::Object(result)), None) => Outcome::Result(result),
        (None, Some(Value::Object(error))) => Outcome::Failure(failure(error, sender)?),
        (Some(_), Some(_)) => {
            return Err(Refusal::Request("it has both a result and an error"));
        }
        _ => return Err(Refusal::Request("its outcome is not an object")),
    };
    let id = members.remove("id");
    closed(&members)?;
    // JSON-RPC has a server that could not read the id answer with null.
    let may_lack = sender == Sender::Server && matches!(outcome, Outcome::Failure(_));
    let id = match id {
        None | Some(Value::Null) if may_lack => None,
        Some(value) => Some(
            Id::of(&value)
                .ok_or(Refusal::Request("`id` is neither a short text nor an integer"))?,
        ),
        None => return Err(Refusal::Request("an answer without `id`")),
    };
    Ok(Message::Response(Response { id, outcome, bytes }))
}

/// Refuses what is left of a message when its members were taken out. What folds case would read
/// `Method` beside `method`, and the later one.
fn closed(rest: &Map<String, Value>) -> Result<(), Refusal> {
    match rest.keys().next() {
        Some(name) => Err(Refusal::member(name)),
        None => Ok(()),
    }
}

fn failure(mut error: Map<String, Value>, sender: Sender) -> Result<Failure, Refusal> {
    let code = error.remove("code").as_ref().and_then(Value::as_i64);
    let message = error.remove("message");
    error.remove("data");
    if sender == Sender::Client {
        closed(&error)?;
    }
    match (code, message) {
        (Some(code), Some(Value::String(message))) => Ok(Failure { code, message }),
        _ => Err(Refusal::Request("an error without an integer `code` and a text `message`")),
    }
}

fn is_method(method: &str) -> bool {
    (1..=METHOD_BYTES_MAX).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_graphic())
}
