//! Asking people.

use std::time::Duration;

use carnet_core::{ApprovalId, ApprovalState, Approved, InstanceId, Path};
use serde_json::json;

use crate::agent::MIDDLE;
use crate::control::Rules;
use crate::world::{Plan, World, grant};

fn asking(hold: Duration) -> Plan {
    let rules = Rules { ask: ["desk.tool.issue_refund".into()].into(), ..Rules::default() };
    Plan { rules, hold, ..Plan::default() }
}

async fn approve(world: &World) {
    world
        .change_task(|view| {
            let exact = json!({ "action": "desk.tool.issue_refund", "path": "write",
                "other": "any", "uses": 1 });
            let mut approved = grant(9, &exact);
            let (by, instance) = (vec!["bo".parse().unwrap()], Some(InstanceId::from_bits(1)));
            approved.approved = Some(Approved { approval: ApprovalId::from_bits(7), by, instance });
            view.grants.push(approved);
        })
        .await;
}

#[tokio::test]
async fn an_ask_carries_the_approval_and_after_it_the_call_is_decided_again() {
    let world = World::with(asking(Duration::ZERO)).await;
    let session = world.agent.open(Path::Write, MIDDLE).await;
    let refund = || session.call("issue_refund", json!({ "order": "O-1" }));
    let asked = refund().send().await;
    let facts = &asked.json()["result"]["_meta"]["carnet/decision"];
    assert_eq!(facts["reason"], "approval_needed");
    assert_eq!(facts["approval"], ApprovalId::from_bits(7).to_string());
    assert!(world.server.seen("tools/call").is_empty());
    let question = world.control.asked.lock().unwrap().remove(0);
    assert_eq!(question.operation.arguments().value("order"), Some(&json!("O-1")));
    approve(&world).await;
    assert_eq!(refund().send().await.said(), "done");
    let decisions = world.leaves().await;
    let words: Vec<_> = decisions
        .iter()
        .filter(|leaf| leaf.contains_key("action"))
        .map(|leaf| leaf["decision"].clone())
        .collect();
    assert_eq!(words, ["ask", "permit"]);
}

#[tokio::test]
async fn a_call_waits_for_the_person_and_goes_on_when_they_say_yes() {
    let world = World::with(asking(Duration::from_secs(60))).await;
    let call = tokio::spawn(world.agent.call(Path::Write, "issue_refund", json!({})).send());
    let mut answer = world.control.answer.subscribe();
    while world.control.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    approve(&world).await;
    world.control.answer.send_replace(ApprovalState::Approved);
    answer.changed().await.unwrap();
    assert_eq!(call.await.unwrap().said(), "done");
    assert_eq!(world.control.settled(1).await, [true]);
}

#[tokio::test]
async fn a_stored_yes_alone_lets_nothing_through() {
    let world = World::with(asking(Duration::from_secs(60))).await;
    world.control.answer.send_replace(ApprovalState::Approved);
    let answer = world.agent.call(Path::Write, "issue_refund", json!({})).send().await;
    // Approved, says the question; no grant says so, and the call is decided again.
    assert_eq!(answer.json()["result"]["resultType"], "input_required");
    assert!(world.server.seen("tools/call").is_empty());
}

#[tokio::test]
async fn a_no_while_the_call_waits_is_a_no() {
    let world = World::with(asking(Duration::from_secs(60))).await;
    world.control.answer.send_replace(ApprovalState::Denied);
    let answer = world.agent.call(Path::Write, "issue_refund", json!({})).send().await;
    assert_eq!(answer.reason().as_deref(), Some("approval_denied"));
    assert!(world.server.seen("tools/call").is_empty());
    let decisions: Vec<_> = world
        .leaves()
        .await
        .iter()
        .filter(|leaf| leaf.contains_key("action"))
        .map(|leaf| (leaf["decision"].clone(), leaf["reasons"].clone()))
        .collect();
    let expected =
        [(json!("ask"), json!(["approval_needed"])), (json!("deny"), json!(["approval_denied"]))];
    assert_eq!(decisions, expected, "the no is a decision of its own");
}

#[tokio::test]
async fn nothing_is_done_for_a_client_that_left_while_a_person_was_asked() {
    let world = World::with(asking(Duration::from_secs(60))).await;
    let call = tokio::spawn(world.agent.call(Path::Write, "issue_refund", json!({})).send());
    while world.control.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let waiting = world.control.answer.receiver_count();
    assert_eq!(waiting, 1);
    call.abort();
    // The wait ends with the client.
    while world.control.answer.receiver_count() > 0 {
        tokio::task::yield_now().await;
    }
    approve(&world).await;
    world.control.answer.send_replace(ApprovalState::Approved);
    let read = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(read.said(), "done");
    assert_eq!(world.server.seen("tools/call").len(), 1, "only the read");
    assert!(world.control.reserved.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_retry_of_our_own_question_reaches_the_server_without_its_traces() {
    let world = World::with(asking(Duration::ZERO)).await;
    let call = |extra: serde_json::Value| {
        let mut params = json!({ "name": "issue_refund", "arguments": { "order": "O-1" } });
        params.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        world.agent.stateless(Path::Write, "tools/call", params)
    };
    let asked = call(json!({})).send().await;
    let state = asked.json()["result"]["requestState"].as_str().unwrap().to_owned();
    let answer = json!({ "carnet_approval": { "action": "accept", "content": {} } });
    let retry = json!({ "requestState": state, "inputResponses": answer });
    // What the client answers approves nothing.
    let again = call(retry.clone()).send().await;
    assert_eq!(again.json()["result"]["resultType"], "input_required");
    approve(&world).await;
    assert_eq!(call(retry).send().await.said(), "done");
    let seen = world.server.seen("tools/call").remove(0);
    assert_eq!(seen.message["params"].get("requestState"), None);
    assert_eq!(seen.message["params"].get("inputResponses"), None);
    assert_eq!(seen.message["params"]["arguments"]["order"], "O-1");
}
