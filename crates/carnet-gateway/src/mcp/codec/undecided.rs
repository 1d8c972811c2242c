//! What an agent says that nothing is decided on: the handshake, messages of an exchange, `_meta`.
//!
//! Such a message must not be a way to send what no one permitted. It has the members the protocol
//! gives it and no others, and where the server needs nothing but what it names, it is not passed
//! on: Carnet writes its own from that.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::json::quoted;
use super::message::{Id, Notification, Outcome, Request, Response};
use super::refusal::Refusal;
use super::revision::Revision;

/// The longest text by which a client describes itself.
const DESCRIPTION_BYTES_MAX: usize = 128;
/// The longest `tracestate`, as its standard has it.
const TRACE_STATE_BYTES_MAX: usize = 512;
/// The length of a `traceparent` of the version there is.
const TRACE_PARENT_BYTES: usize = 55;
/// The longest capabilities that go on with a request, written compactly.
const CAPABILITIES_BYTES_MAX: usize = 2 << 10;
/// What a client of a stateless revision may describe itself by.
const DESCRIPTIONS: &[&str] = &["name", "version", "title", "description", "websiteUrl"];
const CAPABILITIES: &[&str] =
    &["experimental", "extensions", "roots", "sampling", "elicitation", "tasks"];
const LOG_LEVELS: &[&str] =
    &["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
const UNKNOWN: &str = "is not a member that is carried here: leave it out";
/// What stands for the text of a client's error, which its server does not need.
const CLIENT_ERROR: &str = "the client answered with an error";

/// Refuses a member of `_meta` that is not the protocol's own or a trace, and one out of bounds.
pub(super) fn check_meta(revision: Revision, params: &Map<String, Value>) -> Result<(), Refusal> {
    let meta = match params.get("_meta") {
        None => return Ok(()),
        Some(Value::Object(meta)) => meta,
        Some(_) => return Err(Refusal::params(revision, "/params/_meta", "is not an object")),
    };
    meta.iter().try_for_each(|(name, value)| {
        check_meta_member(name, value)
            .map_err(|rule| Refusal::params(revision, at("/params/_meta", name), rule))
    })
}

fn check_meta_member(name: &str, value: &Value) -> Result<(), &'static str> {
    let text = value.as_str();
    let (holds, rule) = match name {
        "progressToken" => (Id::of(value).is_some(), "is neither a short text nor an integer"),
        "traceparent" => (text.is_some_and(is_trace_parent), "is not a trace parent of W3C"),
        "tracestate" => (text.is_some_and(is_trace_state), "is not a text of at most 512 bytes"),
        "io.modelcontextprotocol/protocolVersion" => {
            (text.is_some_and(is_description), "is not a text of at most 128 bytes")
        }
        "io.modelcontextprotocol/logLevel" => {
            (text.is_some_and(|level| LOG_LEVELS.contains(&level)), "is not a level")
        }
        "io.modelcontextprotocol/clientInfo" => (
            described(value, DESCRIPTIONS),
            "holds more than `name`, `version`, `title`, `description` and `websiteUrl` of at most \
             128 bytes each",
        ),
        "io.modelcontextprotocol/clientCapabilities" => {
            (are_capabilities(value), "holds unknown capabilities or more than 2048 bytes")
        }
        _ => (false, UNKNOWN),
    };
    if holds { Ok(()) } else { Err(rule) }
}

