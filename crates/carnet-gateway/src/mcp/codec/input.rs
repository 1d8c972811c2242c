//! What a server asks of its client inside a result, and what the client sends back.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::classify::{Call, Classified, classify};
use super::message::Sender;
use super::method::Shape;
use super::refusal::Refusal;
use super::revision::Revision;

/// The most things one result asks for.
const INPUT_REQUESTS_MAX: usize = 16;
/// The longest key of one of them.
const KEY_BYTES_MAX: usize = 256;
/// The longest `requestState`.
const REQUEST_STATE_BYTES_MAX: usize = 64 << 10;
const CAPABILITIES_IN_META: &str = "io.modelcontextprotocol/clientCapabilities";

/// What a client says it can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// It can show a form.
    pub elicits_form: bool,
    /// It can send a person to a web address.
    pub elicits_url: bool,
    /// It can sample a model.
    pub samples: bool,
    /// It can list its roots.
    pub lists_roots: bool,
}

impl Capabilities {
    /// Those of a `capabilities` object.
    pub fn of(capabilities: &Map<String, Value>) -> Self {
        let elicitation = capabilities.get("elicitation").and_then(Value::as_object);
        let has = |mode| elicitation.is_some_and(|modes| modes.contains_key(mode));
        Self {
            // An empty object is what the first revision with elicitation sends: a form.
            elicits_form: has("form") || elicitation.is_some_and(Map::is_empty),
            elicits_url: has("url"),
            samples: capabilities.contains_key("sampling"),
            lists_roots: capabilities.contains_key("roots"),
        }
    }

    /// Those a request of a stateless revision declares. It must.
    pub fn declared(revision: Revision, params: &Map<String, Value>) -> Result<Self, Refusal> {
        let declared = params.get("_meta").and_then(|meta| meta.get(CAPABILITIES_IN_META));
        let at = "/params/_meta/io.modelcontextprotocol~1clientCapabilities";
        match declared {
            Some(Value::Object(capabilities)) => Ok(Self::of(capabilities)),
            _ => Err(Refusal::params(revision, at, "is not an object: declare the capabilities")),
        }
    }
}

/// What a client sends back when it tries again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Retry {
    /// The opaque text the result gave, if it gave one. Chosen by the client until verified.
    pub state: Option<String>,
    /// The answers by the keys the result gave.
    pub responses: Map<String, Value>,
}

impl Retry {
    pub(super) fn of(
        revision: Revision,
        params: &Map<String, Value>,
    ) -> Result<Option<Self>, Refusal> {
        let state = match params.get("requestState") {
            None => None,
            Some(Value::String(state)) if state.len() <= REQUEST_STATE_BYTES_MAX => {
                Some(state.clone())
            }
            Some(_) => {
                let rule = "is not a text of at most 65536 bytes";
                return Err(Refusal::params(revision, "/params/requestState", rule));
            }
        };
        let responses = match params.get("inputResponses") {
            None => Map::new(),
            Some(Value::Object(responses)) if responses.len() <= INPUT_REQUESTS_MAX => {
                responses.clone()
            }
            Some(_) => {
                let rule = "is not an object of at most 16 answers";
                return Err(Refusal::params(revision, "/params/inputResponses", rule));
            }
        };
        let is_retry = state.is_some() || params.contains_key("inputResponses");
        Ok(is_retry.then_some(Self { state, responses }))
    }

    /// Refuses an answer to anything that is not in `asked`, and an answer of the wrong kind.
    pub fn check(&self, revision: Revision, asked: &[InputRequest]) -> Result<(), Refusal> {
        let methods: BTreeMap<&str, &str> =
            asked.iter().map(|request| (request.key.as_str(), request.method.as_str())).collect();
        for (key, response) in &self.responses {
            let Some(method) = methods.get(key.as_str()) else {
                return Err(refused_response(revision, "holds an answer nobody asked for"));
            };
            if !fits(method, response) {
                return Err(refused_response(revision, "holds an answer to another question"));
            }
        }
        Ok(())
    }
}

fn refused_response(revision: Revision, rule: &'static str) -> Refusal {
    Refusal::params(revision, "/params/inputResponses", rule)
}

