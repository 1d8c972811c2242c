//! Upstreams that are child processes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use carnet_core::{EffectClass, Path, Reach, Registered, RunAs, Transport};
use carnet_gateway::Credential;
use carnet_gateway::mcp::codec::pin;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::agent::{MIDDLE, OLD};
use crate::world::{Plan, World, logged};

const CANARY: &str = "canary-child-77aa01c4e9";
const TOOLS: [&str; 9] =
    ["echo", "environment", "fork", "hang", "noise", "complain", "question", "leave", "who"];

/// The example is built with the tests, beside them.
fn peer() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let peer = own.parent().unwrap().parent().unwrap().join("examples/stdio_peer");
    assert!(peer.exists(), "build it: cargo build -p carnet-gateway --example stdio_peer");
    peer
}

async fn world(args: Vec<String>) -> World {
    let command = peer().display().to_string();
    world_of(Transport::Stdio { command, args, run_as: None }, true).await
}

async fn world_of(transport: Transport, same_user: bool) -> World {
    let grants = vec![json!({ "action": "desk.tool.*", "path": "read" })];
    let transport = Some(transport);
    let world = World::with(Plan { transport, grants, same_user, ..Plan::default() }).await;
    let revision = world.control.change(|view| {
        let resources = Arc::make_mut(&mut view.snapshot.resources);
        let desk = Arc::make_mut(resources.get_mut(&"desk".parse().unwrap()).unwrap());
        desk.operations = TOOLS.iter().map(|name| registered(name)).collect();
    });
    world.control.effective(revision).await;
    world
}

fn registered(name: &str) -> (carnet_core::ActionName, Registered) {
    let definition = json!({ "name": name, "inputSchema": { "type": "object" } });
    let registered = Registered {
        action: format!("desk.tool.{name}").parse().unwrap(),
        path: Path::Read,
        effect: EffectClass { reversible: true, reach: Reach::Inside },
        arguments: Default::default(),
        pin: pin(&definition).unwrap(),
        definition,
    };
    (registered.action.clone(), registered)
}

/// A listener to which a process and its children connect, to be seen alive.
async fn witness() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

