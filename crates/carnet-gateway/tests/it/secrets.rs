//! The upstream credential: sent where it belongs, shown nowhere.

use carnet_core::Path;
use carnet_gateway::Credential;
use serde_json::json;

use crate::agent::MIDDLE;
use crate::server::{Act, event, events, text};
use crate::world::{World, logged};

const READ_CANARY: &str = "canary-read-2f1c9b77e0";
const WRITE_CANARY: &str = "canary-write-8d02a6b1c3";

async fn world() -> World {
    let world = World::new().await;
    for (path, secret) in [(Path::Read, READ_CANARY), (Path::Write, WRITE_CANARY)] {
        let credential = Credential { secret: secret.into(), as_variable: None };
        world.control.credentials.lock().unwrap().insert(path, credential);
    }
    world
}

#[tokio::test]
async fn each_path_travels_with_its_own_credential_and_never_with_the_agents() {
    let world = world().await;
    world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" })).send().await;
    world.agent.call(Path::Write, "issue_refund", json!({})).send().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    session.call("get_ticket", json!({ "id": "T-1" })).send().await;
    let seen = world.server.seen("tools/call");
    let sent: Vec<_> = seen.iter().map(|seen| seen.header("authorization").unwrap()).collect();
    let (read, write) = (format!("Bearer {READ_CANARY}"), format!("Bearer {WRITE_CANARY}"));
    assert_eq!(sent, [read.as_str(), &write, &read]);
    for seen in seen {
        assert_eq!(seen.headers.get_all("authorization").iter().count(), 1);
        assert_eq!(seen.header("dpop"), None);
    }
}

#[tokio::test]
async fn a_credential_appears_in_no_answer_record_or_log() {
    let world = world().await;
    let mut told = Vec::new();
    // A server that repeats what it was called with, every way it can.
    let echo = |seen: &crate::server::Seen| text(seen.header("authorization").unwrap_or_default());
    world.server.on("tools/call", move |seen| Act::Json(seen.result(echo(seen))));
    let ticket = || world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" }));
    told.push(ticket().send().await);
    world.server.on("tools/call", move |seen| events([event(&seen.result(echo(seen)))]));
    told.push(ticket().send().await);
    world.server.on("tools/call", |seen| {
        let message = seen.header("authorization").unwrap();
        let error = json!({ "code": 1, "message": message });
        Act::Json(json!({ "jsonrpc": "2.0", "id": 1, "error": error }).to_string())
    });
    told.push(ticket().send().await);
    world.server.on("tools/call", |seen| {
        Act::Http(500, vec![], seen.header("authorization").unwrap().to_owned())
    });
    told.push(ticket().send().await);
    world.server.on("tools/list", move |seen| Act::Json(seen.result(echo(seen))));
    told.push(world.agent.stateless(Path::Read, "tools/list", json!({})).send().await);
    world.server.on("initialize", move |seen| Act::Json(seen.result(echo(seen))));
    told.push(world.agent.initialize(Path::Read, MIDDLE, json!({})).await);
    for (number, answer) in told.iter().enumerate() {
        // The calls were sent; a list and a handshake only failed.
        let reason = if number < 4 { "outcome_unknown" } else { "upstream_failed" };
        assert_eq!(answer.reason().as_deref(), Some(reason), "{number}");
        assert!(!answer.text().contains("canary"), "{number}: {}", answer.text());
        assert!(!format!("{:?}", answer.headers).contains("canary"), "{number}");
    }
    world.leaves().await;
    let mut files = 0;
    let mut dirs = vec![world.dir.path().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
                continue;
            }
            let bytes = std::fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(6).any(|six| six == b"canary"), "{}", entry.path().display());
            files += 1;
        }
    }
    assert!(files > 2, "the ledger was looked at");
    let logged = logged();
    assert!(logged.contains("repeats the credential"), "the log was looked at");
    for canary in [READ_CANARY, WRITE_CANARY] {
        assert!(!logged.contains(canary));
    }
}
