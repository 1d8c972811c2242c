//! The numbered cases.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use carnet_core::{Digest, OperationKind, ResourceName};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::mcp::codec::method::Shape;
use crate::mcp::codec::*;

#[derive(Deserialize)]
struct Case {
    case: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    says: String,
    expect: Value,
    #[serde(flatten)]
    given: Given,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Client { client: Client },
    Server { server: Server },
    List { list: List },
    Definitions { definitions: Definitions },
    Definition { definition: Value, neighbours: Vec<Near> },
    Result { result: Asking },
    Retry { retry: Retrying },
    Arguments { arguments: Checked },
}

#[derive(Deserialize)]
struct Client {
    session: Option<String>,
    headers: Vec<(String, String)>,
    body: Value,
    definition: Option<Value>,
}

#[derive(Deserialize)]
struct Server {
    revision: String,
    body: Value,
}

#[derive(Deserialize)]
struct List {
    revision: String,
    kind: String,
    response: Value,
    permitted: Vec<String>,
}

#[derive(Deserialize)]
struct Definitions {
    old: Value,
    new: Value,
}

#[derive(Deserialize)]
struct Near {
    server: String,
    tool: String,
}

#[derive(Deserialize)]
struct Asking {
    revision: String,
    method: String,
    result: Map<String, Value>,
}

#[derive(Deserialize)]
struct Retrying {
    asked: BTreeMap<String, String>,
    params: Map<String, Value>,
}

#[derive(Deserialize)]
struct Checked {
    schema: Value,
    arguments: Map<String, Value>,
}

fn desk() -> ResourceName {
    "desk".parse().unwrap()
}

/// A text stands for itself, so that cases can hold what is not JSON.
fn bytes(body: &Value) -> Bytes {
    match body {
        Value::String(text) => Bytes::copy_from_slice(text.as_bytes()),
        body => Bytes::from(body.to_string()),
    }
}

fn refused(refusal: &Refusal) -> Value {
    let (code, status, reason) = (refusal.code(), refusal.status(), refusal.reason());
    json!({ "refused": { "code": code, "status": status, "reason": reason } })
}

fn classified(revision: Revision, classified: Classified, from_client: bool) -> Value {
    match classified {
        Classified::Call(call) => match call.action(&desk()) {
            Err(_) => json!({ "unnameable": true }),
            Ok(action) if from_client => json!({ "decided": {
                "revision": revision.as_str(),
                "action": action.as_str(),
                "arguments": call.arguments,
            }}),
            Ok(action) => {
                json!({ "decided": { "action": action.as_str(), "arguments": call.arguments } })
            }
        },
        Classified::List(kind) => json!({ "list": kind.member() }),
        Classified::Handshake => json!({ "handshake": revision.as_str() }),
        Classified::Relay => json!({ "relay": true }),
    }
}

fn classify_message(
    revision: Revision,
    sender: Sender,
    message: &Message,
) -> Result<Classified, Refusal> {
    let (shape, method, params) = match message {
        Message::Request(request) => (Shape::Request, &request.method, &request.params),
        Message::Notification(notification) => {
            (Shape::Notification, &notification.method, &notification.params)
        }
        Message::Response(_) => return Ok(Classified::Relay),
    };
    classify(revision, sender, shape, method, params)
}

fn client(client: &Client) -> Result<Value, Refusal> {
    let mut headers = HeaderMap::new();
    for (name, value) in &client.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let session = client.session.as_ref().map(|session| session.parse().unwrap());
    let message = read_message(bytes(&client.body), Sender::Client)?;
    let revision = revision_of(&message, &headers, session)?;
    let schema = client.definition.as_ref().and_then(|tool| tool.get("inputSchema"));
    let annotations = schema.map(|schema| mirrored(schema).unwrap()).unwrap_or_default();
    let verified = verify(revision, &message, &headers, &annotations)?;
    assert!(verified.iter().all(|(name, _)| name != "mcp-param-other"), "an unread header goes on");
    Ok(classified(revision, classify_message(revision, Sender::Client, &message)?, true))
}

fn server(server: &Server) -> Result<Value, Refusal> {
    let revision = server.revision.parse().unwrap();
    let message = read_message(bytes(&server.body), Sender::Server)?;
    Ok(classified(revision, classify_message(revision, Sender::Server, &message)?, false))
}