async fn end_of(mut connection: TcpStream) {
    let mut byte = [0];
    // A killed process closes or resets it; either is its end.
    assert_eq!(connection.read(&mut byte).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_child_process_works_in_every_revision() {
    let world = world(vec![]).await;
    let arguments = json!({ "line": "a\nb" });
    for version in [OLD, MIDDLE] {
        let session = world.agent.open(Path::Read, version).await;
        let answer = session.call("echo", arguments.clone()).send().await;
        assert_eq!(answer.said(), arguments.to_string(), "{}", answer.text());
        let pretty = serde_json::to_string_pretty(&json!({
            "jsonrpc": "2.0", "id": 2, "method": "tools/call",
            "params": { "name": "echo", "arguments": arguments },
        }));
        let answer = session.draft("POST", pretty.unwrap()).send().await;
        assert_eq!(answer.said(), arguments.to_string(), "line breaks between tokens are spaces");
    }
    let answer = world.agent.call(Path::Read, "echo", arguments.clone()).send().await;
    assert_eq!(answer.said(), arguments.to_string());
}

#[tokio::test]
async fn a_child_inherits_nothing_but_its_own_credential() {
    let world = world(vec![]).await;
    let credential = Credential { secret: CANARY.into(), as_variable: Some("PEER_SECRET".into()) };
    world.control.credentials.lock().unwrap().insert(Path::Read, credential);
    let answer = world.agent.call(Path::Read, "environment", json!({})).send().await;
    assert_eq!(answer.said(), "LANG PATH PEER_SECRET");
}

#[tokio::test]
async fn a_child_runs_as_its_own_user_in_no_other_group_with_no_capability() {
    let place = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.path(), open).unwrap();
    let copy = place.path().join("peer");
    std::fs::copy(peer(), &copy).unwrap();
    let run_as = Some(RunAs { uid: 54_321, gid: 54_322 });
    let command = copy.display().to_string();
    let world = world_of(Transport::Stdio { command, args: vec![], run_as }, false).await;
    let answer = world.agent.call(Path::Read, "who", json!({})).send().await;
    if rustix::process::geteuid().is_root() {
        let ids = "Uid: 54321 54321 54321 54321 Gid: 54322 54322 54322 54322 Groups:";
        let none = "CapInh: 0000000000000000 CapPrm: 0000000000000000 CapEff: 0000000000000000";
        assert!(answer.said().starts_with(&format!("{ids} {none} ")), "{}", answer.said());
    } else {
        assert_eq!(answer.reason().as_deref(), Some("upstream_failed"), "only root can do it");
    }
}

#[tokio::test]
async fn a_child_without_a_user_of_its_own_is_not_started_outside_a_trial() {
    let (listener, address) = witness().await;
    let command = peer().display().to_string();
    let world =
        world_of(Transport::Stdio { command, args: vec![address], run_as: None }, false).await;
    let answer = world.agent.call(Path::Read, "echo", json!({})).send().await;
    assert_eq!(answer.reason().as_deref(), Some("upstream_failed"));
    let opened = world.agent.initialize(Path::Read, MIDDLE, json!({})).await;
    assert_eq!(opened.reason().as_deref(), Some("upstream_failed"));
    assert!(futures::FutureExt::now_or_never(listener.accept()).is_none(), "nothing was started");
}

#[tokio::test]
async fn a_credential_that_a_child_tells_reaches_neither_the_agent_nor_the_log() {
    let world = world(vec![]).await;
    let credential = Credential { secret: CANARY.into(), as_variable: Some("PEER_SECRET".into()) };
    world.control.credentials.lock().unwrap().insert(Path::Read, credential);
    let answer = world.agent.call(Path::Read, "complain", json!({})).send().await;
    assert_eq!(answer.reason().as_deref(), Some("outcome_unknown"));
    assert!(!answer.text().contains("canary"));
    while !logged().contains("that was all") {
        tokio::task::yield_now().await;
    }
    let logged = logged();
    assert!(!logged.contains(CANARY));
    assert!(!logged.contains("\u{1b}[31mthat"), "what a child writes is escaped");
}

#[tokio::test]
async fn closing_the_task_kills_the_child_and_its_own_child() {
    for is_stateless in [false, true] {
        let (listener, address) = witness().await;
        let world = world(vec![address]).await;
        let answer = match is_stateless {
            true => world.agent.call(Path::Read, "fork", json!({})).send().await,
            false => {
                let session = world.agent.open(Path::Read, MIDDLE).await;
                session.call("fork", json!({})).send().await
            }
        };
        assert_eq!(answer.said(), "forked", "{}", answer.text());
        let (child, _) = listener.accept().await.unwrap();
        let (grandchild, _) = listener.accept().await.unwrap();
        world.close_task().await;
        end_of(child).await;
        end_of(grandchild).await;
    }
}

#[tokio::test]
async fn ending_the_session_kills_the_child() {
    let (listener, address) = witness().await;
    let world = world(vec![address]).await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let (child, _) = listener.accept().await.unwrap();
    assert_eq!(session.draft("DELETE", "").send().await.status, 204);
    end_of(child).await;
}

#[tokio::test]
async fn a_call_that_hangs_is_closed_with_its_task() {
    let (listener, address) = witness().await;
    let world = world(vec![address]).await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    session.call("echo", json!({})).send().await;
    let call = tokio::spawn(session.request(2, "tools/call", json!({ "name": "hang" })).send());
    let (child, _) = listener.accept().await.unwrap();
    // The call is on its way once its decision is recorded.
    while world.leaves().await.iter().filter(|leaf| leaf.contains_key("action")).count() < 2 {}
    world.close_task().await;
    assert_eq!(call.await.unwrap().reason().as_deref(), Some("outcome_unknown"));
    end_of(child).await;
}

#[tokio::test]
async fn a_child_that_prints_no_json_is_ended_and_another_one_started() {
    let (listener, address) = witness().await;
    let world = world(vec![address]).await;
    let answer = world.agent.call(Path::Read, "noise", json!({})).send().await;
    assert_eq!(answer.reason().as_deref(), Some("outcome_unknown"));
    let (child, _) = listener.accept().await.unwrap();
    end_of(child).await;
    let answer = world.agent.call(Path::Read, "echo", json!({})).send().await;
    assert_eq!(answer.said(), "{}");
    assert_eq!(world.outcomes().await, ["unknown", "done"]);
}

#[tokio::test]
async fn a_session_whose_child_died_is_gone() {
    let world = world(vec![]).await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let answer = session.call("leave", json!({})).send().await;
    assert_eq!(answer.reason().as_deref(), Some("outcome_unknown"));
    assert_eq!(session.call("echo", json!({})).send().await.status, 404);
    assert_eq!(world.outcomes().await, ["unknown"]);
}

#[tokio::test]
async fn a_childs_question_is_refused_and_its_answer_arrives() {
    let world = world(vec![]).await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let mut stream = session.call("question", json!({})).stream().await;
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/tools/list_changed");
    assert_eq!(stream.next().await.unwrap()["result"]["content"][0]["text"], "asked");
    let answer = session.call("echo", json!({})).send().await;
    assert_eq!(answer.said(), "{}", "it goes on after the change was looked at");
}

#[tokio::test]
async fn what_cannot_be_started_is_a_plain_refusal() {
    let transport =
        Transport::Stdio { command: "/no/such/program".into(), args: vec![], run_as: None };
    let world = World::with(Plan { transport: Some(transport), ..Plan::default() }).await;
    let answer = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send().await;
    assert_eq!(answer.reason().as_deref(), Some("upstream_failed"));
    assert!(!answer.text().contains("/no/such"), "where it is, is the operator's to know");
    let opened = world.agent.initialize(Path::Read, MIDDLE, json!({})).await;
    assert_eq!(opened.reason().as_deref(), Some("upstream_failed"));
}

#[tokio::test]
async fn no_more_children_are_started_than_sessions_may_be() {
    // It never answers: every session stays half open.
    let command = "/bin/sleep".to_owned();
    let transport = Transport::Stdio { command, args: vec!["1000".to_owned()], run_as: None };
    let world = world_of(transport, true).await;
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let agent = world.agent.clone();
        opening.spawn(async move { agent.initialize(Path::Read, MIDDLE, json!({})).await });
    }
    for _ in 32..40 {
        let refused = opening.join_next().await.unwrap().unwrap();
        assert!(refused.text().contains("budget_spent"), "{}", refused.text());
    }
    // What waits is ended with the task, and gives its room back.
    world.close_task().await;
    while let Some(ended) = opening.join_next().await {
        let ended = ended.unwrap();
        assert!(ended.text().contains("Denied by Carnet"), "{}", ended.text());
    }
}

#[tokio::test]
async fn a_child_that_is_gone_has_ended_though_another_process_holds_its_output() {
    let command = "/bin/sh".to_owned();
    let args = vec!["-c".to_owned(), "setsid sleep 60 & exit 0".to_owned()];
    let world = world_of(Transport::Stdio { command, args, run_as: None }, true).await;
    let opening = world.agent.initialize(Path::Read, MIDDLE, json!({}));
    let answer = tokio::time::timeout(Duration::from_secs(50), opening).await;
    let answer = answer.expect("the end of the process that was started");
    assert!(answer.text().contains("upstream_failed"), "{}", answer.text());
}
