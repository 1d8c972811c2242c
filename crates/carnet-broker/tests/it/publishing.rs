//! What widens counts once its record is in the ledger; what narrows counts at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use carnet_core::{ApprovalState, DecisionKind, LockTarget, Reason};
use serde_json::json;

use crate::house::*;

/// Waits until some widening is stored and waits for the ledger.
async fn stored(house: &House, changes: usize) {
    while house.broker.changes_waiting() < changes {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_in_the_view_once_its_leaf_is_durable() {
    let house = Arc::new(House::furnished().await);
    house.disk.close();
    let opening = {
        let house = Arc::clone(&house);
        tokio::spawn(async move { house.open(&[read()]).await })
    };
    stored(&house, 1).await;
    assert!(house.broker.view().snapshot.tasks.is_empty(), "its leaf is not on the disk");
    assert!(!opening.is_finished());
    house.disk.open();
    let task = opening.await.unwrap().unwrap();
    assert!(house.broker.view().snapshot.task(&task).is_some());
    assert_eq!(house.count(task.as_str(), "opened"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_narrows_is_in_the_view_while_the_ledger_waits() {
    let house = Arc::new(House::furnished().await);
    let task = house.open(&[read()]).await.unwrap();
    house.instance("desk-agent", &task).await;
    house.disk.close();
    let target = LockTarget::Resource("desk".parse().unwrap());
    house.broker.set_lock(target, "a test".into(), &user("ana")).await.unwrap();
    assert_eq!(house.decide(&task, "read_ticket", json!({})).await.reasons, [Reason::Locked]);
    house.close(&task).await.unwrap();
    assert!(house.broker.view().snapshot.tasks.is_empty());
    assert_eq!(house.count(task.as_str(), "closed"), 0, "the record waits, the brake does not");
    house.disk.open();
    house.drained().await;
    assert_eq!(house.count(task.as_str(), "closed"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_closed_before_its_opening_counted_never_counts() {
    let house = Arc::new(House::furnished().await);
    house.disk.close();
    let opening = {
        let house = Arc::clone(&house);
        tokio::spawn(async move { house.open(&[read()]).await })
    };
    stored(&house, 1).await;
    // Everything is stopped before the ledger has the task: the lock is in force, the task is not.
    house.broker.set_lock(LockTarget::Everything, "x".into(), &user("ana")).await.unwrap();
    house.disk.open();
    let task = opening.await.unwrap().unwrap();
    let kind = {
        let view = house.broker.view();
        view.snapshot.check_task(&task, house.now()).map(drop)
    };
    assert_eq!(kind, Err(Reason::Locked));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_told_when_it_counts_and_not_before() {
    let house = Arc::new(House::furnished().await);
    let task = house.open(&[read(), allow("send")]).await.unwrap();
    let text = json!({ "text": "hello" });
    let id = house.ask(&task, "send", text.clone()).await.unwrap();
    house.disk.close();
    let approving = {
        let (house, id) = (Arc::clone(&house), id.clone());
        tokio::spawn(async move { house.broker.approve(&id, &user("bo")).await })
    };
    stored(&house, 1).await;
    assert_eq!(house.broker.approval(&id).unwrap().state, ApprovalState::Asked);
    let waiting = {
        let (house, id) = (Arc::clone(&house), id.clone());
        tokio::spawn(async move { house.broker.await_answer(&id, Duration::from_secs(20)).await })
    };
    // A brake with a later revision does not make the answer be overlooked.
    house.broker.set_lock(LockTarget::User(user("dee")), "x".into(), &user("ana")).await.unwrap();
    assert!(!waiting.is_finished());
    house.disk.open();
    assert_eq!(waiting.await.unwrap().unwrap(), ApprovalState::Approved);
    // Whoever is told so finds the grant in the view.
    assert_eq!(house.kind(&task, "send", text).await, DecisionKind::Permit);
    approving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_ledger_widens_nothing_and_lets_the_brakes_through() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    house.disk.fail();
    assert!(matches!(house.open(&[read()]).await, Err(carnet_broker::BrokerError::Ledger(_))));
    assert_eq!(house.broker.view().snapshot.tasks.len(), 1);
    let done = house.close(&task).await.unwrap();
    assert!(done.revision.is_some());
    assert!(house.broker.view().snapshot.tasks.is_empty());
    assert!(house.broker.outbox_problem().is_some());
    // What was stored counts when the ledger is back: nothing of it was lost.
    let house = house.restart().await;
    assert_eq!(house.broker.view().snapshot.tasks.len(), 1);
    assert_eq!(house.count(task.as_str(), "closed"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_leaves_nothing_half_done() {
    let house = Arc::new(House::furnished().await);
    let task = house.open(&[read()]).await.unwrap();
    for _ in 0..32 {
        let target = LockTarget::User(user("dee"));
        // Polled once and dropped: the commit may have been made and nobody waits for it.
        let ana = user("ana");
        let locking = house.broker.set_lock(target, "a test".into(), &ana);
        let _ = tokio::time::timeout(Duration::ZERO, locking).await;
    }
    // The view has what the store has, and goes on.
    house.close(&task).await.unwrap();
    let stored = {
        use carnet_store::Store as _;
        house.files.list(carnet_store::Kind::Lock, None, 100).await.unwrap().len()
    };
    assert!(stored > 0, "not one commit was made: the test says nothing");
    assert_eq!(house.broker.view().snapshot.locks.len(), stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stops_answering_lets_the_view_go_stale() {
    let house = House::furnished().await;
    let task = house.open(&[read()]).await.unwrap();
    assert_eq!(house.kind(&task, "read_ticket", json!({})).await, DecisionKind::Permit);
    house.store.is_silent.store(true, Ordering::Relaxed);
    house.hand.run_s(3_599);
    assert_eq!(house.kind(&task, "read_ticket", json!({})).await, DecisionKind::Permit);
    assert!(house.broker.freshen().await.is_err());
    house.hand.run_s(1);
    let decision = house.decide(&task, "read_ticket", json!({})).await;
    assert_eq!(decision.reasons, [Reason::SnapshotStale]);
    // Brakes need no freshness.
    house.broker.set_lock(LockTarget::Everything, "x".into(), &user("ana")).await.unwrap();
    house.store.is_silent.store(false, Ordering::Relaxed);
    house.broker.freshen().await.unwrap();
    let decision = house.decide(&task, "read_ticket", json!({})).await;
    assert_eq!(decision.reasons, [Reason::Locked]);
}
