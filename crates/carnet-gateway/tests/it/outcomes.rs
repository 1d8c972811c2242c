//! What became of an operation, and of what was set aside for it.

use carnet_core::Path;
use carnet_ledger::{Entry, Kind, Ledger, LedgerError};
use futures::FutureExt as _;
use serde_json::json;

use crate::agent::MIDDLE;
use crate::control::NOW;
use crate::disk::Gate;
use crate::server::{Act, event, events, text};
use crate::world::{Plan, World};

#[tokio::test]
async fn what_was_set_aside_is_given_back_when_the_upstream_could_not_be_reached() {
    let world = World::with(Plan::counted(3)).await;
    let session = world.agent.open(Path::Write, MIDDLE).await;
    // The definition is seen, then the server goes away before the call.
    let server = world.server.clone();
    world.server.on("tools/list", move |seen| {
        server.stop();
        let tools = serde_json::from_str::<serde_json::Value>(crate::world::REFUND).unwrap();
        let tools = json!({ "tools": [tools] });
        Act::Http(
            200,
            vec![("content-type", "application/json"), ("connection", "close")],
            seen.result(tools),
        )
    });
    let answer = session.call("issue_refund", json!({})).send().await;
    assert_eq!(answer.reason().as_deref(), Some("upstream_failed"));
    assert!(answer.said().contains("Nothing was sent. "), "{}", answer.said());
    assert!(answer.said().ends_with("Try again later."), "{}", answer.said());
    assert_eq!(world.control.reserved.lock().unwrap().len(), 1);
    assert_eq!(world.control.settled(1).await, [false]);
    assert_eq!(world.outcomes().await, ["not_forwarded"]);
}

#[tokio::test]
async fn what_was_set_aside_stays_spent_when_the_upstream_died_on_the_way() {
    let world = World::with(Plan::counted(3)).await;
    world.server.on("tools/call", |_| Act::Die);
    let answer = world.agent.call(Path::Write, "issue_refund", json!({})).send().await;
    assert_eq!(answer.reason().as_deref(), Some("outcome_unknown"));
    let said = answer.said();
    assert!(said.contains("It was sent; whether it was carried out is not known."), "{said}");
    assert!(!said.contains("Denied") && !said.contains("will not help"), "{said}");
    assert_eq!(world.control.settled(1).await, [true]);
    assert_eq!(world.outcomes().await, ["unknown"]);
    assert_eq!(world.server.seen("tools/call").len(), 1, "it is not tried again");
}

#[tokio::test]
async fn a_revocation_between_reservation_and_door_gives_back() {
    let world = World::with(Plan::counted(3)).await;
    world.control.may_reserve.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let call = tokio::spawn(world.agent.call(Path::Write, "issue_refund", json!({})).send());
    world.control.reserving().await;
    world.close_task().await;
    world.control.may_reserve.add_permits(1);
    assert_eq!(call.await.unwrap().reason().as_deref(), Some("task_not_open"));
    assert_eq!(world.control.settled(1).await, [false]);
    assert!(world.server.seen("tools/call").is_empty());
}

#[tokio::test]
async fn a_policy_that_came_into_force_in_between_is_obeyed() {
    let world = World::with(Plan::counted(3)).await;
    world.control.may_reserve.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let call = tokio::spawn(world.agent.call(Path::Write, "issue_refund", json!({})).send());
    world.control.reserving().await;
    world.control.change(|view| {
        let forbid = ["desk.tool.issue_refund".to_owned()].into();
        let rules = crate::control::Rules { forbid, version: 2, ..Default::default() };
        crate::world::set_rules(view, rules);
    });
    world.control.may_reserve.add_permits(1);
    assert_eq!(call.await.unwrap().reason().as_deref(), Some("policy_does_not_permit"));
    assert_eq!(world.control.settled(1).await, [false]);
    assert!(world.server.seen("tools/call").is_empty());
}

