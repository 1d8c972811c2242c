//! Revocation reaches live work.

use std::sync::Arc;

use carnet_core::{GrantState, Path, RevokedToken, Timestamp};
use serde_json::json;
use tokio::sync::mpsc;

use crate::agent::MIDDLE;
use crate::control::NOW;
use crate::server::{Act, event};
use crate::world::{Plan, TASK, World};

const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;

/// Streams one event, and then nothing for as long as somebody listens.
fn endless(world: &World, method: &str) {
    world.server.on(method, |_| {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            sender.send(event(PROGRESS)).await.unwrap();
            sender.closed().await;
        });
        Act::Events(receiver)
    });
}

#[tokio::test]
async fn closing_the_task_closes_the_stream_of_a_call() {
    let world = World::new().await;
    endless(&world, "tools/call");
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let mut stream = session.call("get_ticket", json!({ "id": "T-1" })).stream().await;
    assert!(stream.next().await.is_some());
    world.close_task().await;
    assert_eq!(stream.next().await, None);
    world.server.left(1).await;
    world.outcome("revoked").await;
}

#[tokio::test]
async fn suspending_the_task_closes_the_stream_of_a_call() {
    let world = World::new().await;
    endless(&world, "tools/call");
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let mut stream = session.call("get_ticket", json!({ "id": "T-1" })).stream().await;
    assert!(stream.next().await.is_some());
    world.change_task(|view| view.task.state = carnet_core::TaskState::Suspended).await;
    assert_eq!(stream.next().await, None);
    world.server.left(1).await;
    world.outcome("revoked").await;
}

#[tokio::test]
async fn taking_away_the_key_that_signed_its_token_closes_the_stream_of_a_call() {
    let world = World::new().await;
    endless(&world, "tools/call");
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let mut stream = session.call("get_ticket", json!({ "id": "T-1" })).stream().await;
    assert!(stream.next().await.is_some());
    let remove = |kid: &str| {
        let removed = Arc::new([kid.to_owned()].into());
        world.control.change(|view| view.snapshot.keys_removed = removed)
    };
    world.control.effective(remove("another key")).await;
    assert!(
        world
            .agent
            .call(Path::Read, "get_ticket", json!({ "id": "T-1" }))
            .stream()
            .await
            .next()
            .await
            .is_some()
    );
    world.control.effective(remove(world.signing.kid())).await;
    assert_eq!(stream.next().await, None);
    world.server.left(2).await;
    world.outcome("revoked").await;
    let after = session.call("get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(after.status, 401);
}

#[tokio::test]
async fn taking_back_its_token_closes_the_stream_of_a_call_and_no_other() {
    let world = World::new().await;
    endless(&world, "tools/call");
    let open = async || {
        let mut stream =
            world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).stream().await;
        assert!(stream.next().await.is_some());
        stream
    };
    let (mut stream, before) = (open().await, world.agent.last_token());
    let mut other = open().await;
    let revoke = |jti: String| {
        let revoked = RevokedToken {
            jti: jti.clone(),
            agent: "support-agent".parse().unwrap(),
            task: TASK.parse().unwrap(),
            expires: NOW.wall.plus_s(60),
        };
        let all = Arc::new([(jti, Arc::new(revoked))].into());
        world.control.change(|view| view.snapshot.tokens_revoked = all)
    };
    world.control.effective(revoke(before.clone())).await;
    assert_eq!(stream.next().await, None);
    world.server.left(1).await;
    world.outcome("revoked").await;
    // Another token of the same task goes on, until it is taken back too.
    let last = world.agent.last_token();
    world.control.effective(revoke(last)).await;
    assert_eq!(other.next().await, None);
}

#[tokio::test]
async fn a_call_with_a_revoked_token_is_turned_away_with_its_own_reason() {
    let world = World::new().await;
    let draft = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" }));
    let jti = world.agent.last_token();
    let revoked = RevokedToken {
        jti: jti.clone(),
        agent: "support-agent".parse().unwrap(),
        task: TASK.parse().unwrap(),
        expires: NOW.wall.plus_s(60),
    };
    let all = Arc::new([(jti, Arc::new(revoked))].into());
    let revision = world.control.change(|view| view.snapshot.tokens_revoked = all);
    world.control.effective(revision).await;
    let answer = draft.send().await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_deref()), (401, Some("token_revoked")));
    assert_eq!(world.server.seen_at_all(), 0);
}

