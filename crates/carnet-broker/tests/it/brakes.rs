//! The brakes: no policy, no contention, no full disk and no stopped ledger keeps them from working.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use carnet_broker::BrokerError;
use carnet_core::{ApprovalState, DecisionKind, LockTarget, Reason, TaskState, User, invariant};
use serde_json::json;

use crate::house::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_brakes_work_under_a_policy_that_forbids_everything() {
    let house = House::furnished().await;
    let task = house.open(&[read(), allow("send")]).await.unwrap();
    let asked = house.ask(&task, "send", json!({ "text": "hello" })).await.unwrap();
    let before = house.broker.active_policy().unwrap().digest;
    house.activate(&[("permit/all.cedar", PERMIT), ("forbid/all.cedar", NOTHING)]).await;
    assert_eq!(reason(house.open(&[read()]).await), Reason::PolicyForbids);
    assert_eq!(reason(house.broker.approve(&asked, &user("bo")).await), Reason::PolicyForbids);
    let (state, done) = house.broker.deny(&asked, &user("ana")).await.unwrap();
    assert_eq!((state, done.revision.is_some()), (ApprovalState::Denied, true));
    let target = LockTarget::Everything;
    house.broker.set_lock(target, "a test".into(), &user("ana")).await.unwrap();
    house.close(&task).await.unwrap();
    let (digest, _) = house.broker.rollback_policy(&user("ana")).await.unwrap();
    assert_eq!(digest, before);
    assert_eq!(house.broker.view().policy.digest(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_back_once_and_not_forward_again() {
    let house = House::furnished().await;
    let wide = house.broker.active_policy().unwrap().digest;
    let narrow =
        house.activate(&[("permit/all.cedar", PERMIT), ("forbid/all.cedar", NOTHING)]).await;
    assert_ne!(wide, narrow);
    house.broker.rollback_policy(&user("ana")).await.unwrap();
    // What was taken back returns by being activated, which policy judges.
    let again = house.broker.rollback_policy(&user("ana")).await;
    assert!(matches!(again, Err(BrokerError::Invalid { .. })), "{again:?}");
    assert_eq!(house.broker.view().policy.digest(), wide);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_and_the_state_that_names_it_are_swapped_together() {
    let house = Arc::new(House::furnished().await);
    let sets = [
        policy(&[("permit/all.cedar", PERMIT)]),
        policy(&[("permit/all.cedar", PERMIT), ("forbid/all.cedar", NOTHING)]),
    ];
    let mut activating = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (house, source) = (Arc::clone(&house), sets[n % 2].clone());
        activating.spawn(async move {
            house.broker.activate_policy(&source, &user("ana")).await.unwrap();
        });
    }
    activating.join_all().await;
    // Whoever came last, what decides is what the state says is in force.
    let active = house.broker.active_policy().unwrap().digest;
    assert_eq!(house.broker.view().policy.digest(), active);
    let house = Arc::into_inner(house).unwrap().restart().await;
    assert_eq!(house.broker.view().policy.digest(), active);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_takes_everything_back_and_cancels_what_was_asked() {
    let house = House::furnished().await;
    let task = house.open(&[read(), allow("send"), allow("wire")]).await.unwrap();
    let one = house.ask(&task, "send", json!({ "text": "one" })).await.unwrap();
    let two = house.ask(&task, "send", json!({ "text": "two" })).await.unwrap();
    house.broker.approve(&one, &user("bo")).await.unwrap();
    let grants: Vec<_> = {
        let view = house.broker.view();
        let held = view.snapshot.task(&task).unwrap();
        held.grants.iter().map(|grant| grant.id.clone()).collect()
    };
    assert_eq!(grants.len(), 4, "three of the intent and one approved");
    let before = house.broker.now().wall;
    let done = house.close(&task).await.unwrap();
    assert!(done.revision.is_some());
    assert!(before <= done.committed_at && done.committed_at <= done.effective_at);
    assert!(done.effective_at <= done.complete_at);
    assert_eq!(house.decide(&task, "read_ticket", json!({})).await.reasons, [Reason::TaskUnknown]);
    assert!(house.broker.pending_approvals().is_empty());
    house.drained().await;
    for grant in &grants {
        assert_eq!(house.count(grant.as_str(), "revoked"), 1, "{grant}");
    }
    assert_eq!(house.count(two.as_str(), "cancelled"), 1);
    assert_eq!(house.count(one.as_str(), "cancelled"), 0);
    assert!(matches!(house.close(&task).await, Err(BrokerError::Missing { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_is_closed_in_the_midst_of_its_own_calls() {
    let house = Arc::new(House::furnished().await);
    let task = house.open(&[read(), pay(json!({ "uses": 100_000 }))]).await.unwrap();
    house.instance("desk-agent", &task).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (house, task) = (Arc::clone(&house), task.clone());
        calls.spawn(async move {
            while let Ok(held) = house.reserve(&task, "pay", json!({})).await {
                let _ = house.settle(&held, true).await;
            }
        });
    }
    // Once the calls are under way.
    let mut revisions = house.broker.revisions();
    revisions.changed().await.unwrap();
    let done = house.close(&task).await.unwrap();
    assert!(done.revision.is_some());
    // Every one of them ends: nothing is permitted any more.
    tokio::time::timeout(Duration::from_secs(20), calls.join_all()).await.unwrap();
    assert!(house.broker.view().snapshot.task(&task).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_stop_what_they_name_until_they_are_lifted() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    let instance = house.instance("desk-agent", &task).await;
    let targets = [
        LockTarget::User(user("eve")),
        LockTarget::User(user("ana")),
        LockTarget::Agent(agent("desk-agent")),
        LockTarget::Instance(instance),
        LockTarget::Task(task.clone()),
        LockTarget::Grant(house.broker.view().snapshot.task(&task).unwrap().grants[0].id.clone()),
        LockTarget::Resource("desk".parse().unwrap()),
        LockTarget::TrustDomain("carnet.example".into()),
        LockTarget::Everything,
    ];
    for target in targets {
        let set = house.broker.set_lock(target.clone(), "a test".into(), &user("ana")).await;
        let (lock, done) = set.unwrap();
        assert!(done.revision.is_some());
        let kind = house.kind(&task, "read_ticket", json!({})).await;
        assert_eq!(kind, DecisionKind::Deny, "{target:?}");
        house.broker.lift_lock(&lock, &user("ana")).await.unwrap();
        let kind = house.kind(&task, "read_ticket", json!({})).await;
        assert_eq!(kind, DecisionKind::Permit, "{target:?}");
        assert!(house.broker.lift_lock(&lock, &user("ana")).await.is_err());
    }
    // A lock that would stop nothing is refused rather than believed in.
    let elsewhere = LockTarget::TrustDomain("elsewhere.example".into());
    assert!(house.broker.set_lock(elsewhere, "a test".into(), &user("ana")).await.is_err());
    let long = "x".repeat(600_000);
    house.broker.set_lock(LockTarget::Everything, long, &user("ana")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brake_the_store_cannot_write_holds_in_memory_and_all_else_is_denied() {
    let house = House::furnished().await;
    let task = house.open(&[read(), pay(json!({}))]).await.unwrap();
    let other = house.open(&[read()]).await.unwrap();
    house.instance("desk-agent", &task).await;
    house.store.is_full.store(true, Ordering::Relaxed);
    let done = house.close(&task).await.unwrap();
    assert_eq!(done.revision, None, "it is not durable, and says so");
    assert!(house.broker.is_holding());
    let (_, done) = house
        .broker
        .set_lock(LockTarget::User(user("bo")), "x".into(), &user("ana"))
        .await
        .unwrap();
    assert_eq!(done.revision, None);
    assert!(house.broker.view().snapshot.task(&task).is_none());
    assert_eq!(house.broker.view().snapshot.locks.len(), 1);
    // Nothing else: not even what needs no store.
    let decision = house.decide(&other, "read_ticket", json!({})).await;
    assert_eq!(decision.reasons, [Reason::SnapshotStale]);
    house.broker.freshen().await.unwrap();
    let decision = house.decide(&other, "read_ticket", json!({})).await;
    assert_eq!(decision.reasons, [Reason::SnapshotStale], "a fresh revision does not help");
    let mut more = people();
    more.push(User { name: user("fay"), teams: Default::default(), logins: Vec::new() });
    let users = house.broker.put_users(more).await;
    assert_eq!(reason(users), Reason::ControlUnavailable);
    // The store heals: what was held is written, and work goes on.
    house.store.is_full.store(false, Ordering::Relaxed);
    while house.broker.is_holding() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.broker.freshen().await.unwrap();
    let kind = house.kind(&other, "read_ticket", json!({})).await;
    assert_eq!(kind, DecisionKind::Permit);
    house.drained().await;
    assert_eq!(house.count(task.as_str(), "closed"), 1);
    let house = house.restart().await;
    assert!(house.broker.view().snapshot.task(&task).is_none(), "it is durable now");
    assert_eq!(house.broker.view().snapshot.locks.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_not_undone_by_a_commit_that_was_under_way() {
    let house = House::furnished().await;
    let task = house.open(&[read(), pay(json!({ "uses": 5 }))]).await.unwrap();
    let held = house.reserve(&task, "pay", json!({})).await.unwrap();
    house.store.is_full.store(true, Ordering::Relaxed);
    house.close(&task).await.unwrap();
    house.store.is_full.store(false, Ordering::Relaxed);
    // The settling of a call meets a closed task, held or written.
    let _ = house.settle(&held, false).await;
    assert!(house.broker.view().snapshot.task(&task).is_none());
    while house.broker.is_holding() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(house.broker.view().snapshot.task(&task).is_none());
    let house = house.restart().await;
    assert!(house.broker.view().snapshot.task(&task).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brake_is_effective_when_every_node_has_acknowledged_it() {
    let house = Arc::new(House::furnished().await);
    let task = house.open(&[read()]).await.unwrap();
    // A node is there; it says so by acknowledging what it has.
    house.broker.acknowledge(house.broker.view().snapshot.revision);
    let closing = {
        let (house, task) = (Arc::clone(&house), task.clone());
        tokio::spawn(async move { house.close(&task).await.unwrap() })
    };
    let mut revisions = house.broker.revisions();
    while house.broker.view().snapshot.task(&task).is_some() {
        revisions.changed().await.unwrap();
    }
    assert!(!closing.is_finished());
    house.hand.pass_s(7);
    let acknowledged_at = house.now();
    house.broker.acknowledge(house.broker.view().snapshot.revision);
    let done = closing.await.unwrap();
    assert_eq!(done.effective_at, acknowledged_at);
    assert!(done.committed_at <= done.effective_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_left_half_closed_is_finished() {
    let house = House::furnished().await;
    let many: Vec<_> = (0..60).map(|n| pay(json!({ "where": { "n": { "equals": n } } }))).collect();
    let task = house.open(&many).await.unwrap();
    // The first part of a closing, and then nobody goes on with it.
    let by = carnet_core::Principal::User(user("ana"));
    let first = house.broker.close_task(&task, carnet_core::Closure::Failed, &by);
    let mut first = Box::pin(first);
    let mut revisions = house.broker.revisions();
    loop {
        tokio::select! {
            biased;
            _ = revisions.changed() => {}
            _ = &mut first => break,
        }
        let view = house.broker.view();
        let Some(held) = view.snapshot.task(&task) else { break };
        invariant::check_snapshot(&view.snapshot).unwrap();
        if matches!(held.task.state, TaskState::Closing { .. }) {
            break;
        }
    }
    drop(first);
    house.broker.sweep().await.unwrap();
    assert!(house.broker.view().snapshot.task(&task).is_none());
    house.drained().await;
    assert_eq!(house.count(task.as_str(), "closed"), 1);
    let leaves = house.leaves();
    let closed = leaves
        .iter()
        .find(|leaf| leaf.id() == task.as_str() && leaf.header()["transition"] == "closed");
    assert_eq!(closed.unwrap().header()["closure"], "failed", "it ended as it was meant to");
    let revoked = leaves.iter().filter(|leaf| {
        leaf.kind() == carnet_ledger::Kind::Grant && leaf.header()["transition"] == "revoked"
    });
    assert_eq!(revoked.count(), 60);
}
