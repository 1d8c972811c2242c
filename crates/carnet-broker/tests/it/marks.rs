//! Marks of integrity: who reads what anybody may have written is marked, and so is the whole tree.

use carnet_broker::OpenTask;
use carnet_core::{DecisionKind, Principal, Reason, TaskId};
use serde_json::json;

use crate::house::*;

const NO_WRITES_ONCE_MARKED: &str = r#"
@id("no-writes-once-marked")
forbid(principal, action == Carnet::Action::"mcp.write", resource) when { context.task.marked };
"#;

/// Whether policy is told that something untrusted was read.
async fn is_marked(house: &House, task: &TaskId) -> bool {
    let decision = house.decide(task, "read_ticket", json!({})).await;
    decision.document.unwrap().task.unwrap().marked
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_what_anybody_may_have_written_marks_the_whole_tree_and_what_is_handed_on_later()
{
    let house = House::delegating().await;
    house.label_desk("untrusted").await;
    let root = house.open(&[read(), pay(json!({ "uses": 5 }))]).await.unwrap();
    let child = house.hand_on(&root, &[read()]).await.unwrap();
    let sibling = house.hand_on(&root, &[read()]).await.unwrap();
    assert!(!is_marked(&house, &child).await, "a decision alone marks nobody");
    let decision = house.decide(&child, "read_ticket", json!({})).await;
    assert!(decision.marks && decision.needs_reservation(), "it is committed before it is done");
    house.reserve_decided(&child, &decision, json!({})).await.unwrap();
    for task in [&child, &root, &sibling] {
        assert!(is_marked(&house, task).await, "{task}");
    }
    let later = house.hand_on(&root, &[read()]).await.unwrap();
    assert!(is_marked(&house, &later).await);
    assert_eq!(house.count(root.as_str(), "marked"), 1, "the record says it of the root");
    // There is nothing left to mark: reads are reads again.
    assert!(!house.decide(&child, "read_ticket", json!({})).await.marks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_wants_no_writes_of_the_marked_is_obeyed_up_the_tree_and_after_a_restart() {
    let house = House::delegating().await;
    house.label_desk("untrusted").await;
    house
        .activate(&[
            ("permit/all.cedar", PERMIT),
            ("permit/on.cedar", DELEGATE),
            ("forbid/marked.cedar", NO_WRITES_ONCE_MARKED),
        ])
        .await;
    let root = house.open(&[read(), pay(json!({}))]).await.unwrap();
    let child = house.hand_on(&root, &[read()]).await.unwrap();
    assert_eq!(house.kind(&root, "pay", json!({})).await, DecisionKind::Permit);
    house.reserve(&child, "read_ticket", json!({})).await.unwrap();
    let refused = house.decide(&root, "pay", json!({})).await;
    assert_eq!(
        (refused.kind, &refused.reasons[..]),
        (DecisionKind::Deny, &[Reason::PolicyForbids][..])
    );
    let house = house.restart().await;
    assert_eq!(house.kind(&root, "pay", json!({})).await, DecisionKind::Deny);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_that_read_it_is_marked_in_every_task_it_works_on() {
    let house = House::furnished().await;
    house.label_desk("untrusted").await;
    let one = house.open(&[read()]).await.unwrap();
    let other = house.open(&[read()]).await.unwrap();
    house.reserve(&one, "read_ticket", json!({})).await.unwrap();
    assert!(is_marked(&house, &other).await, "another task does not wash it off");
    let view = house.broker.view();
    assert!(!view.snapshot.task(&other).unwrap().task.marked, "the task itself read nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_counts_and_marks_does_both() {
    let house = House::furnished().await;
    house.label_desk("untrusted").await;
    let mut intent = intent(&[read()]);
    intent.budget = serde_json::from_value(json!({ "calls": 2 })).unwrap();
    let request = OpenTask {
        agent: agent("desk-agent"),
        subject: Principal::User(user("eve")),
        opened_by: Principal::User(user("ana")),
        intent,
        standing: false,
    };
    let (task, _) = house.broker.open_task(request).await.unwrap();
    house.reserve(&task, "read_ticket", json!({})).await.unwrap();
    let view = house.broker.view();
    let held = &view.snapshot.task(&task).unwrap().task;
    assert_eq!((held.calls_spent, held.marked), (1, true));
}
