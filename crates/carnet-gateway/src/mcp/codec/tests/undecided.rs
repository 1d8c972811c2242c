//! What an agent says that nothing is decided on.

use serde_json::{Value, json};

use super::{read, value};
use crate::mcp::codec::method::Shape;
use crate::mcp::codec::{Classified, Message, Refusal, Revision, Sender, classify};

const OLD: Revision = Revision::V2025_11_25;

fn from_client(
    revision: Revision,
    shape: Shape,
    method: &str,
    params: &Value,
) -> Result<Classified, Refusal> {
    classify(revision, Sender::Client, shape, method, params.as_object().unwrap())
}

fn client(version: &Value) -> Value {
    json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "a", "version": version } })
}

#[test]
fn what_nothing_is_decided_on_has_the_members_of_the_protocol_and_no_others() {
    let notice = Shape::Notification;
    let mut more = client(&json!("1"));
    more["more"] = json!("bytes");
    let refused = [
        (Shape::Request, "ping", json!({ "data": "bytes" })),
        (Shape::Request, "initialize", more),
        (Shape::Request, "initialize", client(&json!("v".repeat(129)))),
        (Shape::Request, "initialize", client(&json!({ "data": "bytes" }))),
        (notice, "notifications/initialized", json!({ "data": "bytes" })),
        (notice, "notifications/roots/list_changed", json!({ "data": "bytes" })),
        (notice, "notifications/cancelled", json!({ "requestId": 1, "data": "bytes" })),
        (notice, "notifications/cancelled", json!({ "requestId": { "data": "bytes" } })),
        (notice, "notifications/progress", json!({ "progressToken": 1, "progress": "bytes" })),
        (
            notice,
            "notifications/progress",
            json!({ "progressToken": 1, "progress": 1, "total": ["bytes"] }),
        ),
        (
            notice,
            "notifications/progress",
            json!({ "progressToken": 1, "progress": 1, "data": "bytes" }),
        ),
    ];
    for (shape, method, params) in refused {
        let refusal = from_client(OLD, shape, method, &params).unwrap_err();
        assert_eq!(refusal.code(), -32602, "{method} {params}");
    }
    let carried = [
        (Shape::Request, "ping", json!({})),
        (Shape::Request, "ping", json!({ "_meta": { "progressToken": 3 } })),
        (Shape::Request, "initialize", client(&json!("1"))),
        (notice, "notifications/initialized", json!({})),
        (notice, "notifications/cancelled", json!({ "requestId": "a", "reason": "late" })),
        (notice, "notifications/progress", json!({ "progressToken": "a", "progress": 0.5 })),
    ];
    for (shape, method, params) in carried {
        assert!(from_client(OLD, shape, method, &params).is_ok(), "{method} {params}");
    }
}

#[test]
fn what_goes_on_of_it_is_carnets_own_words() {
    let cases = [
        (
            json!({ "jsonrpc": "2.0", "id": "a", "method": "ping",
                "params": { "_meta": { "progressToken": "bytes" } } }),
            json!({ "jsonrpc": "2.0", "id": "a", "method": "ping" }),
        ),
        (
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized",
                "params": { "_meta": {} } }),
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        ),
        (
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                "params": { "requestId": 7, "reason": "bytes" } }),
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                "params": { "requestId": 7 } }),
        ),
        (
            json!({ "jsonrpc": "2.0", "method": "notifications/progress",
                "params": { "progressToken": 7, "progress": 1, "total": 2.5, "message": "bytes" } }),
            json!({ "jsonrpc": "2.0", "method": "notifications/progress",
                "params": { "progressToken": 7, "progress": 1, "total": 2.5 } }),
        ),
        (
            json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {
                    "roots": { "listChanged": true, "data": "bytes" },
                    "elicitation": { "form": { "data": "bytes" }, "url": {} },
                    "sampling": "bytes",
                    "experimental": { "data": "bytes" },
                    "tasks": { "list": {} },
                },
                "clientInfo": { "name": "a", "version": "1", "icons": ["bytes"] },
            } }),
            json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": { "roots": { "listChanged": true },
                    "elicitation": { "form": {}, "url": {} } },
                "clientInfo": { "name": "a", "version": "1" },
            } }),
        ),
        (
            json!({ "jsonrpc": "2.0", "id": 4,
                "error": { "code": -1, "message": "bytes", "data": "bytes" } }),
            json!({ "jsonrpc": "2.0", "id": 4,
                "error": { "code": -1, "message": "the client answered with an error" } }),
        ),
    ];
    for (said, on) in cases {
        let bytes = match read(&said.to_string(), Sender::Client).unwrap() {
            Message::Request(request) => request.bytes_on(),
            Message::Notification(notification) => notification.bytes_on(),
            Message::Response(response) => response.bytes_on(),
        };
        assert_eq!(value(&bytes), on);
    }
}

#[test]
fn only_the_protocols_own_members_of_meta_are_carried() {
    let with = |meta: &Value| json!({ "name": "t", "_meta": meta });
    let call = |meta: Value| from_client(OLD, Shape::Request, "tools/call", &with(&meta));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let carried = [
        json!({}),
        json!({ "progressToken": 1 }),
        json!({ "progressToken": "a" }),
        json!({ "traceparent": trace, "tracestate": "vendor=1" }),
        json!({ "io.modelcontextprotocol/logLevel": "warning" }),
        json!({ "io.modelcontextprotocol/clientInfo": { "name": "a", "version": "1" } }),
        json!({ "io.modelcontextprotocol/clientCapabilities": {
            "extensions": { "io.modelcontextprotocol/ui": { "mimeTypes": ["text/html"] } } } }),
    ];
    for meta in carried {
        assert!(call(meta.clone()).is_ok(), "{meta}");
    }
    let refused = [
        json!({ "x-data": "bytes" }),
        json!({ "baggage": "bytes" }),
        json!({ "ProgressToken": 1 }),
        json!({ "io.modelcontextprotocol/other": "bytes" }),
        json!({ "progressToken": { "data": "bytes" } }),
        json!({ "progressToken": "b".repeat(257) }),
        json!({ "traceparent": "bytes" }),
        json!({ "tracestate": "b".repeat(513) }),
        json!({ "io.modelcontextprotocol/logLevel": "bytes" }),
        json!({ "io.modelcontextprotocol/clientInfo": { "name": "a", "icons": ["bytes"] } }),
        json!({ "io.modelcontextprotocol/clientInfo": { "name": "b".repeat(129) } }),
        json!({ "io.modelcontextprotocol/clientCapabilities": { "data": "bytes" } }),
        json!({ "io.modelcontextprotocol/clientCapabilities": {
            "experimental": { "data": "b".repeat(2048) } } }),
    ];
    for meta in refused {
        for method in ["tools/call", "tools/list", "logging/setLevel", "ping"] {
            let mut params = json!({ "_meta": meta });
            if method == "tools/call" {
                params["name"] = json!("t");
            }
            let refusal = from_client(OLD, Shape::Request, method, &params).unwrap_err();
            let name = meta.as_object().unwrap().keys().next().unwrap().replace('/', "~1");
            let at = format!("/params/_meta/{name}");
            assert!(refusal.to_string().contains(&at), "{method} {meta}: {refusal}");
        }
    }
}
