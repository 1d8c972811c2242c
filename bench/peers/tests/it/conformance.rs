//! What the suite does not look at: whose state a state is.

use bench_peers::{conformance::Fixture, listen::Listening};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const STATEFUL: &str = "test_input_required_result_request_state";

async fn fixture() -> String {
    let fixture = Fixture::new().unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let listening = Listening::bind(move || fixture.for_session(), address).await.unwrap();
    let authority = listening.url().replace("http://", "").replace("/mcp", "");
    tokio::spawn(listening.serve());
    authority
}

async fn call(authority: &str, tool: &str, more: Value) -> Value {
    let mut params = json!({
        "name": tool, "arguments": {}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
        },
    });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
         Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn confirmed(state: &Value) -> Value {
    let confirm = json!({ "action": "accept", "content": { "ok": true } });
    json!({ "inputResponses": { "confirm": confirm }, "requestState": state })
}

#[tokio::test]
async fn a_state_completes_the_call_it_was_made_for() {
    let authority = fixture().await;
    let asked = call(&authority, STATEFUL, json!({})).await;
    assert_eq!(asked["result"]["resultType"], "input_required");
    let done = call(&authority, STATEFUL, confirmed(&asked["result"]["requestState"])).await;
    assert_eq!(done["result"]["content"][0]["text"], "state-ok");
}

#[tokio::test]
async fn a_state_of_another_tool_or_another_server_is_refused() {
    let (here, there) = (fixture().await, fixture().await);
    let asked = call(&here, STATEFUL, json!({})).await;
    let answer = confirmed(&asked["result"]["requestState"]);
    let other_tool = "test_input_required_result_tampered_state";
    assert_eq!(call(&here, other_tool, answer.clone()).await["error"]["code"], -32602);
    assert_eq!(call(&there, STATEFUL, answer).await["error"]["code"], -32602);
}

#[tokio::test]
async fn a_client_that_cannot_answer_is_not_asked() {
    let authority = fixture().await;
    let refused = call(&authority, "test_input_required_result_sampling", json!({})).await;
    assert_eq!(refused["error"]["code"], -32021);
    assert!(refused["error"]["data"]["requiredCapabilities"]["sampling"].is_object());
}