fn fits(method: &str, response: &Value) -> bool {
    match method {
        "elicitation/create" => {
            let action = response.get("action").and_then(Value::as_str);
            matches!(action, Some("accept" | "decline" | "cancel"))
        }
        "sampling/createMessage" => {
            response.get("role").is_some_and(Value::is_string)
                && response.get("content").is_some()
                && response.get("model").is_some_and(Value::is_string)
        }
        "roots/list" => response.get("roots").is_some_and(Value::is_array),
        _ => false,
    }
}

/// One thing a result asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct InputRequest {
    /// The server's key for it.
    pub key: String,
    /// The method.
    pub method: String,
    /// The operation it must be permitted as.
    pub call: Call,
}

/// What kind of result a server gave.
#[derive(Debug, Clone, PartialEq)]
pub enum ResultKind {
    /// The end of it.
    Complete,
    /// It wants something first.
    InputRequired {
        /// What it asks for.
        requests: Vec<InputRequest>,
        /// The opaque text it wants back.
        state: Option<String>,
    },
}

/// The kind of the result of `method`, or the refusal where it is none that is carried.
pub fn result_kind(
    revision: Revision,
    method: &str,
    result: &Map<String, Value>,
) -> Result<ResultKind, Refusal> {
    if !revision.asks_by_result() {
        // Where the member means nothing, an old client would take it for a result all the same.
        return match result.get("resultType") {
            None => Ok(ResultKind::Complete),
            Some(Value::String(kind)) if kind == "complete" => Ok(ResultKind::Complete),
            Some(_) => Err(refused_result(revision, "is not known in this version")),
        };
    }
    match result.get("resultType") {
        None => Ok(ResultKind::Complete),
        Some(Value::String(kind)) if kind == "complete" => Ok(ResultKind::Complete),
        Some(Value::String(kind)) if kind == "input_required" => {
            input_required(revision, method, result)
        }
        Some(_) => Err(refused_result(revision, "is not a kind of result that is carried")),
    }
}

fn refused_result(revision: Revision, rule: &'static str) -> Refusal {
    Refusal::params(revision, "/result/resultType", rule)
}

fn input_required(
    revision: Revision,
    method: &str,
    result: &Map<String, Value>,
) -> Result<ResultKind, Refusal> {
    if !matches!(method, "tools/call" | "resources/read" | "prompts/get") {
        return Err(refused_result(revision, "asks for input where none may be asked for"));
    }
    let state = match result.get("requestState") {
        None => None,
        Some(Value::String(state)) if state.len() <= REQUEST_STATE_BYTES_MAX => Some(state.clone()),
        Some(_) => {
            let rule = "is not a text of at most 65536 bytes";
            return Err(Refusal::params(revision, "/result/requestState", rule));
        }
    };
    let requests = match result.get("inputRequests") {
        None => Vec::new(),
        Some(Value::Object(requests)) if requests.len() <= INPUT_REQUESTS_MAX => requests
            .iter()
            .map(|(key, request)| input_request(revision, key, request))
            .collect::<Result<_, _>>()?,
        Some(_) => {
            let rule = "is not an object of at most 16 requests";
            return Err(Refusal::params(revision, "/result/inputRequests", rule));
        }
    };
    if requests.is_empty() && state.is_none() {
        return Err(refused_result(revision, "asks for input and names none"));
    }
    Ok(ResultKind::InputRequired { requests, state })
}

fn input_request(revision: Revision, key: &str, request: &Value) -> Result<InputRequest, Refusal> {
    let refuse = |rule| Refusal::params(revision, "/result/inputRequests", rule);
    if key.len() > KEY_BYTES_MAX {
        return Err(refuse("has a key longer than 256 bytes"));
    }
    let method = request.get("method").and_then(Value::as_str);
    let method = method.ok_or_else(|| refuse("holds a request without a method"))?;
    let none = Map::new();
    let params = match request.get("params") {
        None => &none,
        Some(Value::Object(params)) => params,
        Some(_) => return Err(refuse("holds a request whose parameters are not an object")),
    };
    match classify(revision, Sender::Server, Shape::Input, method, params)? {
        Classified::Call(call) => {
            Ok(InputRequest { key: key.to_owned(), method: method.to_owned(), call })
        }
        _ => Err(refuse("holds a request that is no operation")),
    }
}