#[tokio::test]
async fn closing_the_task_closes_the_stream_of_a_session_and_the_session() {
    let world = World::new().await;
    endless(&world, "GET");
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let mut stream = session.draft("GET", "").stream().await;
    assert!(stream.next().await.is_some());
    world.close_task().await;
    assert_eq!(stream.next().await, None);
    world.server.left(1).await;
    world.server.wait_for("DELETE", 1).await;
    let after = session.call("get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(after.status, 401);
}

#[tokio::test]
async fn closing_the_task_reaches_a_call_that_waits_and_one_that_opens() {
    let world = World::new().await;
    world.server.on("tools/call", |_| Act::Hang);
    let call = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" }));
    let call = tokio::spawn(call.send());
    world.server.wait_for("tools/call", 1).await;
    world.server.on("initialize", |_| Act::Hang);
    let agent = world.agent.clone();
    let opening =
        tokio::spawn(async move { agent.initialize(Path::Write, MIDDLE, json!({})).await });
    world.server.wait_for("initialize", 1).await;
    world.server.on("tools/list", |_| Act::Hang);
    let list = world.agent.stateless(Path::Write, "tools/list", json!({}));
    let list = tokio::spawn(list.send());
    world.server.wait_for("tools/list", 2).await;
    world.close_task().await;
    // The call was sent: that is not denied, whatever ended it.
    assert_eq!(call.await.unwrap().reason().as_deref(), Some("outcome_unknown"));
    for answer in [opening.await, list.await] {
        assert_eq!(answer.unwrap().reason().as_deref(), Some("task_not_open"));
    }
    world.server.left(3).await;
}

#[tokio::test]
async fn a_slow_client_does_not_keep_a_revoked_stream() {
    let world = World::new().await;
    world.server.on("tools/call", |_| {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let fat = PROGRESS.replace("{}", &format!("{{\"x\":\"{}\"}}", "y".repeat(64 << 10)));
            while sender.send(event(&fat)).await.is_ok() {}
        });
        Act::Events(receiver)
    });
    let session = world.agent.open(Path::Read, MIDDLE).await;
    // The client takes the head and then reads nothing, so that everything on the way fills up.
    let unread = session.call("get_ticket", json!({ "id": "T-1" })).begin().await;
    world.close_task().await;
    world.server.left(1).await;
    world.outcome("revoked").await;
    drop(unread);
}

#[tokio::test]
async fn revoking_the_grant_or_the_review_closes_what_rests_on_it() {
    let world = World::with(
        Plan::default().with_grant(json!({ "action": "desk.tool.read_payroll", "path": "read" })),
    )
    .await;
    endless(&world, "tools/call");
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let mut ticket = session.call("get_ticket", json!({ "id": "T-1" })).stream().await;
    let mut payroll = session.call("read_payroll", json!({ "year": 1 })).stream().await;
    assert!(ticket.next().await.is_some());
    assert!(payroll.next().await.is_some());
    world.change_task(|view| view.grants[0].state = GrantState::Revoked).await;
    assert_eq!(ticket.next().await, None);
    world.server.left(1).await;
    let revision = world.control.change(|view| {
        let resources = Arc::make_mut(&mut view.snapshot.resources);
        let desk = Arc::make_mut(resources.get_mut(&"desk".parse().unwrap()).unwrap());
        desk.operations.remove(&"desk.tool.read_payroll".parse().unwrap());
    });
    world.control.effective(revision).await;
    assert_eq!(payroll.next().await, None);
    world.server.left(2).await;
    // The session itself lives on.
    let list = session.request(9, "tools/list", json!({})).send().await;
    assert_eq!(list.status, 200);
}

#[tokio::test]
async fn a_deadline_that_passes_closes_without_any_revision() {
    let world = World::new().await;
    endless(&world, "tools/call");
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let mut stream = session.call("get_ticket", json!({ "id": "T-1" })).stream().await;
    assert!(stream.next().await.is_some());
    let later = Timestamp::from_s(NOW.wall.s() + 1_000);
    world.control.set_now(carnet_core::Now { wall: later, ..NOW });
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_node_that_cannot_prove_its_view_permits_nothing_and_closes_nothing() {
    let world = World::new().await;
    endless(&world, "GET");
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let mut stream = session.draft("GET", "").stream().await;
    assert!(stream.next().await.is_some());
    let revision =
        world.control.change(|view| view.snapshot.fresh_until = carnet_core::Monotonic::from_us(0));
    world.control.effective(revision).await;
    let seen = world.server.seen_at_all();
    let answer = session.call("get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_deref()), (503, Some("snapshot_stale")));
    assert_eq!(world.server.seen_at_all(), seen, "{:?}", world.server.seen("DELETE"));
    let revision = world
        .control
        .change(|view| view.snapshot.fresh_until = carnet_core::Monotonic::from_us(u64::MAX));
    world.control.effective(revision).await;
    assert_eq!(session.call("get_ticket", json!({ "id": "T-1" })).send().await.said(), "done");
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_takes_the_upstream_with_it() {
    let world = World::new().await;
    endless(&world, "GET");
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let mut stream = session.draft("GET", "").stream().await;
    assert!(stream.next().await.is_some());
    drop(stream);
    world.server.left(1).await;
}
