//! Sessions: one a path, opened in the client's words, opened again where they are gone, ended.

use bytes::Bytes;
use carnet_core::Path;
use http::{Method, StatusCode};
use serde_json::json;

use super::client::Client;
use crate::agent::fixture::Said;
use crate::cli::connect::bridge::IN_FLIGHT_MAX;
use crate::cli::connect::lines::Line;

#[tokio::test]
async fn the_handshake_tells_what_any_path_can_do() {
    let mut client = Client::start().await;
    let answer = client.initialize("2025-11-25").await;
    let capabilities = &answer["result"]["capabilities"];
    let expected = json!({ "tools": { "listChanged": true }, "resources": {}, "prompts": {} });
    assert_eq!(*capabilities, expected);
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(answer["id"], 0);
    let mut paths = client.paths_of("initialize");
    paths.sort();
    assert_eq!(paths, [Path::Read, Path::Write], "there is no token for the admin path");
}

#[tokio::test]
async fn a_client_of_another_revision_is_answered_with_one_that_is_carried() {
    for asked in ["2024-11-05", "2026-07-28"] {
        let mut client = Client::start().await;
        let answer = client.initialize(asked).await;
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{asked}");
    }
}

#[tokio::test]
async fn a_server_of_an_older_revision_is_spoken_to_in_that() {
    let mut client = Client::start().await;
    client.carnet.set(|state| state.revisions = vec!["2025-06-18"]);
    let answer = client.initialize("2025-11-25").await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
    client.call(1, "look").await;
    let call = client.received(|it| it.method() == "tools/call").remove(0);
    assert_eq!(call.headers["mcp-protocol-version"], "2025-06-18");
}

#[tokio::test]
async fn without_any_path_the_client_is_told_what_to_do() {
    let mut client = Client::start().await;
    for path in [Path::Read, Path::Write] {
        client.carnet.close_path(path, "unauthorized_client", "task_unknown: gone");
    }
    let answer = client.initialize("2025-11-25").await;
    assert_eq!(answer["error"]["data"]["reason"], "task_unknown");
    assert!(answer["error"]["message"].as_str().unwrap().contains("--task"));
}

#[tokio::test]
async fn a_session_that_is_gone_is_opened_again_and_the_call_made_again() {
    let mut client = Client::open("2025-11-25").await;
    client.call(1, "look").await;
    client.carnet.forget_sessions();
    let answer = client.call(2, "look").await;
    assert_eq!(answer["result"]["path"], "read");
    let read = client.received(|it| it.path == Path::Read && it.method() == "initialize");
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].bytes, read[1].bytes, "in the client's own words");
    let ready =
        client.received(|it| it.path == Path::Read && it.method() == "notifications/initialized");
    assert_ne!(ready[0].headers["mcp-session-id"], ready[1].headers["mcp-session-id"]);
}

#[tokio::test]
async fn a_session_that_is_gone_again_at_once_is_not_opened_for_ever() {
    let mut client = Client::open("2025-11-25").await;
    client.call(1, "look").await;
    client.carnet.set(|state| {
        state.script = vec![Said::Status(StatusCode::NOT_FOUND); 9];
    });
    let answer = client.call(2, "look").await;
    assert_eq!(answer["error"]["data"]["reason"], "turned_away");
    assert_eq!(client.received(|it| it.method() == "tools/call").len(), 3);
}

#[tokio::test]
async fn sessions_are_ended_when_the_client_closes_its_side() {
    let mut client = Client::open("2025-11-25").await;
    client.end().await;
    let ended = client.received(|it| it.verb == Method::DELETE);
    assert_eq!(ended.len(), 2);
    assert!(client.carnet.get(|state| state.sessions_opened) == 2);
}

#[tokio::test]
async fn answers_still_come_after_the_client_closed_its_side() {
    let mut client = Client::open("2025-11-25").await;
    client.request(7, "tools/call", json!({ "name": "look", "arguments": {} })).await;
    let said = client.end().await;
    assert_eq!(said[0]["id"], 7);
}

#[tokio::test]
async fn a_signal_ends_sessions_at_once() {
    let mut client = Client::open("2025-11-25").await;
    client.carnet.set(|state| state.script.push(Said::Hanging(Vec::new())));
    client.request(7, "tools/call", json!({ "name": "look", "arguments": {} })).await;
    client.until(|it| it.method() == "tools/call").await;
    client.stop.cancel();
    assert!(client.end().await.is_empty());
    assert_eq!(client.received(|it| it.verb == Method::DELETE).len(), 2);
}

#[tokio::test]
async fn what_is_no_message_is_refused_here_and_the_next_is_carried() {
    let mut client = Client::open("2025-11-25").await;
    let sent = client.received(|_| true).len();
    for (line, code) in [
        (Line::Message(Bytes::from_static(b"{")), -32700),
        (Line::Message(Bytes::from_static(b"[]")), -32600),
        (Line::TooLong, -32600),
    ] {
        client.say_line(line).await;
        let answer = client.hear().await;
        assert_eq!(answer["error"]["code"], code);
    }
    let twice = br#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"a":1,"a":2}}"#;
    client.say_line(Line::Message(Bytes::from_static(twice))).await;
    client.hear().await;
    assert_eq!(client.received(|it| it.method() == "tools/call").len(), 0);
    assert!(client.received(|_| true).len() >= sent);
    assert_eq!(client.call(6, "look").await["id"], 6);
}

#[tokio::test]
async fn requests_before_the_handshake_are_refused() {
    let mut client = Client::start().await;
    let answer = client.call(1, "look").await;
    assert_eq!(answer["error"]["data"]["reason"], "not_initialized");
}

#[tokio::test]
async fn requests_under_way_are_bounded_and_their_ids_used_once() {
    let mut client = Client::open("2025-11-25").await;
    client.ask("l", "tools/list", json!({})).await;
    let hanging = vec![Said::Hanging(Vec::new()); IN_FLIGHT_MAX];
    client.carnet.set(|state| state.script = hanging);
    let params = json!({ "name": "look", "arguments": {} });
    client.request(0, "tools/call", params.clone()).await;
    client.request(0, "tools/call", params.clone()).await;
    assert_eq!(client.hear().await["error"]["code"], -32602);
    for id in 1..IN_FLIGHT_MAX {
        client.request(id, "tools/call", params.clone()).await;
    }
    let answer = client.ask("over", "tools/call", params).await;
    assert_eq!(answer["id"], "over");
    assert_eq!(answer["error"]["data"]["reason"], "in_flight_full");
    client.stop.cancel();
}
