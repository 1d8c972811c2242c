//! Lists: only what the task can reach, byte for byte.

use carnet_core::Path;
use serde_json::json;

use crate::agent::{MIDDLE, NEW};
use crate::server::Act;
use crate::world::{PAYROLL, Plan, REFUND, TICKET, World, listing};

#[tokio::test]
async fn a_list_shows_what_the_task_can_reach_byte_for_byte() {
    let world = World::new().await;
    let session = world.agent.open(Path::Read, MIDDLE).await;
    let answer = session.request(5, "tools/list", json!({})).send().await;
    let expected =
        format!(r#"{{"jsonrpc":"2.0","id":5,"result":{{ "tools": [{TICKET}],  "x": 1.0 }}}}"#);
    assert_eq!(answer.text(), expected);
    let write = world.agent.open(Path::Write, MIDDLE).await;
    let answer = write.request(5, "tools/list", json!({})).send().await;
    assert_eq!(answer.json()["result"]["tools"][0]["name"], "issue_refund");
    assert_eq!(answer.json()["result"]["tools"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_list_of_the_revision_without_sessions_is_private() {
    let world = World::new().await;
    let answer = world.agent.stateless(Path::Read, "tools/list", json!({})).send().await;
    let result = &answer.json()["result"];
    assert_eq!(result["cacheScope"], "private");
    assert_eq!(result["tools"].as_array().unwrap().len(), 1);
    assert_eq!(world.server.seen("tools/list")[0].header("mcp-protocol-version"), Some(NEW));
}

#[tokio::test]
async fn a_changed_tool_is_not_shown() {
    let world = World::new().await;
    world.server.offer(&listing(&[&TICKET.replace("2.50", "2.51"), PAYROLL, REFUND]));
    let answer = world.agent.stateless(Path::Read, "tools/list", json!({})).send().await;
    assert_eq!(answer.json()["result"]["tools"], json!([]));
}

#[tokio::test]
async fn a_list_that_is_no_list_is_withheld() {
    let world = World::new().await;
    for result in [r#"{"tools":{}}"#, r#"{}"#, r#"{"tools":[],"resultType":"task"}"#] {
        world.server.offer(result);
        let answer = world.agent.stateless(Path::Read, "tools/list", json!({})).send().await;
        assert_eq!(answer.reason().as_deref(), Some("upstream_failed"), "{result}");
    }
}

#[tokio::test]
async fn a_resource_is_shown_where_its_uri_may_be_read() {
    let plan = Plan::default().with_grant(json!({
        "action": "desk.resource.read", "path": "read",
        "where": { "uri": { "matches": "desk://public/[a-z]+" } },
    }));
    let world = World::with(plan).await;
    let revision = world.control.change(|view| {
        let resources = std::sync::Arc::make_mut(&mut view.snapshot.resources);
        let desk = resources.get_mut(&"desk".parse().unwrap()).unwrap();
        let desk = std::sync::Arc::make_mut(desk);
        let mut read = desk.operations.values().next().unwrap().clone();
        read.action = "desk.resource.read".parse().unwrap();
        read.path = Path::Read;
        read.definition = json!({ "method": "resources/read" });
        read.pin = carnet_gateway::mcp::codec::pin(&read.definition).unwrap();
        desk.operations.insert(read.action.clone(), read);
    });
    world.control.effective(revision).await;
    world.server.on("resources/list", |seen| {
        Act::Json(seen.result(json!({ "resources": [
            { "uri": "desk://public/faq", "name": "faq" },
            { "uri": "desk://private/salaries", "name": "salaries" },
        ] })))
    });
    let answer = world.agent.stateless(Path::Read, "resources/list", json!({})).send().await;
    let names: Vec<_> = answer.json()["result"]["resources"]
        .as_array()
        .unwrap_or_else(|| panic!("{}", answer.text()))
        .iter()
        .map(|shown| shown["name"].clone())
        .collect();
    assert_eq!(names, ["faq"]);
}
