//! The three revisions, end to end.

use carnet_core::Path;
use serde_json::json;

use crate::agent::{MIDDLE, NEW, OLD};
use crate::server::{Act, event, events, text};
use crate::world::World;

#[tokio::test]
async fn both_revisions_with_sessions_work_end_to_end() {
    let world = World::new().await;
    for version in [OLD, MIDDLE] {
        let session = world.agent.open(Path::Read, version).await;
        assert_ne!(session.id, "upstream-1", "the server's session id is not the client's");
        let list = session.request(1, "tools/list", json!({})).send().await;
        assert_eq!(list.json()["result"]["tools"][0]["name"], "get_ticket");
        // A client may leave the version out once it is agreed; the server is told all the same.
        let call = session.call("get_ticket", json!({ "id": "T-1" }));
        assert_eq!(call.without("mcp-protocol-version").send().await.said(), "done");
        let seen = world.server.seen("tools/call").pop().unwrap();
        assert_eq!(seen.header("mcp-session-id"), Some("upstream-1"));
        assert_eq!(seen.header("mcp-protocol-version"), Some(version));
        assert_eq!(session.draft("DELETE", "").send().await.status, 204);
        assert_eq!(session.call("get_ticket", json!({ "id": "T-1" })).send().await.status, 404);
    }
    assert_eq!(
        world.server.wait_for("DELETE", 2).await.header("mcp-session-id"),
        Some("upstream-1")
    );
}

#[tokio::test]
async fn the_revision_without_sessions_works_end_to_end() {
    let world = World::new().await;
    let found = world.agent.stateless(Path::Read, "server/discover", json!({})).send().await;
    assert!(found.json()["result"]["capabilities"].is_object());
    let call = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(call.said(), "done");
    assert!(call.headers.get("mcp-session-id").is_none());
    let seen = world.server.seen("tools/call").remove(0);
    assert_eq!(seen.header("mcp-protocol-version"), Some(NEW));
    assert_eq!(seen.header("mcp-method"), Some("tools/call"));
    assert_eq!(seen.header("mcp-session-id"), None);
    assert!(world.server.seen("initialize").is_empty());
}

#[tokio::test]
async fn a_session_speaks_the_older_revision_its_server_answers_with() {
    let world = World::new().await;
    world.server.speak(OLD);
    let opened = world.agent.initialize(Path::Read, MIDDLE, json!({})).await;
    assert_eq!(opened.json()["result"]["protocolVersion"], OLD);
    let id = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
    let session =
        crate::agent::Session { agent: world.agent.clone(), path: Path::Read, version: OLD, id };
    assert_eq!(session.call("get_ticket", json!({ "id": "T-1" })).send().await.said(), "done");
    let other = crate::agent::Session { version: MIDDLE, ..session };
    let answer = other.call("get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(answer.json()["error"]["code"], -32020);
}

#[tokio::test]
async fn a_server_of_a_revision_that_is_not_carried_opens_nothing() {
    let world = World::new().await;
    for version in ["2024-11-05", "2025-03-26", NEW, "x"] {
        world.server.speak(version);
        let answer = world.agent.initialize(Path::Read, MIDDLE, json!({})).await;
        assert_eq!(answer.reason().as_deref(), Some("upstream_failed"), "{version}");
        assert!(answer.headers.get("mcp-session-id").is_none());
    }
}

#[tokio::test]
async fn a_handshake_the_server_refuses_opens_no_session() {
    let world = World::new().await;
    world.server.on("initialize", |_| {
        let error = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32603,"message":"no"}}"#;
        Act::Json(error.into())
    });
    let answer = world.agent.initialize(Path::Read, MIDDLE, json!({})).await;
    assert_eq!(answer.json()["error"]["message"], "no");
    assert!(answer.headers.get("mcp-session-id").is_none());
}

#[tokio::test]
async fn a_session_the_server_forgot_is_gone_for_the_client_too() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    world.server.on("tools/call", |_| {
        let error = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"gone"}}"#;
        Act::Http(404, vec![("content-type", "application/json")], error.into())
    });
    session.call("get_ticket", json!({ "id": "T-1" })).send().await;
    let again = session.call("get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(again.status, 404);
}

#[tokio::test]
async fn a_session_id_that_comes_later_changes_nothing() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    world.server.on("tools/call", |seen| {
        let headers = vec![("content-type", "application/json"), ("mcp-session-id", "upstream-2")];
        Act::Http(200, headers, seen.result(text("done")))
    });
    for _ in 0..2 {
        let answer = session.call("get_ticket", json!({ "id": "T-1" })).send().await;
        assert_eq!(answer.said(), "done");
        assert!(answer.headers.get("mcp-session-id").is_none());
    }
    let seen = world.server.seen("tools/call").pop().unwrap();
    assert_eq!(seen.header("mcp-session-id"), Some("upstream-1"));
}

#[tokio::test]
async fn events_come_through_in_order_without_what_is_not_understood() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    world.server.on("tools/call", |seen| {
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"n":1}}"#;
        let unknown = r#"{"jsonrpc":"2.0","method":"notifications/evil","params":{}}"#;
        let stray = r#"{"jsonrpc":"2.0","id":77,"result":{}}"#;
        events([
            "id: 1\nretry: 10\ndata:\n\n".into(),
            ": a comment\n\n".into(),
            event(progress),
            event(unknown),
            event(stray),
            event(&seen.result(text("done"))),
        ])
    });
    let mut stream = session.call("get_ticket", json!({ "id": "T-1" })).stream().await;
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/progress");
    assert_eq!(stream.next().await.unwrap()["result"]["content"][0]["text"], "done");
    assert_eq!(stream.next().await, None);
    assert_eq!(world.outcomes().await, ["done"]);
}

#[tokio::test]
async fn what_a_server_says_by_itself_comes_on_the_stream_of_the_session() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    world.server.on("GET", |_| {
        let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
        let stray = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
        events([event(stray), event(changed)])
    });
    let mut stream = session.draft("GET", "").stream().await;
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/tools/list_changed");
    assert_eq!(stream.next().await, None);
    assert_eq!(world.server.seen("GET")[0].header("accept"), Some("text/event-stream"));
}