fn is_trace_parent(text: &str) -> bool {
    text.len() == TRACE_PARENT_BYTES && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

fn is_trace_state(text: &str) -> bool {
    text.len() <= TRACE_STATE_BYTES_MAX && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

fn is_description(text: &str) -> bool {
    text.len() <= DESCRIPTION_BYTES_MAX
}

/// Whether `value` has members of `names` only, each a short text.
fn described(value: &Value, names: &[&str]) -> bool {
    value.as_object().is_some_and(|members| {
        members.iter().all(|(name, text)| {
            names.contains(&name.as_str()) && text.as_str().is_some_and(is_description)
        })
    })
}

/// What they are is for the server; that they are few is for Carnet. One that is not an object is
/// refused by who reads them.
fn are_capabilities(value: &Value) -> bool {
    let Value::Object(capabilities) = value else { return true };
    capabilities.keys().all(|name| CAPABILITIES.contains(&name.as_str()))
        && value.to_string().len() <= CAPABILITIES_BYTES_MAX
}

/// Refuses a parameter of `method`, which nothing is decided on, that is not the protocol's.
pub(super) fn check_undecided(
    revision: Revision,
    method: &str,
    params: &Map<String, Value>,
) -> Result<(), Refusal> {
    let names: &[&str] = match method {
        "initialize" => &["protocolVersion", "capabilities", "clientInfo"],
        "notifications/cancelled" => &["requestId", "reason"],
        "notifications/progress" => &["progressToken", "progress", "total", "message"],
        _ => &[],
    };
    let is_known = |name: &str| name == "_meta" || names.contains(&name);
    if let Some(name) = params.keys().find(|name| !is_known(name)) {
        return Err(Refusal::params(revision, at("/params", name), UNKNOWN));
    }
    let refuse = |name: &str, rule| Err(Refusal::params(revision, at("/params", name), rule));
    let is_id = |name: &str| params.get(name).is_some_and(|value| Id::of(value).is_some());
    let is_number = |name: &str| params.get(name).is_some_and(Value::is_number);
    match method {
        "initialize" => check_client(revision, params),
        "notifications/cancelled" if !is_id("requestId") => refuse("requestId", "is not an id"),
        "notifications/progress" if !is_id("progressToken") => {
            refuse("progressToken", "is not a token")
        }
        "notifications/progress" if !is_number("progress") => refuse("progress", "is no number"),
        "notifications/progress" if params.contains_key("total") && !is_number("total") => {
            refuse("total", "is no number")
        }
        _ => Ok(()),
    }
}

fn check_client(revision: Revision, params: &Map<String, Value>) -> Result<(), Refusal> {
    let refuse = |place: &str, rule| Err(Refusal::params(revision, place, rule));
    if params.get("capabilities").is_some_and(|known| !known.is_object()) {
        return refuse("/params/capabilities", "is not an object");
    }
    let Some(Value::Object(info)) = params.get("clientInfo") else {
        return refuse("/params/clientInfo", "is not an object: say which client it is");
    };
    for name in ["name", "version"] {
        if !info.get(name).is_some_and(Value::is_string) {
            return refuse(&at("/params/clientInfo", name), "is not a text");
        }
    }
    for name in ["name", "version", "title"] {
        if info.get(name).is_some_and(|text| !text.as_str().is_some_and(is_description)) {
            return refuse(&at("/params/clientInfo", name), "is not a text of at most 128 bytes");
        }
    }
    Ok(())
}

/// A pointer to the member `name` of what is at `place`.
fn at(place: &str, name: &str) -> String {
    format!("{place}/{}", quoted(name).replace('~', "~0").replace('/', "~1"))
}

impl Request {
    /// The bytes that go on: of what nothing is decided on, Carnet's own; of what is, the original.
    pub fn bytes_on(&self) -> Bytes {
        let message = match self.method.as_str() {
            "initialize" => {
                json!({ "jsonrpc": "2.0", "id": self.id, "method": self.method,
                    "params": opening(&self.params) })
            }
            "ping" => json!({ "jsonrpc": "2.0", "id": self.id, "method": self.method }),
            _ => return self.bytes().clone(),
        };
        Bytes::from(message.to_string())
    }
}

impl Notification {
    /// The bytes that go on: Carnet's own, with the ids and numbers of the client's.
    pub fn bytes_on(&self) -> Bytes {
        let names: &[&str] = match self.method.as_str() {
            "notifications/cancelled" => &["requestId"],
            "notifications/progress" => &["progressToken", "progress", "total"],
            _ => &[],
        };
        let message = match names.is_empty() {
            true => json!({ "jsonrpc": "2.0", "method": self.method }),
            false => {
                let params = picked(&self.params, names);
                json!({ "jsonrpc": "2.0", "method": self.method, "params": params })
            }
        };
        Bytes::from(message.to_string())
    }
}

impl Response {
    /// The bytes that go on of a client's answer to a question that was permitted: an error as its
    /// code alone.
    pub fn bytes_on(&self) -> Bytes {
        match &self.outcome {
            Outcome::Result(_) => self.bytes().clone(),
            Outcome::Failure(failure) => {
                let error = json!({ "code": failure.code, "message": CLIENT_ERROR });
                let message = json!({ "jsonrpc": "2.0", "id": self.id, "error": error });
                Bytes::from(message.to_string())
            }
        }
    }
}

/// The parameters of an `initialize` of Carnet's own.
fn opening(params: &Map<String, Value>) -> Value {
    let none = Map::new();
    let object = |name: &str| params.get(name).and_then(Value::as_object).unwrap_or(&none);
    json!({
        "protocolVersion": params.get("protocolVersion"),
        "capabilities": capabilities(object("capabilities")),
        "clientInfo": picked(object("clientInfo"), &["name", "version", "title"]),
    })
}

/// The capabilities that are carried, and of each what the protocol knows.
fn capabilities(declared: &Map<String, Value>) -> Map<String, Value> {
    let known: [(&str, &[&str]); 3] = [
        ("roots", &["listChanged"]),
        ("sampling", &["context", "tools"]),
        ("elicitation", &["form", "url"]),
    ];
    let known = known.into_iter().filter_map(|(name, parts)| {
        let declared = declared.get(name)?.as_object()?;
        let parts = parts.iter().filter_map(|part| {
            let value = match declared.get(*part)? {
                Value::Bool(is_so) => Value::Bool(*is_so),
                Value::Object(_) => json!({}),
                _ => return None,
            };
            Some(((*part).to_owned(), value))
        });
        Some((name.to_owned(), Value::Object(parts.collect())))
    });
    known.collect()
}

fn picked(members: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let found =
        names.iter().filter_map(|name| Some(((*name).to_owned(), members.get(*name)?.clone())));
    found.collect()
}
