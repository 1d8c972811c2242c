//! Durable before effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use carnet_core::Path;
use carnet_ledger::Ledger;
use futures::FutureExt as _;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::agent::MIDDLE;
use crate::disk::Gate;
use crate::server::{Act, text};
use crate::world::{Plan, World};

/// Whether the decision on `action` is on disk.
fn is_decided(ledger: &Ledger, action: &str) -> bool {
    ledger.leaves(0).map(Result::unwrap).any(|leaf| {
        leaf.header().get("action") == Some(&json!(action))
            && leaf.header().get("decision") == Some(&json!("permit"))
    })
}

async fn a_write_is_on_disk_first(plan: Plan) {
    let world = World::with(plan).await;
    let (ledger, was_first) = (world.ledger.clone(), Arc::new(AtomicBool::new(false)));
    let noticed = Arc::clone(&was_first);
    world.server.on("tools/call", move |seen| {
        noticed.store(is_decided(&ledger, "desk.tool.issue_refund"), Ordering::SeqCst);
        Act::Json(seen.result(text("done")))
    });
    let answer = world.agent.call(Path::Write, "issue_refund", json!({})).send().await;
    assert_eq!(answer.said(), "done", "{}", answer.text());
    assert!(was_first.load(Ordering::SeqCst), "the upstream was called before the record");
}

#[tokio::test]
async fn an_uncounted_write_is_on_disk_before_the_upstream_sees_it() {
    a_write_is_on_disk_first(Plan::default()).await;
}

#[tokio::test]
async fn a_counted_write_is_on_disk_before_the_upstream_sees_it() {
    a_write_is_on_disk_first(Plan::counted(3)).await;
}

#[tokio::test]
async fn nothing_is_forwarded_before_what_it_takes_is_set_aside() {
    let world = World::with(Plan::counted(1)).await;
    world.control.may_reserve.forget_permits(Semaphore::MAX_PERMITS);
    let call = tokio::spawn(world.agent.call(Path::Write, "issue_refund", json!({})).send());
    world.control.reserving().await;
    // A whole other call goes through meanwhile.
    let read = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(read.said(), "done");
    assert_eq!(world.server.seen("tools/call").len(), 1);
    world.control.may_reserve.add_permits(1);
    assert_eq!(call.await.unwrap().said(), "done");
    assert_eq!(world.control.settled(1).await, [true]);
}

#[tokio::test]
async fn the_response_of_a_closed_read_is_withheld_until_its_record_is_durable() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let ticket = || session.call("get_ticket", json!({ "id": "T-1" }));
    ticket().send().await;
    let answered = Arc::new(Semaphore::new(0));
    let answers = Arc::clone(&answered);
    world.server.on("tools/call", move |seen| {
        answers.add_permits(1);
        Act::Json(seen.result(text("early")))
    });
    world.disk.set(Gate::Closed);
    let mut call = tokio::spawn(ticket().send());
    // It overlaps: the upstream is called while the record is on its way.
    answered.acquire().await.unwrap().forget();
    // Other requests come and go; this one has no answer.
    for _ in 0..20 {
        assert_eq!(world.agent.bare("POST", Path::Read, "").send().await.status, 401);
        assert!((&mut call).now_or_never().is_none(), "released before it was durable");
    }
    world.disk.set(Gate::Open);
    assert_eq!(call.await.unwrap().said(), "early");
    assert!(is_decided(&world.ledger, "desk.tool.get_ticket"));
}

#[tokio::test]
async fn a_read_whose_record_fails_is_never_released() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let ticket = || session.call("get_ticket", json!({ "id": "T-1" }));
    ticket().send().await;
    world.disk.set(Gate::Closed);
    let call = tokio::spawn(ticket().send());
    world.server.wait_for("tools/call", 2).await;
    world.disk.set(Gate::Broken);
    assert_eq!(call.await.unwrap().reason().as_deref(), Some("ledger_unavailable"));
}

#[tokio::test]
async fn when_the_ledger_cannot_write_everything_is_denied() {
    let world = World::with(Plan::counted(3)).await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    assert_eq!(session.call("get_ticket", json!({ "id": "T-1" })).send().await.said(), "done");
    world.disk.set(Gate::Broken);
    // The first one finds out; it may have been sent before, and is not released.
    let first = session.call("get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(first.reason().as_deref(), Some("ledger_unavailable"));
    let seen = world.server.seen_at_all();
    let denied = [
        session.call("get_ticket", json!({ "id": "T-1" })),
        session.request(2, "tools/list", json!({})),
        session.request(3, "ping", json!({})),
        world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })),
        world.agent.call(Path::Write, "issue_refund", json!({})),
        world.agent.stateless(Path::Read, "server/discover", json!({})),
    ];
    for draft in denied {
        let answer = draft.send().await;
        assert_eq!(answer.reason().as_deref(), Some("ledger_unavailable"), "{}", answer.text());
    }
    let opening = world.agent.initialize(Path::Read, MIDDLE, json!({})).await;
    assert_eq!(opening.reason().as_deref(), Some("ledger_unavailable"));
    assert_eq!(world.server.seen_at_all(), seen, "the upstream heard nothing of it");
}

#[tokio::test]
async fn every_message_that_reaches_the_upstream_has_its_leaf() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(session.draft("POST", initialized).send().await.status, 202);
    session.request(1, "tools/list", json!({})).send().await;
    session.call("get_ticket", json!({ "id": "T-1" })).send().await;
    session.draft("GET", "").send().await;
    let leaves = world.leaves().await;
    let methods: Vec<&Value> = leaves.iter().filter_map(|leaf| leaf.get("method")).collect();
    assert_eq!(methods, ["initialize", "notifications/initialized", "tools/list", "listen"]);
    let decided = leaves.iter().filter(|leaf| leaf.contains_key("action")).count();
    let outcomes = leaves.iter().filter(|leaf| leaf.contains_key("outcome")).count();
    assert_eq!((decided, outcomes), (1, 1));
}

#[tokio::test]
async fn what_anybody_may_have_written_is_read_only_once_the_mark_is_committed() {
    let world = World::new().await;
    world.control.change(|view| {
        let resources = Arc::make_mut(&mut view.snapshot.resources);
        for resource in resources.values_mut() {
            Arc::make_mut(resource).labels.insert("untrusted".to_owned());
        }
    });
    world.control.may_reserve.forget_permits(Semaphore::MAX_PERMITS);
    let call =
        tokio::spawn(world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send());
    world.control.reserving().await;
    assert!(world.server.seen("tools/call").is_empty(), "nothing is read before");
    world.control.may_reserve.add_permits(1);
    assert_eq!(call.await.unwrap().said(), "done");
    let reserved = world.control.reserved.lock().unwrap();
    assert_eq!(reserved[0].marks.as_ref(), Some(&world.agent.instance));
}
