//! What an agent sends is nowhere in clear but where it must be.

use std::path::Path;

use serde_json::json;

use crate::house::*;

const CANARY: &str = "canary-5f2a9c";

fn holds(dir: &Path, wanted: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holds(&path, wanted));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(wanted.len()).any(|part| part == wanted.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_are_in_clear_neither_in_the_ledger_nor_in_the_outbox() {
    use carnet_store::Store as _;
    let house = House::furnished().await;
    let task = house.open(&[read(), allow("send"), pay(json!({ "uses": 2 }))]).await.unwrap();
    let id = house.ask(&task, "send", json!({ "text": CANARY })).await.unwrap();
    house.broker.approve(&id, &user("bo")).await.unwrap();
    house.reserve(&task, "pay", json!({ "note": CANARY })).await.unwrap();
    house.drained().await;
    // The person is shown it; the ledger gives it to whoever holds its keys.
    let shown = serde_json::to_string(&*house.broker.approval(&id).unwrap()).unwrap();
    assert!(shown.contains(CANARY));
    let asked = house.leaves().into_iter().find(|leaf| leaf.id() == id.as_str()).unwrap();
    let opened = house.broker.ledger().unseal(&asked).unwrap();
    assert!(serde_json::to_string(&opened.values).unwrap().contains(CANARY));
    for leaf in house.leaves() {
        assert!(!format!("{:?}", leaf.header()).contains(CANARY));
    }
    // While it waits in the outbox too.
    house.disk.close();
    let late = house.ask(&task, "send", json!({ "text": format!("late-{CANARY}") }));
    let _ = tokio::time::timeout(std::time::Duration::from_millis(200), late).await;
    let waiting = house.files.outbox(0, 100).await.unwrap();
    assert!(!waiting.is_empty());
    for record in &waiting {
        let text = String::from_utf8_lossy(&record.bytes);
        assert!(!text.contains(CANARY) && !record.id.contains(CANARY));
    }
    let stopped = house.stop().await;
    assert_eq!(holds(&stopped.dir().join("ledger"), CANARY), Vec::<String>::new());
    assert_eq!(holds(&stopped.dir().join("lock"), CANARY), Vec::<String>::new());
}
