//! The headers a message needs, all derived from its body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carnet_gateway::mcp::codec::{Mirrored, Revision, Sender, method};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::agent::mcp::SESSION;

const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const VERSION_IN_META: &str = "io.modelcontextprotocol/protocolVersion";
const SENTINEL_START: &str = "=?base64?";
const SENTINEL_END: &str = "?=";

/// The stateless revision a message declares, if it declares one.
pub(crate) fn declared(params: &Map<String, Value>) -> Option<Revision> {
    let version = params.get("_meta")?.get(VERSION_IN_META)?.as_str()?;
    version.parse().ok().filter(|revision: &Revision| revision.is_stateless())
}

/// The headers of a message of a stateless revision. `mirrored` are the arguments the tool's
/// definition wants repeated.
pub(crate) fn stateless(
    revision: Revision,
    method: &str,
    params: &Map<String, Value>,
    mirrored: &[Mirrored],
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(VERSION, HeaderValue::from_static(revision.as_str()));
    insert(&mut headers, METHOD, method);
    if let Some(name) = named_by(revision, method)
        && let Some(Value::String(name)) = params.get(name)
    {
        insert(&mut headers, NAME, name);
    }
    let arguments = params.get("arguments").unwrap_or(&Value::Null);
    for parameter in mirrored {
        let argument = parameter.path.iter().try_fold(arguments, |value, member| value.get(member));
        let text = match argument {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(boolean)) => boolean.to_string(),
            // The gateway says what is wrong with anything else.
            _ => continue,
        };
        insert(&mut headers, parameter.header.clone(), &text);
    }
    headers
}

/// The headers of a message in a session.
pub(crate) fn session(revision: Revision, id: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(VERSION, HeaderValue::from_static(revision.as_str()));
    if let Some(id) = id {
        headers.insert(SESSION, id.clone());
    }
    headers
}

/// The parameter that `Mcp-Name` repeats.
fn named_by(revision: Revision, name: &str) -> Option<&'static str> {
    let found = method::all().iter().find(|method| {
        method.name == name
            && method.sender == Sender::Client
            && method.revisions.contains(&revision)
    });
    found.and_then(|method| method.named_by)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    // What is encoded is plain ASCII, so it always is a value.
    if let Ok(value) = HeaderValue::from_str(&encoded(text)) {
        headers.insert(name, value);
    }
}

/// A text as a header may hold it: as it is where that is safe, else in base64 with a mark.
fn encoded(text: &str) -> String {
    let is_plain = text.bytes().all(|b| (0x20..0x7f).contains(&b));
    let is_trimmed = text.trim_matches(' ') == text;
    let looks_marked = text.starts_with(SENTINEL_START) && text.ends_with(SENTINEL_END);
    if is_plain && is_trimmed && !looks_marked {
        return text.to_owned();
    }
    format!("{SENTINEL_START}{}{SENTINEL_END}", STANDARD.encode(text))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use carnet_gateway::mcp::codec::{Message, mirrored, read_message, verify};
    use serde_json::json;

    use super::*;

    const STATELESS: Revision = Revision::V2026_07_28;

    fn message(method: &str, mut params: Value) -> Message {
        params["_meta"] = json!({ VERSION_IN_META: "2026-07-28" });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        read_message(Bytes::from(body.to_string()), Sender::Client).unwrap()
    }

    fn derived(message: &Message, mirrored: &[Mirrored]) -> HeaderMap {
        let Message::Request(request) = message else { panic!("{message:?}") };
        let (method, params) = (&request.method, &request.params);
        assert_eq!(declared(params), Some(STATELESS));
        stateless(STATELESS, method, params, mirrored)
    }

    #[test]
    fn what_is_derived_is_what_the_gateway_demands() {
        for (method, params) in [
            ("server/discover", json!({})),
            ("tools/list", json!({})),
            ("tools/call", json!({ "name": "look_up", "arguments": {} })),
            ("tools/call", json!({ "name": " look up " })),
            ("tools/call", json!({ "name": "suche_n\u{e4}her" })),
            ("tools/call", json!({ "name": "=?base64?eA==?=" })),
            ("tools/call", json!({ "name": "tab\there" })),
            ("resources/read", json!({ "uri": "file:///a/b" })),
            ("prompts/get", json!({ "name": "" })),
        ] {
            let message = message(method, params);
            verify(STATELESS, &message, &derived(&message, &[]), &[]).unwrap();
        }
    }

    #[test]
    fn arguments_the_definition_marks_are_repeated_in_headers() {
        let schema = json!({ "type": "object", "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "deep": { "type": "object", "properties": {
                "count": { "type": "integer", "x-mcp-header": "Count" },
            } },
            "dry": { "type": "boolean", "x-mcp-header": "Dry" },
            "gone": { "type": "string", "x-mcp-header": "Gone" },
        } });
        let marks = mirrored(&schema).unwrap();
        let arguments = json!({ "region": "Z\u{fc}rich", "deep": { "count": 42 }, "dry": false });
        let message = message("tools/call", json!({ "name": "t", "arguments": arguments }));
        let headers = derived(&message, &marks);
        assert_eq!(headers["mcp-param-count"], "42");
        assert_eq!(headers["mcp-param-dry"], "false");
        assert!(!headers.contains_key("mcp-param-gone"));
        verify(STATELESS, &message, &headers, &marks).unwrap();
    }

    #[test]
    fn a_message_of_an_older_revision_declares_nothing() {
        assert_eq!(declared(&Map::new()), None);
        let older = json!({ "_meta": { VERSION_IN_META: "2025-11-25" } });
        assert_eq!(declared(older.as_object().unwrap()), None);
    }

    #[test]
    fn only_what_is_unsafe_in_a_header_is_encoded() {
        assert_eq!(encoded("plain text"), "plain text");
        assert_eq!(encoded(" padded"), "=?base64?IHBhZGRlZA==?=");
        assert_eq!(encoded("=?base64?x?="), "=?base64?PT9iYXNlNjQ/eD89?=");
        assert_eq!(encoded("a\r\nb"), "=?base64?YQ0KYg==?=");
    }
}
