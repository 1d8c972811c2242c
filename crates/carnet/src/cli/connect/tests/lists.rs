//! One list of what all paths offer, and calls that find their path.

use bytes::Bytes;
use carnet_core::Path;
use serde_json::{Value, json};

use super::client::Client;
use super::{meta, tool};
use crate::cli::connect::lines::Line;

fn names(answer: &Value, member: &str) -> Vec<String> {
    let items = answer["result"][member].as_array().unwrap();
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn one_list_shows_what_all_paths_offer_page_by_page() {
    let mut client = Client::open("2025-11-25").await;
    client.carnet.set(|state| state.page = 1);
    let answer = client.ask("l", "tools/list", json!({})).await;
    assert_eq!(names(&answer, "tools"), ["look", "list", "send"]);
    assert_eq!(answer["id"], "l");
    assert!(answer["result"].get("nextCursor").is_none());
}

#[tokio::test]
async fn each_call_travels_on_the_path_its_tool_is_on() {
    let mut client = Client::open("2025-11-25").await;
    client.ask(1, "tools/list", json!({})).await;
    assert_eq!(client.call(2, "send").await["result"]["path"], "write");
    assert_eq!(client.call(3, "look").await["result"]["path"], "read");
    assert_eq!(client.paths_of("tools/call"), [Path::Write, Path::Read]);
}

#[tokio::test]
async fn a_call_is_sent_on_byte_for_byte_and_its_answer_comes_back_so() {
    let mut client = Client::open("2025-06-18").await;
    let line = Bytes::from_static(
        br#"{ "params":{"arguments":{"n":1.50e0},"name":"look"}, "id":"x","method":"tools/call","jsonrpc":"2.0" }"#,
    );
    client.say_line(Line::Message(line.clone())).await;
    let answer = client.hear().await;
    assert_eq!(answer["id"], "x");
    let sent = client.received(|it| it.method() == "tools/call");
    assert_eq!(sent[0].bytes, line);
    assert_eq!(sent[0].headers["mcp-protocol-version"], "2025-06-18");
    assert!(!sent[0].headers.contains_key("mcp-method"), "older revisions do without");
}

#[tokio::test]
async fn a_call_before_any_list_finds_its_path_by_itself() {
    let mut client = Client::open("2025-11-25").await;
    assert_eq!(client.call(1, "send").await["result"]["path"], "write");
}

#[tokio::test]
async fn a_tool_nobody_offers_is_looked_for_once_and_then_refused_by_the_gateway() {
    let mut client = Client::open("2025-11-25").await;
    client.ask(1, "tools/list", json!({})).await;
    let listed = client.paths_of("tools/list").len();
    client.call(2, "erase").await;
    assert_eq!(client.paths_of("tools/list").len(), listed + 2);
    assert_eq!(client.paths_of("tools/call"), [Path::Read]);
}

#[tokio::test]
async fn a_path_that_opens_later_is_found_with_the_next_list() {
    let mut client = Client::start().await;
    client.carnet.close_path(Path::Write, "invalid_target", "not_covered: nothing there");
    client.initialize("2025-11-25").await;
    let before = client.ask(1, "tools/list", json!({})).await;
    assert_eq!(names(&before, "tools"), ["look", "list"]);
    client.carnet.set(|state| {
        state.closed.remove(&Path::Write);
    });
    let after = client.ask(2, "tools/list", json!({})).await;
    assert_eq!(names(&after, "tools"), ["look", "list", "send"]);
    assert_eq!(client.call(3, "send").await["result"]["path"], "write");
    let opened = client.received(|it| it.path == Path::Write);
    let methods: Vec<_> = opened.iter().map(|it| it.method()).filter(|it| !it.is_empty()).collect();
    assert_eq!(methods[..3], ["initialize", "notifications/initialized", "tools/list"]);
}

#[tokio::test]
async fn a_stateless_client_is_given_the_headers_its_transport_has_none_of() {
    let mut client = Client::start().await;
    let marked = json!({ "name": "s\u{e4}nd", "inputSchema": { "type": "object", "properties": {
        "region": { "type": "string", "x-mcp-header": "Region" } } } });
    client.carnet.set(|state| {
        state.offered.insert((Path::Write, "tools/list"), vec![marked, tool("other")]);
    });
    let discovered = client.ask(1, "server/discover", json!({ "_meta": meta() })).await;
    let capabilities = &discovered["result"]["capabilities"];
    assert_eq!(capabilities["tools"]["listChanged"], true, "{discovered}");
    assert!(capabilities.get("resources").is_some() && capabilities.get("prompts").is_some());
    let params = json!({ "name": "s\u{e4}nd", "arguments": { "region": "eu" }, "_meta": meta() });
    let answer = client.ask(2, "tools/call", params).await;
    assert_eq!(answer["result"]["path"], "write", "{answer}");
    let call = client.received(|it| it.method() == "tools/call").remove(0);
    assert_eq!(call.headers["mcp-param-region"], "eu");
    assert_eq!(call.headers["mcp-name"], "=?base64?c8OkbmQ=?=");
    assert!(!call.headers.contains_key("mcp-session-id"));
    assert!(client.paths_of("initialize").is_empty());
}

#[tokio::test]
async fn a_cursor_nobody_gave_is_refused() {
    let mut client = Client::open("2025-11-25").await;
    let answer = client.ask(1, "tools/list", json!({ "cursor": "x" })).await;
    assert_eq!(answer["error"]["code"], -32602);
}

#[tokio::test]
async fn a_method_no_list_tells_of_follows_the_gateway_to_its_path() {
    use crate::agent::fixture::Said;
    let mut client = Client::open("2025-11-25").await;
    let address = "http://127.0.0.1:1/write/mcp/desk";
    let data = json!({ "reason": "wrong_path", "address": address });
    let error = json!({ "code": 40300, "message": "denied", "data": data });
    client.carnet.set(|state| state.script.push(Said::Error(error)));
    let answer = client.ask(1, "logging/setLevel", json!({ "level": "info" })).await;
    assert_eq!(answer["result"]["path"], "write");
    assert_eq!(client.paths_of("logging/setLevel"), [Path::Read, Path::Write]);
}
