//! Event streams: what the server says before its answer, and by itself.

use carnet_core::Path;
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::meta;
use crate::agent::fixture::Said;

fn progress(n: u64) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/progress",
        "params": { "progressToken": "t", "progress": n } })
}

fn answer(id: u64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } })
}

fn question(id: u64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "roots/list", "params": {} })
}

#[tokio::test]
async fn what_comes_before_an_answer_is_passed_on_as_it_comes() {
    let mut client = Client::open("2025-11-25").await;
    let events = vec![progress(1), progress(2), answer(5), progress(3)];
    client.carnet.set(|state| state.script.push(Said::Events(events.clone())));
    client.request(5, "tools/call", json!({ "name": "look", "arguments": {} })).await;
    for expected in &events[..3] {
        assert_eq!(client.hear_bytes().await, expected.to_string());
    }
    assert!(client.end().await.is_empty(), "nothing comes after an answer");
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_told_as_that() {
    let mut client = Client::open("2025-11-25").await;
    client.carnet.set(|state| state.script.push(Said::Events(vec![progress(1), answer(99)])));
    client.request(5, "tools/call", json!({ "name": "look", "arguments": {} })).await;
    assert_eq!(client.hear().await, progress(1));
    let broken = client.hear().await;
    assert_eq!(broken["id"], 5);
    assert_eq!(broken["error"]["data"]["reason"], "answer_lost");
}

#[tokio::test]
async fn a_servers_question_reaches_the_client_and_its_answer_the_path_that_asked() {
    let mut client = Client::open("2025-11-25").await;
    client.carnet.set(|state| state.script.push(Said::Hanging(vec![question(1)])));
    client.request(5, "tools/call", json!({ "name": "send", "arguments": {} })).await;
    assert_eq!(client.hear_bytes().await, question(1).to_string());
    client.say(json!({ "jsonrpc": "2.0", "id": 1, "result": { "roots": [] } })).await;
    let answered = client.until(|it| it.body().get("result").is_some()).await;
    assert_eq!(answered.path, Path::Write);
    assert_eq!(answered.body()["id"], 1);
}

#[tokio::test]
async fn two_servers_that_count_alike_each_get_their_own_answer() {
    let mut client = Client::open("2025-11-25").await;
    let hanging = Said::Hanging(vec![question(1)]);
    client.carnet.set(|state| state.script = vec![hanging.clone(), hanging]);
    client.request(5, "tools/call", json!({ "name": "look", "arguments": {} })).await;
    let first = client.hear().await;
    client.request(6, "tools/call", json!({ "name": "send", "arguments": {} })).await;
    let second = client.hear().await;
    assert_eq!(first["id"], 1);
    assert_ne!(first["id"], second["id"]);
    for (asked, marker) in [(&second, "second"), (&first, "first")] {
        let result = json!({ "roots": [{ "uri": marker }] });
        client.say(json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result })).await;
    }
    for (path, marker) in [(Path::Read, "first"), (Path::Write, "second")] {
        let got = client.until(|it| it.path == path && it.body().get("result").is_some()).await;
        assert_eq!(got.body()["id"], 1, "as its server named it");
        assert_eq!(got.body()["result"]["roots"][0]["uri"], marker);
    }
}

#[tokio::test]
async fn an_answer_to_what_nobody_asked_goes_nowhere() {
    let mut client = Client::open("2025-11-25").await;
    client.say(json!({ "jsonrpc": "2.0", "id": 1, "result": {} })).await;
    client.call(2, "look").await;
    assert!(client.received(|it| it.body().get("result").is_some()).is_empty());
}

#[tokio::test]
async fn what_a_server_says_by_itself_is_heard() {
    let mut client = Client::start().await;
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" });
    client.carnet.set(|state| drop(state.unsolicited.insert(Path::Write, vec![note.clone()])));
    client.initialize("2025-11-25").await;
    assert_eq!(client.hear().await, note);
    client.until(|it| it.verb == Method::GET && it.path == Path::Read).await;
}

#[tokio::test]
async fn a_call_that_is_called_off_is_called_off_on_its_path_and_not_answered() {
    let mut client = Client::open("2025-11-25").await;
    client.carnet.set(|state| state.script.push(Said::Hanging(vec![progress(1)])));
    client.request(5, "tools/call", json!({ "name": "send", "arguments": {} })).await;
    client.hear().await;
    let off = json!({ "requestId": 5 });
    client
        .say(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": off }))
        .await;
    let told = client.until(|it| it.method() == "notifications/cancelled").await;
    assert_eq!(told.path, Path::Write);
    assert_eq!(client.paths_of("notifications/cancelled"), [Path::Write]);
    assert_eq!(client.call(6, "look").await["id"], 6);
}

#[tokio::test]
async fn a_stateless_call_that_is_called_off_is_dropped() {
    let mut client = Client::start().await;
    client.carnet.set(|state| state.script.push(Said::Hanging(vec![progress(1)])));
    let params = |name| json!({ "name": name, "arguments": {}, "_meta": meta() });
    client.request(5, "tools/call", params("send")).await;
    client.hear().await;
    let off = json!({ "requestId": 5, "_meta": meta() });
    client
        .say(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": off }))
        .await;
    assert_eq!(client.ask(5, "tools/call", params("look")).await["id"], 5, "its id is free again");
}
