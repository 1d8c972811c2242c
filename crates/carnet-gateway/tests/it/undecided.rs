//! What an agent says that nothing is decided on, as the server sees it.

use carnet_core::Path;
use serde_json::{Value, json};

use crate::agent::MIDDLE;
use crate::server::{event, events, text};
use crate::world::World;

#[tokio::test]
async fn no_byte_an_agent_chose_reaches_a_server_in_what_nothing_is_decided_on() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let body = json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": MIDDLE,
            "capabilities": { "experimental": { "leak": {} }, "roots": { "leak": 1 } },
            "clientInfo": { "name": "agent", "version": "1", "websiteUrl": "leak" },
        },
    });
    let opened = world.agent.draft("POST", Path::Read, body.to_string()).send().await;
    assert!(opened.json()["result"].is_object(), "{}", opened.text());
    let said = [
        json!({ "method": "notifications/initialized", "params": { "_meta": { "progressToken": "leak" } } }),
        json!({ "method": "notifications/cancelled", "params": { "requestId": 9, "reason": "leak" } }),
        json!({ "method": "notifications/progress",
            "params": { "progressToken": 9, "progress": 1, "message": "leak" } }),
        json!({ "id": 5, "method": "ping", "params": { "_meta": { "progressToken": "leak" } } }),
    ];
    for mut message in said {
        message["jsonrpc"] = json!("2.0");
        let status = session.draft("POST", message.to_string()).send().await.status;
        assert!(status.is_success(), "{message}: {status}");
        let method = message["method"].as_str().unwrap();
        let seen = world.server.wait_for(method, 1).await;
        assert!(!seen.message.to_string().contains("leak"), "{}", seen.message);
    }
    let opening = world.server.wait_for("initialize", 2).await;
    assert!(!opening.message.to_string().contains("leak"), "{}", opening.message);
    assert_eq!(opening.message["params"]["clientInfo"], json!({ "name": "agent", "version": "1" }));
}

#[tokio::test]
async fn a_servers_ping_is_answered_by_carnet_and_by_no_agent() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    world.server.on("tools/call", |seen| {
        let ping = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
        events([event(ping), event(&seen.result(text("done")))])
    });
    let answer = session.call("get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(answer.said(), "done", "the client sees only the answer");
    let told = world.server.wait_for("answer", 1).await;
    assert_eq!(told.message, json!({ "jsonrpc": "2.0", "id": "p", "result": {} }));
    let late = r#"{"jsonrpc":"2.0","id":"p","result":{"leak":1}}"#;
    assert_eq!(session.draft("POST", late).send().await.status, 400);
}

#[tokio::test]
async fn meta_that_is_not_the_protocols_own_is_refused_by_name() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let meta = json!({ "x-leak": "bytes" });
    let call = json!({ "name": "get_ticket", "arguments": { "id": "T-1" }, "_meta": meta });
    for (method, params) in [("tools/call", call), ("tools/list", json!({ "_meta": meta }))] {
        let before = world.server.seen_at_all();
        let answer = session.request(3, method, params).send().await;
        let error: &Value = &answer.json()["error"];
        assert_eq!(error["code"], -32602);
        assert!(error["message"].as_str().unwrap().contains("/params/_meta/x-leak"), "{error}");
        assert_eq!(world.server.seen_at_all(), before);
    }
}