#[tokio::test]
async fn answers_that_are_none_leave_the_outcome_unknown() {
    let world = World::new().await;
    let cases: [fn(&crate::server::Seen) -> Act; 8] = [
        |_| Act::Json("[]".into()),
        |seen| Act::Json(format!("[{}]", seen.result(text("batch")))),
        |_| Act::Json(r#"{"jsonrpc":"2.0","id":99,"result":{}}"#.into()),
        |_| Act::Json(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#.into()),
        |_| Act::Http(500, vec![], "oops".into()),
        |_| Act::Http(302, vec![("location", "http://127.0.0.1:1/")], String::new()),
        |_| Act::Accept,
        |_| events([event(r#"{"jsonrpc":"2.0","id":99,"result":{}}"#)]),
    ];
    for (number, case) in cases.into_iter().enumerate() {
        world.server.on("tools/call", case);
        let answer =
            world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send().await;
        assert_eq!(answer.status, 200, "{number}");
        assert_eq!(answer.reason().as_deref(), Some("outcome_unknown"), "{number}");
    }
    assert!(world.outcomes().await.iter().all(|outcome| outcome == "unknown"));
}

#[tokio::test]
async fn a_huge_answer_is_cut_off() {
    let world = World::new().await;
    world.server.on("tools/call", |seen| Act::Json(seen.result(text(&"x".repeat((16 << 20) + 1)))));
    let ticket = || world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" }));
    assert_eq!(ticket().send().await.reason().as_deref(), Some("outcome_unknown"));
    world.server.on("tools/call", |_| {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let piece = format!("data: {}", "x".repeat(1 << 20));
            while sender.send(piece.clone()).await.is_ok() {}
        });
        Act::Events(receiver)
    });
    assert_eq!(ticket().send().await.reason().as_deref(), Some("outcome_unknown"));
    world.server.left(1).await;
}

#[tokio::test]
async fn what_a_server_thinks_of_our_credential_is_not_the_clients() {
    let world = World::new().await;
    world.server.on("tools/call", |seen| {
        let headers = vec![("content-type", "application/json"), ("www-authenticate", "Bearer")];
        Act::Http(401, headers, seen.result(text("done")))
    });
    let answer = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers.get("www-authenticate").is_none());
}

#[tokio::test]
async fn a_write_whose_client_left_is_recorded_to_its_end() {
    let world = World::with(Plan::counted(3)).await;
    let session = world.agent.open(Path::Write, MIDDLE).await;
    let answering = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let gate = std::sync::Arc::clone(&answering);
    world.server.on("tools/call", move |seen| {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let (answer, gate) = (event(&seen.result(text("done"))), std::sync::Arc::clone(&gate));
        tokio::spawn(async move {
            gate.acquire().await.unwrap().forget();
            sender.send(answer).await.unwrap();
        });
        Act::Events(receiver)
    });
    let call = tokio::spawn(session.call("issue_refund", json!({})).send());
    world.server.wait_for("tools/call", 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // To leave is not to cancel in this revision: the answer is waited for and recorded.
    answering.add_permits(1);
    assert_eq!(world.control.settled(1).await, [true]);
    assert_eq!(world.outcomes().await, ["done"]);
}

#[tokio::test]
async fn where_leaving_is_cancelling_the_upstream_is_let_go_and_the_outcome_recorded() {
    let world = World::with(Plan::counted(3)).await;
    world.server.on("tools/call", |_| Act::Hang);
    let call = tokio::spawn(world.agent.call(Path::Write, "issue_refund", json!({})).send());
    world.server.wait_for("tools/call", 1).await;
    call.abort();
    world.server.left(1).await;
    assert_eq!(world.control.settled(1).await, [true], "it may have been done");
    assert_eq!(world.outcomes().await, ["unknown"]);
}

#[tokio::test]
async fn a_stream_that_loses_its_server_ends_with_a_refusal() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    world.server.on("tools/call", |_| {
        events([event(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#)])
    });
    let mut stream = session.call("get_ticket", json!({ "id": "T-1" })).stream().await;
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/progress");
    let last = stream.next().await.unwrap();
    assert_eq!(last["result"]["_meta"]["carnet/decision"]["reason"], "outcome_unknown");
    assert_eq!(stream.next().await, None);
    assert_eq!(world.outcomes().await, ["unknown"]);
}

#[tokio::test]
async fn one_slow_upstream_holds_up_neither_the_others_nor_the_enforcement() {
    let world = World::new().await;
    world.control.may_give.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let slow = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" }));
    let slow = tokio::spawn(slow.send());
    let mut given = world.control.credentials_given.subscribe();
    given.wait_for(|given| *given == 1).await.unwrap();
    world.control.may_give.add_permits(1);
    // The only place is taken: the next channel waits for ever.
    assert_eq!(slow.await.unwrap().said(), "done");
    let stuck = tokio::spawn(world.agent.call(Path::Write, "issue_refund", json!({})).send());
    given.wait_for(|given| *given == 2).await.unwrap();
    let read = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(read.said(), "done", "another channel is not held up");
    world.close_task().await;
    assert_eq!(stuck.await.unwrap().reason().as_deref(), Some("task_not_open"));
}

/// Whether the ledger has no room for one more record.
fn is_full(ledger: &Ledger) -> bool {
    let filler = Entry {
        kind: Kind::Node,
        id: "filler".into(),
        at: NOW.wall,
        header: serde_json::Map::new(),
        sealed: vec![],
        subject: String::new(),
        position: None,
        narrows: false,
    };
    let answer = ledger.append_behind(&filler).now_or_never();
    matches!(answer, Some(Err(LedgerError::Busy { .. })))
}

#[tokio::test]
async fn an_outcome_for_which_the_ledger_has_no_room_is_written_when_it_has() {
    let world = World::new().await;
    let (ledger, disk) = (world.ledger.clone(), world.disk.clone());
    world.server.on("tools/call", move |seen| {
        disk.set(Gate::Closed);
        while !is_full(&ledger) {}
        Act::Json(seen.result(text("done")))
    });
    let answer = world.agent.call(Path::Write, "issue_refund", json!({})).send().await;
    assert_eq!(answer.said(), "done");
    world.disk.set(Gate::Open);
    while is_full(&world.ledger) {
        tokio::task::yield_now().await;
    }
    world.outcome("done").await;
}
