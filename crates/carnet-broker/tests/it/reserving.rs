//! Reserving: nothing is overspent, and nothing is forwarded that is not recorded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use carnet_broker::BrokerError;
use carnet_core::{GrantState, LockTarget, Reason, invariant};
use serde_json::{Value, json};

use crate::house::*;

/// Reserves `count` times at once, and tells how often it succeeded and why not otherwise.
async fn flood(
    house: &Arc<House>,
    task: &carnet_core::TaskId,
    count: i64,
    arguments: impl Fn(i64) -> Value,
) -> (usize, BTreeMap<Reason, usize>) {
    house.instance("desk-agent", task).await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..count {
        let (house, task, arguments) = (Arc::clone(house), task.clone(), arguments(n));
        calls.spawn(async move { house.reserve(&task, "pay", arguments).await });
    }
    let mut refused = BTreeMap::new();
    let mut done = 0;
    for answer in calls.join_all().await {
        match answer {
            Ok(_) => done += 1,
            Err(reason) => *refused.entry(reason).or_default() += 1,
        }
    }
    (done, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uses_are_never_overspent_by_calls_at_once() {
    let house = Arc::new(House::furnished().await);
    let task = house.open(&[read(), pay(json!({ "uses": 23 }))]).await.unwrap();
    let (done, refused) = flood(&house, &task, 64, |_| json!({})).await;
    assert_eq!(done, 23);
    assert_eq!(refused, [(Reason::GrantSpent, 41)].into(), "spent, and for no other reason");
    let view = house.broker.view();
    let grant = &view.snapshot.task(&task).unwrap().grants[1];
    assert_eq!((grant.uses_spent, &grant.state), (23, &GrantState::Exhausted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn totals_are_never_overspent_by_calls_at_once() {
    let house = Arc::new(House::furnished().await);
    let total = json!({ "total": { "amount_cents": 1_000 } });
    let task = house.open(&[read(), pay(total)]).await.unwrap();
    let (done, _) = flood(&house, &task, 64, |_| json!({ "amount_cents": 30 })).await;
    assert_eq!(done, 33, "33 times 30 is the most below 1000");
    let view = house.broker.view();
    let grant = &view.snapshot.task(&task).unwrap().grants[1];
    assert_eq!(grant.totals_spent["amount_cents"], 990);
    invariant::check_snapshot(&view.snapshot).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_budget_of_calls_is_never_overspent_by_calls_at_once() {
    let house = Arc::new(House::furnished().await);
    let text = json!({
        "purpose": "a test", "allow": [read(), pay(json!({ "uses": 60 }))],
        "budget": { "calls": 17 },
    });
    let request = carnet_broker::OpenTask {
        agent: agent("desk-agent"),
        subject: carnet_core::Principal::User(user("eve")),
        opened_by: carnet_core::Principal::User(user("ana")),
        intent: carnet_core::Intent::from_json(text.to_string().as_bytes()).unwrap(),
        standing: false,
    };
    let (task, _) = house.broker.open_task(request).await.unwrap();
    let (done, refused) = flood(&house, &task, 64, |_| json!({})).await;
    assert_eq!((done, refused), (17, [(Reason::BudgetSpent, 47)].into()));
    let view = house.broker.view();
    let held = view.snapshot.task(&task).unwrap();
    assert_eq!((held.task.calls_spent, held.grants[1].uses_spent), (17, 17));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_forwarded_is_given_back_and_nothing_else() {
    let house = House::furnished().await;
    let task = house.open(&[read(), pay(json!({ "uses": 1 }))]).await.unwrap();
    let held = house.reserve(&task, "pay", json!({})).await.unwrap();
    assert_eq!(house.reserve(&task, "pay", json!({})).await, Err(Reason::GrantSpent));
    house.settle(&held, false).await.unwrap();
    assert!(house.settle(&held, false).await.is_err(), "it is given back once");
    let held = house.reserve(&task, "pay", json!({})).await.unwrap();
    house.settle(&held, true).await.unwrap();
    assert_eq!(house.reserve(&task, "pay", json!({})).await, Err(Reason::GrantSpent));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_amount_was_decided_on_is_not_reserved() {
    let house = House::furnished().await;
    let task = house.open(&[read(), pay(json!({ "uses": 1 }))]).await.unwrap();
    let decision = house.decide(&task, "pay", json!({})).await;
    // Decided while one was left, reserved when none is; locked; closed.
    house.reserve(&task, "pay", json!({})).await.unwrap();
    let late = house.reserve_decided(&task, &decision, json!({})).await;
    assert_eq!(reason(late), Reason::GrantSpent);
    let target = LockTarget::Agent(agent("desk-agent"));
    house.broker.set_lock(target, "a test".into(), &user("ana")).await.unwrap();
    let late = house.reserve_decided(&task, &decision, json!({})).await;
    assert_eq!(reason(late), Reason::Locked);
    house.close(&task).await.unwrap();
    let late = house.reserve_decided(&task, &decision, json!({})).await;
    assert_eq!(reason(late), Reason::TaskUnknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_reserved_that_the_store_or_the_ledger_did_not_write() {
    let house = House::furnished().await;
    let task = house.open(&[read(), pay(json!({ "uses": 3 }))]).await.unwrap();
    let decision = house.decide(&task, "pay", json!({})).await;
    house.store.is_full.store(true, Ordering::Relaxed);
    let refused = house.reserve_decided(&task, &decision, json!({})).await;
    assert!(matches!(refused, Err(BrokerError::Store(_))), "{refused:?}");
    house.store.is_full.store(false, Ordering::Relaxed);
    house.disk.fail();
    let refused = house.reserve_decided(&task, &decision, json!({})).await;
    assert!(matches!(refused, Err(BrokerError::Ledger(_))), "{refused:?}");
    assert!(house.broker.outbox_problem().is_some());
    // It was surely not forwarded: when the ledger is back, it is given back and said so.
    let house = house.restart().await;
    house.drained().await;
    let view = house.broker.view();
    assert_eq!(view.snapshot.task(&task).unwrap().grants[1].uses_spent, 0);
    let leaves = house.leaves();
    let decided = leaves.iter().find(|leaf| leaf.kind() == carnet_ledger::Kind::Decision).unwrap();
    assert_eq!(house.count(decided.id(), "withdrawn"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_without_an_outcome_stays_spent_and_is_said_to_be_unknown() {
    let house = House::furnished().await;
    let task = house.open(&[read(), pay(json!({ "uses": 2 }))]).await.unwrap();
    let held = house.reserve(&task, "pay", json!({})).await.unwrap();
    let house = house.restart().await;
    house.drained().await;
    let view = house.broker.view();
    assert_eq!(view.snapshot.task(&task).unwrap().grants[1].uses_spent, 1);
    assert!(house.settle(&held, false).await.is_err(), "it is nobody's any more");
    let leaves = house.leaves();
    let outcome = leaves.iter().find(|leaf| leaf.kind() == carnet_ledger::Kind::Outcome).unwrap();
    assert_eq!(outcome.header()["outcome"], "unknown");
    assert_eq!(outcome.header()["reservation"], held.to_string());
    let decided = leaves.iter().find(|leaf| leaf.kind() == carnet_ledger::Kind::Decision).unwrap();
    assert_eq!(decided.id(), outcome.id());
}