fn list(list: &List) -> Value {
    let kind = match list.kind.as_str() {
        "tools" => ListKind::Tools,
        _ => ListKind::Resources,
    };
    let Ok(Message::Response(response)) = read_message(bytes(&list.response), Sender::Server)
    else {
        panic!("a case's response is a response");
    };
    let permitted = |item: &Item<'_>| list.permitted.iter().any(|key| key == item.key);
    let filtered = filter(&response, kind, list.revision.parse().unwrap(), permitted).unwrap();
    let result = &super::value(&filtered.bytes)["result"];
    let items = result[kind.member()].as_array().unwrap();
    let left: Vec<&Value> = items.iter().map(|item| &item[kind.key()]).collect();
    json!({ "left": left, "cache_scope": result["cacheScope"] })
}

fn definitions(given: &Definitions) -> Value {
    let changed = difference(&given.old, &given.new);
    let at: Vec<&str> = changed.changes.iter().map(|change| change.at.as_str()).collect();
    let pin_changed = pin(&given.old).unwrap() != pin(&given.new).unwrap();
    json!({ "pin_changed": pin_changed, "changed": at })
}

fn suspicious(definition: &Value, neighbours: &[Near]) -> Value {
    let neighbours: Vec<Neighbour<'_>> = neighbours
        .iter()
        .map(|near| Neighbour { server: &near.server, tool: &near.tool })
        .collect();
    let kinds: Vec<String> = suspicions("desk", definition, &neighbours)
        .iter()
        .map(|suspicion| {
            let debug = format!("{suspicion:?}");
            debug.split([' ', '(']).next().unwrap().to_owned()
        })
        .collect();
    json!({ "suspicions": kinds })
}

fn asking(given: &Asking) -> Result<Value, Refusal> {
    let kind = result_kind(given.revision.parse().unwrap(), &given.method, &given.result)?;
    let ResultKind::InputRequired { requests, .. } = kind else {
        return Ok(json!({ "complete": true }));
    };
    let asks: BTreeMap<&str, String> = requests
        .iter()
        .map(|request| (request.key.as_str(), request.call.action(&desk()).unwrap().to_string()))
        .collect();
    Ok(json!({ "asks": asks }))
}

fn retrying(given: &Retrying) -> Result<Value, Refusal> {
    let revision = Revision::V2026_07_28;
    let mut params = given.params.clone();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    params.insert("_meta".to_owned(), meta);
    let Classified::Call(call) =
        classify(revision, Sender::Client, Shape::Request, "tools/call", &params)?
    else {
        panic!("a call");
    };
    let asked: Vec<InputRequest> = given
        .asked
        .iter()
        .map(|(key, method)| InputRequest {
            key: key.clone(),
            method: method.clone(),
            call: Call {
                kind: OperationKind::Method,
                item: "any".to_owned(),
                arguments: Map::new(),
                retry: None,
            },
        })
        .collect();
    call.retry.unwrap().check(revision, &asked)?;
    Ok(json!({ "accepted": true }))
}

fn checked(given: &Checked) -> Value {
    let definition = json!({ "name": "t", "inputSchema": given.schema });
    let pinned = Digest::of_json(&definition).unwrap();
    match Schemas::new(4).compiled(OperationKind::Tool, pinned, &definition) {
        Err(error) => {
            let debug = format!("{error:?}");
            json!({ "schema_error": debug.split(' ').next().unwrap() })
        }
        Ok(schema) => match schema.check(&given.arguments) {
            Ok(()) => json!({ "fits": true }),
            Err(error) => json!({ "at": error.at, "rule": error.rule }),
        },
    }
}

fn outcome(given: &Given) -> Value {
    let refusable = match given {
        Given::Client { client: given } => client(given),
        Given::Server { server: given } => server(given),
        Given::List { list: given } => Ok(list(given)),
        Given::Definitions { definitions: given } => Ok(definitions(given)),
        Given::Definition { definition, neighbours } => Ok(suspicious(definition, neighbours)),
        Given::Result { result } => asking(result),
        Given::Retry { retry } => retrying(retry),
        Given::Arguments { arguments } => Ok(checked(arguments)),
    };
    refusable.unwrap_or_else(|refusal| refused(&refusal))
}

#[test]
fn every_numbered_case_ends_as_it_must() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/mcp");
    let mut wrong = Vec::new();
    let mut steps = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let case: Case = serde_json::from_str(&text).unwrap();
        for step in &case.steps {
            steps += 1;
            let outcome = outcome(&step.given);
            if outcome != step.expect {
                let (no, says, expect) = (&case.case, &step.says, &step.expect);
                wrong.push(format!("{no} {says}\n  expected {expect}\n  but      {outcome}"));
            }
        }
    }
    assert!(steps > 150, "the cases are there: {steps}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
