//! What a server asks of its client.

use carnet_core::Path;
use serde_json::{Value, json};

use crate::agent::{MIDDLE, OLD};
use crate::server::{Act, Seen, event, events, text};
use crate::world::{Plan, World};

fn form(id: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": {
        "message": "Which one?",
        "requestedSchema": { "type": "object", "properties": { "size": { "type": "string" } } },
    } })
    .to_string()
}

fn asking_world() -> Plan {
    Plan::default().with_grant(json!({
        "action": "desk.method.elicitation.create", "path": "read",
    }))
}

/// Asks the client first, then answers when the client has.
fn ask_first(seen: &Seen) -> Act {
    events([event(&form(json!(900))), event(&seen.result(text("done")))])
}

#[tokio::test]
async fn a_servers_question_is_refused_unless_permitted_and_the_server_is_told() {
    let world = World::new().await;
    for version in [OLD, MIDDLE] {
        let session = world.agent.open(Path::Read, version).await;
        world.server.on("tools/call", ask_first);
        let answer = session.call("get_ticket", json!({ "id": "T-1" })).send().await;
        assert_eq!(answer.said(), "done", "the client sees only the answer");
    }
    let told = world.server.wait_for("answer", 2).await;
    assert_eq!(told.message["id"], 900);
    assert_eq!(told.message["error"]["code"], -32601);
}

#[tokio::test]
async fn a_permitted_question_reaches_the_client_and_its_answer_the_server_once() {
    let world = World::with(asking_world()).await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    world.server.on("tools/call", ask_first);
    let mut stream = session.call("get_ticket", json!({ "id": "T-1" })).stream().await;
    let asked = stream.next().await.unwrap();
    assert_eq!((&asked["method"], &asked["id"]), (&json!("elicitation/create"), &json!(900)));
    let reply = r#"{"jsonrpc":"2.0","id":900,"result":{"action":"accept","content":{"size":"L"}}}"#;
    assert_eq!(session.draft("POST", reply).send().await.status, 202);
    assert_eq!(world.server.wait_for("answer", 1).await.body, reply);
    assert_eq!(session.draft("POST", reply).send().await.status, 400, "once is enough");
    assert_eq!(stream.next().await.unwrap()["result"]["content"][0]["text"], "done");
    assert_eq!(stream.next().await, None);
    assert_eq!(world.outcomes().await, ["done", "done"], "the question has an outcome too");
}

#[tokio::test]
async fn an_answer_to_nothing_is_not_passed_on() {
    let world = World::with(asking_world()).await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let reply = r#"{"jsonrpc":"2.0","id":900,"result":{}}"#;
    assert_eq!(session.draft("POST", reply).send().await.status, 400);
    assert!(world.server.seen("answer").is_empty());
}

#[tokio::test]
async fn a_question_for_a_secret_is_refused_whatever_was_granted() {
    let world = World::with(asking_world()).await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    world.server.on("tools/call", |seen| {
        let asked = form(json!(900)).replace("\"size\"", "\"password\"");
        events([event(&asked), event(&seen.result(text("done")))])
    });
    assert_eq!(session.call("get_ticket", json!({ "id": "T-1" })).send().await.said(), "done");
    assert!(world.server.wait_for("answer", 1).await.message["error"].is_object());
}

#[tokio::test]
async fn a_question_in_a_list_goes_to_nobody_and_the_list_arrives() {
    let world = World::with(asking_world()).await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    world.server.on("tools/list", |seen| {
        let list = json!({ "tools": [] });
        events([event(&form(json!("q"))), event(&seen.result(list))])
    });
    let answer = session.request(4, "tools/list", json!({})).send().await;
    assert_eq!(answer.json()["result"]["tools"], json!([]));
    assert_eq!(world.server.wait_for("answer", 1).await.message["id"], "q");
}

fn input_required(seen: &Seen) -> Act {
    let asked: Value = serde_json::from_str(&form(json!(0))).unwrap();
    let params = &asked["params"];
    Act::Json(seen.result(json!({
        "resultType": "input_required", "requestState": "opaque",
        "inputRequests": { "size": { "method": "elicitation/create", "params": params } },
    })))
}

#[tokio::test]
async fn a_result_that_asks_is_withheld_unless_permitted() {
    let world = World::new().await;
    world.server.on("tools/call", input_required);
    let answer = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(answer.reason().as_deref(), Some("answer_withheld"));
    assert_eq!(world.outcomes().await, ["withheld"]);
}

#[tokio::test]
async fn only_what_was_asked_may_be_answered() {
    let world = World::with(asking_world()).await;
    world.server.on("tools/call", input_required);
    let call = |arguments: Value, state: Value, responses: Value| {
        let mut params = json!({ "name": "get_ticket", "arguments": arguments });
        if !responses.is_null() {
            params["inputResponses"] = responses;
            params["requestState"] = state;
        }
        world.agent.stateless(Path::Read, "tools/call", params).send()
    };
    let ticket = || json!({ "id": "T-1" });
    let said = json!({ "size": { "action": "accept", "content": { "size": "L" } } });
    let early = call(ticket(), json!("opaque"), said.clone()).await;
    assert_eq!(early.json()["error"]["code"], -32602, "nobody asked yet");
    let asked = call(ticket(), Value::Null, Value::Null).await;
    assert_eq!(asked.json()["result"]["resultType"], "input_required", "{}", asked.text());
    world.server.on("tools/call", |seen| Act::Json(seen.result(text("done"))));
    let wrong = [
        (json!({ "id": "T-2" }), json!("opaque"), said.clone()),
        (ticket(), json!("other"), said.clone()),
        (ticket(), json!("opaque"), json!({ "colour": { "action": "accept" } })),
        (ticket(), json!("opaque"), json!({ "size": { "roots": [] } })),
    ];
    for (arguments, state, responses) in wrong {
        let answer = call(arguments, state, responses).await;
        assert_eq!(answer.json()["error"]["code"], -32602, "{}", answer.text());
        assert_eq!(answer.status, 400);
    }
    assert_eq!(world.server.seen("tools/call").len(), 1);
    assert_eq!(call(ticket(), json!("opaque"), said).await.said(), "done");
    let seen = world.server.seen("tools/call").remove(1);
    assert_eq!(seen.message["params"]["inputResponses"]["size"]["action"], "accept");
}

#[tokio::test]
async fn a_server_that_asks_on_and_on_what_it_may_not_is_cut_off_and_its_agent_is_not() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    world.server.on("tools/call", |seen| {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let answer = event(&seen.result(text("done")));
        tokio::spawn(async move {
            for n in 0..1_000 {
                let _ = sender.send(event(&form(json!(format!("q-{n}"))))).await;
            }
            let _ = sender.send(answer).await;
        });
        Act::Events(receiver)
    });
    session.call("get_ticket", json!({ "id": "T-1" })).send().await;
    let leaves = world.leaves().await;
    let denied = leaves.iter().filter(|leaf| leaf.get("decision") == Some(&json!("deny")));
    assert_eq!(denied.count(), 256, "what comes after is not recorded any more");
    let gone = session.call("get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(gone.status, 404, "the session with it has ended");
    // In JSON a client would take it for the answer, and not open another.
    assert_eq!(gone.headers["content-type"], "text/plain; charset=utf-8");
    world.server.on("tools/call", |seen| Act::Json(seen.result(text("done"))));
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let answer = session.call("get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(answer.said(), "done", "what a server asks is not of its agent's making");
}
