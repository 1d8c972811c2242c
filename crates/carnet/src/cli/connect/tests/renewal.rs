//! Tokens that expire, tasks that end, calls that wait for a person.

use std::time::Duration;

use carnet_core::Path;
use serde_json::{Value, json};

use super::client::Client;
use crate::agent::fixture::Said;

fn asking(retry_after_s: u64) -> Said {
    let facts = json!({ "reason": "approval_needed", "decision": "dec_1",
        "approval": "approval_1", "retry_after_s": retry_after_s });
    Said::Result(json!({ "isError": true, "content": [], "_meta": { "carnet/decision": facts } }))
}

fn calls(client: &Client) -> usize {
    client.paths_of("tools/call").len()
}

#[tokio::test]
async fn every_request_is_proved_with_one_key_and_a_proof_of_its_own() {
    let mut client = Client::open("2025-11-25").await;
    client.call(1, "look").await;
    client.call(2, "send").await;
    let proofs: Vec<_> =
        client.received(|_| true).iter().map(|it| it.headers["dpop"].clone()).collect();
    let distinct: std::collections::BTreeSet<_> =
        proofs.iter().map(|proof| proof.to_str().unwrap()).collect();
    assert_eq!(distinct.len(), proofs.len());
    let key = |proof: &str| proof.split('.').next().unwrap().to_owned();
    let keys: std::collections::BTreeSet<_> = distinct.iter().map(|proof| key(proof)).collect();
    assert_eq!(keys.len(), 1, "one instance is one key");
}

#[tokio::test]
async fn a_token_that_is_not_taken_any_more_is_renewed_once_and_the_call_made_again() {
    let mut client = Client::open("2025-11-25").await;
    client.call(1, "look").await;
    let before = client.carnet.get(|state| state.token_requests);
    client.carnet.expire_tokens();
    let answer = client.call(2, "look").await;
    assert_eq!(answer["result"]["path"], "read");
    assert_eq!(client.carnet.get(|state| state.token_requests), before + 1);
}

#[tokio::test]
async fn a_task_that_ended_is_told_with_its_reason() {
    let mut client = Client::open("2025-11-25").await;
    client.call(1, "look").await;
    client.carnet.set(|state| state.turned_away = Some("task_not_open"));
    client.carnet.close_path(Path::Read, "invalid_authorization_details", "task_not_open: over");
    let answer = client.call(2, "look").await;
    assert_eq!(answer["id"], 2);
    assert_eq!(answer["error"]["code"], 40300);
    assert_eq!(answer["error"]["data"]["reason"], "task_not_open");
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_told_with_its_reason() {
    let mut client = Client::open("2025-11-25").await;
    client.call(1, "look").await;
    client.carnet.expire_tokens();
    client.carnet.close_path(
        Path::Read,
        "unauthorized_client",
        "locked: an operator pulled a lock",
    );
    let answer = client.call(2, "look").await;
    assert_eq!(answer["error"]["code"], 40300);
    assert_eq!(answer["error"]["data"]["reason"], "locked");
}

#[tokio::test]
async fn a_gateway_that_is_gone_is_told_as_that() {
    let mut client = Client::open("2025-11-25").await;
    client.call(1, "look").await;
    client.carnet.set(|state| state.script.push(Said::Status(http::StatusCode::BAD_GATEWAY)));
    let answer = client.call(2, "look").await;
    assert_eq!(answer["error"]["code"], 40302);
    assert_eq!(answer["error"]["data"]["reason"], "turned_away");
}

#[tokio::test]
async fn without_holding_a_question_passes_through_untouched() {
    let mut client = Client::open("2025-11-25").await;
    client.carnet.set(|state| state.script.push(asking(1)));
    let answer = client.call(1, "send").await;
    assert_eq!(answer["result"]["_meta"]["carnet/decision"]["approval"], "approval_1");
    assert_eq!(calls(&client), 1);
}

#[tokio::test]
async fn with_holding_the_call_is_made_again_until_a_person_answered() {
    let mut client = Client::holding(Duration::from_secs(600)).await;
    client.initialize("2025-11-25").await;
    client.carnet.set(|state| state.script = vec![asking(1), asking(1)]);
    let params = json!({ "name": "send", "arguments": {}, "_meta": { "progressToken": "p" } });
    client.request(1, "tools/call", params).await;
    let mut heard: Vec<Value> = Vec::new();
    while heard.last().is_none_or(|message| message.get("id").is_none()) {
        heard.push(client.hear().await);
    }
    let progress: Vec<_> = heard.iter().filter(|it| it["params"]["progressToken"] == "p").collect();
    assert_eq!(progress.len(), 2);
    assert!(progress[0]["params"]["message"].as_str().unwrap().contains("approval_1"));
    assert_eq!(heard.last().unwrap()["result"]["path"], "write");
    let sent = client.received(|it| it.method() == "tools/call");
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|it| it.bytes == sent[0].bytes), "the same call each time");
}

#[tokio::test]
async fn holding_ends_and_the_question_is_passed_on() {
    let mut client = Client::holding(Duration::from_secs(1)).await;
    client.initialize("2025-11-25").await;
    client.carnet.set(|state| state.script = vec![asking(60); 9]);
    let answer = client.call(1, "send").await;
    assert_eq!(answer["result"]["isError"], true);
    assert_eq!(calls(&client), 2);
}

#[tokio::test]
async fn a_held_call_that_is_called_off_is_not_made_again() {
    let mut client = Client::holding(Duration::from_secs(600)).await;
    client.initialize("2025-11-25").await;
    client.carnet.set(|state| state.script = vec![asking(60); 9]);
    client.request(1, "tools/call", json!({ "name": "send", "arguments": {} })).await;
    client.until(|it| it.method() == "tools/call").await;
    let off = json!({ "requestId": 1 });
    client
        .say(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": off }))
        .await;
    client.until(|it| it.method() == "notifications/cancelled").await;
    assert!(client.end().await.is_empty(), "a call that was called off has no answer");
    assert_eq!(calls(&client), 1);
}
