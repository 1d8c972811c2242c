//! Opening tasks: nobody opens one wider than policy lets them give.

use carnet_broker::{BrokerError, OpenTask};
use carnet_core::{DecisionKind, GrantState, LockTarget, Principal, Reason};
use serde_json::{Value, json};

use crate::house::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_wider_than_policy_is_refused_and_the_allowance_named() {
    let house = House::furnished().await;
    let error = house.open(&[read(), pay(json!({})), allow("erase")]).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.code(), "policy_does_not_permit");
    assert!(text.contains("allow[2]") && text.contains("desk.tool.erase"), "{text}");
    assert!(house.broker.view().snapshot.tasks.is_empty(), "it is refused, never trimmed");
    // A pattern is judged for everything it matches.
    let everything = json!({ "action": "desk.tool.*", "path": "write", "other": "any" });
    assert_eq!(reason(house.open(&[everything]).await), Reason::PolicyDoesNotPermit);
    let nothing = json!({ "action": "desk.tool.destroy", "path": "write" });
    let error = house.open(&[nothing]).await.unwrap_err();
    assert!(matches!(error, BrokerError::Invalid { .. }), "{error}");
    // bo may not open anything.
    let error = house.open_for("desk-agent", "eve", "bo", &[read()]).await;
    assert_eq!(reason(error), Reason::PolicyDoesNotPermit);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_be_approved_up_front_waits() {
    let house = House::furnished().await;
    let up_front = pay(json!({ "approve": "up_front" }));
    let task = house.open(&[read(), allow("wire"), up_front]).await.unwrap();
    let view = house.broker.view();
    let grants = &view.snapshot.task(&task).unwrap().grants;
    assert_eq!(grants[0].state, GrantState::Active);
    for grant in &grants[1..] {
        assert!(matches!(grant.state, GrantState::Pending(_)), "{:?}", grant.state);
    }
    assert_eq!(house.kind(&task, "wire", json!({})).await, DecisionKind::Deny);
    assert_eq!(house.kind(&task, "pay", json!({})).await, DecisionKind::Deny);
    let waiting = house.broker.pending_approvals();
    let mut approvers: Vec<_> =
        waiting.iter().map(|approval| approval.terms.approvers.clone()).collect();
    approvers.sort();
    // Policy names whom for the one, the agent's owner answers for the other.
    assert_eq!(approvers, [["owner".to_owned()].into(), ["team:finance".to_owned()].into()]);
    for approval in &waiting {
        assert_eq!(house.count(approval.id.as_str(), "asked"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_intent_opens_in_parts_and_closes_in_parts() {
    let house = House::furnished().await;
    let allowances: Vec<Value> = (0..63)
        .map(|n| pay(json!({ "approve": "up_front", "where": { "n": { "equals": n } } })))
        .chain([read()])
        .collect();
    let task = house.open(&allowances).await.unwrap();
    assert_eq!(house.broker.view().snapshot.task(&task).unwrap().grants.len(), 64);
    assert_eq!(house.kind(&task, "read_ticket", json!({})).await, DecisionKind::Permit);
    assert_eq!(house.broker.pending_approvals().len(), 63);
    let done = house.close(&task).await.unwrap();
    assert!(done.revision.is_some());
    assert!(house.broker.view().snapshot.tasks.is_empty());
    assert!(house.broker.pending_approvals().is_empty());
    house.drained().await;
    assert_eq!(
        (house.count(task.as_str(), "closing"), house.count(task.as_str(), "closed")),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_opens_no_unapproved_write_for_itself_and_nothing_for_others() {
    let house = House::furnished().await;
    let myself = Principal::Agent(agent("desk-agent"));
    let request = |subject: Principal, allow: &[Value]| OpenTask {
        agent: agent("desk-agent"),
        subject,
        opened_by: myself.clone(),
        intent: intent(allow),
        standing: false,
    };
    let write = house.broker.open_task(request(myself.clone(), &[pay(json!({}))])).await;
    assert!(write.unwrap_err().to_string().contains("allow[0].approve"));
    let other = Principal::User(user("eve"));
    assert!(house.broker.open_task(request(other, &[read()])).await.is_err());
    house.broker.open_task(request(myself.clone(), &[read()])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_locked_opens_or_is_opened_for() {
    let house = House::furnished().await;
    for target in [LockTarget::User(user("eve")), LockTarget::Agent(agent("desk-agent"))] {
        let (lock, _) = house.broker.set_lock(target, "a test".into(), &user("ana")).await.unwrap();
        assert_eq!(reason(house.open(&[read()]).await), Reason::Locked);
        house.broker.lift_lock(&lock, &user("ana")).await.unwrap();
    }
    house.open(&[read()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_view_opens_nothing() {
    let house = House::furnished().await;
    house.hand.run_s(3_601);
    assert_eq!(reason(house.open(&[read()]).await), Reason::SnapshotStale);
    house.broker.freshen().await.unwrap();
    house.open(&[read()]).await.unwrap();
}
