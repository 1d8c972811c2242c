//! An agent that provokes refusals without end.

use std::time::Duration;

use carnet_core::Path;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn refusals_without_end_are_neither_read_nor_recorded_one_by_one() {
    let world = World::new().await;
    let refused = || world.agent.call(Path::Read, "brand_new", json!({}));
    let mut given = 0;
    let turned_away = loop {
        let answer = refused().send().await;
        if answer.status == 429 {
            break answer;
        }
        given += 1;
        assert!(given < 1_000, "patience without end");
    };
    assert_eq!(turned_away.headers["retry-after"], "1");
    assert_eq!(turned_away.json()["error"]["data"]["reason"], "too_many_refusals");
    // What would be permitted is not read either.
    let good = world.agent.call(Path::Read, "get_ticket", json!({ "id": "T-1" }));
    assert_eq!(good.send().await.status, 429);
    let counted = async {
        loop {
            let leaves = world.leaves().await;
            if leaves.iter().any(|leaf| leaf.contains_key("count")) {
                return leaves;
            }
        }
    };
    let leaves = tokio::time::timeout(Duration::from_secs(20), counted).await.expect("a count");
    let count = leaves.iter().find(|leaf| leaf.contains_key("count")).unwrap();
    assert_eq!(count["reasons"], json!(["too_many_refusals"]));
    assert_eq!(count["agent"], json!(world.agent.claims(Path::Read).agent_name().unwrap()));
    let denied = leaves.iter().filter(|leaf| leaf.get("decision") == Some(&json!("deny")));
    assert!(denied.count() <= given + 2, "one record for all that were turned away");
}
